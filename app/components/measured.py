"""The SNR of a run's own features over noise beside accuracy, clean input's distance from noisy, and how far apart the peaks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from analysis import snr_words
from analysis.errors import DamagedFile, NoisescopeError
from analysis.specs import SweepRequest
from analysis.studies import Study
from app.components import asking, link, measured_receipt, opening, words
from app.components import bench as lab
from app.components.curve import toolbar
from app.components.looked import following, waiting
from app.components.runs import Run, runs, study_of, titles

if TYPE_CHECKING:
    import pandas as pd

WANTED = "snr-wanted"
USUAL = (SweepRequest().backend, SweepRequest().dataset)
PROJECTION = "projection"


@st.cache_data(show_spinner=False, max_entries=16)
def _kept(version: str, _study: Study) -> Any:
    return snr_words.kept(_study)


def _readable(study: Study) -> bool:
    """Whether a run has an SNR that can be read; one that is damaged is said where it is chosen."""
    try:
        return bool(_kept(study.version, study))
    except DamagedFile:
        return False


def show(found: list[Run] | None = None, bench: lab.Bench | None = None) -> None:
    """Draw the view of the run that the app is at, its empty state or its error; page and bench are looked up where none are given."""
    try:
        if found is None or bench is None:
            found = runs()
            opening.from_link(found)
            bench = lab.choose(*opening.places(found))
        here = {run.key: run for run in found if run.study and run.place == (bench.backend, bench.dataset)}
        if here:
            _run(here, bench)
            return
        st.info(
            "Nothing has been measured for this model and data yet, so there is no accuracy to hold an SNR against. "
            "Measure it on the Curve page first.",
            icon=":material/science:",
        )
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def beside(axis: str) -> None:
    """Draw the same quantities of a network's own features, for the eye, below a theory's: of the app's run, or of another that has them."""
    known = {run.key: run for run in runs() if run.study and run.study.measure == "accuracy" and _readable(run.study)}
    if not known:
        return
    st.subheader("The same, measured on a network", anchor=False)
    chosen = study_of(st.session_state.get("run"))
    allowed = sorted(known, key=lambda key: (key != chosen, known[key].place != USUAL))
    link.start("measured", allowed)
    named = titles(known.values(), lambda run: f"{run.study.name if run.study else run.title}: {run.question}")
    st.selectbox("Run", allowed, key="measured", format_func=named.__getitem__, persist_state="session", width=480)
    study = known[link.keep("measured", allowed)].study
    assert study is not None
    table, said = _kept(study.version, study)
    labels = next(iter(study.facts["results"]))
    _, block, pooling = study.result(labels)["headline"].split("/")
    cell = (block, pooling, str(labels))
    says = snr_words.sentence(table, said, *cell)
    name = (study.version, said["seconds"], *cell, axis)
    st.plotly_chart(_over_noise(name, study, table, said, cell, axis), key="figure-beside", alt=says, config=toolbar())
    st.caption(f"{says} Every block, and what clean input does, are in the view This model.")


def _run(here: dict[str, Run], bench: lab.Bench) -> None:
    if st.session_state.get("run") not in here:
        wanted = study_of(st.session_state.get("run"))  # a job may have become a study
        st.session_state["run"] = wanted if wanted in here else next(iter(here))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = str(
            st.selectbox("Run", list(here), key="run", format_func=titles(here.values()).__getitem__, persist_state="session", width=360)
        )
        study = here[chosen].study
        assert study is not None
        against, block, pooling = _cell(study, bench)
    opening.notes()
    axis = lab.axis()
    link.keep("axis", list(lab.AXES))
    for name, value in {"backend": bench.backend, "dataset": bench.dataset, "run": study.key, "block": bench.block}.items():
        link.put(name, value)
    if study.measure != "accuracy":
        st.info("The labels of this run are numbers; an SNR is of classes. Choose a run of classes.", icon=":material/rule:")
        return
    told = _kept(study.version, study) or _asked(study, bench.device)
    if told is None:
        return
    table, said = told
    _draw(study, table, said, (block, pooling, against), axis)
    state = {
        "view": "measured",
        "backend": bench.backend,
        "dataset": bench.dataset,
        "run": study.key,
        "block": block,
        "against": against,
        "axis": axis,
    }
    measured_receipt.show(study, table, said, (block, pooling, against), link.link(state), bench.device)


def _cell(study: Study, bench: lab.Bench) -> tuple[str, str, str]:
    """Draw the choice of accuracy and block: (accuracy, block, pooling), the last that of the labels' headline."""
    labels = list(study.facts["results"])
    allowed = [*labels, PROJECTION]
    link.start("against", allowed, opening.note)
    st.selectbox("Accuracy", allowed, key="against", format_func=_called, persist_state="session", width=240)
    against = link.keep("against", allowed)
    _, own, pooling = study.result(labels[0] if against == PROJECTION else against)["headline"].split("/")
    blocks = list(study.facts["request"]["blocks"])
    if bench.block not in (None, *blocks):
        opening.note(f"Block {bench.block} was not measured in this run; the block that validation images chose is shown.")
    st.session_state["measured-block"] = bench.block if bench.block in blocks else own
    st.selectbox(
        "Block",
        blocks,
        key="measured-block",
        format_func=lambda name: f"{name}, chosen on validation images" if name == own else name,
        on_change=_choose,
        width=300,
    )
    return against, str(st.session_state["measured-block"]), pooling


