"""Why: why is there a hump, and what does it mean when it is gone?"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from analysis.errors import NoisescopeError
from app.components import bench as lab
from app.components import link, measured, memorized, opening, theory, trainings

VIEWS: dict[str, tuple[str, Callable[[], None]]] = {  # name in a link: what the switch says, and who draws it
    "theory": ("Theory", theory.show),
    "measured": ("This model", measured.show),
    "memorization": ("Memorization", lambda: memorization()),
}


def memorization() -> None:
    """Draw finished studies, those at work, and the form that asks for one."""
    trainings.show()
    memorized.show(trainings.submit, trainings.cost)


def page() -> None:
    """Draw the page, or its error."""
    st.title("Why is there a hump, and what does it mean when it is gone?", anchor=False)
    try:
        lab.axis()
        link.keep("axis", list(lab.AXES))
        link.start("view", list(VIEWS), say=opening.note)
        st.segmented_control(
            "View", list(VIEWS), required=True, format_func=lambda name: VIEWS[name][0], key="view", persist_state="session"
        )
        view = link.keep("view", list(VIEWS))
        VIEWS[view][1]()
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


page()
