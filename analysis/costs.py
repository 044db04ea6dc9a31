"""What a sweep will cost before it starts: counted from the store, timed on one batch and one probe a pooling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil

from . import ensembling, gauge, joint, probing
from .devices import several
from .encoders.base import Encoder
from .ensemble_words import OWN
from .features import HELD
from .planning import DRAWN, Bench
from .specs import FeatureIdentity, ProbeIdentity
from .store import UNIT_IMAGES
from .timing import encoder_pass, timed_fusion, timed_parts
from .timing import encoding as encoding_pass
from .x0 import lacking

WIDE = 32  # how many times its input an encoder takes at its widest: measured 31 for ResNet-50 and 17 for ViT-B/16 at 224 pixels
BYTES = 4
PROCESS = 420_000_000  # bytes of a process with a small model and data open, and one pass made: measured 400 to 420 million on Linux
COPIES = 4  # of a unit's features while they are read and written: measured 4.1


@dataclass(frozen=True)
class Cost:
    """Of what is not stored yet; `passes` and `fits` are of one image and one probe, `share` is how much is there already.

    `encoder_passes` are those of baseline encoders, which are no passes of the model, and `encoder_seconds` what they take of `seconds`.
    `fusions` are networks that learn to read several cells together, each of every penalty, and no fits; likewise `fusion_seconds`.
    """

    seconds: float
    memory: int  # bytes, all processes together
    disk: int  # bytes
    passes: int
    fits: int
    share: float
    levels: tuple[float, ...]
    free_disk: int
    free_memory: int
    encoder_passes: int = 0
    encoder_seconds: float = 0.0
    fusions: int = 0
    fusion_seconds: float = 0.0

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
    encoded: Counter[str] = field(default_factory=Counter)  # passes of each encoder, by its name
    encoded_done: int = 0
    fusions: int = 0
    fusions_done: int = 0


def count(bench: Bench) -> Count:
    """What a request takes, and what of it is stored."""
    found = Count()
    for sigma in bench.levels:
        for draw in range(bench.request.eps_draws):
            _features(bench, sigma, draw, found)
            _probes(bench, sigma, draw, found)
    for sigma in bench.sigmas:
        missing = sum(len(part) for _, part in bench.store.missing("errors", bench.errors, sigma, [gauge.NAME], bench.held_out))
        found.passes += missing
        found.passes_done += len(bench.held_out) - missing
        found.disk += missing * BYTES
    if bench.request.ensemble:
        (_members if found.fits == 0 else _foreseen)(bench, found)
    return found


def _members(bench: Bench, found: Count) -> None:
    """Ensembles, where the sweep's own probes are there: what validation images choose is known."""
    plans = [ensembling.choose(bench, per_class) for per_class in bench.request.labels_per_class]
    for member in ensembling.members(plans):
        names, ids = member.wanted(bench)
        for features in bench.reading("model", member.eps_draw).features:
            _lacking(bench, features, member.sigma, "model", names, ids, found)
        probes: dict[str, tuple[ProbeIdentity, set[str]]] = {}  # with all labels every draw's are the same
        for _, identity, tensors in member.probes(bench):
            probes.setdefault(identity.key(), (identity, set()))[1].update(tensors)
        for identity, wanted in probes.values():
            _fits(bench, identity, member.sigma, "model", sorted(wanted), found)
    for one in joint.joints(bench, plans):
        if one.variant == OWN:
            _fits(bench, one.identity(bench), one.sigma, "model", [one.name], found)
        else:
            there = one.there(bench)
            found.fusions += not there
            found.fusions_done += there
            found.disk += 0 if there else _kept(bench, 0) + 2 * BYTES * sum(width(bench, "model", name) for name, _, _ in one.cells)


