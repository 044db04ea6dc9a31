"""Work beside the devices' workers: what is neither a sweep nor a question, each kind in a process of its own."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .crew import Between, Dropped
from .errors import NoisescopeError, StoreUnavailable
from .jobs import Job, Jobs, place
from .store import write_json

T = TypeVar("T")
Told = tuple[str | None, str]  # the key of what came of it, and what a person is told
Progress = Callable[[int, int, str], None]
Errand = Callable[[Job, Progress, Between], Told]
log = logging.getLogger(__name__)
LOOK = 0.2  # seconds between two looks at the job table
AGAIN, LONG = 5.0, 3600.0  # seconds between two tries to write the job table, and after which the worker gives up
WINDOW = 50  # the time left is told from the pace between so many looks


def serve(root: Path, name: str, idle: float, errand: Errand, uneven: bool = False) -> None:
    """Carry out what waits under a name, one after another, until nobody has asked in `idle` seconds; the caller holds the lock.

    The time left is told from the latest pace, or, of work that goes forward by leaps, from the pace since it began.
    """
    jobs = Jobs(root)
    told = place(root, name).with_suffix(".json")
    write_json(told, {"pid": os.getpid()})
    jobs.begun(name)
    last = time.monotonic()
    try:
        while time.monotonic() - last < idle:
            if job := _written(lambda: jobs.take(name)):
                carry_out(jobs, job, errand, uneven)
                last = time.monotonic()
            else:
                time.sleep(LOOK)
    finally:
        told.unlink(missing_ok=True)


def _written(write: Callable[[], T]) -> T:
    """What a call that writes the job table returns, tried again where that cannot be written now, as on a full disk."""
    until = time.monotonic() + LONG
    while True:
        try:
            return write()
        except StoreUnavailable as error:
            if time.monotonic() > until:
                raise
            log.warning("%s", error)
            time.sleep(AGAIN)


def carry_out(jobs: Jobs, job: Job, errand: Errand, uneven: bool = False) -> None:
    """Do one errand to its end, whatever that is."""
    try:
        key, said = errand(job, _progress(jobs, job, uneven), _between(jobs, job))
    except Dropped:
        log.info("job %s was cancelled", job.id)
    except NoisescopeError as error:
        reason = str(error)
        _written(lambda: jobs.fail(job.id, reason))
    except Exception as error:
        # what the libraries say may hold an address with a signature: neither it nor the traceback is written down
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place_ = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else "?"
        log.error("job %s failed: %s at %s", job.id, type(error).__name__, place_)
        path = place(jobs.root, job.device).with_suffix(".log")
        reason = f"{type(error).__name__} at {place_}. This is a mistake in Noisescope; more is in {path}."
        _written(lambda: jobs.fail(job.id, reason))
    else:
        _written(lambda: jobs.finish(job.id, key, said))


def _between(jobs: Jobs, job: Job) -> Between:
    """To be called often: raises Dropped once the job is not wanted any more."""
    seen = 0.0

    def between() -> None:
        nonlocal seen
        if time.monotonic() - seen > LOOK:
            seen = time.monotonic()
            with suppress(StoreUnavailable):  # a table that is locked for a moment: the next look will tell
                if not jobs.wanted(job.id):
                    raise Dropped

    return between


def _progress(jobs: Jobs, job: Job, uneven: bool) -> Progress:
    """Notes how far the job is, and how long it may still take, a few times a second at most."""
    told = 0.0
    pace: list[tuple[float, int]] = []

    def progress(done: int, total: int, name: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told <= LOOK and 0 < done < total:
            return
        told = now
        pace.append((now, done))
        if len(pace) > WINDOW:
            del pace[1 if uneven else 0]
        first, before = pace[0]
        gained = done - before
        left = (total - done) * (now - first) / gained if gained > 0 else None
        with suppress(StoreUnavailable):
            jobs.tell(job.id, done, total, name, left)

    return progress
