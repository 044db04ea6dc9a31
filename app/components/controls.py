"""The row of controls over a study's figure; what they and a link may say is given as lists, the first of each the default."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.components import curve
from app.components.bench import AXES, axis_switch
from app.components.words import pooling

TOGETHER = "questions"
VIEWS = {
    TOGETHER: "All questions",
    **curve.VIEWS,
    "poolings": "Poolings",
    "classes": "Classes",
    "when": "What is known when",
    "ensemble": "Ensemble",
    "input": "Clean input",
    "compare": "Compare",
}
CHOSEN = "chosen"  # the pooling that validation images chose, for each number of labels its own
BESIDE = {"ours": "Ours", "published": "Ours and published"}


def _pooling(name: str) -> str:
    return "Best on validation" if name == CHOSEN else pooling(name)


def draw(allowed: Mapping[str, list[str]]) -> None:
    """Draw the row; a control that cannot change anything in the view is left out.

    Start and Curve share their keys: what is chosen on one is kept on the other, where it is there too.
    """
    view = st.session_state["view"]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("View", allowed["view"], required=True, format_func=VIEWS.__getitem__, key="view", persist_state="session")
        if "question" in allowed and view != TOGETHER:
            st.segmented_control("Question", allowed["question"], required=True, key="question", persist_state="session")
        axis_switch()
        if len(allowed["labels"]) > 1 and view != "budget":
            help_ = "How many labelled images of each class the probe was fitted on."
            st.segmented_control("Labels per class", allowed["labels"], required=True, key="labels", persist_state="session", help=help_)
        if len(allowed.get("pooling", [])) > 2 and view != "poolings":
            help_ = "What a block's map is pooled to before the probe reads it: averages on a grid of this side, the maximum, or the generalised mean."
            st.segmented_control(
                "Pooling", allowed["pooling"], required=True, format_func=_pooling, key="pooling", persist_state="session", help=help_
            )
        if "beside" in allowed and view == "curve":
            st.segmented_control(
                "Curves", allowed["beside"], required=True, format_func=BESIDE.__getitem__, key="beside", persist_state="session"
            )
        if view in ("curve", TOGETHER):
            st.selectbox("Image", allowed["image"], key="image", persist_state="session", width=130)


__all__ = ["AXES", "BESIDE", "CHOSEN", "TOGETHER", "VIEWS", "draw"]
