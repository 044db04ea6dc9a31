"""Extraction that adds up running sums over extraction alone, and how alike ridge regression from sums and logistic regression rank cells."""

from __future__ import annotations

from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from scipy.stats import spearmanr

from analysis.passes import add_up, passing
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.streaming import prepare, stream
from analysis.sweeping import sweep

from .measure import Measured, cpu, interleave, measure
from .networks import Work

DIGITS = SweepRequest(head="ridge", labels_per_class=("all",), eps_draws=2, baselines=False)
SHAPES = DIGITS.model_copy(update={"backend": "shapes-ddpm", "dataset": "shapes", "n_train": 1024})
ROUNDS = 5


def run() -> Measured:
    """CPU seconds of reading every block of all labelled images at one σ and adding it up, over those of reading it."""
    torch.set_num_threads(1)
    bench = prepare(DIGITS)
    alone, ours = _sides(bench)
    details = {
        "network": f"{bench.card.name}, the smallest that ships: sums weigh most on it",
        "blocks": len(bench.card.blocks),
        "images": len(bench.train),
        "unit": "CPU seconds, one thread, float32, sums in float64",
        "seconds_of_solving": _solving(bench),
        "shapes_ddpm": _shapes(),
        "ridge_beside_logistic": ranks(DIGITS),
    }
    return measure(cpu(alone), cpu(ours), ROUNDS, lambda cost: cost, details)


def _names(bench: Bench) -> list[str]:
    return [f"{block.name}/1" for block in bench.card.blocks]


def _sides(bench: Bench) -> tuple[Work, Work]:
    """(alone, ours) of a middle level, called once, so that nobody pays for the first call."""
    sigma, names = bench.sigmas[len(bench.sigmas) // 2], _names(bench)

    def alone() -> int:
        return sum(len(features) for _, features in passing(bench, sigma, 0, names, bench.train))

    def ours() -> Any:
        return add_up(bench, sigma, 0, names)

    alone()
    ours()
    return alone, ours


def _solving(bench: Bench) -> float:
    """What comes once a σ and draw, however many images there are: ridge weights of every block at all penalties."""
    sums = add_up(bench, bench.sigmas[0], 0, _names(bench)).values()
    cost = cpu(lambda: [one.ridge() for one in sums])
    return round(median(cost() for _ in range(ROUNDS)), 4)


def _shapes() -> dict[str, float]:
    """The same for a network whose passes are three times as large; one attempt, no target."""
    alone, ours = _sides(prepare(SHAPES))
    attempt = interleave(cpu(alone), cpu(ours), ROUNDS)
    return {"ratio": round(attempt.cost, 4), "control": round(attempt.control, 4)}


def ranks(request: SweepRequest) -> dict[str, Any]:
    """Spearman's rank correlation of test accuracies over the cells of a heat map, the same labelled images and ε for both heads."""
    with TemporaryDirectory() as folder:
        logistic = sweep(request.model_copy(update={"head": "logistic", "label_draws": request.eps_draws}), Store(folder)).table("curve")
    both = [table.set_index(["block", "sigma"]).accuracy for table in (stream(request).curve, logistic)]
    found = spearmanr(both[0], both[1].reindex(both[0].index))
    best = {head: table.idxmax() for head, table in zip(("ridge", "logistic"), both, strict=True)}
    return {
        "cells": len(both[0]),
        "rank_correlation": round(float(found.statistic), 4),
        "best": {head: f"{block} at σ = {sigma:.3g}" for head, (block, sigma) in best.items()},
    }
