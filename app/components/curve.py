"""What one study shows: the headline's numbers, the figure of a view, why the curve is as it is, and every block's verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Lock
from typing import Any

import streamlit as st

from analysis import literature
from analysis.literature import Published
from analysis.studies import Study
from app.components.sketch import sketch
from app.components.strip import tiles

Result = Mapping[str, Any]
TURN = Lock()
READ = {"accuracy": "Test accuracy", "r2": "Share of variance explained (R²) on test images,"}
VIEWS = {"curve": "The curve", "blocks": "Every block", "map": "Block × noise", "budget": "Labels per class"}


def picture() -> str:
    """The kind of file that a figure's camera saves."""
    return str(st.session_state.get("picture", "svg"))


def toolbar() -> dict[str, Any]:
    """The figure's own toolbar: its camera makes the picture in the browser."""
    return {"displaylogo": False, "toImageButtonOptions": {"format": picture(), "scale": 2}}


def beside(study: Study) -> Published | None:
    """The published curve that may stand beside this study's."""
    return literature.beside(study.facts["receipt"]["dataset"]) if study.facts["receipt"]["label_set"] == "label" else None


def headline(study: Study, result: Result) -> None:
    """Four numbers and the sentence."""
    verdict, block = result["verdict"], result["headline"].split("/")[1]
    low, high = (100 * bound for bound in verdict["gain_ci"])
    peak = min(study.facts["levels"], key=lambda level: abs(level["sigma"] / verdict["peak_sigma"] - 1))
    numbers = st.container(horizontal=True, gap="medium")
    numbers.metric(
        "Best readout",
        f"{100 * verdict['peak_accuracy']:.1f} %",
        help=f"{READ[study.measure]} of a {study.facts['receipt']['head']} probe on block {block}, at its peak.",
    )
    numbers.metric(
        "At noise level",
        f"σ ≈ {verdict['peak_sigma']:.2g}",
        help=f"95 % interval {verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g}. {'Pixels run from -1 to 1' if study.card.space == 'pixel' else 'In the units of the latents'}; nearest level t = {peak['timestep']:.0f}.",
    )
    numbers.metric(
        "Gain over least noise",
        f"{100 * verdict['gain']:+.1f} points",
        help=f"95 % interval {low:+.1f} to {high:+.1f}, measured on other draws and images than chose the peak.",
    )
    numbers.metric("Shape of the curve", verdict["shape"], help="Unimodal: it rises before it falls. Undecided: this run cannot tell.")
    with st.container(key="verdict"):
        st.markdown(result["sentence"])


def why(result: Result, units: str) -> None:
    """Why the curve looks as it does, no further than the verdicts carry."""
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
                f"From clean {units} alone, without the network, {_reader(clean['head'])} reads "
                f"{100 * clean['accuracy']:.1f} % ({100 * clean['ci'][0]:.1f} to {100 * clean['ci'][1]:.1f}), with the same "
                f"{result['labelled_images']} labels."
            )
        if lines := result.get("encoders"):
            told = (
                f"{name} {100 * line['accuracy']:.1f} % ({' to '.join(f'{100 * v:.1f}' for v in line['ci'])})"
                for name, line in lines.items()
            )
            st.caption(f"Baseline encoders, read from clean images with the same labels and probe: {'; '.join(told)}.")


def _reader(head: str) -> str:
    return "ridge regression" if head == "ridge" else f"the best of three classifiers ({head})"


def paint(study: Study, result: Result) -> None:
    """The sketch of the curve: drawn first of all, as markdown, which is the one element that loads nothing more."""
    sigmas, chance = [level["sigma"] for level in study.facts["levels"]], study.chance
    curves = {
        name: found for name, found in result["short"]["curves"].items() if name in ("model", "baseline") or name.startswith("encoder:")
    }
    with st.container(key="sketch"):
        st.markdown(f"![{result['sentence']}]({sketch(curves, sigmas, chance)})")


@st.cache_data(show_spinner=False, max_entries=32)
def near_best(version: str, labels: str, pooling: str, _study: Study) -> Any:
    """The study's best cell of a pooling and those not shown to be worse."""
    from analysis import cells

    return cells.near_best_of(_study, labels, pooling)


@st.cache_resource(show_spinner=False, max_entries=64)
def of_block(version: str, labels: str, series: str, _study: Study) -> dict[str, Any]:
    """The result as it stands for another block than the headline's."""
    from analysis import cells

    return cells.of_block(_study, labels, series)


def finding(study: Study, result: Result, shown: Mapping[str, str], table: Any) -> str:
    """One sentence that says what the figure shows."""
    if shown["view"] == "curve":
        return str(result["sentence"])
    if shown["view"] == "blocks":
        pooling = result["headline"].rpartition("/")[2]
        model = {
            name.split("/")[1]: verdict
            for name, verdict in result["verdicts"].items()
            if name.startswith("model/") and name.rpartition("/")[2] == pooling
        }
        rising = [block for block, verdict in model.items() if verdict["shape"] == "unimodal"]
        return f"{len(rising)} of {len(model)} blocks are shown to be unimodal after correction for their number{': ' + ', '.join(rising) if rising else ''}."
    if shown["view"] == "budget":
        told = [
            f"{labels} a class: {r['verdict']['shape']}, best near σ = {r['verdict']['peak_sigma']:.2g}"
            for labels, r in study.facts["results"].items()
        ]
        return f"The best noise level by labels per class. {'; '.join(told)}. A filled point is unimodal."
    source, block, pooling = result["headline"].split("/")
    near = near_best(study.version, shown["labels"], pooling, study)
    block = near.best[0].split("/")[1]
    best = table[(table.source == source) & (table.block == block)].sort_values("sigma").iloc[near.best[1]]
    return (
        f"The best cell, chosen on validation images, is block {best.block} at σ = {best.sigma:.2g} (t = {best.timestep:.0f}): "
        f"{best.accuracy:.1%} ({best.ci_low:.1%} to {best.ci_high:.1%}). {len(near.cells) - 1} others, dotted, are not shown to be worse."
    )


