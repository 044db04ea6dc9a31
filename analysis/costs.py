"""What a sweep will cost before it starts: counted from the store, timed on one batch and one probe a pooling."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
import torch

from . import gauge, probing, registry
from .encoders.base import Encoder
from .features import load_x0, pooling_side, read_features
from .heads.base import Foreseen, ProbeHead, Scaler
from .noise import noise_like
from .planning import CLEAN, Bench, scaling

TIMED = 256  # labelled images that a timed probe is fitted on, at most
BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Of what is not stored yet; `passes` and `fits` are of one image and one probe, `share` is how much is there already."""

    seconds: float
    memory: int  # bytes, all processes together
    disk: int  # bytes
    passes: int
    fits: int
    share: float
    levels: tuple[float, ...]
    free_disk: int
    free_memory: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Count:
    passes: int = 0
    passes_done: int = 0
    fits: int = 0
    fits_done: int = 0
    others: int = 0  # of the fits, those of pixels, whose heads are their own
    disk: int = 0


def count(bench: Bench) -> Count:
    """What a request takes, and what of it is stored."""
    found = Count()
    for sigma in [*bench.sigmas, *([CLEAN] if bench.request.baselines else [])]:
        for draw in range(bench.request.eps_draws):
            _features(bench, sigma, draw, found)
            _probes(bench, sigma, draw, found)
    for sigma in bench.sigmas:
        missing = sum(len(part) for _, part in bench.store.missing("errors", bench.errors, sigma, [gauge.NAME], bench.held_out))
        found.passes += missing
        found.passes_done += len(bench.held_out) - missing
        found.disk += missing * BYTES
    return found


def _features(bench: Bench, sigma: float, draw: int, found: Count) -> None:
    for source, (tensors, ids) in bench.wanted(sigma, draw).items():
        if draw and bench.clean(source):
            continue  # all draws share one
        lacking = bench.store.missing("features", bench.features(source, draw), sigma, tensors, ids)
        found.disk += sum(len(part) * sum(width(bench, source, name) for name in group) * BYTES for group, part in lacking)
        if not isinstance(bench.sources[source], Encoder):
            missing = sum(len(part) for _, part in lacking)
            found.passes += missing
            found.passes_done += max(0, len(ids) - missing)


def _probes(bench: Bench, sigma: float, draw: int, found: Count) -> None:
    for per_class, label_draw, source, head, tensors in bench.cells(sigma, draw):
        _, identity = bench.probe_identity(per_class, label_draw, source, head)
        done = {name for unit in bench.store.units("probes", identity, sigma) for name in unit.names}
        lacking = [name for name in tensors if f"{name}/logits" not in done]
        found.fits += len(lacking)
        found.others += len(lacking) if isinstance(bench.sources[source], Encoder) else 0
        found.fits_done += len(tensors) - len(lacking)
        rows, classes = len(bench.validation) + len(bench.test), len(bench.labels.classes)
        found.disk += sum(2 * rows * classes + BYTES * (classes + 2) * width(bench, source, name) for name in lacking)


