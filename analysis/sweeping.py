"""A sweep, end to end: extract, probe, judge, and write it down as a study."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from . import ensembles, ensembling, gauge, joint
from .backends.base import NOWHERE
from .combining import combine
from .crew import Between, Crew, check_same, own_device, still_wanted
from .devices import settle
from .engines import open_crew
from .planning import Bench
from .remote import open_store
from .report import report
from .resolving import coarse_first
from .series import Point
from .specs import SweepRequest
from .store import Store
from .studies import ENSEMBLES, GAUGE, Study
from .x0 import encode

Progress = Callable[[int, int, str], None]
News = Callable[[list[Point]], None]
log = logging.getLogger(__name__)


class Cells(NamedTuple):
    """A unit of work: every cell at one σ with one ε draw."""

    sigma: float
    eps_draw: int

    def extract(self, bench: Bench, between: Between = still_wanted) -> int:
        """As `Bench.extract`."""
        return bench.extract(self.sigma, self.eps_draw, between)

    def fill(self, bench: Bench, between: Between = still_wanted) -> tuple[int, list[Point]]:
        """As `Bench.fill`."""
        return bench.fill(self.sigma, self.eps_draw, between)


class Latents(NamedTuple):
    """A unit of work: some images are encoded."""

    ids: tuple[int, ...]
    sigma: float = 0.0

    def extract(self, bench: Bench, between: Between = still_wanted) -> int:
        """Encode what the store lacks, and what the network is told; 0, for no image passes the network."""
        if bench.device != NOWHERE:
            bench.model.told(bench.request.condition)
        encode(bench.store, bench.model, bench.dataset, np.array(self.ids, np.uint64), between)
        return 0

    def fill(self, bench: Bench, between: Between = still_wanted) -> tuple[int, list[Point]]:
        """As `extract`."""
        return self.extract(bench, between), []


ENCODED = 128  # images a unit
Unit = Cells | Latents | ensembling.Member | joint.Joint


@lru_cache(maxsize=1)
def _bench(request: str, place: str, device: str, batch_size: int, of: tuple[str, ...]) -> Bench:
    """The crew's own bench, kept between the units of a sweep; of the model, the data and the encoders of these identities.

    Raises InvalidData where those of this machine are others.
    """
    torch.set_num_threads(1)
    settle(device)
    bench = Bench(SweepRequest.model_validate_json(request), open_store(place), device, batch_size)
    check_same((bench.card.identity, bench.dataset.identity), of[:2], f"{bench.request.backend} or {bench.request.dataset}")
    return bench


def _extract(request: str, place: str, device: str, batch_size: int, of: tuple[str, ...], unit: Unit) -> int:
    return unit.extract(_bench(request, place, own_device() or device, batch_size, of))


def _fill(request: str, place: str, device: str, batch_size: int, of: tuple[str, ...], unit: Unit) -> tuple[int, list[Point]]:
    return unit.fill(_bench(request, place, device, batch_size, of))


def sweep(
    request: SweepRequest,
    store: Store | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    progress: Progress | None = None,
    engine: str = "processes",
    address: str | None = None,
) -> Study:
    """Carry out a request and return its study, which is also kept in the store.

    What the store already has is not computed again. Noise levels come coarse first. `processes` single-threaded
    workers share the units; 0 works in this process, and needs no guard around a script's main part. `engine` and `address` are as in
    `engines.open_crew`: Ray's actors and torchrun's ranks each have the device that is theirs. With processes, and `cuda` on a
    machine with several GPUs, one more process a GPU extracts.
    """
    with open_crew(engine, processes, address, device=device) as crew:
        return carry_out(Bench(request, store or Store(), crew.device or device, batch_size), crew, progress=progress)


def sweep_all(
    requests: Sequence[SweepRequest],
    store: Store | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    progress: Progress | None = None,
    notice: Callable[[str], object] = log.warning,
    engine: str = "processes",
    address: str | None = None,
) -> list[Study]:
    """A study of each request, in their order; all are looked through before the first is carried out.

    What does not go together is left out, and what comes to the same study is made once (`combining.combine`): `notice` is told which,
    in a sentence. What one computes the next finds stored: heads, label sets and regimes of the same images take no pass twice.
    """
    there = store or Store()
    with open_crew(engine, processes, address, device=device) as crew:
        combined = combine(requests, lambda request, like: Bench(request, there, crew.device or device, batch_size, like))
        if combined.said:
            notice(combined.said)
        return [carry_out(bench, crew, progress=progress) for bench in combined.benches]


def carry_out(
    bench: Bench, crew: Crew, *, between: Between = still_wanted, progress: Progress | None = None, news: News | None = None
) -> Study:
    """The study of a bench's request; `between` is called between two batches, `news` tells what the probes of a unit say."""
    started = time.perf_counter()
    passes = 0
    order, draws = coarse_first(len(bench.sigmas)), range(bench.request.eps_draws)
    units = [Cells(bench.sigmas[i], draw) for i in order for draw in draws]
    if bench.request.input == "clean":  # draws share their features: two at work on one σ at once would both extract them
        units = [Cells(bench.sigmas[i], draw) for draw in draws for i in order]
    for level in bench.levels[len(bench.sigmas) :]:  # clean images: as far apart as can be, for the same reason
        units = [Cells(level, 0), *units, *(Cells(level, draw) for draw in draws[1:])]
    later = joint.units(bench)
    encoding = _latents(
        bench
    )  # all levels read them: one that is at work encodes for the others, and the first of all opens the text encoders
    for part in filter(None, (encoding[:1], encoding[1:])):
        for _ in _work(bench, part, crew, between):
            if progress:
                progress(0, len(units) + later, "images are encoded")
    for done, (sigma, count, points) in enumerate(_work(bench, units, crew, between), start=1):
        passes += count
        if news:
            news(points)
        if progress:
            progress(done, len(units) + later, f"σ = {sigma:.3g}" if sigma else "clean images")
    errors = gauge.collect(bench.store, bench.errors, bench.sigmas, bench.held_out) if len(bench.held_out) else None
    extra: dict[str, bytes] = {GAUGE: errors} if errors else {}
    more: dict[str, Any] = {}
    if bench.request.ensemble:
        plans = [ensembling.choose(bench, per_class) for per_class in bench.request.labels_per_class]
        members, joints = ensembling.members(plans), joint.joints(bench, plans)
        for done, (sigma, count, _) in enumerate(_work(bench, members, crew, between), start=len(units) + 1):
            passes += count
            if progress:
                progress(done, len(units) + len(members) + len(joints), f"ensemble, σ = {sigma:.3g}")
        for done, _ in enumerate(_work(bench, joints, crew, between), start=len(units) + len(members) + 1):
            if progress:
                progress(done, len(units) + len(members) + len(joints), "ensemble, cells read together")
        extra[ENSEMBLES], more["ensembles"] = ensembles.collect(bench, plans)
    spent = {"passes": passes, "seconds": round(time.perf_counter() - started, 1), **crew.facts}

    def finish() -> Study:
        study = report(bench, spent, extra, more)
        bench.store.publish(study.folder)
        return study

    return crew.once(finish)