def _called(against: str) -> str:
    return {PROJECTION: "Projection classifier", "all": "Probe, all labels"}.get(against, f"Probe, {against} labels a class")


def _choose() -> None:
    st.session_state["block"] = st.session_state["measured-block"]


def _asked(study: Study, device: str) -> tuple[Any, Any] | None:
    """What was asked for here, table and facts; else the offer, or how far it is."""
    question: dict[str, Any] = {"ask": "snr", "study": study.key}
    if st.session_state.get(WANTED) != question:
        _offer(question, device)
        return None
    asked = asking.look(question, device, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        st.session_state.pop(WANTED)
        st.button("Try again", key="snr-again", on_click=asking.forget)
    elif asked.answer is None:
        following(asked, WANTED, "Features are being read …", lambda told: 0)
    else:
        return snr_words.read(asked.answer[1]), asked.answer[0]
    return None


def _offer(question: dict[str, Any], device: str) -> None:
    asked = asking.look({**question, "most": 0.0}, device, patience=0.4)
    if asked.error:
        st.info(str(asked.error), icon=":material/rule:")
        return
    if asked.answer is None:
        waiting(asked, "The SNR of this run's features has not been measured; how long that takes is being timed …")
        return
    told = asked.answer[0]
    cost = f"{told['passes']:,} passes of an image and {told['cells']:,} cells, about {words.duration(told['seconds'])}"
    st.info(
        f"The SNR of this run's features has not been measured: {cost}. Subspaces are fitted on training images, the SNR is of others.",
        icon=":material/hourglass_top:",
    )
    if st.button("Measure", type="primary", icon=":material/graphic_eq:", key="measure-snr"):
        st.session_state[WANTED] = question
        st.rerun()


def _draw(study: Study, table: pd.DataFrame, said: Any, cell: tuple[str, str, str], axis: str) -> None:
    """The figures with their findings."""
    block, pooling, against = cell
    says = snr_words.sentence(table, said, block, pooling, against)
    with st.container(key="verdict"):
        st.markdown(says)
    lab.axis_switch()
    name = (study.version, said["seconds"], *cell, axis)
    st.plotly_chart(_over_noise(name, study, table, said, cell, axis), key="figure-snr", alt=says, config=toolbar())
    st.caption(
        "Above: energy of a feature inside its class's subspace over that outside, on images that the subspaces were not fitted on; grey is the "
        "range that shuffled labels give. Below: right answers of the probe and of the class on whose subspace a feature falls longest. "
        "Stars are peaks with their 95 % intervals."
    )
    st.subheader("How far the peaks are apart, block by block", anchor=False)
    every = snr_words.every(said, pooling, against)
    st.plotly_chart(_apart(name, said, cell), key="figure-apart", alt=every, config=toolbar())
    st.caption(
        f"{every} Compared with {snr_words.accuracy(against).rstrip(',')}; open marks have a peak that cannot be placed: at the lowest or highest level, or no higher than with shuffled labels."
    )
    with st.expander("Peaks of every block", icon=":material/table_rows:"):
        st.dataframe(snr_words.rows(said, pooling, against), hide_index=True, width="stretch")
    st.subheader("Is clean input a fair question?", anchor=False)
    far = snr_words.far(table, block, pooling)
    st.plotly_chart(_distances(name, study, table, cell, axis), key="figure-far", alt=far, config=toolbar())
    st.caption(far)
    with st.expander("What these numbers cannot say", icon=":material/rule:"):
        st.markdown(snr_words.LIMITS)


@st.cache_resource(show_spinner=False, max_entries=32)
def _over_noise(name: tuple[Any, ...], _study: Study, _table: pd.DataFrame, _said: Any, _cell: tuple[str, str, str], _axis: str) -> Any:
    from analysis import snr_figures

    block, pooling, against = _cell
    curve = _study.table("curve")
    labels = next(iter(_study.facts["results"])) if against == PROJECTION else against
    curve = curve[(curve.source == "model") & (curve.block == block) & (curve.pooling == pooling) & (curve.labels_per_class == labels)]
    rows, peak = snr_words.pick(_table, block, pooling), snr_words.peak(_said, block, pooling, against)
    return snr_figures.over_noise(rows, curve, _study.facts["levels"], _axis, peak, _said["input"], against == PROJECTION)  # type: ignore[arg-type]


@st.cache_resource(show_spinner=False, max_entries=32)
def _apart(name: tuple[Any, ...], _said: Any, _cell: tuple[str, str, str]) -> Any:
    from analysis import snr_figures

    block, pooling, against = _cell
    peaks = snr_words.peaks(_said)
    return snr_figures.apart(peaks[(peaks.pooling == pooling) & (peaks.against == against)], block)


@st.cache_resource(show_spinner=False, max_entries=32)
def _distances(name: tuple[Any, ...], _study: Study, _table: pd.DataFrame, _cell: tuple[str, str, str], _axis: str) -> Any:
    from analysis import snr_figures

    return snr_figures.distances(snr_words.pick(_table, *_cell[:2]), _study.facts["levels"], _axis)  # type: ignore[arg-type]
