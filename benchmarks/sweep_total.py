"""What a sweep costs beside its forward passes: CPU seconds of passes and probes over those of the passes alone.

The network trained on CIFAR-10 (32×32) on 5,000 generated shapes, every block, all labels. One attempt is one noise level with one draw
of ε: passes of 512 images are timed twice and scaled to 5,000; between the two every block's probe, with all its penalties, is
fitted and scored on the 5,000 images' stored features, read and written as in any sweep.
"""

from __future__ import annotations

import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from analysis import probing
from analysis.planning import Bench, scaling
from analysis.specs import SweepRequest
from analysis.store import Store

from .measure import Attempt, Measured, attempts, cpu, summary

LEVELS, PLACES, TIMED = 16, (2, 8, 13), 512
REQUEST = SweepRequest(
    backend="cifar10-ddpm", dataset="shapes", label_set="shape", levels=LEVELS, labels_per_class=("all",), eps_draws=3, baselines=False
)


def run() -> Measured:
    """Of passes and probes over passes; baselines, bootstrap and report are apart."""
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as place:
        bench = Bench(REQUEST, Store(Path(place) / "stored"))
        parts = [(bench.sigmas[level], draw) for draw, level in enumerate(PLACES)]
        for sigma, draw in parts:
            bench.extract(sigma, draw)
        turn, count = cycle(parts), iter(range(1000))
        images = len(bench.dataset.ids)

        def once() -> Attempt:
            sigma, draw = next(turn)
            before = _passes(bench, sigma, draw, Path(place) / f"a{next(count)}")
            probes = cpu(lambda: _probes(bench, sigma, draw, Path(place) / f"p{next(count)}"))()
            after = _passes(bench, sigma, draw, Path(place) / f"b{next(count)}")
            first, second = (seconds * images / TIMED for seconds in (before, after))
            return Attempt(first, second, (first + second) / 2 + probes)

        task = bench.task("all", 0)
        details: dict[str, Any] = {
            "images": images,
            "labelled": len(task.train),
            "blocks": len(bench.request.blocks or ()),
            "levels": LEVELS,
            "timed_levels": [round(sigma, 4) for sigma, _ in parts],
            "penalties": "as the product's",
            "unit": "CPU seconds of one level and one draw of ε, one thread",
        }
        return summary(attempts(once), lambda cost: cost, details)


def _passes(bench: Bench, sigma: float, draw: int, place: Path) -> float:
    """CPU seconds of extracting 512 images into a store of their own."""
    from analysis.features import extract

    store, identity = Store(place), bench.features("model", draw)
    names = [series.tensor for series in bench.series("all")]
    ids = bench.train[:TIMED]
    return cpu(lambda: extract(store, bench.model, bench.model, bench.dataset, identity, names, [sigma], ids, bench.settings))()


def _probes(bench: Bench, sigma: float, draw: int, place: Path) -> None:
    """Every block's probe, on stored features; results go to a store of their own."""
    names = [series.tensor for series in bench.series("all")]
    store = Both(bench.store, place)
    probing.fill(store, bench.task("all", draw), bench.reading("model", draw), sigma, names, bench.head, scaling(bench.model))


class Both(Store):
    """Features of one store, and probes in a new one, so that they are fitted each time."""

    def __init__(self, features: Store, place: Path) -> None:
        super().__init__(place)
        self._features = features

    def rows(self, kind: Any, *args: Any) -> Any:
        return self._features.rows(kind, *args) if kind == "features" else super().rows(kind, *args)
