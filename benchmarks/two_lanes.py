"""The worker's two lanes: a question while a sweep runs, and a sweep while nobody asks."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from analysis.crew import Crew
from analysis.features import read_features
from analysis.jobs import Job, Jobs
from analysis.lane import ask
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import carry_out
from analysis.workers import facts, only_worker

from .measure import Measured, measure

ASKS, PATIENCE = 9, 300.0
PROCESSES = os.cpu_count() or 1  # as a worker has
ASKED = SweepRequest(backend="shapes-ddpm", dataset="shapes", label_set="shape")
LONG = ASKED.model_copy(update={"levels": 64, "label_draws": 30})
SHORT = ASKED.model_copy(update={"levels": 5, "blocks": ("mid.res0", "up0.res1"), "label_draws": 3, "n_test": 500, "baselines": False})


def run() -> Measured:
    """(Seconds of a question while a sweep runs, less one batch) over those while nothing does."""
    seeds = count()
    one = _batch()

    def alone() -> float:
        return median(_ask(root) for _ in range(ASKS))

    def beside() -> float:
        job = jobs.submit(LONG.model_copy(update={"seed": next(seeds)}))
        _until(jobs, job, lambda job: job.done >= 1)
        try:
            return max(0.0, median(_ask(root) for _ in range(ASKS)) - one)
        finally:
            jobs.cancel(job.id)
            time.sleep(2.0)  # the crew lets go of what it was at

    with working() as root:
        jobs = Jobs(root)
        _ask(root)
        details = {
            "question": "one image at 16 levels through the network, as a PNG",
            "batch_seconds": round(one, 4),
            "unit": "seconds of the clock",
        }
        return measure(alone, beside, 1, lambda cost: cost, details)


def throughput() -> Measured:
    """Seconds of a sweep by a warm crew in this process over those of the same sweep as a job, nobody asking."""
    seeds = count()

    def plain() -> float:
        with TemporaryDirectory() as folder:
            started = time.perf_counter()
            carry_out(Bench(SHORT.model_copy(update={"seed": next(seeds)}), Store(folder)), crew)
            return time.perf_counter() - started

    def job() -> float:
        asked = jobs.submit(SHORT.model_copy(update={"seed": next(seeds)}))
        done = _until(jobs, asked, lambda job: job.state == "done")
        return float(done.finished) - float(done.started)  # from when the worker took it to when its study was there

    with working() as root, Crew(PROCESSES) as crew:
        jobs = Jobs(root)
        plain()
        job()
        details = {"sweep": "5 levels × 3 ε draws, 2 blocks, 500 test images", "processes": PROCESSES, "unit": "seconds of the clock"}
        return measure(plain, job, 1, lambda cost: 1 / cost, details)


@contextmanager
def working() -> Iterator[Path]:
    """The store of a worker, started as the app starts it."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        try:
            ask(root, "cpu", {"ask": "cost", "request": SHORT.canonical()}, PATIENCE)
            yield root
        finally:
            if pid := facts(root, "cpu").get("pid"):
                os.kill(pid, signal.SIGTERM)
            with only_worker(root, "cpu", timeout=30):
                pass  # it has let go of the store


def _ask(root: Path) -> float:
    started = time.perf_counter()
    ask(root, "cpu", {"ask": "strip", "request": ASKED.canonical()}, PATIENCE)
    return time.perf_counter() - started


def _batch() -> float:
    """Seconds of one batch of 64 images to the last block."""
    torch.set_num_threads(1)
    bench = Bench(ASKED, Store(Path("/nowhere")))
    x0 = torch.zeros(64, 3, 16, 16)
    tensors = [f"{block.name}/1" for block in bench.card.blocks]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        read_features(bench.model, tensors, x0, x0, bench.sigmas[0], 64)
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _until(jobs: Jobs, job: Job, condition: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE
    while not condition(found := jobs.get(job.id)):
        if time.monotonic() > deadline or found.state == "failed":
            raise RuntimeError(f"The job did not get there: {found}")
        time.sleep(0.25)  # looking is work too
    return found
