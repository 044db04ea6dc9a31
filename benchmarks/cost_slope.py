"""How extraction grows with images and with noise levels, with the number of blocks, and how its memory grows with images.

Seconds are this process's own CPU time with one thread, model and data opened before: other processes do not count, but they crowd
caches, so sizes are gone through upwards and back down, which cancels a drift, and the second half over the first is the control.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from analysis.backends.base import Backend
from analysis.datasets import open_dataset
from analysis.features import extract
from analysis.specs import FeatureIdentity
from analysis.store import Store

from .cost_child import write
from .measure import Attempt, Measured, attempts, cpu, measure, summary
from .networks import flops, large, small
from .patterns import registered

IMAGES, LEVELS, FEW = (512, 2048, 8192), (1, 4, 16), 256  # `FEW` images at several levels
MEMORY = (1_000, 100_000)
ALL_OVER_ONE, GROWTH = 1.03, 1.1
BATCH, ROUNDS = 64, 3
WHAT = "a Parquet file of 16×16 images, decoded, and every block of a network of 16 channels extracted at one level"

Extraction = Callable[[int, int], Any]  # of so many images at so many levels


def extraction(backend: Backend, images: int, batch: int, store: Store, blocks: Sequence[str] | None = None) -> Extraction:
    """What is extracted into the store, a level at a time as in a sweep; each time with a draw of ε of which nothing is there."""
    with registered(images) as name:
        data = open_dataset(name, backend.card.resolution)
    names = [f"{block}/1" for block in blocks or [block.name for block in backend.card.blocks]]
    settings = {"batch_size": batch, "device": "cpu", "threads": 1, "memory_format": "channels_last"}
    draws = count()

    def work(images: int, levels: int) -> None:
        identity = FeatureIdentity(
            backend=backend.card.identity, condition=backend.card.unconditional, dataset=data.identity, draw=next(draws)
        )
        for sigma in backend.schedule.spread(levels) if levels > 1 else backend.card.sigmas[:1]:
            extract(store, backend, backend, data, identity, names, [sigma], data.ids[:images], settings)

    return work


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of log seconds over log sizes, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def climb(sizes: Sequence[int], cost: Callable[[int], float]) -> Attempt:
    """Once upwards and once back down; what the attempt costs is the slope of both together."""
    up = [cost(size) for size in sizes]
    down = [cost(size) for size in reversed(sizes)][::-1]
    first, second = sum(up), sum(down)
    return Attempt(first, second, slope(sizes, np.add(up, down).tolist()) * (first + second) / 2)


def run() -> Measured:
    """The larger distance from 1 of the slopes over images and over levels; blocks and memory have to hold beside it."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"NOISESCOPE_STORE": f"{folder}/store"}):
        backend, place = small(), Path(folder)
        work = extraction(backend, max(IMAGES), BATCH, Store(place / "slopes"))
        work(FEW, 2)  # nobody pays for the first call
        slopes = {
            "images": summary(attempts(lambda: climb(IMAGES, lambda n: cpu(lambda: work(n, 1))())), lambda cost: cost, {}),
            "levels": summary(attempts(lambda: climb(LEVELS, lambda n: cpu(lambda: work(FEW, n))())), lambda cost: cost, {}),
        }
        whole, growth = blocks(place / "blocks"), memory(place / "memory")
    return both(slopes, whole, growth)


def both(slopes: dict[str, Measured], whole: Measured, growth: dict[str, Any]) -> Measured:
    """One result of the four: the slope that is farther from 1, and whether the other promises hold."""
    known = {name: abs(one.ratio - 1) for name, one in slopes.items() if one.ratio is not None}
    worst = max(known, key=lambda name: known[name]) if known else next(iter(slopes))
    details = {
        "network": "digits-ddpm, every block, pooled, from pixels to the file in the store",
        "unit": "CPU seconds of one thread, model and data opened before",
        "images": IMAGES,
        "levels": LEVELS,
        "images_at_several_levels": FEW,
        **{f"slope_over_{name}": _said(one) for name, one in slopes.items()},
        "all_blocks_over_the_last_alone": {"at_most": ALL_OVER_ONE, **_said(whole)},
        "memory": {"at_most": GROWTH, **growth},
    }
    return replace(
        slopes[worst],
        ratio=round(known[worst], 4) if len(known) == len(slopes) else None,
        details=details | {"runs_are_of": f"the slope over {worst}"},
        holds=whole.ratio is not None and whole.ratio <= ALL_OVER_ONE and growth["ratio"] <= GROWTH,
    )


def _said(one: Measured) -> dict[str, Any]:
    return {"ratio": one.ratio, "control": one.control, **one.details}


def blocks(place: Path) -> Measured:
    """CPU seconds of extracting every block over those of the last one alone, which is as long a pass."""
    backend = large()
    last = backend.card.blocks[-1].name
    alone, every = (extraction(backend, 16, 8, Store(place / name), chosen) for name, chosen in (("one", [last]), ("all", None)))
    alone(16, 1), every(16, 1)
    facts = {"gflop_per_image": round(flops(backend) / 1e9, 2), "blocks": len(backend.card.blocks)}
    return measure(cpu(lambda: alone(16, 1)), cpu(lambda: every(16, 1)), ROUNDS, lambda cost: cost, facts)


def memory(place: Path) -> dict[str, Any]:
    """The highest resident set of a fresh process that decodes and extracts so many images, by how many, and the last over the first."""
    place.mkdir(parents=True)
    peaks = {}
    for images in MEMORY:
        table = write(place / f"{images}.parquet", images)
        words = [sys.executable, "-m", "benchmarks.cost_child", str(table)]
        environment = os.environ | {"NOISESCOPE_STORE": str(place / str(images)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        peaks[images] = int(done.stdout.split()[-1])
    least, most = peaks[MEMORY[0]], peaks[MEMORY[-1]]
    return {"ratio": round(most / least, 4), "peak_bytes": peaks, "unit": "bytes, highest resident set", "what": WHAT}
