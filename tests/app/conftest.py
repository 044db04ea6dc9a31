"""What pages that ask a worker share: its answers, given in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
import streamlit as st

from analysis.answers import Answers
from analysis.errors import StoreUnavailable
from analysis.lane import Answer
from analysis.store import Store
from app.components import asking, equalise, fetching, keeper, runs, trainings

ONE = Lock()


@cache
def answers(root: Path) -> Answers:
    return Answers(Store(root), "cpu", 0)


def worker(root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
    with ONE:  # as a worker answers: one thread has the model
        return answers(root)(question, data)


@pytest.fixture(scope="session", autouse=True)
def no_worker() -> None:
    """No page starts a process: threads that look after workers, or wait for one's answer, outlive their test."""
    keeper.tend = lambda _: None
    asking.ask = nobody
    for part in (equalise, fetching, runs, trainings):
        part.start_worker = lambda *_: None


def nobody(*_: Any, **__: Any) -> Answer:
    raise StoreUnavailable("No worker answers in this test.")


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store of the test's own, with a worker that answers at once."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", worker)
    st.cache_data.clear()
    yield tmp_path
    answers.cache_clear()
