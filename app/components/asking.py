"""Questions to the worker that no page waits for long: asked in a thread, looked at again when the page is drawn next."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.lane import Answer, ask
from analysis.store import default_root
from app.components.runs import jobs

OF_STORE = (
    "cost",
    "combine",
    "strip",
    "neighbours",
    "examples",
    "data",
    "training-cost",
)  # answers that change when a job or download has ended
LEFT = 90.0  # seconds after which a page that nobody draws asks for no further step; a tab in the background is drawn once a minute
PAUSE, FRESH = 0.05, 30.0  # seconds
KEPT, HELD = 48, 200_000_000  # answers of a session, and their bytes; one about an image has a megabyte, one about many more


@dataclass
class Asked:
    """A question on its way: what there is so far, then the answer or what is wrong."""

    so_far: Answer | None = None
    answer: Answer | None = None
    error: NoisescopeError | None = None
    wanted: bool = True  # no more: the next step is not asked for
    seen: float = field(default_factory=time.monotonic)  # when a page last looked
    ended: Event = field(default_factory=Event)
    name: str = ""  # of what is asked

    @property
    def on_screen(self) -> bool:
        """Whether a page has looked just now: what is let go then would be asked for again, and again."""
        return time.monotonic() - self.seen < FRESH

    @property
    def size(self) -> int:
        """Bytes of the answer."""
        return len(self.answer[1]) if self.answer else 0

    def look(self) -> float:
        """How much of the steps is done, from 0 to 1; who looks wants the rest."""
        self.seen = time.monotonic()
        return float(self.so_far[0]["done"] / self.so_far[0]["of"]) if self.so_far else 0.0


@st.cache_resource
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(16, thread_name_prefix="asking")


def _pursue(asked: Asked, question: Mapping[str, Any], device: str, data: bytes) -> None:
    try:
        while asked.wanted and time.monotonic() - asked.seen < LEFT:
            found = ask(default_root(), device, question, data=data)
            if "left" not in found[0]:
                asked.answer = found
                return
            if asked.so_far and asked.so_far[0]["done"] == found[0]["done"]:
                time.sleep(PAUSE)  # nothing new: what it waits for is done elsewhere
            asked.so_far = found
        asked.wanted = False
    except NoisescopeError as error:
        asked.error = error
    except Exception as error:  # what a thread raises nobody sees: it is said on the page
        asked.error = NoisescopeError(f"{type(error).__name__}: {error}. This is a mistake in Noisescope.")
    finally:
        asked.ended.set()


def look(question: dict[str, Any], device: str, data: bytes = b"", patience: float = 0.0) -> Asked:
    """How far a question is, asking it if it is new or was cancelled; waits up to `patience` seconds for its end, so that quick ones never flash."""
    asked: dict[str, Asked] = st.session_state.setdefault("asked", {})
    over = [*jobs().list(), *jobs().downloads(), *jobs().trainings()] if question["ask"] in OF_STORE else []
    ended = max((job.finished or 0.0 for job in over), default=0.0)
    name = f"{device}:{ended}:{sorted(question.items())}:{hashlib.sha256(data).hexdigest()}"
    if name not in asked or not asked[name].wanted:  # one that was cancelled goes on where the worker stopped
        while asked and (
            len(asked) >= KEPT or (sum(one.size for one in asked.values()) > HELD and not next(iter(asked.values())).on_screen)
        ):
            asked.pop(next(iter(asked))).wanted = False
        asked[name] = Asked(name=question["ask"])
        question = question | {"asker": st.session_state.setdefault("asker", secrets.token_hex(8))}  # no two tabs drive one answer
        _threads().submit(_pursue, asked[name], question, device, data)
    found = asked[name] = asked.pop(name)  # what nobody has looked at for longest goes first
    found.seen = time.monotonic()
    found.ended.wait(patience)
    return found


def answer(question: dict[str, Any], device: str) -> Answer | None:
    """The worker's answer, or None while it is on its way. Raises what the worker says is wrong."""
    asked = look(question, device)
    if asked.error:
        raise asked.error
    return asked.answer


def finished(question: dict[str, Any], device: str, say: Callable[[float], Any]) -> Answer:
    """The worker's answer, waited for: `say` is told how much is done, from 0 to 1. Raises what the worker says is wrong."""
    asked = look(question, device)
    while not asked.ended.wait(0.3):
        say(asked.look())
    if asked.error:
        asked.wanted = False  # who tries again asks anew
        raise asked.error
    if asked.answer is None:
        raise NoisescopeError("It was not waited for. Ask again.")
    return asked.answer


def anew(*names: str) -> None:
    """Of these questions, those that were refused, or not looked at for a while, are asked anew when they come."""
    known: dict[str, Asked] = st.session_state.get("asked", {})
    for key in [key for key, asked in known.items() if asked.name in names and (asked.error or not asked.on_screen)]:
        known.pop(key).wanted = False


def forget() -> None:
    """What is stored has changed, or a question failed: ask anew."""
    for asked in st.session_state.pop("asked", {}).values():
        asked.wanted = False