def _latents(bench: Bench) -> list[Latents]:
    """The units that encode every image of a sweep, for a model of latents."""
    if bench.card.space == "pixel":
        return []
    ids = bench.encoded
    return [Latents(tuple(ids[start : start + ENCODED].tolist())) for start in range(0, len(ids), ENCODED)]


def _work(bench: Bench, units: Sequence[Unit], crew: Crew, between: Between) -> Iterator[tuple[float, int, list[Point]]]:
    """(σ, passes, points) of every unit. On the CPU the crew extracts too; elsewhere this process does, which holds the model, or
    those of the crew that have a device each.
    """
    if crew.count == 0:
        for unit in units:
            yield unit.sigma, *unit.fill(bench, between)
        return
    if crew.inside:
        for (unit,), (count, points) in crew.run(lambda unit: unit.fill(bench, between), ((unit,) for unit in units)):
            yield unit.sigma, count, points
        bench.store.refresh()
        return
    passes: dict[Unit, int] = {}

    of = (bench.card.identity, bench.dataset.identity, *(encoder.identity for encoder in bench.encoders))
    devices = crew.devices

    def call(unit: Unit, device: str) -> tuple[Any, ...]:
        return bench.request.canonical(), bench.store.place, device, bench.settings["batch_size"], of, unit

    def calls() -> Generator[tuple[Any, ...]]:
        if devices:
            for (*_, unit), count in devices.run(_extract, (call(unit, devices.device or "cpu") for unit in units), between):
                passes[unit] = count
                yield call(unit, NOWHERE)
            return
        for unit in units:
            if bench.device != "cpu":
                passes[unit] = unit.extract(bench, between)
            yield call(unit, "cpu" if bench.device == "cpu" else NOWHERE)

    given = calls()
    try:
        for (*_, unit), (count, points) in crew.run(_fill, given, between):
            yield unit.sigma, passes.get(unit, 0) + count, points
    finally:
        given.close()  # what the devices are at is dropped with the rest
    bench.store.refresh()
