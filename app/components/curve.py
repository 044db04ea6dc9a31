"""What one study shows: the headline's numbers, the figure of a view, why the curve is as it is, and every block's verdict."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis import literature
from analysis.literature import Published
from analysis.studies import Study
from app.components.sketch import sketch
from app.components.strip import tiles

VIEWS = {"curve": "The curve", "blocks": "Every block", "map": "Block × noise", "budget": "Labels per class"}


def beside(study: Study) -> Published | None:
    """The published curve that may stand beside this study's."""
    return literature.beside(study.facts["receipt"]["dataset"]) if study.facts["receipt"]["label_set"] == "label" else None


def headline(study: Study, labels: str) -> None:
    """Three numbers and the sentence."""
    result = study.result(labels)
    verdict, block = result["verdict"], result["headline"].split("/")[1]
    low, high = (100 * bound for bound in verdict["gain_ci"])
    peak = min(study.facts["levels"], key=lambda level: abs(level["sigma"] / verdict["peak_sigma"] - 1))
    numbers = st.container(horizontal=True, gap="medium")
    numbers.metric(
        "Best readout", f"{100 * verdict['peak_accuracy']:.1f} %", help=f"Test accuracy of a linear probe on block {block}, at its peak."
    )
    numbers.metric(
        "At noise level",
        f"σ ≈ {verdict['peak_sigma']:.2g}",
        help=f"95 % interval {verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g}. Pixels run from -1 to 1; nearest level t = {peak['timestep']:.0f}.",
    )
    numbers.metric(
        "Gain over least noise",
        f"{100 * verdict['gain']:+.1f} points",
        help=f"95 % interval {low:+.1f} to {high:+.1f}, measured on other draws and images than chose the peak.",
    )
    numbers.metric(
        "Shape of the curve", verdict["shape"], help="Unimodal: accuracy rises before it falls. Undecided: this run cannot tell."
    )
    with st.container(key="verdict"):
        st.markdown(result["sentence"])


def why(study: Study, labels: str) -> None:
    """Why the curve looks as it does, no further than the verdicts carry."""
    result = study.result(labels)
    rises = result["verdict"]["shape"] in ("unimodal", "increasing")
    with st.container(key="why"):
        if rises:
            st.markdown(
                "**Why it rises before it falls.** Noise only destroys information. Inside the model the picture first becomes "
                "easier to read, because detail that does not matter is stripped away; then it goes blank."
            )
        else:
            st.markdown(
                "**Why it falls in the end.** Noise only destroys information. Whether the picture first becomes easier to read inside "
                "this model, because detail that does not matter is stripped away, this run cannot show."
            )
        if clean := result["clean"]:
            st.caption(
                f"From clean pixels alone, without the network, the best of three classifiers ({clean['head']}) reads "
                f"{100 * clean['accuracy']:.1f} % ({100 * clean['ci'][0]:.1f} to {100 * clean['ci'][1]:.1f}), with the same "
                f"{result['labelled_images']} labels."
            )


def paint(study: Study, labels: str) -> None:
    """The sketch of the curve: drawn first of all, as markdown, which is the one element that loads nothing more."""
    result = study.result(labels)
    sigmas, chance = [level["sigma"] for level in study.facts["levels"]], 1 / len(study.facts["classes"])
    curves = {name: found for name, found in result["short"]["curves"].items() if name in ("model", "baseline")}
    with st.container(key="sketch"):
        st.markdown(f"![{result['sentence']}]({sketch(curves, sigmas, chance)})")


def finding(study: Study, shown: dict[str, Any], table: Any) -> str:
    """One sentence that says what the figure shows."""
    result = study.result(shown["labels"])
    if shown["view"] == "curve":
        return str(result["sentence"])
    if shown["view"] == "blocks":
        model = {name.split("/")[1]: verdict for name, verdict in result["verdicts"].items() if name.startswith("model/")}
        rising = [block for block, verdict in model.items() if verdict["shape"] == "unimodal"]
        return f"{len(rising)} of {len(model)} blocks are shown to be unimodal after correction for their number{': ' + ', '.join(rising) if rising else ''}."
    if shown["view"] == "budget":
        told = [
            f"{labels} a class: {r['verdict']['shape']}, best near σ = {r['verdict']['peak_sigma']:.2g}"
            for labels, r in study.facts["results"].items()
        ]
        return f"The best noise level by labels per class. {'; '.join(told)}. A filled point is unimodal."
    best = table[table.source == "model"].sort_values("accuracy").iloc[-1]
    return (
        f"The best cell is block {best.block} at σ = {best.sigma:.2g} (t = {best.timestep:.0f}): {best.accuracy:.1%} "
        f"({best.ci_low:.1%} to {best.ci_high:.1%})."
    )


def chart(study: Study, shown: dict[str, Any]) -> None:
    """The interactive figure; in the curve's view it takes the sketch's place when it has come."""
    labels, axis, view = shown["labels"], shown["axis"], shown["view"]
    result, levels = study.result(labels), study.facts["levels"]
    table = study.table("curve")  # pandas and plotly come in here, after the first paint
    from analysis import figures, player

    table = table[(table.labels_per_class == labels) & (table.pooling.isin(["flat", result["headline"].rpartition("/")[2]]))]
    if view == "curve":
        images = tiles(study.key, study.facts["pictured"].index(shown["image"]), len(levels), 96, study)
        first = min(range(len(levels)), key=lambda i: abs(levels[i]["sigma"] / result["verdict"]["peak_sigma"] - 1))
        clean = result["clean"]["accuracy"] if result["clean"] else None
        figure = player.start_figure(
            table, levels, result["short"], axis, images, clean, first, beside(study) if shown.get("beside") == "published" else None
        )
    elif view == "blocks":
        figure = figures.blocks_figure(table, levels, axis, result["headline"])
    elif view == "budget":
        from analysis import exhibit

        results = study.facts["results"]
        figure = exhibit.budget_figure(results, {name: found["labelled_images"] for name, found in results.items()})
    else:
        figure = figures.heat_map(table, levels, axis)
    says = finding(study, shown, table)
    config = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
    st.plotly_chart(figure, key=f"figure-{view}", alt=says, config=config)
    if view != "curve":  # the curve's own sentence stands above it
        st.caption(says)


def block_table(study: Study, labels: str) -> None:
    """The verdict of every block, in network order."""
    with st.expander("Verdict of every block", icon=":material/table_rows:"):
        st.caption("p-values are of the rise, corrected over all blocks (Holm). Points are points of accuracy over the lowest level.")
        several = len(study.facts["request"]["poolings"]) > 1
        rows = [
            {
                "block": name.removeprefix("model/") if several else name.split("/")[1],
                "shape": verdict["shape"],
                "peak": f"{100 * verdict['peak_accuracy']:.1f} %",
                "peak σ": f"{verdict['peak_sigma']:.2g} ({verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g})",
                "gain": f"{100 * verdict['gain']:+.1f} ({100 * verdict['gain_ci'][0]:+.1f} to {100 * verdict['gain_ci'][1]:+.1f})",
                "p": f"{verdict['p_holm']:.3f}",
                "rise it could see": f"{100 * verdict['detectable']:.1f}",
            }
            for name, verdict in study.result(labels)["verdicts"].items()
            if name.startswith("model/")
        ]
        st.dataframe(rows, hide_index=True, width="stretch")
