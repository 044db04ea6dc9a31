"""Which runs stand beside the one that is shown: the choice, and what a link says of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from analysis.siblings import Aspect, siblings
from analysis.studies import Study
from app.components import link, opening
from app.components.runs import Run, study_of, titles

MOST = 4
VIEW = "compare"
CHOICE = "compare-with"  # the widget; a link says `with`
PRESETS: dict[Aspect, str] = {"head": "Other heads", "input": "Other input", "labels": "Other labels"}
ALONE: dict[Aspect, str] = {
    "head": "the probe's head",
    "input": "what the network is shown, the noised image or the clean one,",
    "labels": "what labels the probe is told: how many, how many of them wrong, how uneven,",
}


def title(run: Run, place: tuple[str, str] | None = None) -> str:
    """A run among those of other models and data; of one at `place` itself, what tells it apart there."""
    return f"{run.study.name} · {run.title}" if run.study and run.place != place else run.title


def from_link(found: Sequence[Run]) -> None:
    """The runs that the link asks to compare with; one that is not there is named."""
    if CHOICE in st.session_state:
        return
    given = [key for key in st.query_params.get("with", "").split(",") if key]
    known = [run.key for run in found if run.study]
    wanted = [study_of(key) or key for key in given]
    for key in given:
        if (study_of(key) or key) not in known:
            opening.note(f"The link asks to compare with run {key!r}, which is not in this store. It is left out.")
    kept = list(dict.fromkeys(key for key in wanted if key in known))
    if len(kept) > MOST:
        opening.note(f"The link asks to compare with {len(kept)} runs; allowed: up to {MOST}. The first are shown.")
    st.session_state[CHOICE] = kept[:MOST]
    if kept and "view" not in st.query_params:
        st.session_state["view"] = VIEW


def choose(found: Sequence[Run], shown: str | None) -> list[Run]:
    """Draw the choice of runs to compare with the one that is shown; those that are chosen."""
    offered = {run.key: run for run in found if run.study and run.key != shown}
    place = next((run.place for run in found if run.key == shown), None)
    st.session_state[CHOICE] = [key for key in st.session_state.get(CHOICE, []) if key in offered][:MOST]
    if offered:
        st.multiselect(
            "Compare with",
            list(offered),
            key=CHOICE,
            format_func=titles(offered.values(), partial(title, place=place)).__getitem__,
            max_selections=MOST,
            placeholder="another run",
            on_change=_look,
            persist_state="session",
        )
    chosen = [offered[key] for key in st.session_state[CHOICE]]
    link.put("with", ",".join(run.key for run in chosen) or None)
    return chosen


def presets(found: Sequence[Run], study: Study) -> None:
    """Draw a button for each one thing in which runs differ from the study that is shown: it puts them beside it."""
    there = {run.study.key: run.study for run in found if run.study}
    others = [other for other in there.values() if other.key != study.key]
    offered = {aspect: [one.key for one in siblings(study, others, aspect)] for aspect in PRESETS}
    if not any(offered.values()):
        return
    with st.container(horizontal=True, key="presets"):
        for aspect, keys in offered.items():
            if keys:
                more = f" The first {MOST} of {len(keys)} are taken." if len(keys) > MOST else ""
                st.button(
                    f"{PRESETS[aspect]} ({min(len(keys), MOST)})",
                    key=f"beside-{aspect}",
                    icon=":material/compare_arrows:",
                    help=f"Puts the runs beside this one that differ in {ALONE[aspect]} alone.{more}",
                    on_click=_put,
                    args=(keys[:MOST],),
                )


def _put(keys: list[str]) -> None:
    st.session_state[CHOICE] = keys
    _look()


def _look() -> None:
    """Show what has just been chosen."""
    if st.session_state[CHOICE]:
        st.session_state["view"] = VIEW
