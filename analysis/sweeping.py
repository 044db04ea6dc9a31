"""A sweep, end to end: extract, probe, judge, and write it down as a study."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

import torch

from .errors import NoisescopeError
from .planning import CLEAN, Bench, coarse_first
from .report import report
from .specs import SweepRequest
from .store import Store
from .studies import Study

Progress = Callable[[int, int, str], None]


@lru_cache(maxsize=1)
def _bench(request: str, root: Path, device: str, batch_size: int) -> Bench:
    """The worker's own bench, kept between the units of a sweep."""
    torch.set_num_threads(1)
    return Bench(SweepRequest.model_validate_json(request), Store(root), device, batch_size)


def _end_with_parent() -> None:
    """A worker ends when the process that started it has, however that came about."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _fill(request: str, root: Path, device: str, batch_size: int, sigma: float, eps_draw: int) -> int:
    return _bench(request, root, device, batch_size).fill(sigma, eps_draw)


def sweep(
    request: SweepRequest,
    store: Store | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Study:
    """Carry out a request and return its study, which is also kept in the store.

    What the store already has is not computed again. Noise levels come coarse first. `processes` single-threaded
    workers share the units; 0 works in this process, and needs no guard around a script's main part.
    """
    store = store or Store()
    started = time.perf_counter()
    bench = Bench(request, store, device, batch_size)
    request = bench.request
    units = [(bench.sigmas[i], draw) for i in coarse_first(len(bench.sigmas)) for draw in range(request.eps_draws)]
    if request.baselines:
        units += [(CLEAN, draw) for draw in range(request.eps_draws)]
    passes = 0
    for done, (sigma, count) in enumerate(_work(bench, units, processes, device, batch_size), start=1):
        passes += count
        if progress:
            progress(done, len(units), f"σ = {sigma:.3g}" if sigma else "clean pixels")
    return report(bench, {"passes": passes, "seconds": round(time.perf_counter() - started, 1)})


def _work(bench: Bench, units: list[tuple[float, int]], count: int, device: str, batch_size: int) -> Iterator[tuple[float, int]]:
    if count == 0:
        for sigma, draw in units:
            yield sigma, bench.fill(sigma, draw)
        return
    arguments = (bench.request.canonical(), bench.store.root, device, batch_size)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when a worker starts: several with one thread beat one with several
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), _end_with_parent) as pool:
            futures: dict[Future[int], float] = {pool.submit(_fill, *arguments, sigma, draw): sigma for sigma, draw in units}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BrokenProcessPool as error:
                raise NoisescopeError(
                    "A worker process ended unexpectedly, perhaps for want of memory; use fewer --processes and run again."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
