"""What a model sees in one image at every noise level, and what its probes read."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from analysis.looking import READ_WITH
from app.components import asking, leaflet
from app.components.decided import right
from app.components.looked import Looked, chosen_class, gallery, percent, plain, rank, sentence, waiting
from app.components.words import duration

MANY, MOMENT = 2000, 10.0  # known images that are read without being asked, if that takes fewer seconds
GRIDS = {"map": "Class activation", "colour": "Colours of the features"}


def numbers(looked: Looked) -> None:
    """What is read, how surely, and how at home the image is."""
    told, ensemble = looked.told()[looked.level], looked.ensemble()
    best = int(told.argmax())
    row = st.container(horizontal=True, gap="medium")
    row.metric("Read as", looked.classes[best], help=f"By the probe of block {looked.block} at σ = {looked.sigma:.3g}.")
    row.metric(
        "Probability",
        f"{percent(told[best])}",
        help="The mean over 8 draws of noise." if looked.draws is not None else "Of one draw of noise; eight are on their way.",
    )
    if ensemble is not None:
        most = int(ensemble[looked.level].argmax())
        row.metric(
            "Five levels together",
            f"{looked.classes[most]}, {percent(ensemble[looked.level][most])}",
            help="The softmax of the mean logits of this level and up to two on each side, each with noise of its own.",
        )
    if looked.fit:
        row.metric(
            "Denoising error",
            rank(looked.fit),
            help=f"Over all noise levels, beside {looked.fit['count']} held-out images. Near 50 % is usual. It tells how hard the image is to denoise, not what it shows.",
        )
    with st.container(key="verdict"):
        st.markdown(sentence(looked))
    leaflet.note("text", plain(sentence(looked)))
    reliable(looked)


def unlike(looked: Looked) -> bool:
    """Say plainly where the image is not like those that the model was made for; whether it is of another kind."""
    fit = looked.fit
    if fit is None:
        st.caption("This run was made before held-out errors were kept, so how at home the image is cannot be said; run it again.")
        return False
    card, data = looked.study.card, looked.study.facts["receipt"]["dataset"]
    beside = f"Its denoising error is {rank(fit)} of {fit['count']} held-out images of {data}"
    listed = ", ".join(looked.classes[:6]) + (" …" if len(looked.classes) > 6 else "")
    why = {
        "foreign": f"**This is not the kind of image that {card.name} knows.** {beside}, and {fit['deviations']:.1f} standard deviations above "
        f"their mean. The probes must answer with one of {listed}, so what they say of it means little.",
        "hard": f"**This image is harder to denoise than nearly all that {card.name} was made for.** {beside}: it has more detail, or is of "
        "another kind. Read what the probes say with care.",
        "simple": f"**This image is easier to denoise than nearly all that {card.name} was made for.** {beside}, as plain surfaces are. Read "
        "what the probes say with care.",
        "usual": "",
    }[fit["kind"]]
    if why:
        (st.warning if fit["kind"] == "foreign" else st.info)(why, icon=":material/travel_explore:")
        leaflet.note("text", plain(why))
    return bool(fit["kind"] == "foreign")


def reliable(looked: Looked) -> None:
    """How often the probe that reads is right, and on how many labels it was fitted."""
    if looked.probes.arrays:
        st.caption("Read with a probe taught here: see Teach for how often it is right.")
        return
    labels = next(iter(looked.study.facts["results"]))
    share, chance = right(looked.study, looked.block, looked.sigma, READ_WITH), 1 / len(looked.classes)
    budget = "all labels" if labels == "all" else f"{labels} labels a class"
    says = f"This probe, fitted with {budget}, is right on {percent(share)} of test images at this level; guessing is right on {percent(chance)}."
    st.caption(says)
    leaflet.note("text", says)


def here(looked: Looked) -> None:
    """The image at the chosen level: clean, noised, denoised, and two looks into the block."""
    limit = panels.limit_of([looked.view[f"map/{looked.block}"]])
    k = chosen_class(looked)
    tiles = [
        ("clean", "The image as the model reads it", looked.view["clean"]),
        ("noised", f"What the network is shown at σ = {looked.sigma:.2g}", looked.view["seen"][looked.level]),
        ("denoised, x̂₀", "What the network takes the clean image to be", looked.view["made"][looked.level]),
        (
            f"where “{looked.classes[k]}”",
            "Class activation in this block",
            panels.signed(looked.view[f"map/{looked.block}"][looked.level, ..., k], limit),
        ),
        ("colours of features", "First three principal components of the block's map", looked.colours[looked.block][looked.level]),
    ]
    leaflet.pictures(gallery([(name, about, panels.uri(pixels, 128)) for name, about, pixels in tiles]), f"At σ = {looked.sigma:.2g}.")


def strip(looked: Looked) -> None:
    """What the network is shown and what it makes of it, at every level; a click on one chooses the level."""
    rows = {"shown": looked.view["seen"], "denoised": looked.view["made"]}
    figure = panels.grid_figure(rows, looked.levels, looked.axis, (None, looked.level), side=56)  # type: ignore[arg-type]
    low, high = looked.levels[0]["sigma"], looked.levels[-1]["sigma"]
    alt = f"{looked.name} at {len(looked.levels)} noise levels, σ = {low:.2g} to {high:.2g}: above, what the network is shown; below, what it takes the clean image to be."
    leaflet.sheet("Strip", rows)
    _clickable(figure, "strip-own", alt, f"{alt} A click on a level shows it everywhere.", list(rows), looked)


def _clickable(figure: Any, key: str, alt: str, caption: str, names: list[str], looked: Looked) -> None:
    """A grid of pictures whose click chooses level, and block where rows are blocks."""
    event = leaflet.chart(figure, key, alt, caption, wide=True, on_select="rerun", selection_mode="points")
    points = event.selection.points if event else []
    if not points:
        st.session_state.pop(f"{key}-taken", None)
        return
    if st.session_state.get(f"{key}-taken") == (point := (points[0]["x"], points[0]["y"])):
        return
    st.session_state[f"{key}-taken"] = point
    sigmas = looked.study.card.sigmas
    wanted = looked.levels[int(points[0]["x"])]["sigma"]
    st.session_state["level-wanted"] = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - wanted))
    row = names[int(points[0]["y"])]
    if row in looked.blocks:
        st.session_state["block"] = row
    st.rerun()


def curves(looked: Looked) -> None:
    """Class probabilities over noise, beside the denoising error."""
    told, ensemble = looked.told(), looked.ensemble()
    shown = {f"block {looked.block}": told} | ({"five levels together": ensemble} if ensemble is not None else {})
    spread = looked.draws[f"spread/{looked.block}"] if looked.draws is not None else np.zeros_like(told)
    left, right = st.columns([2, 1])
    with left:
        figure = panels.classes_figure(shown, spread, looked.classes, looked.levels, looked.axis, looked.level)  # type: ignore[arg-type]
        alt = f"Class probabilities over noise: {plain(sentence(looked))}"
        drawn = "Bands: one standard deviation over 8 draws of noise." if looked.draws is not None else "One draw of noise."
        leaflet.chart(figure, "classes", alt, f"Class probabilities. {drawn}")
    with right:
        fit = looked.fit or {}
        figure = panels.error_figure(looked.view["error"], fit, looked.levels, looked.axis, looked.level)  # type: ignore[arg-type]
        alt = "Denoising error over noise" + (f": {rank(looked.fit)} of held-out images." if looked.fit else ".")
        leaflet.chart(figure, "error", alt, "Mean squared error of x̂₀, pixels from -1 to 1.")


def blocks(looked: Looked) -> None:
    """Every block at every level: where a class is read, or the features in colour."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        what = st.segmented_control("In every block", list(GRIDS), required=True, default="map", format_func=GRIDS.__getitem__, key="grid")
        if what == "map":
            st.selectbox("Class", ["as read", *looked.classes], key="class", width=160)
    if what == "map":
        k = chosen_class(looked)
        maps = {block: looked.view[f"map/{block}"][..., k] for block in looked.blocks}
        rows = {block: panels.signed(values, panels.limit_of([values])) for block, values in maps.items()}
        about = (
            f"Where in each block its probe reads “{looked.classes[k]}”: the class activation map, whose mean over places is the logit. "
            "A place in a block is not a pixel of the image: deep blocks see far around it. One colour scale a block."
        )
    else:
        rows = {block: looked.colours[block] for block in looked.blocks}
        about = "Features of each block in colour: the first three principal components of its places, one basis for all levels of a block."
    chosen = (looked.block, looked.level)
    leaflet.sheet(GRIDS[what], rows)
    figure = panels.grid_figure(
        rows, looked.levels, looked.axis, chosen, panels.Bar("evidence", ("against", "for")) if what == "map" else None, side=40
    )  # type: ignore[arg-type]
    alt = f"{about} {len(rows)} blocks by {len(looked.levels)} noise levels."
    _clickable(figure, f"blocks-{what}", alt, f"{about} A click chooses block and level.", list(rows), looked)


