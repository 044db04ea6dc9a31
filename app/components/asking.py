"""Questions to the worker that no page waits for: asked in a thread, looked at again when the page is drawn next."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import streamlit as st

from analysis.lane import Answer, ask
from analysis.store import default_root
from app.components.runs import jobs

KEPT = 32


@st.cache_resource
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(4, thread_name_prefix="asking")


def answer(question: dict[str, Any], device: str) -> Answer | None:
    """The worker's answer, or None while it is on its way. Raises what the worker says is wrong."""
    asked: dict[str, Future[Answer]] = st.session_state.setdefault("asked", {})
    ended = max((job.finished or 0.0 for job in jobs().list()), default=0.0)  # what is stored has changed since
    name = f"{device}:{ended}:{sorted(question.items())}"
    if name not in asked:
        while len(asked) >= KEPT:
            asked.pop(next(iter(asked)))
        asked[name] = _threads().submit(ask, default_root(), device, question)
    return asked[name].result() if asked[name].done() else None


def forget() -> None:
    """What is stored has changed, or a question failed: ask anew."""
    st.session_state.pop("asked", None)
