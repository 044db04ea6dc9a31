"""What is known when: every label set that was measured of a model and its images, each block's best level and half-life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from analysis import siblings
from analysis.studies import Study
from app.components.curve import toolbar
from app.components.runs import Run


def members(study: Study, here: list[Run], labels: str, pooling: str) -> dict[str, Study]:
    """Studies that differ from this one in the label set alone, this one's own first; of several the first that is listed."""
    found = {str(study.facts["receipt"]["label_set"]): study}
    for run in here:
        other = run.study
        if other is None or labels not in other.facts["results"] or pooling not in other.facts["request"]["poolings"]:
            continue
        if siblings.rest(other, "question") == siblings.rest(study, "question"):
            found.setdefault(str(other.facts["receipt"]["label_set"]), other)
    return found


@st.cache_data(show_spinner=False, max_entries=32)
def _known(name: tuple[str, ...], _studies: Mapping[str, Study], labels: str, pooling: str) -> Any:
    from analysis.known_when import known_when

    return known_when(_studies, labels, pooling)


def show(study: Study, here: list[Run], shown: Mapping[str, str], pooling: str) -> None:
    """Draw the figure and its table."""
    from analysis.known_when import finding
    from analysis.view_figures import when_figure

    asked = members(study, here, shown["labels"], pooling)
    known = _known((*(one.version for one in asked.values()), shown["labels"], pooling), asked, shown["labels"], pooling)
    levels = study.facts["levels"]
    says = finding(known, levels[-1]["sigma"])
    st.plotly_chart(when_figure(known, levels, shown["axis"]), key="figure-when", alt=says, config=toolbar())  # type: ignore[arg-type]
    unread = [f"{one.question} in {one.block}" for one in known if not one.read]
    st.caption(
        f"{says} A filled mark is the best level, the open one at its line's end the level by which half of what is read over chance is gone; "
        "a line without an open end goes on beyond the noisiest level."
        + (f" Not shown to be above chance, and left out: {', '.join(unread)}." if unread else "")
    )
    if len(asked) == 1:
        st.caption("Other label sets of these images stand here too once they are measured.")
    rows = [
        {
            "question": one.question,
            "block": one.block,
            "best": f"{100 * one.best:.1f} %",
            "best σ": f"{one.peak:.2g} ({one.peak_ci[0]:.2g} to {one.peak_ci[1]:.2g})",
            "half gone by σ": f"{one.half_life:.2g}" if one.half_life == one.half_life else f"above {levels[-1]['sigma']:.2g}",
        }
        for one in known
    ]
    with st.expander("The same as a table", icon=":material/table_rows:"):
        st.dataframe(rows, hide_index=True, width="stretch")
