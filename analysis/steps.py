"""Work that yields how far it is and returns what it found: carried to its end at once, or told step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

Step = TypeVar("Step")
Said = TypeVar("Said")
Found = TypeVar("Found")


def finish(way: Generator[Step, None, Found], each: Callable[[Step], Any] | None = None) -> Found:
    """What it returns; `each` is called with every step."""
    while True:
        try:
            step = next(way)
        except StopIteration as end:
            return end.value
        if each:
            each(step)


def relay(way: Generator[Step, None, Found], say: Callable[[Step], Said], every: float = 0.0) -> Generator[Said, None, Found]:
    """The same work, yielding what `say` makes of a step, after at least `every` seconds of work: for `found = yield from relay(…)`."""
    since = time.perf_counter()
    while True:
        try:
            step = next(way)
        except StopIteration as end:
            return end.value
        if time.perf_counter() - since >= every:
            yield say(step)
            since = time.perf_counter()
