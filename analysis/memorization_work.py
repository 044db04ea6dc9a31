"""A study of memorization from request to folder: networks shared among processes, then its tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from . import memorization_report as reporting
from .crew import Between, Crew, still_wanted
from .errands import Progress, Told, serve
from .errors import DamagedFile, InvalidRequest, StoreUnavailable
from .jobs import TRAINING, Job
from .memorization import STUDY, MemorizationRequest, Run, found_path, place_of, weights_path
from .memorization_run import carry, material_of, noted
from .memorized import Memorized, open_memorized
from .options import CORES
from .store import writing

LOOK = 0.5  # seconds between two looks at how far the networks are
STEP = 3  # passes that a training step takes as long as: forward, and backward twice as long


def memorize(
    request: MemorizationRequest,
    root: Path | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    between: Between = still_wanted,
    progress: Progress | None = None,
) -> Memorized:
    """Train what the store lacks of a study, look at it, and return the study; on the CPU `processes` share its networks, 0 works in this one.

    Raises InvalidRequest for what cannot be, before anything is trained; StoreUnavailable where the disk is full: what was trained stands.
    """
    if request.study != STUDY:
        raise InvalidRequest(f"study is {request.study}, of another version of Noisescope; allowed: {STUDY}. Ask for it anew.")
    material, folder = material_of(request.canonical()), place_of(request, root)
    look = round((request.levels * material.read + request.samples * request.sample_steps) / STEP)
    with alone(folder):
        return _memorize(request, folder, processes, device, between, progress, look)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a study's folder from other processes, for as long as the body runs. Raises StoreUnavailable where one is at it."""
    lock = FileLock(folder / ".lock")  # the system lets go of it when a process ends, however it ended
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreUnavailable(f"Another process is at the study in {folder}; wait for it, or look at what it is doing on Why.") from error
    except OSError as error:
        raise StoreUnavailable(f"Cannot write {folder} ({error.strerror}); set NOISESCOPE_STORE to another folder.") from error
    try:
        yield
    finally:
        lock.release()


def _memorize(
    request: MemorizationRequest, folder: Path, processes: int, device: str, between: Between, progress: Progress | None, worth: int
) -> Memorized:
    """`worth` is how many training images take as long as a look."""
    _plan(request, folder)
    looks = [one for run in request.runs for one in run.looks(request)]
    total = len(request.runs) * request.seen[-1] + len(looks) * worth
    looked = 0.0

    def look() -> None:
        nonlocal looked
        between()
        if progress and time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            at = {run: noted(folder / "runs" / run.name) for run in request.runs}
            training = [f"{run.size} images, seed {run.seed}" for run, seen in at.items() if 0 < seen < request.seen[-1]]
            done = sum(at.values()) + sum(found_path(folder, one).exists() for one in looks) * worth
            progress(min(total - 1, done), total, "; ".join(training) or "reading the networks")

    left = [run for run in request.runs if not whole(folder, request, run)]
    if not left:
        with suppress(DamagedFile):  # tables that are not there, damaged or of another version are made anew
            study = open_memorized(folder)
            for name in study.facts["files"]:
                study.path(name)
            return study
    calls = [(request.canonical(), str(folder), run, device) for run in left]
    if processes and device == "cpu":
        with Crew(processes, niceness=10) as crew:
            for _ in crew.run(carry, calls, look):
                look()
    else:
        for call in calls:
            carry(*call, between=look)
    found = reporting.report(request, folder, device, look)
    if progress:
        progress(total, total, "done")
    return found


def whole(folder: Path, request: MemorizationRequest, run: Run) -> bool:
    """Whether a network is trained and looked at, and its last weights are there."""
    return all(found_path(folder, one).exists() for one in run.looks(request)) and weights_path(folder, run, request.seen[-1]).exists()


def _plan(request: MemorizationRequest, folder: Path) -> None:
    """Write down what the study is of. Raises DamagedFile where the folder is of another."""
    plan = folder / "plan.json"
    if not plan.exists():
        with writing(plan) as temporary:
            temporary.write_text(request.canonical())
    elif plan.read_text() != request.canonical():
        raise DamagedFile(f"{folder} holds another study than is asked for; delete it, or set NOISESCOPE_STORE to another folder.")


def work(root: Path, idle: float) -> None:
    """As `errands.serve`: trainings that the dashboard submits."""

    def train(job: Job, progress: Progress, between: Between) -> Told:
        assert isinstance(job.request, MemorizationRequest)
        found = memorize(job.request, root, processes=CORES, between=between, progress=progress)
        return found.key, found.sentence

    serve(root, TRAINING, idle, train, uneven=True)