def neighbours(looked: Looked, device: str, pace: float | None) -> None:
    """The known images that are most alike in the block at the level; what takes longer than a moment is offered first."""
    from safetensors.numpy import save

    st.subheader("Most alike to the model", anchor=False)
    metric = st.segmented_control(
        "Distance",
        ["cosine", "l2"],
        required=True,
        default="cosine",
        format_func={"cosine": "cosine", "l2": "ℓ2"}.__getitem__,
        key="metric",
    )
    feature = looked.view[f"feature/{looked.block}"][looked.level : looked.level + 1]
    question = {"ask": "neighbours", "study": looked.study.key, "level": looked.level, "block": looked.block, "count": 8, "metric": metric}
    wanted, here = st.session_state.setdefault("alike-wanted", set()), (looked.study.key, looked.level)
    quick = pace is not None and pace * MANY < MOMENT
    question["most"] = None if quick or here in wanted else 0
    asked = asking.look(question, device, save({"feature": np.ascontiguousarray(feature)}), patience=0.6)
    before, st.session_state["alike"] = st.session_state.get("alike"), asked
    if before is not None and before is not asked and not before.ended.is_set():  # a level that was left
        before.wanted = False
    if asked.error:
        st.info(str(asked.error), icon=":material/image_search:")
        return
    if asked.answer is None:
        waiting(asked, f"Reading known images in every block at σ = {looked.sigma:.2g}, once for this level …")
        return
    said, data = asked.answer
    if lacking := said.get("lacking"):
        long = "" if pace is None else f", about {duration(max(1, lacking * pace))}"
        st.caption(f"{lacking:,} known images are to be read at this noise level first, in every block, once{long}.")
        st.button("Read them", icon=":material/image_search:", on_click=wanted.add, args=(here,))
        return
    images = load(data)["images"]
    tiles = [
        (f"{name} · {distance:.3g}", "", panels.uri(image, 96))
        for name, distance, image in zip(said["names"], said["distances"], images, strict=True)
    ]
    kind = "training images" if said["kind"] == "training" else "images that the model generated, because the data are not on this machine"
    says = (
        f"The nearest of {said['of']:,} {kind}, in block {looked.block} at σ = {looked.sigma:.2g}, with what they are and their distance."
    )
    leaflet.pictures(gallery(tiles, small=True), says)
    st.caption(says)