def width(bench: Bench, source: str, tensor: str) -> int:
    """How many numbers a tensor has for one image."""
    block, _, pooling = tensor.rpartition("/")
    if isinstance(bench.sources[source], Encoder):
        return bench.card.image_channels * bench.card.resolution**2
    known = bench.model.block(block)
    side = min(pooling_side(pooling), bench.card.resolution // known.stride)
    return int(known.channels * side**2)


def estimate(bench: Bench, processes: int) -> Cost:
    """What a request will cost on this machine with so many single-threaded processes."""
    found = count(bench)
    timed = _timed(bench)
    workers = max(1, processes)
    passing = found.passes * timed.passing
    fitting = (found.fits - found.others) * timed.probe + found.others * timed.other
    seconds = (passing + fitting) / workers if bench.device == "cpu" else max(passing, fitting / workers)
    # Weights of the model and of its random twin, the images, and one batch of maps: in every process on the CPU.
    images = bench.dataset.images.nbytes
    rows = max(len(bench.task(labels, 0).train) for labels in bench.request.labels_per_class) + len(bench.validation) + len(bench.test)
    widest = max(width(bench, series.source, series.tensor) for series in bench.series(bench.request.labels_per_class[0]))
    one = (
        3 * BYTES * rows * widest  # a cell's features, scaled, and what a solver keeps
        + timed.memory
        + 2 * bench.card.parameter_bytes
        + images
        + 64 * sum(block.channels * (bench.card.resolution // block.stride) ** 2 for block in bench.card.blocks) * BYTES
    )
    total = found.passes + found.passes_done + found.fits + found.fits_done
    return Cost(
        seconds=seconds,
        memory=round(psutil.Process().memory_info().rss + workers * (one + 400e6)),
        disk=found.disk,
        passes=found.passes,
        fits=found.fits,
        share=(found.passes_done + found.fits_done) / total if total else 1.0,
        levels=bench.sigmas,
        free_disk=psutil.disk_usage(str(bench.store.root if bench.store.root.exists() else bench.store.root.anchor)).free,
        free_memory=psutil.virtual_memory().available,
    )


@dataclass(frozen=True)
class Timed:
    """Seconds of one pass of an image, of one probe of the model, and of one of pixels; bytes that a probe takes beside its features."""

    passing: float
    probe: float
    other: float
    memory: int


def _timed(bench: Bench) -> Timed:
    """In one thread, at the middle noise level; a probe at every pooling on the block of middle width."""
    per_class = bench.request.labels_per_class[0]
    task, sigma = bench.task(per_class, 0), bench.sigmas[len(bench.sigmas) // 2]
    rng = np.random.default_rng(0)
    labelled = task.values(task.train)
    share = max(2, TIMED // len(bench.labels.classes))  # of every class, so that a probe has something to tell apart
    train = np.concatenate([rng.permutation(task.train[labelled == k])[:share] for k in range(len(bench.labels.classes))])
    ids = np.concatenate([train, rng.permutation(task.validation)[:64]])
    tensors = [series.tensor for series in bench.series(per_class) if series.source == "model"]
    x0 = load_x0(bench.dataset, ids, bench.model)
    eps = noise_like(x0, ids.tolist(), bench.request.seed, 0)
    batch = int(bench.settings["batch_size"])  # type: ignore[call-overload]
    batch = _fitting(lambda size: read_features(bench.model, tensors, x0[:size], eps[:size], sigma, size), batch)  # and warms caches up
    started = time.perf_counter()
    values = read_features(bench.model, tensors, x0, eps, sigma, batch)
    passing = (time.perf_counter() - started) / len(ids)

    def foresee(head: ProbeHead, tensor: str) -> Foreseen:
        features = values[tensor].numpy()[: len(train)]
        scaled = Scaler.fit(features, scaling(bench.model))(features)
        maps = probing.shaped(head, scaled, pooling_side(tensor.rpartition("/")[2]))
        return head.foresee(maps, task.values(train), len(bench.labels.classes))

    middle = []
    for pooling in bench.request.poolings:
        alike = sorted((name for name in tensors if name.endswith(f"/{pooling}")), key=lambda name: values[name].shape[1])
        middle.append(alike[len(alike) // 2])
    head, linear = registry.get("heads", bench.request.head)(), registry.get("heads", "logistic")()
    found = [foresee(head, tensor) for tensor in middle]
    probe = float(np.mean([_seconds(bench, one, len(head.penalties)) for one in found]))
    other = probe
    if bench.request.baselines and head.name != linear.name:  # heads of pixels are taken to cost what a logistic one does
        other = _seconds(bench, foresee(linear, middle[0]), len(linear.penalties))
    return Timed(passing, probe, other, max(one.memory for one in found))


def _seconds(bench: Bench, foreseen: Foreseen, penalties: int) -> float:
    """Of one probe, fitted and scored, in the mean over the numbers of labels that are asked for."""
    sizes = bench.request.labels_per_class
    fits = np.average([foreseen.fit(len(bench.task(size, 0).train)) for size in sizes], weights=[bench.request.draws(s) for s in sizes])
    return float(fits) + foreseen.score * ((penalties + 1) * len(bench.validation) + len(bench.test))


def _fitting(attempt: Callable[[int], Any], batch: int) -> int:
    """The batch size, halved until the device has room for it."""
    while True:
        try:
            attempt(batch)
            return batch
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2
