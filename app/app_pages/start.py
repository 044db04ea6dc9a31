"""Start: what does this model know, and when?"""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.studies import Study, find_study, studies
from app.components import link, receipt
from app.components.sketch import sketch
from app.components.strip import tiles

AXES = {"timestep": "timestep", "sigma": "σ", "log_snr": "log-SNR"}
VIEWS = {"curve": "The curve", "blocks": "Every block", "map": "Block × noise"}
# The sketch and the chart share one place: the chart hides the sketch when it has been drawn.
STYLE = """<style>
.st-key-stage { position: relative; min-height: 720px; }
.st-key-sketch { position: absolute; inset: 44px 0 auto 0; z-index: 0; pointer-events: none; }
.st-key-sketch img { width: 100%; max-height: 420px; object-fit: contain; object-position: left top; display: block; }
.st-key-stage:has(.js-plotly-plot .main-svg) .st-key-sketch { visibility: hidden; }
.st-key-verdict { max-width: 46rem; }
.st-key-why { max-width: 46rem; }
.stMainBlockContainer { padding-top: 3.5rem; }
@media (max-width: 640px) { h1 { font-size: 1.7rem !important; } }
</style>"""


def choose_study() -> Study | None:
    """The study that the link or the person asks for; bundled ones come first."""
    known = list(studies())
    if not known:
        return None
    names = {key: _title(key) for key in known}
    link.start("study", known)
    if len(known) > 1:
        st.sidebar.selectbox("Study", known, format_func=names.__getitem__, key="study")
    return find_study(link.keep("study", known))


def _title(key: str) -> str:
    try:
        study = find_study(key)
        return f"{study.name} · {key[:6]}"
    except NoisescopeError:
        return f"damaged · {key[:6]}"


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
    numbers.metric("Shape", verdict["shape"], help="Unimodal: accuracy rises before it falls. Undecided: this run cannot tell.")
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
                f"Clean pixels alone are strong here: the best of three classifiers ({clean['head']}) reads {100 * clean['accuracy']:.1f} % "
                f"of them ({100 * clean['ci'][0]:.1f} to {100 * clean['ci'][1]:.1f}), with the same {result['labelled_images']} labels."
            )


def paint(study: Study, labels: str) -> None:
    """The sketch of the curve: drawn first of all, as markdown, which is the one element that loads nothing more."""
    result = study.result(labels)
    sigmas, chance = [level["sigma"] for level in study.facts["levels"]], 1 / len(study.facts["classes"])
    with st.container(key="sketch"):
        st.markdown(f"![{result['sentence']}]({sketch(result['short']['curves'], sigmas, chance)})")


def finding(study: Study, shown: dict[str, Any], table: Any) -> str:
    """One sentence that says what the figure shows."""
    result = study.result(shown["labels"])
    if shown["view"] == "curve":
        return str(result["sentence"])
    if shown["view"] == "blocks":
        model = {name.split("/")[1]: verdict for name, verdict in result["verdicts"].items() if name.startswith("model/")}
        rising = [block for block, verdict in model.items() if verdict["shape"] == "unimodal"]
        return f"{len(rising)} of {len(model)} blocks are shown to be unimodal after correction for their number{': ' + ', '.join(rising) if rising else ''}."
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

    table = table[(table.labels_per_class == labels) & (table.pooling.isin(["flat", *study.facts["request"]["poolings"][:1]]))]
    if view == "curve":
        images = tiles(study.key, study.facts["classes"].index(shown["image"]), len(levels), 96, study)
        first = min(range(len(levels)), key=lambda i: abs(levels[i]["sigma"] / result["verdict"]["peak_sigma"] - 1))
        clean = result["clean"]["accuracy"] if result["clean"] else None
        figure = player.start_figure(table, levels, result["short"], axis, images, clean, first)
    elif view == "blocks":
        figure = figures.blocks_figure(table, levels, axis, result["headline"])
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
        rows = [
            {
                "block": name.split("/")[1],
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


def options(study: Study) -> dict[str, list[str]]:
    """What the page's controls and its link may say; the first of each is the default."""
    return {"view": list(VIEWS), "axis": list(AXES), "labels": list(study.facts["results"]), "image": list(study.facts["classes"])}


def controls(allowed: dict[str, list[str]]) -> None:
    """The row of controls."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("View", allowed["view"], required=True, format_func=VIEWS.__getitem__, key="view")
        st.segmented_control("Axis", allowed["axis"], required=True, format_func=AXES.__getitem__, key="axis")
        if len(allowed["labels"]) > 1:
            help_ = "How many labelled images of each class the probe was fitted on."
            st.segmented_control("Labels per class", allowed["labels"], required=True, key="labels", help=help_)
        if st.session_state["view"] == "curve":
            st.selectbox("Image", allowed["image"], key="image", width=110)


def draw(study: Study) -> None:
    """The page of one study: the places first, then the sketch into its place, then what takes longer."""
    intro, summary, notices, bar = (st.container() for _ in range(4))
    allowed = options(study)
    with notices:
        for name, values in allowed.items():
            link.start(name, values)
    shown = {name: str(st.session_state[name]) for name in allowed}
    place = st.container(key="stage" if shown["view"] == "curve" else "figure")
    with place:
        if shown["view"] == "curve":
            paint(study, shown["labels"])
    intro.markdown(
        f"A small diffusion model, **{study.facts['receipt']['model']}**, was shown images of **{study.facts['receipt']['dataset']}** under more and "
        "more noise. At each noise level a linear probe reads the class from what one block of the network sees."
    )
    with summary:
        headline(study, shown["labels"])
    with bar:
        controls(allowed)
    for name, values in allowed.items():
        link.keep(name, values)
    with place:
        chart(study, shown)
    why(study, shown["labels"])
    block_table(study, shown["labels"])
    receipt.show(study, shown["labels"], link.link({"study": study.key, **shown}))


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("What does this model know, and when?", anchor=False)
    try:
        study = choose_study()
        if study is None:
            st.info("No study is here yet. Make one, in about three minutes, then reload this page:", icon=":material/science:")
            st.code("python -m analysis sweep", language="bash")
        else:
            draw(study)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")
    st.html(STYLE)


page()
