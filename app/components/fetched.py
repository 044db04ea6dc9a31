"""Downloads, as a list: what is coming, what came, and what went wrong."""

from __future__ import annotations

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import Job
from app.components import fetching
from app.components.runs import SAID, jobs, trying
from app.components.words import ago, size

SHOWN = 20


def show() -> None:
    """Draw the downloads, the newest first, where there are any; while one is at work, the list follows it."""
    found = jobs().downloads()
    if not found:
        return
    st.subheader("Downloads", anchor=False)
    active = {job.id for job in found if job.active}
    if active:
        st.fragment(_follow, run_every=fetching.EVERY)(active)
    for job in [job for job in found if not job.active][:SHOWN]:
        _row(job)


def _follow(known: set[str]) -> None:
    try:
        active = [job for job in jobs().downloads() if job.active]
    except NoisescopeError as error:  # locked for a moment
        st.warning(str(error), icon=":material/hourglass_empty:")
        return
    if {job.id for job in active} != known:
        st.rerun()
    for job in active:
        st.markdown(f"**{fetching.title(job)}**")
        fetching.bar(job)


def _row(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"download-{job.id}"):
        came = size(job.total) if job.state == "done" else f"{size(job.done)} came"
        st.markdown(f"**{fetching.title(job)}** · {SAID[job.state]}, {came}, {ago(job.finished or job.submitted)}", width="stretch")
        if job.state != "done":
            fetching.again(job)
        st.button(
            "Remove from the list",
            icon=":material/close:",
            type="tertiary",
            key=f"forget-{job.id}",
            on_click=trying,
            args=(jobs().forget, job.id),
            help="What was fetched stays.",
        )
    if job.state == "failed":
        st.error(job.reason or "It failed.", icon=":material/error:")
