"""Map: how do images arrange themselves in this block, and how does that change with noise?"""

from __future__ import annotations

import math

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.studies import Study
from app.components import alike, atlas, content, link, onemap, opening, panes, taking, trusting
from app.components import bench as lab
from app.components.runs import Run, runs

VIEWS = {
    "map": "One map",
    "blocks": "Every block",
    "levels": "Every level",
    "noise": "Over noise",
    "trust": "Trust",
    "alike": "What is alike",
    "content": "Beside content",
}


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("How do images arrange themselves in this block?", anchor=False)
    try:
        found = runs()
        opening.from_link(found)
        bench = lab.choose(*opening.places(found))
        known = {run.key: run for run in found if run.study and run.place == (bench.backend, bench.dataset)}
        if not known:
            st.info(
                "Nothing has been measured for this model and data yet, so it is not known which blocks and levels to map. "
                "Measure it on the Curve page first.",
                icon=":material/science:",
            )
            st.page_link("app_pages/curve.py", label="To the Curve page", icon=":material/show_chart:")
            return
        _run(found, known, bench)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def _run(found: list[Run], known: dict[str, Run], bench: lab.Bench) -> None:
    if st.session_state.get("run") not in known:
        st.session_state["run"] = next(iter(known))
    if len(known) > 1:
        st.selectbox("Images and probes of run", list(known), key="run", format_func=lambda key: known[key].title, persist_state="session")
    link.start("maps", list(VIEWS), say=opening.note)
    atlas.from_link()
    study = known[st.session_state["run"]].study
    assert study is not None
    others = [run.study for run in found if run.study and alike.comparable(study, run.study)]
    if st.session_state["maps"] == "alike":
        alike.from_link(others)
    opening.notes()
    axis = lab.axis()
    link.keep("axis", list(lab.AXES))
    result = study.result()
    if (wanted := st.session_state.pop("level-wanted", None)) is not None:
        st.session_state["level"] = wanted
    sigma = lab.level(study.card, study.key, result["verdict"]["peak_sigma"])
    levels = study.facts["levels"]
    level = min(range(len(levels)), key=lambda i: abs(math.log(levels[i]["sigma"] / sigma)))
    block = bench.block or result["headline"].split("/")[1]
    state = {"backend": bench.backend, "dataset": bench.dataset, "run": study.key, "block": block, "sigma": f"{sigma:.6g}"}
    for name, value in {**state, "block": bench.block}.items():
        link.put(name, value)
    st.segmented_control("Show", list(VIEWS), required=True, format_func=VIEWS.__getitem__, key="maps", persist_state="session")
    view = atlas.view(study, block, level, axis, bench.device, link.keep("maps", list(VIEWS)))
    if view is not None:
        _view(view, others, state | {"axis": axis})


def _view(view: atlas.View, others: list[Study], state: dict[str, str]) -> None:
    """What is asked of the maps, and how to take it along."""
    what = st.session_state["maps"]
    if what != "alike":
        for name in alike.LINKED:
            link.put(name, None)
    drawn, taken = None, None
    if what == "map":
        if (drawn := onemap.show(view)) is not None:
            trusting.line(view, drawn)
    elif what in ("blocks", "levels"):
        taken = panes.multiples(view, what)
    elif what == "noise":
        taken = panes.over_noise(view)
    elif what == "trust":
        taken = trusting.curves(view)
    elif what == "alike":
        taken = alike.show(view, others)
    else:
        taken = content.show(view)
    state |= {name: str(st.session_state[name]) for name in (*atlas.CHOICES, "maps", atlas.SEED, "colour") if name in st.session_state}
    if drawn is not None:
        taking.one(view, drawn, state)
    elif taken is not None:
        taking.many(view, taken, state)


page()
