"""The process that carries out downloads: no model, no engine, and nothing that a sweep would wait for."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .crew import Dropped
from .errors import NoisescopeError, StoreUnavailable
from .hub import fetch, look_up
from .jobs import NETWORK, Job, Jobs, place
from .specs import DownloadRequest
from .store import write_json

T = TypeVar("T")
log = logging.getLogger(__name__)
LOOK = 0.2  # seconds between two looks at the job table
AGAIN, LONG = 5.0, 3600.0  # seconds between two tries to write the job table, and after which the worker gives up
WINDOW = 50  # the time left is told from the pace between so many looks


def work(root: Path, idle: float) -> None:
    """Carry out downloads, one after another, until nobody has asked for one in `idle` seconds; the caller holds the lock."""
    jobs = Jobs(root)
    told = place(root, NETWORK).with_suffix(".json")
    write_json(told, {"pid": os.getpid()})
    jobs.begun(NETWORK)
    last = time.monotonic()
    try:
        while time.monotonic() - last < idle:
            if job := _written(lambda: jobs.take(NETWORK)):
                carry_out(jobs, job)
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


def carry_out(jobs: Jobs, job: Job) -> None:
    """Do one download to its end, whatever that is."""
    try:
        said = _download(jobs, job)
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
        path = place(jobs.root, NETWORK).with_suffix(".log")
        reason = f"{type(error).__name__} at {place_}. This is a mistake in Noisescope; more is in {path}."
        _written(lambda: jobs.fail(job.id, reason))
    else:
        _written(lambda: jobs.finish(job.id, None, said))


def _download(jobs: Jobs, job: Job) -> str:
    """Fetch what is asked for; returns what a person is told of it."""
    request = job.request
    assert isinstance(request, DownloadRequest)
    seen = told = 0.0
    pace: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def between() -> None:
        nonlocal seen
        if time.monotonic() - seen > LOOK:
            seen = time.monotonic()
            with suppress(StoreUnavailable):  # a table that is locked for a moment: the next look will tell
                if not jobs.wanted(job.id):
                    raise Dropped

    def progress(done: int, total: int, name: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told <= LOOK and 0 < done < total:
            return
        told = now
        pace.append((now, done))
        first, before = pace[0]
        gained = done - before
        left = (total - done) * (now - first) / gained if gained > 0 else None
        with suppress(StoreUnavailable):
            jobs.tell(job.id, done, total, name, left)

    record = look_up(request.repo_id, request.revision, request.repo_kind, request.checkpoint, between, request.config)
    fetch(record, progress, between)
    return record.said or f"{record.repo_id} is here, {record.revision} at {record.commit}."
