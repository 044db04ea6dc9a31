"""What the parts of a sweep take on this machine: one pass and one probe, timed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import ensembling, probing, registry, trained
from .devices import too_little
from .encoders.base import Encoder
from .errors import NoisescopeError
from .features import load_x0, pooling_side, read_features
from .fusing import Fusion
from .heads.base import Foreseen, ProbeHead, Scaler
from .noise import noise_like
from .planning import Bench, scaling

PATIENCE = 15.0  # seconds that finding out what it costs may take of passes
TIMED = 256  # labelled images that a timed probe is fitted on, at most
FEW = 8  # images in an encoder's timed batch: its pass may be thousands of times that of a small model


def encoder_pass(bench: Bench, encoder: Encoder) -> float:
    """Seconds of one pass of an image through an encoder."""
    x0 = load_x0(bench.dataset, bench.test[:FEW], bench.model)
    read_features(encoder, [f"{encoder.name}/flat"], x0, None, bench.sigmas[0], FEW)  # warms caches up
    started = time.perf_counter()
    read_features(encoder, [f"{encoder.name}/flat"], x0, None, bench.sigmas[0], FEW)
    return (time.perf_counter() - started) / len(x0)


@dataclass(frozen=True)
class Timed:
    """Seconds of one pass of an image, of one probe of the model, and of one of pixels; bytes that a probe takes beside its features."""

    passing: float
    probe: float
    other: float
    memory: int


def timed_parts(bench: Bench) -> Timed:
    """In one thread, at the middle noise level; a probe at every pooling on the block of middle width."""
    per_class = bench.request.labels_per_class[0]
    task, sigma = bench.task(per_class, 0), bench.sigmas[len(bench.sigmas) // 2]
    rng = np.random.default_rng(0)
    labelled = bench.labels.values[bench.dataset.rows(task.train)]
    share = max(2, TIMED // len(bench.labels.classes))  # of every class, so that a probe has something to tell apart
    train = np.concatenate([rng.permutation(task.train[labelled == k])[:share] for k in range(len(bench.labels.classes))])
    ids = np.concatenate([train, rng.permutation(task.validation)[:64]])
    tensors = [series.tensor for series in bench.series(per_class) if series.source == "model"]
    passing, values = _timed(bench, tensors, ids[:1], sigma)
    if passing * len(ids) < PATIENCE:
        passing, values = _timed(bench, tensors, ids, sigma)
    else:  # a probe takes as long on numbers drawn at random
        values = {name: torch.from_numpy(rng.normal(size=(len(ids), one.shape[1])).astype(np.float32)) for name, one in values.items()}

    def foresee(head: ProbeHead, tensor: str) -> Foreseen:
        features = values[tensor].numpy()[: len(train)]
        scaled = Scaler.fit(features, scaling(bench.model))(features)
        maps = probing.shaped(head, scaled, pooling_side(tensor.rpartition("/")[2]))
        return head.foresee(maps, bench.labels.values[bench.dataset.rows(train)], len(bench.labels.classes))

    middle = []
    for pooling in bench.request.poolings:
        alike = sorted((name for name in tensors if name.endswith(f"/{pooling}")), key=lambda name: values[name].shape[1])
        middle.append(alike[len(alike) // 2])
    head, linear = registry.get("heads", bench.head)(), registry.get("heads", "logistic")()
    found = [foresee(head, tensor) for tensor in middle]
    probe = float(np.mean([_seconds(bench, one, len(head.penalties)) for one in found]))
    other = probe
    if bench.request.baselines and head.name != linear.name:  # heads of pixels are taken to cost what a logistic one does
        other = _seconds(bench, foresee(linear, middle[0]), len(linear.penalties))
    return Timed(passing, probe, other, max(one.memory for one in found))


def _timed(bench: Bench, tensors: Sequence[str], ids: np.ndarray, sigma: float) -> tuple[float, dict[str, torch.Tensor]]:
    """Seconds of a pass of one image among many, and the features. Raises NoisescopeError where one image is too many for the device."""
    x0 = load_x0(bench.dataset, ids, bench.model, bench.store)
    eps = noise_like(x0, ids.tolist(), bench.request.seed, 0)
    batch = int(bench.settings["batch_size"])  # type: ignore[call-overload]
    said = too_little(bench.device, bench.request.precision)
    batch = _fitting(
        lambda size: read_features(bench.model, tensors, x0[:size], eps[:size], sigma, size, bench.request.condition), batch, said
    )  # and warms caches up
    started = time.perf_counter()
    values = read_features(bench.model, tensors, x0, eps, sigma, batch, bench.request.condition)
    return (time.perf_counter() - started) / len(ids), values


def encoding(bench: Bench) -> float:
    """Seconds in which a VAE encodes one image."""
    load_x0(bench.dataset, bench.test[:1], bench.model)  # opens it
    started = time.perf_counter()
    load_x0(bench.dataset, bench.test[:1], bench.model)
    return time.perf_counter() - started


def timed_fusion(bench: Bench) -> tuple[float, int]:
    """Seconds of one learned fusion, trained at every penalty and scored, as if its blocks were the widest; bytes it takes beside its maps."""
    side, count = bench.request.fuse, bench.request.ensemble
    channels = sorted(bench.model.block(name).channels for name in bench.request.blocks or ())
    shapes = [(one, side, side) for one in channels[-min(ensembling.BLOCKS, count) :]] * count
    head, few, classes = Fusion(shapes), max(2, trained.CELLS // (len(shapes) * side**2)), len(bench.labels.classes)
    few = min(few, head.like.training.batch)
    features = np.random.default_rng(0).normal(size=(few, sum(math.prod(shape) for shape in shapes))).astype(np.float32)
    foreseen = head.foresee(features, np.arange(few) % classes, classes)
    return _seconds(bench, foreseen, len(head.penalties)), foreseen.memory


def _seconds(bench: Bench, foreseen: Foreseen, penalties: int) -> float:
    """Of one probe, fitted and scored, in the mean over the numbers of labels that are asked for."""
    sizes = bench.request.labels_per_class
    fits = np.average([foreseen.fit(len(bench.task(size, 0).train)) for size in sizes], weights=[bench.request.draws(s) for s in sizes])
    return float(fits) + foreseen.score * ((penalties + 1) * len(bench.validation) + len(bench.test))


def _fitting(attempt: Callable[[int], Any], batch: int, said: str) -> int:
    """The batch size, halved until the device has room for it. Raises NoisescopeError with what is said where one image is too many."""
    while True:
        try:
            attempt(batch)
            return batch
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise NoisescopeError(said) from error
            batch //= 2
