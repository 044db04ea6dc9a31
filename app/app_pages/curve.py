"""Curve: accuracy over timestep, that is noise level. Where are the features most useful?"""

from __future__ import annotations

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.specs import SweepRequest
from analysis.studies import Study
from app.components import bench as lab
from app.components import (
    beside,
    classes,
    controls,
    curve,
    ensemble,
    fetching,
    inputs,
    link,
    measure,
    opening,
    poolings,
    receipt,
    recipe,
    watch,
    when,
)
from app.components.controls import BESIDE, CHOSEN
from app.components.runs import Run, hold, runs, study_of, table, titles


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("Accuracy over timestep (noise level)", anchor=False)
    try:
        found = runs()
        opening.from_link(found)
        beside.from_link(found)
        hold()
        bench = lab.choose(*opening.places(found))
        here = [run for run in found if run.place == (bench.backend, bench.dataset) or not run.request]
        _run_bar(here, bench, found)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def _run_bar(here: list[Run], bench: lab.Bench, found: list[Run]) -> None:
    known = {run.key: run for run in here}
    if st.session_state.get("run") not in known:  # a job may have become a study
        wanted = study_of(st.session_state.get("run"))
        if wanted and table()[2]:
            st.info(
                "What was shown here is in the job table, which cannot be read now: see the sidebar.", icon=":material/hourglass_empty:"
            )
            return
        st.session_state["run"] = wanted if wanted in known else next(iter(known), None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if known:
            st.selectbox("Run", list(known), key="run", format_func=titles(here).__getitem__, persist_state="session")
        others = beside.choose(found, st.session_state["run"]) if known else []
        if not known and bench.card:
            st.session_state["measuring"] = True
        measuring = bench.card is not None and st.toggle("Measure something new", key="measuring")
    if known and (shown := known[st.session_state["run"]].study):
        beside.presets(found, shown)
    opening.notes()
    requests = []
    if measuring and bench.lacking:
        fetching.panel(bench.lacking)
    elif measuring:
        requests = measure.panel(bench)
    if not known and bench.card and not bench.lacking:
        st.info(
            "Nothing has been measured for this model and data. Press Run above: points appear as they come.", icon=":material/science:"
        )
    if not known:
        return
    run = known[st.session_state["run"]]
    axis = lab.axis()
    link.keep("axis", list(lab.AXES))
    for name, value in {"backend": bench.backend, "dataset": bench.dataset, "run": run.key, "block": bench.block}.items():
        link.put(name, value)
    if requests and run.study and all(differs(request, run.study) for request in requests):
        st.caption("What is shown below was measured with other settings than those above.")
    if run.problem:
        st.error(run.problem, icon=":material/broken_image:")
    elif run.study:
        _study(run, run.study, here, bench, axis, others, found)
    elif run.job:
        lab.axis_switch()
        watch.show(run.job, axis)


def differs(request: SweepRequest, study: Study) -> bool:
    """Whether a study was made with other settings than a request asks for; what the request leaves open does not differ."""
    made = SweepRequest.model_validate(study.facts["request"])
    blocks = request.blocks or tuple(block.name for block in study.card.blocks)
    same = request.model_copy(update={"blocks": blocks, "sigmas": made.sigmas, "label_set": request.label_set or made.label_set})
    levels = len(made.sigmas or ())
    return same != made.model_copy(update={"levels": request.levels}) or request.levels != levels


def _study(run: Run, study: Study, here: list[Run], bench: lab.Bench, axis: str, others: list[Run], found: list[Run]) -> None:
    """A finished run: its numbers, its figure in the view that is asked for, and its receipt; `others` are those it is compared with."""
    several = {"budget": len(study.facts["results"]) > 1, "poolings": len(study.facts["request"]["poolings"]) > 1}
    several |= {"classes": study.measure == "accuracy", "ensemble": ensemble.has(study)}
    views = [view for view in (*curve.VIEWS, "poolings", "classes", "when", "ensemble", "input") if several.get(view, True)]
    views += [beside.VIEW] if others else []
    allowed = {
        "view": views,
        "labels": list(study.facts["results"]),
        "pooling": [CHOSEN, *study.facts["request"]["poolings"]],
        "image": list(study.facts["pictured"]),
        **({"beside": list(BESIDE)} if curve.beside(study) else {}),
    }
    for name, values in allowed.items():
        link.start(name, values)
    controls.draw(allowed)
    shown = {name: link.keep(name, values) for name, values in allowed.items()} | {"axis": axis}
    result = _result(study, shown["labels"], bench.block, shown["pooling"])
    sigma = lab.level(study.card, run.key, result["verdict"]["peak_sigma"])
    shown["sigma"] = f"{sigma:.6g}"
    link.put("sigma", shown["sigma"])
    if shown["view"] == beside.VIEW:
        from app.components import compare  # scipy and plotly come in here, after the first paint of the other views

        compare.show(run, others, found, bench.device, bench.block, shown | {"backend": bench.backend, "dataset": bench.dataset})
        return
    curve.headline(study, result)
    with st.container(key="stage" if shown["view"] == "curve" else "figure"):
        if shown["view"] == "curve":
            curve.paint(study, result)
        if shown["view"] == "input":
            inputs.show(run, here, bench.device, result, shown)
        elif shown["view"] == "poolings":
            poolings.show(study, result, shown)
        elif shown["view"] == "classes":
            classes.show(study, result, shown)
        elif shown["view"] == "when":
            when.show(study, here, shown, result["headline"].split("/")[2])
        elif shown["view"] == "ensemble":
            ensemble.show(study, shown["labels"])
        else:
            curve.chart(study, result, shown)
        if shown["view"] == "budget":
            curve.multiples(study, axis)
    curve.why(result, study.card.units)
    curve.block_table(study, result, shown["labels"])
    shown["recipe"] = recipe.show(study, shown["labels"], bench.device, axis)
    state = {"backend": bench.backend, "dataset": bench.dataset, "run": run.key, **shown} | ({"block": bench.block} if bench.block else {})
    receipt.show(study, shown["labels"], result, link.link(state), axis)


def _result(study: Study, labels: str, block: str | None, pooling: str) -> curve.Result:
    """The headline's result, or that of the block and pooling which are chosen."""
    headline = study.result(labels)["headline"]
    _, own_block, own_pooling = headline.split("/")
    series = f"model/{block or own_block}/{own_pooling if pooling == CHOSEN else pooling}"
    if series == headline:
        return study.result(labels)
    if series not in study.result(labels)["verdicts"]:
        st.info(f"Block {block} was not measured in this run; the block that validation images chose is shown.")
        return study.result(labels)
    return curve.of_block(study.version, labels, series, study)


page()
