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
from analysis.lane import Answer
from analysis.store import Store
from app.components import asking, keeper

ONE = Lock()


@cache
def answers(root: Path) -> Answers:
    return Answers(Store(root), "cpu", 0)


def worker(root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
    with ONE:  # as a worker answers: one thread has the model
        return answers(root)(question, data)


@pytest.fixture
def answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store of the test's own, with a worker that answers at once."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", worker)
    monkeypatch.setattr(keeper, "tend", lambda _: None)
    st.cache_data.clear()
    yield tmp_path
    answers.cache_clear()
