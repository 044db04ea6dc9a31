"""Questions to the worker that no page waits for long: asked in a thread, looked at again when the page is drawn next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.lane import Answer, ask
from analysis.store import default_root
from app.components.runs import jobs

OF_STORE = ("cost", "strip", "neighbours", "examples")  # answers that change when a job has ended
KEPT = 48  # answers of a session; one about an image has a megabyte


@dataclass
class Asked:
    """A question on its way: what there is so far, then the answer or what is wrong."""

    so_far: Answer | None = None
    answer: Answer | None = None
    error: NoisescopeError | None = None
    wanted: bool = True  # no more: the next step is not asked for
    ended: Event = field(default_factory=Event)

    @property
    def share(self) -> float:
        """How much of the steps is done, from 0 to 1."""
        return float(self.so_far[0]["done"] / self.so_far[0]["of"]) if self.so_far else 0.0


@st.cache_resource
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(16, thread_name_prefix="asking")


def _pursue(asked: Asked, question: Mapping[str, Any], device: str, data: bytes) -> None:
    try:
        while asked.wanted:
            found = ask(default_root(), device, question, data=data)
            if "left" not in found[0]:
                asked.answer = found
                return
            asked.so_far = found
    except NoisescopeError as error:
        asked.error = error
    except Exception as error:  # what a thread raises nobody sees: it is said on the page
        asked.error = NoisescopeError(f"{type(error).__name__}: {error}. This is a mistake in Noisescope.")
    finally:
        asked.ended.set()


def look(question: dict[str, Any], device: str, data: bytes = b"", patience: float = 0.0) -> Asked:
    """How far a question is, asking it if it is new or was cancelled; waits up to `patience` seconds for its end, so that quick ones never flash."""
    asked: dict[str, Asked] = st.session_state.setdefault("asked", {})
    ended = max((job.finished or 0.0 for job in jobs().list()), default=0.0) if question["ask"] in OF_STORE else 0.0
    name = f"{device}:{ended}:{sorted(question.items())}:{hashlib.sha256(data).hexdigest()}"
    if name not in asked or not asked[name].wanted:  # one that was cancelled goes on where the worker stopped
        while len(asked) >= KEPT:
            asked.pop(next(iter(asked))).wanted = False
        asked[name] = Asked()
        _threads().submit(_pursue, asked[name], question, device, data)
    asked[name].ended.wait(patience)
    return asked[name]


def answer(question: dict[str, Any], device: str) -> Answer | None:
    """The worker's answer, or None while it is on its way. Raises what the worker says is wrong."""
    asked = look(question, device)
    if asked.error:
        raise asked.error
    return asked.answer


def forget() -> None:
    """What is stored has changed, or a question failed: ask anew."""
    for asked in st.session_state.pop("asked", {}).values():
        asked.wanted = False
