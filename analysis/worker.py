"""The process that owns a device: carries out jobs, one after another, and answers questions between two batches."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import torch

from .answers import Answers
from .crew import Dropped
from .devices import choose_device, devices, fast_precisions
from .engines import open_crew
from .errors import NoisescopeError, StoreUnavailable
from .jobs import Job, Jobs, place
from .lane import Lane
from .partial import Partial
from .planning import Bench
from .specs import SweepRequest
from .store import Store, write_json
from .sweeping import carry_out
from .workers import DEVICES

log = logging.getLogger(__name__)
LOOK = 0.2  # seconds between two looks at the job table while a job runs
WINDOW = 12  # the time left is told from the pace of so many units


class Worker:
    """One device of one store."""

    def __init__(self, root: Path, device: str, processes: int, engine: str = "processes", address: str | None = None) -> None:
        self.root, self.device = root, choose_device(device)
        self.jobs = Jobs(root)
        self.crew = open_crew(engine, processes, address, niceness=10, device=self.device)
        write_json(root / "workers" / DEVICES, {name: fast_precisions(name) for name in devices()})
        self.lane = Lane(root, device)
        self.answers = Answers(Store(root), self.device, processes, self.crew if engine == "ray" else None)  # layouts are Ray tasks, too
        self.jobs.begun(device)  # last of all: what fails before counts as a start that came to nothing

    def serve(self, idle: float) -> None:
        """Work until nobody has needed this worker for `idle` seconds."""
        last = time.monotonic()
        while time.monotonic() - last < idle:
            if job := self.jobs.take(self.device):
                self.carry_out(job)
                last = time.monotonic()
            elif self.lane.serve(self.answers, wait=LOOK):
                last = time.monotonic()

    def carry_out(self, job: Job) -> None:
        """Do one job to its end, whatever that is."""
        try:
            study = self._sweep(job)
        except Dropped:
            log.info("job %s was cancelled", job.id)
        except NoisescopeError as error:
            self.jobs.fail(job.id, str(error))
        except Exception as error:
            log.exception("job %s failed", job.id)
            path = place(self.root, self.device).with_suffix(".log")
            self.jobs.fail(job.id, f"{type(error).__name__}: {error}. This is a mistake in Noisescope; more is in {path}.")
        else:
            self.jobs.finish(job.id, study)

    def _sweep(self, job: Job) -> str:
        assert isinstance(job.request, SweepRequest)
        bench = Bench(job.request, Store(self.root), self.device)
        self.answers.like = bench  # one model serves both lanes
        seen = time.monotonic()
        pace = deque([seen], maxlen=WINDOW)
        partial = Partial(bench, self.jobs.folder(job.id))

        def between() -> None:
            nonlocal seen
            self.lane.serve(self.answers)
            partial.look()
            if time.monotonic() - seen > LOOK:
                seen = time.monotonic()
                with suppress(StoreUnavailable):  # a table that is locked for a moment: the next look will tell
                    if not self.jobs.wanted(job.id):
                        raise Dropped

        def progress(done: int, total: int, message: str) -> None:
            pace.append(time.monotonic())
            left = (total - done) * (pace[-1] - pace[0]) / (len(pace) - 1)
            with suppress(StoreUnavailable):
                self.jobs.tell(job.id, done, total, message, left)

        with partial:
            return carry_out(bench, self.crew, between=between, progress=progress, news=partial.add).key


def work(root: Path, device: str, idle: float, processes: int, engine: str = "processes", address: str | None = None) -> None:
    """Be a device's worker until nobody needs one; the caller holds the device's lock. Sweeps are carried out by the engine's crew."""
    torch.set_num_threads(1)
    worker = Worker(root, device, processes, engine, address)
    try:
        worker.serve(idle)
    finally:
        worker.lane.close()
        worker.crew.close()
        worker.answers.crew.close()
