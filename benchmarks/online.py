"""A whole grid of probes by this project over the same grid by the way of the research code.

Theirs, as the public code of arXiv 2303.09769 does (FutureXiang/ddae, linear.py): one linear layer a cell, trained by Adam for 15
epochs, the features of every level recomputed in each. Two epochs are timed. The other way (soumik-kanad/diffssl) trains one cell
a run; one cell is timed and counted for all. Written anew here; no line is theirs.

12 blocks × 16 levels of the network trained on CIFAR-10, generated shapes of its size, one draw of ε for ours. Theirs is trained on the
labelled and the validation images of ours; five images are trained on for one that is tested, as in CIFAR-10, and all of them are
read by ours once. Accuracies are of 1,000 test images at three levels, where theirs is trained for all 15 epochs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional

from analysis import probing
from analysis.features import capture, load_x0, pool
from analysis.noise import add_noise
from analysis.planning import Bench, scaling
from analysis.specs import SweepRequest
from analysis.store import Store

from .measure import Attempt, Measured, attempts, cpu, summary

BLOCKS, LEVELS, BATCH, EPOCHS, TIMED, RATE = 12, 16, 64, 15, 2, 1e-3
LABELLED, VALIDATION, TESTED, CHECKED_ON = 2250, 250, 500, 1000  # images
CHECKED = (3, 8, 12)  # levels at which accuracies are compared


def request(tested: int) -> SweepRequest:
    """The grid: the last blocks of the network, in its own order."""
    from analysis import catalog

    blocks = tuple(block.name for block in catalog.card("cifar10-ddpm").blocks[-BLOCKS:])
    return SweepRequest(
        backend="cifar10-ddpm",
        dataset="shapes",
        label_set="shape",
        levels=LEVELS,
        blocks=blocks,
        labels_per_class=("all",),
        n_train=LABELLED,
        n_validation=VALIDATION,
        n_test=tested,
        eps_draws=2,
        baselines=False,
    )


class Online:
    """Linear layers on the pooled maps of some blocks at some levels, trained together while features are computed."""

    def __init__(self, bench: Bench, blocks: Sequence[str], levels: Sequence[int]) -> None:
        self.bench, self.blocks, self.levels = bench, list(blocks), list(levels)
        images = np.concatenate([bench.train, bench.validation])
        self.x0, self.labels = load_x0(bench.dataset, images, bench.model), torch.from_numpy(bench.task("all", 0).values(images))
        torch.manual_seed(0)
        width = {block.name: block.channels for block in bench.card.blocks}
        classes = len(bench.labels.classes)
        self.layers = {(level, name): nn.Linear(width[name], classes) for level in levels for name in blocks}
        self.optimizer = torch.optim.Adam([weight for layer in self.layers.values() for weight in layer.parameters()], RATE)

    def features(self, x0: Tensor, level: int) -> dict[str, Tensor]:
        """Pooled maps of a batch under fresh noise."""
        sigma = torch.full((len(x0),), self.bench.sigmas[level], dtype=torch.float64)
        with torch.no_grad(), capture(self.bench.model, self.blocks, lambda value: pool(value, 1)) as taps:
            return taps(add_noise(x0, sigma, torch.randn_like(x0)), sigma)

    def epoch(self) -> None:
        order = torch.randperm(len(self.x0))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            self.optimizer.zero_grad()
            for level in self.levels:
                for name, value in self.features(self.x0[rows], level).items():
                    functional.cross_entropy(self.layers[level, name](value), self.labels[rows]).backward()
            self.optimizer.step()

    def accuracies(self) -> np.ndarray:
        """(levels, blocks) of the test images."""
        x0, truth = load_x0(self.bench.dataset, self.bench.test, self.bench.model), self.bench.task("all", 0).values(self.bench.test)
        found = np.zeros((len(self.levels), len(self.blocks)))
        for place, level in enumerate(self.levels):
            values = self.features(x0, level)
            for column, name in enumerate(self.blocks):
                with torch.no_grad():
                    found[place, column] = float((self.layers[level, name](values[name]).argmax(1).numpy() == truth).mean())
        return found


def ours(bench: Bench, place: Path, levels: Sequence[int]) -> Bench:
    """Extraction and probes at some levels with one draw of ε, in a store of their own."""
    fresh = Bench(bench.request, Store(place), like=bench)
    names = [series.tensor for series in fresh.series("all")]
    for level in levels:
        sigma = fresh.sigmas[level]
        fresh.extract(sigma, 0)
        probing.fill(fresh.store, fresh.task("all", 0), fresh.reading("model", 0), sigma, names, fresh.head, scaling(fresh.model))
    return fresh


def scores(bench: Bench, levels: Sequence[int]) -> np.ndarray:
    """(levels, blocks) of the test images, of probes that are there."""
    names = [series.tensor for series in bench.series("all")]
    rows = []
    for level in levels:
        task, identity = bench.probe_identity("all", 0, "model", bench.head)
        found = probing.score(bench.store, task, identity, bench.sigmas[level], names)
        rows.append([float(found[name].test.mean()) for name in names])
    return np.asarray(rows)


def run() -> Measured:
    """How many times as much CPU time theirs takes; an attempt times one of the 16 levels, theirs twice."""
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as place:
        bench = Bench(request(TESTED), Store(Path(place) / "bench"))
        blocks, count = list(bench.request.blocks or ()), iter(range(1000))
        turn = iter(np.random.default_rng(0).permutation(LEVELS).tolist() * 10)

        def epochs(level: int) -> float:
            online = Online(bench, blocks, [level])
            return cpu(lambda: [online.epoch() for _ in range(TIMED)])() * EPOCHS / TIMED + cpu(online.accuracies)()

        def once() -> Attempt:
            level = next(turn)
            first = epochs(level)
            mine = cpu(lambda: ours(bench, Path(place) / f"s{next(count)}", [level]))()
            return Attempt(first, epochs(level), mine)

        found = summary(attempts(once), lambda cost: 1 / cost, {})
        whole = Bench(request(CHECKED_ON), Store(Path(place) / "whole"), like=bench)
        checked = Online(whole, blocks, CHECKED)
        for _ in range(EPOCHS):
            checked.epoch()
        mine, theirs = scores(ours(whole, Path(place) / "checked", CHECKED), CHECKED), checked.accuracies()
        one = Online(bench, [blocks[len(blocks) // 2]], [LEVELS // 2])
        alone = cpu(lambda: [one.epoch() for _ in range(TIMED)])() * EPOCHS / TIMED * BLOCKS * LEVELS
        details: dict[str, Any] = found.details | {
            "one_cell_a_run": round(alone / (found.details.get("ours", np.nan) * LEVELS), 1),
            "accuracy_ours": round(float(mine.mean()), 4),
            "accuracy_theirs": round(float(theirs.mean()), 4),
            "best_ours": round(float(mine.max()), 4),
            "best_theirs": round(float(theirs.max()), 4),
            "cells": BLOCKS * LEVELS,
            "labelled": LABELLED + VALIDATION,
            "epochs": EPOCHS,
            "timed_epochs": TIMED,
        }
        holds = bool(mine.mean() >= theirs.mean() and mine.max() >= theirs.max())
        return Measured(found.ratio, found.control, found.runs, details, holds)
