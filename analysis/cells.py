"""What a study says of any of its cells, not only of the headline's: computed when asked from which images were right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from . import dynamics
from .studies import Study
from .verdict import Verdict, describe

Cell = tuple[str, int]  # name of a curve `source/block/pooling`, place of the level


def resampled(study: Study, labels: str) -> dynamics.Resamples:
    """The bootstrap that the study's own intervals came from."""
    result, receipt = study.result(labels), study.facts["receipt"]
    draw = np.arange(result["draws"])
    return dynamics.resamples(
        np.zeros_like(draw) if labels == "all" and not study.facts["request"].get("label_noise") else draw,
        draw % receipt["eps_draws"],
        receipt["n_test"],
    )


def of_block(study: Study, labels: str, series: str) -> dict[str, Any]:
    """The study's result at a number of labels a class, as if another of the model's curves were the headline.

    Its p-value is the one corrected for all blocks, because the block was not chosen on validation images.
    """
    result = dict(study.result(labels))
    if series == result["headline"]:
        return result
    verdict = Verdict(**result["verdicts"][series])
    right = study.correct()[f"{labels}/{series}"]
    resamples = resampled(study, labels)
    short = dict(result["short"])
    for what, compute in (("curves", dynamics.curve), ("changes", dynamics.change)):
        short[what] = {**short[what], "model": [row.tolist() for row in compute(right, resamples)]}
    short["series"] = {**short["series"], "model": series}
    sentence = describe(verdict, series.split("/")[1], measure=study.measure)
    return result | {"headline": series, "verdict": verdict.to_dict(), "sentence": sentence, "short": short}


@dataclass(frozen=True)
class NearBest:
    """The best cell, and those that are not shown to be worse."""

    best: Cell
    cells: frozenset[Cell]


def near_best(correct: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray], resamples: dynamics.Resamples) -> NearBest:
    """The cell that validation images chose, and all that are not significantly worse on test images.

    correct {curve: (R, S, N)}, validation {curve: (S,)}. Paired differences over images, label draws and ε draws, one-sided
    at 5 % with S. Holm's correction (Scand. J. Statist. 6 (1979) 65) over all cells: where all are as good, all are named
    in 95 of 100 runs.
    """
    best = max(
        ((name, level) for name in validation for level in range(len(validation[name]))), key=lambda cell: validation[cell[0]][cell[1]]
    )
    top = resamples.curves(correct[best[0]])[:, best[1]]
    reference = float(correct[best[0]][:, best[1]].mean())
    p_values: dict[Cell, float] = {}
    for name, right in correct.items():
        gap = reference - right.mean((0, 2))
        spread = (top[:, None] - resamples.curves(right)).std(0) + 1e-9
        p_values |= {(name, level): float(student.sf(gap[level] / spread[level], resamples.freedom)) for level in range(len(gap))}
    near, running = {best}, 0.0
    for rank, cell in enumerate(sorted(p_values, key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[cell])
        if running >= dynamics.LEVEL:
            near.add(cell)
    return NearBest(best, frozenset(near))


def near_best_of(study: Study, labels: str, pooling: str) -> NearBest:
    """`near_best` of the model's cells of one pooling in a study."""
    table = study.table("curve")
    table = table[(table.source == "model") & (table.labels_per_class == labels) & (table.pooling == pooling)].sort_values("sigma")
    found = {f"model/{block}/{pooling}": rows.validation_accuracy.to_numpy() for block, rows in table.groupby("block")}
    right = study.correct()
    return near_best({name: right[f"{labels}/{name}"] for name in found}, found, resampled(study, labels))
