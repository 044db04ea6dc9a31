"""The workers of a store, seen from outside: whether one runs, starting one, where it listens."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import StoreUnavailable
from .jobs import NETWORK, TRAINING, Jobs, place

DEVICES = "devices.found.json"  # what there is to compute on, each with the precisions below float32 that it is fast in


@contextmanager
def only_worker(root: Path, device: str, timeout: float = 0) -> Iterator[bool]:
    """Whether this process may be the one worker of a store and device, for as long as the body runs."""
    path = place(root, device).with_suffix(".lock")
    lock = FileLock(path)  # the system lets go of it when a process ends, however it ended
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise StoreUnavailable(f"Cannot write {path} ({error.strerror}); set NOISESCOPE_STORE to another folder.") from error
    try:
        yield True
    finally:
        lock.release()


def worker_runs(root: Path, device: str) -> bool:
    """Whether a device's worker is there."""
    if not place(root, device).with_suffix(".lock").exists():
        return False
    with only_worker(root, device) as free:
        return not free


def start_worker(root: Path, device: str = "cpu") -> None:
    """Start a device's worker where none runs: a process of its own, which outlives this one. Raises StoreUnavailable.

    One that ended three times before it began is not started again for what waits: that fails, with its last words.
    """
    if worker_runs(root, device):
        return
    if not Jobs(root).start(device):
        return
    log = place(root, device).with_suffix(".log")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            command = [sys.executable, "-m", "analysis", "worker", "--device", device, "--store", str(root)]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    except OSError as error:
        raise StoreUnavailable(
            f"No worker can be started for {root} ({error.strerror}); free the place or set NOISESCOPE_STORE."
        ) from error


def work(root: Path, device: str, idle: float, processes: int, engine: str = "processes", address: str | None = None) -> None:
    """Be the worker of a device, of the network, which needs no model and loads none, or of trainings; the caller holds its lock."""
    if device == NETWORK:
        from .downloads import work as download

        download(root, idle)
        return
    if device == TRAINING:
        from .memorization_work import work as train

        train(root, idle)
        return
    from .worker import work as compute

    compute(root, device, idle, processes, engine, address)


def tend(root: Path) -> None:
    """Start the workers that are needed and do not run. Raises StoreUnavailable or DamagedFile."""
    for device in Jobs(root).devices():
        start_worker(root, device)


def facts(root: Path, device: str) -> dict[str, Any]:
    """Where a device's worker listens: port, key, process id; empty while none runs."""
    try:
        return dict(json.loads(place(root, device).with_suffix(".json").read_text()))
    except (OSError, ValueError):
        return {}


def known_devices(root: Path) -> list[str]:
    """What a worker once found to compute on here, the fastest first; until then the CPU."""
    return list(_found(root)) or ["cpu"]


def fast_precisions(root: Path, device: str) -> list[str]:
    """Precisions below float32 in which a worker found a device to be faster; until one looked, none."""
    return list(_found(root).get(device, ()))


def _found(root: Path) -> dict[str, list[str]]:
    try:
        return dict(json.loads((root / "workers" / DEVICES).read_text()))
    except (OSError, ValueError, TypeError):
        return {}