def _foreseen(bench: Bench, found: Count) -> None:
    """Ensembles, where the sweep is still to come: as if each number of labels a class had levels of its own, of the widest block."""
    request, count = bench.request, bench.request.ensemble
    swept = [bench.wanted(bench.sigmas[0], eps)["model"][1] if eps < request.eps_draws else bench.test[:0] for eps in range(count)]
    for per_class in request.labels_per_class:
        tensors = [series.tensor for series in bench.series(per_class) if series.source == "model"]
        widest = max(width(bench, "model", name) for name in tensors)
        wanted = ensembling.images(bench, [per_class])
        passes = count * request.average_draws * sum(int((~np.isin(wanted, held)).sum()) for held in swept)
        tasks = [bench.task(per_class, draw) for draw in range(ensembling.draws(bench, per_class))]
        done = {bench.probe_identity(per_class, draw, "model", bench.head)[1].key() for draw in range(request.draws(per_class))}
        every = {bench.identify(task, "model", bench.head, eps).key() for task in tasks for eps in range(count)}
        turns = {bench.identify(task, "model", bench.head, draw % count).key() for draw, task in enumerate(tasks)}
        blocks = min(ensembling.BLOCKS, count, len(request.blocks or ()))
        alone, beside = count * len(every - done), 2 * len(turns) if blocks > 1 else 0  # under one ε, and under one each
        found.passes += passes
        found.fits += alone + beside
        found.disk += passes * widest * BYTES + alone * _kept(bench, widest) + beside * _kept(bench, blocks * widest)
        if request.fuse:
            maps = fused_width(bench)
            again = (
                0 if str(request.fuse) in request.poolings else count * min(count, request.eps_draws) * len(wanted) * request.average_draws
            )
            found.passes += again  # for maps that the sweep itself does not keep
            fusions = len(turns) + len({bench.identify(task, "model", bench.head, 0).key() for task in tasks})  # and of draws at one level
            found.fusions += fusions
            found.disk += BYTES * maps * (passes + again) + fusions * (_kept(bench, 0) + 2 * BYTES * count * maps)


def fused_width(bench: Bench) -> int:
    """How many numbers the maps of a fusion's blocks have at one level, where they are the widest."""
    widths = sorted(bench.model.block(name).width(str(bench.request.fuse)) for name in bench.request.blocks or ())
    return sum(widths[-min(ensembling.BLOCKS, bench.request.ensemble) :])


def fusing(bench: Bench) -> tuple[int, float]:
    """How many networks learn to read several cells together, of what is not stored, and their seconds on one core."""
    found = count(bench).fusions
    return found, found * timed_fusion(bench)[0] if found else 0.0


def _features(bench: Bench, sigma: float, draw: int, found: Count) -> None:
    for source, (tensors, ids) in bench.wanted(sigma, draw).items():
        if draw and bench.clean(source):
            continue  # all draws share one
        for identity in bench.reading(source, draw).features:
            _lacking(bench, identity, sigma, source, tensors, ids, found)


def _lacking(
    bench: Bench, identity: FeatureIdentity, sigma: float, source: str, tensors: Sequence[str], ids: np.ndarray, found: Count
) -> None:
    lacking = bench.store.missing("features", identity, sigma, tensors, ids)
    found.disk += sum(len(part) * sum(width(bench, source, name) for name in group) * BYTES for group, part in lacking)
    missing, opened = sum(len(part) for _, part in lacking), bench.sources[source]
    if not isinstance(opened, Encoder):
        found.passes += missing
        found.passes_done += max(0, len(ids) - missing)
    elif opened.parameters:
        found.encoded[opened.name] += missing
        found.encoded_done += len(ids) - missing


def _probes(bench: Bench, sigma: float, draw: int, found: Count) -> None:
    for per_class, label_draw, source, head, tensors in bench.cells(sigma, draw):
        _, identity = bench.probe_identity(per_class, label_draw, source, head)
        _fits(bench, identity, sigma, source, tensors, found)


def _fits(bench: Bench, identity: ProbeIdentity, sigma: float, source: str, tensors: Sequence[str], found: Count) -> None:
    done = {name for unit in bench.store.units("probes", identity, sigma) for name in unit.names}
    lacking = [name for name in tensors if f"{name}/logits" not in done]
    found.fits += len(lacking)
    found.others += len(lacking) if source in ("baseline", "clean") else 0
    found.fits_done += len(tensors) - len(lacking)
    found.disk += sum(_kept(bench, sum(width(bench, source, part) for part in probing.cells_of(name))) for name in lacking)


def _kept(bench: Bench, width: int) -> int:
    """Bytes of one probe of features that have so many numbers."""
    rows, classes = len(bench.validation) + len(bench.test), len(bench.labels.classes)
    return 2 * rows * classes + BYTES * (classes + 2) * width


