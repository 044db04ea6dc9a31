"""The figures of a study of memorization, each with its sentence; they read tables, and compute nothing that takes long."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis.memorized import WATCHED, images
from app.components import link
from app.components.curve import toolbar

if TYPE_CHECKING:
    import pandas as pd

    from app.components.memorized import Choice

PATIENCE = ["1", "2", "3"]
WIDE = 4  # panels side by side that a phone has no room for


def numbers(choice: Choice) -> None:
    """Four numbers of the chosen size and moment."""
    study = choice.study
    verdict = study.verdict(choice.size, choice.seen, choice.weights, choice.labelled, choice.block)
    low, high = verdict["peak_accuracy_ci"]
    said = f"Of block {choice.block}, over all seeds; 95 % interval"
    with st.container(horizontal=True, gap="medium"):
        st.metric("Shape of the curve", verdict["shape"], help="Unimodal: it rises before it falls. Undecided: this study cannot tell.")
        low_gain, high_gain = verdict["gain_ci"]
        st.metric(
            "Gain over least noise",
            f"{100 * verdict['gain']:+z.1f} points",
            help=f"{said} {100 * low_gain:+z.1f} to {100 * high_gain:+z.1f}. The study would have seen a rise of {100 * verdict['detectable']:.1f} points four times in five.",
        )
        st.metric("Best readout", f"{100 * verdict['peak_accuracy']:.1f} %", help=f"{said} {100 * low:.1f} to {100 * high:.1f}.")
        if (scores := _scores(choice, "l2_ratio")) is not None:
            row = scores[scores["size"] == choice.size].iloc[0]
            st.metric(
                "Generalization score",
                f"{100 * row.score:.1f} %",
                help="Samples that are no copies: their distance to the nearest training image is more than half of the mean distance to the next "
                f"50. 95 % interval {100 * (1 - row.copies_high):.1f} to {100 * (1 - row.copies_low):.1f}; of held-out real images "
                f"{100 * (1 - row.held_out):.1f} %.",
            )


def _scores(choice: Choice, measure: str) -> pd.DataFrame | None:
    """Shares of copies at the usual threshold of a measure, all seeds together; None without samples."""
    from analysis import memorization_words as words

    rows = choice.table("generation")
    rows = rows[rows.measure == measure]
    if rows.empty or choice.size not in set(rows["size"]):
        return None
    found = words.pooled(rows)
    return found[found.threshold == words.usual(measure, rows)]


def chart(figure: Any, says: str, key: str, wide: bool = False) -> None:
    """A figure with its sentence; `wide` ones are moved sideways on a phone."""
    with st.container(key=f"wide-{key}") if wide else st.container():
        st.plotly_chart(figure, key=f"figure-{key}", alt=says, config=toolbar())
    st.caption(says)


def noise(choice: Choice) -> None:
    """Curves over noise: every size at this moment, then every moment of every size."""
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words

    study, rows = choice.study, choice.table("curve")
    st.subheader("Every training set, at this moment", anchor=False)
    lab_axis = choice.axis
    says = words.curves(rows, study.sizes, choice.block, choice.seen)
    chart(figures.sizes_figure(rows, study.levels, lab_axis, study.sizes, choice.size), says, "known-sizes")  # type: ignore[arg-type]
    every = choice.table("curve", moment=False)
    if every.seen.nunique() > 1:
        st.subheader("Every moment, for each training set", anchor=False)
        says = words.rises(study.verdicts(choice.weights, choice.labelled, choice.block), study.sizes)
        figure = figures.moments_figure(every, study.levels, lab_axis, study.sizes)  # type: ignore[arg-type]
        chart(figure, says, "known-moments", wide=len(study.sizes) >= WIDE)


def training(choice: Choice) -> None:
    """The rise over training, what is watched, and where each rule would have stopped."""
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words

    study = choice.study
    verdicts = study.verdicts(choice.weights, choice.labelled, choice.block)
    st.subheader("The rise, and where it vanishes", anchor=False)
    if choice.block not in (study.block, study.rising):
        st.caption("Validation images chose two blocks beforehand; a verdict on another is a look, not corrected for how many there are.")
    chart(figures.rise_figure(verdicts, study.sizes), words.rises(verdicts, study.sizes), "known-rise")
    st.caption("Filled marks are curves shown to be unimodal, open ones are not.")
    _differences(choice)
    if verdicts.seen.nunique() > 1:
        _stops(choice)
    else:
        st.caption("When to stop cannot be asked of one moment: choose mean weights and labelled images that no network was trained on.")


def _stops(choice: Choice) -> None:
    """What is watched while a size is trained, and where each rule would have stopped."""
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words
    from analysis import stopping

    study = choice.study
    watched = study.verdicts(block=WATCHED)
    mine = watched[watched["size"] == choice.size]
    if mine.empty:
        return
    st.subheader(f"When training on {images(choice.size)} should have stopped", anchor=False)
    link.start("patience", PATIENCE)
    st.segmented_control(
        "Bad moments in a row before a rule stops", PATIENCE, required=True, key="patience", help="Each rule has the same.", persist_state="session"
    )  # fmt: skip
    patience = int(link.keep("patience", PATIENCE))
    parts = {name: choice.table(name, moment=False) for name in ("generation", "frechet", "losses")}
    parts = {name: rows[(rows["size"] == choice.size) & rows.seen.isin(mine.seen)] for name, rows in parts.items()}
    table = stopping.signals(mine, **parts, threshold=("l2_ratio", words.RATIO))
    real = float(parts["frechet"].reference.mean()) if len(parts["frechet"]) else None
    pairs = study.paired(choice.size)
    paired = (lambda before, seen: pairs[before, seen]) if pairs else None
    found = stopping.stops(table, patience, paired)
    chart(figures.signals_figure(table, found, real), words.stopped(found, choice.size), "known-signals")
    st.dataframe(words.stop_rows(stopping.compare(table, patience, paired), mine), hide_index=True, width="stretch")
    st.caption(
        "Every rule looks at its signal up to the moment it stands at, never at later ones: it stops at the first moment that is worse than the "
        "best so far by more than the interval of their difference"
        + (" (of the curve's peak, paired over test images and draws)" if pairs else "")
        + "; the curve's rule also stops where a hump that was there is shown to be gone. At each moment it reads the block that validation images choose in these networks then: "
        + ", ".join(f"{row.of} after {row.seen:,}" for row in mine.itertuples())
        + ". The ratio of losses is near 1 in a network that has learned nothing yet, which it takes for good. “Below the best of all” alone looks back from the end, to judge the rules."
    )


def _differences(choice: Choice) -> None:
    """Each larger set's gain less the smallest's, at this moment."""
    from analysis import memorization_words as words

    rows = [one for one in choice.study.differences(choice.weights, choice.labelled, choice.block) if one["seen"] == choice.seen]
    if rows:
        against = images(str(rows[0]["against"]))
        st.markdown(
            f"After {choice.seen:,} training images, gain less that of the matched control, trained on {against}: "
            + "; ".join(f"**{images(str(one['size']))}** {words.points(one['difference'], one['low'], one['high'])}" for one in rows)
            + "."
        )


def made(choice: Choice) -> None:
    """Samples beside their nearest training images, how many are copies by which threshold, networks of disjoint sets, and losses."""
    _gallery(choice)
    _copies(choice)
    _distances(choice)
    _halves(choice)
    _losses(choice)


def _gallery(choice: Choice) -> None:
    from analysis import panels
    from analysis.memorization_words import RATIO

    study, last = choice.study, choice.study.seen()[-1]
    st.subheader("Samples beside their nearest training images", anchor=False)
    found = study.made(choice.size)
    if found is None:
        st.caption(f"No samples of networks trained on {images(choice.size)} were kept with this study.")
        return
    import numpy as np

    tiles = []
    for place, (sample, near, ratio) in enumerate(zip(found.samples, found.nearest, found.ratio, strict=True), start=1):
        gap = np.full((sample.shape[0], 1, 3), 128, np.uint8)
        picture = panels.uri(np.concatenate([sample, gap, near], 1), 144)
        copy = "copy" if ratio < RATIO else "no copy"
        alt = html.escape(f"Sample {place} beside its nearest training image: ratio {ratio:.2f}, {copy} at {RATIO:g}.")
        tiles.append(f'<figure><img src="{picture}" alt="{alt}" style="height:72px"><figcaption>{ratio:.2f}, {copy}</figcaption></figure>')
    st.html(f'<div class="tiles small" role="group" aria-label="Samples and nearest training images">{"".join(tiles)}</div>')
    reference = " among the first images that it met" if choice.size == "fresh" else ""
    st.caption(
        f"{len(found.samples)} samples of a network trained on {images(choice.size)}, after {last:,} (mean weights, seed {study.seeds[0]}): left of each pair the "
        f"sample, right its nearest training image by ℓ2{reference}. The number is the ℓ2-ratio, the distance over the mean distance to the next {_next(choice.size)}; "
        f"{int((found.ratio < RATIO).sum())} of these are below {RATIO:g}. They are the first that were made, not chosen."
    )


def _copies(choice: Choice) -> None:
    import pandas as pd

    from analysis import memorization_figures as figures
    from analysis import memorization_words as words

    study = choice.study
    rows = pd.concat([rows for name in ("generation", "encoder") if len(rows := choice.table(name))] or [choice.table("generation")])
    measures = [name for name in words.MEASURES if name in set(rows.measure)]
    if not measures:
        return
    st.subheader("How many are copies, by which threshold", anchor=False)
    link.start("copies-by", measures)
    st.segmented_control(
        "Nearest by", measures, required=True, format_func=words.MEASURES.__getitem__, key="copies-by", persist_state="session"
    )
    name = link.keep("copies-by", measures)
    rows = rows[rows.measure == name]
    at, found = words.usual(name, rows), words.pooled(rows)
    wide = len(study.sizes) >= WIDE
    chart(
        figures.threshold_figure(found, study.sizes, at),
        words.copied(found, study.sizes, name, at),
        "known-copies",
        wide=wide,
    )
    how = (
        "that of Carlini et al. (arXiv 2301.13188)"
        if name == "l2_ratio"
        else "the lowest that calls at most one in 20 held-out real images a copy"
    )
    whose = {"features": study.facts.get("reference"), "encoder": study.facts.get("encoder", {}).get("name")}.get(name)
    seen = f"After {choice.seen:,} training images{f', in the features of {whose}' if whose else ''}."
    st.caption(f"{seen} The dotted line is the threshold of the sentence, {at:g}: {how}.")


def _next(size: str) -> str:
    """How many training images the ℓ2-ratio compares with: fewer where there are fewer."""
    return "50" if size == "fresh" else str(min(50, int(size) - 1))


def _distances(choice: Choice) -> None:
    from analysis import memorization_words as words

    rows = choice.table("frechet")
    if rows.empty:
        return
    st.subheader("How far samples are from training images", anchor=False)
    st.dataframe(words.distance_rows(rows, choice.study.sizes), hide_index=True, width="stretch")
    st.caption(
        f"After {choice.seen:,} training images; Fréchet distance in the features of {rows.features.iloc[0]}, of {int(rows.n.min())} images each: means over seeds, and from "
        "the lowest to the highest of their 95 % intervals, which are too narrow where training images are fewer than some hundreds. "
        "Below 0, samples are nearer to the training images than real images are that no network has seen."
    )


def _halves(choice: Choice) -> None:
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words

    rows = choice.table("halves")
    if rows.empty:
        return
    st.subheader("Two networks with no training image in common", anchor=False)
    chart(figures.halves_figure(rows, choice.study.sizes), words.halved(rows, choice.study.sizes), "known-halves")
    st.caption(
        f"After {choice.seen:,} training images; cosine of pixels without the mean image of both sets, no threshold (Kadkhodaie et al., arXiv 2310.02557), and the same of held-out real images. "
        "Networks that generalize make nearly the same image from the same noise; networks that memorize make one of their own training images each."
    )


def _losses(choice: Choice) -> None:
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words

    rows = choice.table("losses")
    if rows.empty:
        return
    st.subheader("Denoising loss on held-out images, less that on training images", anchor=False)
    figure = figures.losses_figure(rows, choice.study.levels, choice.axis, choice.study.sizes)  # type: ignore[arg-type]
    chart(figure, words.parted(rows, choice.study.sizes), "known-losses")
    st.caption(f"After {choice.seen:,} training images, as a share of the held-out loss; bands are from the lowest seed to the highest.")


def sharing(choice: Choice) -> None:
    """One network for all noise levels beside networks of one level each."""
    from analysis import memorization_figures as figures
    from analysis import memorization_words as words
    from app.components.memorized import tables

    rows = tables(choice.study.version, "sharing", choice.study)
    rows = rows[rows.block == (choice.block if choice.block in set(rows.block) else rows.block.iloc[0])]
    st.subheader("Does it help that one network denoises at every level?", anchor=False)
    chart(figures.sharing_figure(rows, choice.study.levels, choice.axis), words.shared(rows), "known-sharing")  # type: ignore[arg-type]
    if said := choice.study.facts.get("sharing"):
        last = choice.study.seen()[-1]
        later = f"; the dotted line is the one network after {last:,}" if "later" in set(rows.model) else ""
        levels = len(choice.study.levels)
        st.caption(
            f"Each network has met {said['seen']:,} images, over {said['seeds']} seed{'s' * (said['seeds'] != 1)}: one that is trained at a single level met them all at it, the one network "
            f"spread over all levels. The {levels} of one level together met {levels * said['seen']:,}{later}. arXiv 2502.05743 reads more from the one network."
        )
