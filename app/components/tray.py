"""The job tray: what is at work now, on every page."""

from __future__ import annotations

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import Job
from analysis.memorization import MemorizationRequest
from analysis.specs import DownloadRequest
from app.components import fetching, keeper, trainings
from app.components.bench import short
from app.components.runs import jobs, progress, table

EVERY = 2.0  # seconds


def show() -> None:
    """Draw the tray where something is at work; it follows by itself."""
    listed, _, wrong = table()
    if wrong:
        st.error(wrong, icon=":material/database_off:")
    if refused := st.session_state.pop("refused", None):
        st.error(refused, icon=":material/block:")
    if said := keeper.keep().get("error"):
        st.error(said, icon=":material/build_circle:")
    if active := {job.id for job in [*listed, *_errands()] if job.active}:
        _follow(active)


def _errands() -> list[Job]:
    try:
        return [*jobs().downloads(), *jobs().trainings()]
    except NoisescopeError:  # it is said already
        return []


@st.fragment(run_every=EVERY)
def _follow(known: set[str]) -> None:
    try:
        active = [job for job in [*jobs().list(), *jobs().downloads(), *jobs().trainings()] if job.active]
    except NoisescopeError:  # locked for a moment
        return
    st.caption("At work")
    for job in active:
        st.progress(job.done / job.total if job.total else 0.0, text=_said(job))
    if {job.id for job in active} != known:
        st.rerun()


def _said(job: Job) -> str:
    if isinstance(job.request, DownloadRequest):
        return f"Fetching {fetching.title(job)}: {fetching.progress(job)}"
    if isinstance(job.request, MemorizationRequest):
        return f"{trainings.title(job)}: {trainings.progress(job)}"
    return f"{short(job.request.backend)} on {short(job.request.dataset)}: {progress(job).lower()}"
