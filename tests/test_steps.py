from __future__ import annotations

from collections.abc import Generator

import pytest

from analysis.steps import finish, relay


def work() -> Generator[int, None, str]:
    yield 1
    yield 2
    return "found"


def test_what_is_carried_to_its_end_gives_what_it_found_and_tells_every_step() -> None:
    steps: list[int] = []
    assert finish(work(), steps.append) == finish(work()) == "found"
    assert steps == [1, 2]


def test_what_is_handed_on_says_every_step() -> None:
    told: list[str] = []
    assert finish(relay(work(), lambda step: f"{step} of 2"), told.append) == "found"
    assert told == ["1 of 2", "2 of 2"]


def test_only_the_time_that_the_work_itself_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("analysis.steps.time.perf_counter", lambda: clock[0])

    def slow() -> Generator[int, None, str]:
        for step in range(6):
            clock[0] += 1
            yield step
        return "found"

    told: list[int] = []

    def listen(step: int) -> None:
        told.append(step)
        clock[0] += 100  # who asks takes long to come back

    assert finish(relay(slow(), lambda step: step, every=3), listen) == "found"
    assert told == [2, 5]