def width(bench: Bench, source: str, tensor: str) -> int:
    """How many numbers a tensor has for one image."""
    block, _, pooling = tensor.rpartition("/")
    opened = bench.sources[source]
    if isinstance(opened, Encoder):
        return opened.dimension(*bench.card.x0_shape[:2])
    return bench.model.block(block).width(pooling)


def estimate(bench: Bench, processes: int) -> Cost:
    """What a request will cost on this machine with so many single-threaded processes."""
    found = count(bench)
    timed = timed_parts(bench)
    workers = max(1, processes)
    encoding = sum(found.encoded[encoder.name] * encoder_pass(bench, encoder) for encoder in bench.encoders if found.encoded[encoder.name])
    passing = found.passes * timed.passing + encoding
    if latents := lacking(bench.store, bench.model, bench.dataset, bench.encoded):
        passing += latents * encoding_pass(bench)
    each, held = timed_fusion(bench) if found.fusions else (0.0, 0)
    fusing = found.fusions * each
    fitting = (found.fits - found.others) * timed.probe + found.others * timed.other + fusing
    gpus = len(several(bench.device)) if processes else 0  # that share the passes
    seconds = (passing + fitting) / workers if bench.device == "cpu" else max(passing / max(1, gpus), fitting / workers)
    encoded = found.encoded.total()
    done = found.passes_done + found.fits_done + found.encoded_done + found.fusions_done
    total = found.passes + found.fits + encoded + found.fusions + done
    return Cost(
        seconds=seconds,
        memory=psutil.Process().memory_info().rss + workers * process_memory(bench, max(timed.memory, held), found.fusions > 0),
        disk=found.disk,
        passes=found.passes,
        fits=found.fits,
        share=done / total if total else 1.0,
        levels=bench.sigmas,
        free_disk=psutil.disk_usage(str(bench.store.root if bench.store.root.exists() else bench.store.root.anchor)).free,
        free_memory=psutil.virtual_memory().available,
        encoder_passes=encoded,
        encoder_seconds=encoding,
        fusions=found.fusions,
        fusion_seconds=fusing,
    )


def process_memory(bench: Bench, fitting: int, fuses: bool = False) -> int:
    """Bytes that one process of the crew has for itself at most, where a probe takes so many beside its features.

    Images in memory count, a mapped file does not: it stays on the disk. What is taken to extract a unit is free again for its probes.
    """
    request, batch = bench.request, int(bench.settings["batch_size"])  # type: ignore[call-overload]
    rows = max(len(bench.task(labels, 0).train) for labels in request.labels_per_class) + len(bench.validation) + len(bench.test)
    widths, units = [], []
    for source, (tensors, ids) in bench.wanted(bench.sigmas[0], 0).items():
        own = [width(bench, source, tensor) for tensor in tensors]
        widths.append(own)
        units.append(BYTES * sum(own) * min(UNIT_IMAGES, len(ids)))
    widest = max(map(max, widths)) * (min(ensembling.BLOCKS, len(request.blocks or ())) if request.ensemble else 1)  # blocks side by side
    widest = max(widest, request.ensemble * fused_width(bench) if fuses else 0)
    images = bench.dataset.images
    # A batch's maps, x_0 and ε as they are made, and a unit's features as they are read and written.
    maps = batch * sum(block.channels * (bench.card.resolution // block.stride) ** 2 for block in bench.card.blocks) * BYTES
    extracted = maps + 3 * max(HELD, BYTES * batch * images[0].size) + COPIES * max(units)
    # Cells that wait to be fitted together; one cell's features, scaled, and what a solver keeps.
    probed = min(probing.WAITING, BYTES * rows * max(map(sum, widths))) + 3 * BYTES * rows * widest + fitting
    encoders = sum(encoder.parameters + batch * WIDE * 3 * encoder.pixels for encoder in bench.encoders) * BYTES
    held = 0 if isinstance(images, np.memmap) else images.nbytes
    if request.input == "noisy":
        held += min(
            DRAWN, BYTES * request.eps_draws * images[0].size * max(len(ids) for _, ids in bench.wanted(bench.sigmas[0], 0).values())
        )
    return PROCESS + 2 * bench.card.parameter_bytes + encoders + held + max(extracted, probed)  # weights also of the random twin
