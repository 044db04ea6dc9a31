"""The worker's two lanes: a question while a sweep runs, and a sweep while nobody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread

import torch

from analysis.crew import Crew
from analysis.features import read_features
from analysis.jobs import Job, Jobs
from analysis.lane import ask
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import carry_out
from analysis.worker import work

from .measure import Measured, measure

ASKS, PROCESSES, PATIENCE = 9, 2, 300.0
ASKED = SweepRequest(backend="shapes-ddpm", dataset="shapes", label_set="shape")
LONG = ASKED.model_copy(update={"levels": 64, "label_draws": 30})
SHORT = ASKED.model_copy(update={"levels": 4, "blocks": ("mid.res0", "up0.res1"), "label_draws": 3, "n_test": 500, "baselines": False})


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
            bench = Bench(SHORT.model_copy(update={"seed": next(seeds)}), Store(folder))
            started = time.perf_counter()
            carry_out(bench, crew)
            return time.perf_counter() - started

    def job() -> float:
        asked = jobs.submit(SHORT.model_copy(update={"seed": next(seeds)}))
        started = time.perf_counter()
        _until(jobs, asked, lambda job: job.state == "done")
        return time.perf_counter() - started

    with working() as root, Crew(PROCESSES) as crew:
        jobs = Jobs(root)
        plain()
        job()
        details = {"sweep": "4 levels × 3 ε draws, 2 blocks, 500 test images", "processes": PROCESSES, "unit": "seconds of the clock"}
        return measure(plain, job, 1, lambda cost: 1 / cost, details)


@contextmanager
def working() -> Iterator[Path]:
    """The store of a worker that runs in a thread of this process."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        worker = Thread(target=work, args=(Path(folder), "cpu", 3.0, PROCESSES))
        worker.start()
        try:
            yield Path(folder)
        finally:
            worker.join()


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


def _until(jobs: Jobs, job: Job, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition(found := jobs.get(job.id)):
        if time.monotonic() > deadline or found.state == "failed":
            raise RuntimeError(f"The job did not get there: {found}")
        time.sleep(0.01)