def chart(study: Study, result: Result, shown: Mapping[str, str]) -> None:
    """The interactive figure; in the curve's view it takes the sketch's place when it has come."""
    level = _nearest(study, float(shown.get("sigma", result["verdict"]["peak_sigma"]))) if shown["view"] == "curve" else None
    look = tuple(shown.get(name, "") for name in ("view", "labels", "axis", "image", "beside"))
    name = (study.version, result["headline"], *look, picture())
    _drawn(name=name, level=level, _study=study, _result=result, _shown=shown)


@st.cache_data(show_spinner=False, max_entries=64)
def _drawn(name: tuple[str, ...], level: int | None, _study: Study, _result: Result, _shown: Mapping[str, str]) -> None:
    """What has been drawn once is sent again as it was: Plotly takes a tenth of a second for a figure, and a third of that to send it."""
    study, result, shown = _study, _result, _shown
    table = study.table("curve")  # pandas and plotly come in here, after the first paint
    table = table[(table.labels_per_class == shown["labels"]) & (table.pooling.isin(["flat", result["headline"].rpartition("/")[2]]))]
    says = finding(study, result, shown, table)
    figure = _figure(name, study, result, shown, table)
    with TURN:  # a figure is shared by all levels, and sent as it is at this moment
        if level is not None:
            from analysis import player

            player.open_at(figure, level)
        st.plotly_chart(figure, key=f"figure-{shown['view']}", alt=says, config=toolbar())
    if shown["view"] != "curve":  # the curve's own sentence stands above it
        st.caption(says)


def multiples(study: Study, axis: str) -> None:
    """The headline's curve at each number of labels a class, side by side."""
    from analysis import figures

    table, results = study.table("curve"), study.facts["results"]
    parts = {f"{name} a class" if name != "all" else "all labels": table[table.labels_per_class == name] for name in results}
    series = dict(zip(parts, (found["short"]["series"] for found in results.values()), strict=True))
    says = "Accuracy over noise at each number of labels a class, each in the block that validation images chose for it: " + "; ".join(
        f"{name}, block {series[name]['model'].split('/')[1]}" for name in parts
    )
    st.plotly_chart(figures.multiples(parts, study.facts["levels"], axis, series), key="multiples", alt=says, config=toolbar())
    st.caption(f"{says}.")


def _nearest(study: Study, sigma: float) -> int:
    levels = study.facts["levels"]
    return min(range(len(levels)), key=lambda i: abs(math.log(levels[i]["sigma"] / sigma)))


@st.cache_resource(show_spinner=False, max_entries=32)
def _figure(name: tuple[str, ...], _study: Study, _result: Result, _shown: Mapping[str, str], _table: Any) -> Any:
    """The figure of a view, whose levels differ by little."""
    study, result, shown, table = _study, _result, _shown, _table
    from analysis import encoder_curves, exhibit, figures, player

    axis, levels = shown["axis"], study.facts["levels"]
    if shown["view"] == "blocks":
        return encoder_curves.add_encoders(figures.blocks_figure(table, levels, axis, result["headline"]), table, levels)
    if shown["view"] == "budget":
        results = study.facts["results"]
        return exhibit.budget_figure(results, {name: found["labelled_images"] for name, found in results.items()})
    if shown["view"] == "map":
        near = near_best(study.version, shown["labels"], result["headline"].rpartition("/")[2], study)
        best, *cells = [(series.split("/")[1], level) for series, level in (near.best, *near.cells)]
        return figures.heat_map(table, levels, axis, best, cells)
    images = tiles(study.version, study.facts["pictured"].index(shown["image"]), len(levels), 96, study)
    clean = result["clean"]["accuracy"] if result["clean"] else None
    published = beside(study) if shown.get("beside") == "published" else None
    figure = player.start_figure(
        table, levels, result["short"], axis, images, clean, published=published, peak=result["verdict"]["peak_ci"]
    )
    return encoder_curves.add_encoders(figure, table, levels)


def block_table(study: Study, result: Result, labels: str) -> None:
    """The verdict of every block, in network order."""
    _rows(name=(study.version, labels), _study=study, _result=result)


@st.cache_data(show_spinner=False, max_entries=64)
def _rows(name: tuple[str, str], _study: Study, _result: Result) -> None:
    study, result = _study, _result
    with st.expander("Verdict of every block", icon=":material/table_rows:"):
        st.caption("p-values are of the rise, corrected over all blocks (Holm). Points are hundredths over the lowest level.")
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
            for name, verdict in result["verdicts"].items()
            if name.startswith("model/")
        ]
        st.dataframe(rows, hide_index=True, width="stretch")
