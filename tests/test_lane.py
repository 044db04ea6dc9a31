"""The worker's second lane, without a worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from analysis import lane as lane_module
from analysis.lane import Answer, Lane, ask


@pytest.fixture
def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lane:
    monkeypatch.setattr(lane_module, "start_worker", lambda *_: None)
    return Lane(tmp_path, "cpu")


def echo(question: Mapping[str, Any], data: bytes) -> Answer:
    return question, data[::-1]


def test_question_and_answer_carry_bytes(lane: Lane, tmp_path: Path) -> None:
    found: list[Answer] = []
    asker = Thread(target=lambda: found.extend(ask(tmp_path, "cpu", {"n": n}, 20, bytes([n, n + 1])) for n in range(3)))
    asker.start()
    while asker.is_alive():
        lane.serve(echo, wait=0.05)
    assert found == [({"n": n}, bytes([n + 1, n])) for n in range(3)]


def test_those_who_ask_on_and_on_hold_nobody_up(lane: Lane, tmp_path: Path) -> None:
    ends = time.monotonic() + 2

    def pester() -> None:
        while time.monotonic() < ends:
            ask(tmp_path, "cpu", {}, 20)

    askers = [Thread(target=pester) for _ in range(3)]
    for asker in askers:
        asker.start()
    served = []
    while time.monotonic() < ends or any(asker.is_alive() for asker in askers):
        started = time.monotonic()
        if count := lane.serve(lambda *_: time.sleep(0.02) or ({}, b""), wait=0.05):
            served.append((count, time.monotonic() - started))
    assert len(served) > 5  # the one who serves got to other work between
    assert max(count for count, _ in served) <= 3
