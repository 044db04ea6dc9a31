"""What to use: the best cell, those not shown to be worse, the cheapest of them, and the lines of code that read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from analysis.studies import Study
from app.components import asking, link
from app.components.looked import waiting

if TYPE_CHECKING:  # scipy comes in where the switch is on, after the first paint
    from analysis import advice

STATES = ["closed", "open"]


@st.cache_data(show_spinner=False, max_entries=16)
def of_study(version: str, labels: str, _study: Study) -> advice.Recipe:
    """The recipe at a number of labels a class."""
    from analysis import advice

    return advice.recipe(_study, labels)


def show(study: Study, labels: str, device: str, axis: str) -> str:
    """Draw the switch, and where it is on, the recipe; gives what a link says of it."""
    link.start("recipe", STATES)
    if "recipe-open" not in st.session_state:
        st.session_state["recipe-open"] = st.session_state["recipe"] == "open"
    on = st.toggle("Recipe: what to use, and what can be told without labels", key="recipe-open")
    st.session_state["recipe"] = STATES[on]
    if on:
        _draw(study, labels, device, axis)
    return link.keep("recipe", STATES)


def _draw(study: Study, labels: str, device: str, axis: str) -> None:
    from analysis import advice
    from app.components import unlabelled

    found = of_study(study.version, labels, study)
    with st.container(key="recipe-says"):
        st.markdown(advice.sentence(found))
    if said := advice.caution(found):
        st.warning(said, icon=":material/straighten:")
    st.dataframe(advice.rows(found), hide_index=True, width="stretch", height=min(320, 38 + 35 * len(found.near)))
    st.caption(
        "All cells that are not shown to be worse than the best, cheapest first: one-sided paired tests on test images, corrected over all "
        f"{len(found.every)} cells (Holm). Points below the best are with each cell's own 95 % interval. {advice.how(study, found)}"
    )
    options = {"Best": found.best, "Cheapest": found.cheapest, "Careful": found.careful}
    chosen = {name: one for place, (name, one) in enumerate(options.items()) if one not in list(options.values())[:place]}
    if st.session_state.get("recipe-of") not in chosen:
        st.session_state["recipe-of"] = "Best"
    name = "Best"
    if len(chosen) > 1:
        name = str(st.segmented_control("Lines that read it", list(chosen), required=True, key="recipe-of"))
    _lines(study, chosen[name], device)
    st.subheader("Without labels", anchor=False)
    unlabelled.show(study, found, device, axis)


def _lines(study: Study, choice: advice.Choice, device: str) -> None:
    """The code, to copy or to save."""
    from analysis import advice

    question = {"ask": "snippet", "study": study.key, "block": choice.block, "pooling": choice.pooling, "level": choice.level}
    asked = asking.look(question, device, patience=1.0)
    if asked.error:
        st.info(str(asked.error), icon=":material/code_off:")
    elif asked.answer is None:
        waiting(asked, "The lines that read it are being written …")
    elif (code := asked.answer[0]["lines"]) is None:
        st.caption(advice.NO_LINES)
    else:
        st.code(code, language="python")
        st.download_button(
            "Save as .py",
            code,
            f"noisescope-{study.key}-{re.sub('[^a-z0-9]+', '-', choice.block)}.py",
            "text/x-python",
            key="recipe-save",
            on_click="ignore",
            icon=":material/download:",
        )
