"""Ask: what does the model see in my images, asked of points, parts, words and classes?"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from analysis.errors import NoisescopeError
from app.components import bench as lab
from app.components import classify, link, opening, points, scene, segments, words_view
from app.components.runs import runs, study_of
from app.components.scene import Scene

VIEWS: dict[str, tuple[str, Callable[[Scene], None]]] = {  # name in a link: what the switch says, and who draws it
    "points": ("Points", points.show),
    "segments": ("Segments", segments.show),
    "words": ("Words", words_view.show),
    "classes": ("Classes", classify.show),
}


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("What does the model see in my images?", anchor=False)
    try:
        found = runs()
        opening.from_link(found)
        bench = lab.choose(*opening.places(found))
        if bench.card is None:
            return
        here = {run.key: run.study for run in found if run.study and run.place == (bench.backend, bench.dataset)}
        run = next((key for key in (study_of(st.session_state.get("run")), *here) if key in here), None)
        best = here[run].result() if run else None
        opening.notes()
        axis = lab.axis()
        link.keep("axis", list(lab.AXES))
        card = bench.card
        sigma = lab.level(card, run or f"{bench.backend} {bench.dataset}", best["verdict"]["peak_sigma"] if best else scene.START)
        block = scene.block_of(card, bench.block, best["headline"].split("/")[1] if best else None)
        for name, value in {"backend": bench.backend, "dataset": bench.dataset, "block": bench.block, "sigma": f"{sigma:.6g}"}.items():
            link.put(name, value)
        link.start("by", list(VIEWS), say=opening.note)
        st.segmented_control(
            "Ask by", list(VIEWS), required=True, format_func=lambda name: VIEWS[name][0], key="by", persist_state="session"
        )
        view = link.keep("by", list(VIEWS))
        there = scene.pictures(card, bench.backend, bench.dataset, bench.device)
        if there is None:
            return
        if not there[0]:
            st.info("There is no image yet: drop one above.", icon=":material/add_photo_alternate:")
            return
        level = min(range(len(card.sigmas)), key=lambda i: abs(card.sigmas[i] - sigma))
        VIEWS[view][1](Scene(bench.backend, card, bench.device, block.name, level, axis, *there))
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


page()
