"""What a study says of any of its cells, not only of the headline's: computed when asked from which images were right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from . import dynamics
from .intervals import holm
from .studies import Study
from .verdict import Verdict, describe

Cell = tuple[str, int]  # name of a curve `source/block/pooling`, place of the level


def turns(labels: int | str, wrong: bool, count: int, eps_draws: int) -> tuple[np.ndarray, np.ndarray]:
    """(label draw, ε draw), both (R,), of `count` probes whose draws of ε take turns.

    With all labels the labelled images are the same in every draw: one label draw, unless other labels are `wrong` in each.
    """
    draw = np.arange(count)
    return np.zeros_like(draw) if labels == "all" and not wrong else draw, draw % eps_draws


def draws(study: Study, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """(label draw, ε draw), both (R,), of a study's probes at a number of labels a class."""
    wrong = bool(study.facts["request"].get("label_noise"))
    return turns(labels, wrong, study.result(labels)["draws"], study.facts["receipt"]["eps_draws"])


def resampled(study: Study, labels: str) -> dynamics.Resamples:
    """The bootstrap that the study's own intervals came from."""
    return dynamics.resamples(*draws(study, labels), study.facts["receipt"]["n_test"])


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
    """The best cell, and those that are not shown to be worse.

    `below` says of every cell how far its test accuracy is below the best one's: (difference, low, high), each cell's own 95 %.
    """

    best: Cell
    cells: frozenset[Cell]
    below: Mapping[Cell, tuple[float, float, float]]


def near_best(correct: Mapping[str, np.ndarray], validation: Mapping[str, np.ndarray], resamples: dynamics.Resamples) -> NearBest:
    """The cell that validation images chose, and all that are not significantly worse on test images.

    correct {curve: (R, S, N)}, validation {curve: (S,)}. Paired differences over images, label draws and ε draws, one-sided
    at 5 % with Holm's correction over all cells: where all are as good, all are named
    in 95 of 100 runs.
    """
    best = chosen(validation)
    top = correct[best[0]][:, best[1] : best[1] + 1]
    reference = float(top.mean())
    p_values: dict[Cell, float] = {}
    below: dict[Cell, tuple[float, float, float]] = {}
    for name, right in correct.items():
        gap = reference - right.mean((0, 2))
        unit = np.eye(len(gap) + 1)
        error, freedom = resamples.spread(np.concatenate([top, right], 1)).error(unit[0] - unit[1:])
        far = gap / np.hypot(error, 1 / right.shape[2])  # as if one more image disagreed, as for a gain (dynamics.judge)
        p_values |= {(name, level): float(student.sf(far[level], freedom[level])) for level in range(len(gap))}
        half = student.ppf(0.975, freedom) * error
        below |= {
            (name, level): (float(gap[level]), float(gap[level] - half[level]), float(gap[level] + half[level]))
            for level in range(len(gap))
        }
    corrected = zip(p_values, holm(list(p_values.values())), strict=True)
    return NearBest(best, frozenset({best, *(cell for cell, p_value in corrected if p_value >= dynamics.LEVEL)}), below)


def chosen(validation: Mapping[str, np.ndarray]) -> Cell:
    """The cell that validation images chose: {curve: (S,)} accuracies, of equal ones the first."""
    every = ((name, level) for name in validation for level in range(len(validation[name])))
    return max(every, key=lambda cell: float(np.nan_to_num(validation[cell[0]][cell[1]], nan=-np.inf)))


def on_validation(study: Study, labels: str, pooling: str | None = None) -> dict[str, np.ndarray]:
    """Validation accuracies (S,) of the model's curves at a number of labels a class, of one pooling or of all."""
    table = study.table("curve")
    table = table[(table.source == "model") & (table.labels_per_class == labels)].sort_values("sigma")
    table = table if pooling is None else table[table.pooling == pooling]
    return {f"model/{block}/{pool}": rows.validation_accuracy.to_numpy() for (block, pool), rows in table.groupby(["block", "pooling"])}


def near_best_of(study: Study, labels: str, pooling: str | None = None) -> NearBest:
    """`near_best` of the model's cells in a study, of one pooling, or of all as one family."""
    found = on_validation(study, labels, pooling)
    right = study.correct()
    return near_best({name: right[f"{labels}/{name}"] for name in found}, found, resampled(study, labels))
