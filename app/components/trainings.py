"""Studies that train networks: asked for with the cost first, followed while they are at work, and what became of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import TRAINING, Job
from analysis.memorization import MemorizationRequest
from analysis.store import default_root
from analysis.workers import start_worker
from app.components import asking
from app.components.runs import SAID, jobs, trying
from app.components.words import ago, duration

EVERY = 2.0  # seconds
DEVICE = "cpu"  # whose worker times what it would take
SHOWN = 5


def request_of(asked: dict[str, Any]) -> MemorizationRequest:
    """The request of what a form gave. Raises InvalidRequest."""
    return MemorizationRequest(**asked)


def cost(asked: dict[str, Any]) -> str | None:
    """What it takes, in words, as soon as a worker has timed it, else None; what is wrong, where it cannot be. Raises NoisescopeError."""
    question = {"ask": "training-cost", "request": request_of(asked).canonical()}
    found = asking.look(question, DEVICE, patience=1.0)
    if found.error:
        raise found.error
    if found.answer is None:
        st.fragment(_wait, run_every=EVERY)(question)
        return None
    return f"Here: {found.answer[0]['sentence']}"


def _wait(question: dict[str, Any]) -> None:
    found = asking.look(question, DEVICE)
    if found.answer or found.error:
        st.rerun()
    if (done := found.look()) and not found.ended.is_set():
        st.progress(done, text="Timing steps, passes, probes and verdicts …")


def submit(asked: dict[str, Any]) -> None:
    """Ask for a study. Raises NoisescopeError."""
    jobs().submit(request_of(asked))
    start_worker(default_root(), TRAINING)


def show() -> None:
    """Draw those at work and the last that ended, where there are any."""
    try:
        found = jobs().trainings()
    except NoisescopeError as error:  # locked for a moment
        st.warning(str(error), icon=":material/hourglass_empty:")
        return
    if active := {job.id for job in found if job.active}:
        st.fragment(_follow, run_every=EVERY)(active)
    for job in [job for job in found if not job.active][:SHOWN]:
        _ended(job)


def _follow(known: set[str]) -> None:
    try:
        active = [job for job in jobs().trainings() if job.active]
    except NoisescopeError:  # locked for a moment
        return
    if {job.id for job in active} != known:
        st.rerun()
    for job in active:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(job.done / job.total if job.total else 0.0, text=f"{title(job)}: {progress(job)}")
            if st.button("Cancel", icon=":material/stop:", key=f"cancel-{job.id}", on_click=trying, args=(jobs().cancel, job.id)):
                st.rerun()


def _ended(job: Job) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"training-{job.id}"):
        st.markdown(f"**{title(job)}** · {SAID[job.state]}, {ago(job.finished or job.submitted)}", width="stretch")
        if job.state != "done":
            st.button(
                "Go on",
                icon=":material/play_arrow:",
                key=f"again-{job.id}",
                on_click=trying,
                args=(_again, job),
                help="From where it stopped.",
            )
        st.button(
            "Remove from the list",
            icon=":material/close:",
            type="tertiary",
            key=f"forget-{job.id}",
            on_click=trying,
            args=(jobs().forget, job.id),
            help="What was trained stays.",
        )
    if job.state == "failed":
        st.error(job.reason or "It failed.", icon=":material/error:")


def _again(job: Job) -> None:
    jobs().submit(job.request)
    start_worker(default_root(), TRAINING)


def title(job: Job) -> str:
    """What a training is of."""
    asked = job.request
    assert isinstance(asked, MemorizationRequest)
    return f"Memorization on {asked.dataset}, {', '.join(str(size) for size in asked.sizes)} images"


def progress(job: Job) -> str:
    """How far an active one is, in words."""
    if job.state == "submitted":
        return "waiting for its turn"
    if not job.total:
        return "starting"
    left = f", {duration(job.eta)} left" if job.eta is not None else ""
    return f"{100 * job.done // job.total} % done{left}"
