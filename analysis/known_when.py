"""What is known when: for every question and block the noise level where it is read best, and that by which half of it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .cells import resampled
from .dynamics import Resamples, curve
from .studies import Study


@dataclass(frozen=True)
class Known:
    """One question read in one block; levels are σ, intervals 95 %."""

    question: str
    block: str
    peak: float
    peak_ci: tuple[float, float]
    half_life: float  # nan where half of it is left at the noisiest level
    half_life_ci: tuple[float, float]
    best: float  # accuracy or R² at the level that is best on validation images
    read: bool  # whether that is shown to be above chance
    validation: float  # what validation images say there


def half_lives(curves: np.ndarray, sigmas: np.ndarray, chance: float) -> np.ndarray:
    """The σ above each curve's highest level where what it has over chance has fallen to half: (B, S), (S,) -> (B,).

    Between two levels it falls evenly in log σ; nan where it does not fall so far.
    """
    x, found = np.log(sigmas), np.full(len(curves), np.nan)
    for row, over in enumerate(curves - chance):
        top = int(over.argmax())
        below = np.flatnonzero(over[top:] <= over[top] / 2)
        if len(below) and over[top] > 0:
            after = top + int(below[0])
            share = (over[after - 1] - over[top] / 2) / (over[after - 1] - over[after])
            found[row] = np.exp(x[after - 1] + share * (x[after] - x[after - 1]))
    return found


def of_curve(correct: np.ndarray, sigmas: np.ndarray, chance: float, resamples: Resamples) -> tuple[float, float, float]:
    """(half-life, low, high) of one curve's answers (R, S, N); a bound that no resample reaches is nan."""
    life = float(half_lives(correct.mean((0, 2))[None], sigmas, chance)[0])
    every = half_lives(resamples.curves(correct), sigmas, chance)
    bounds = np.quantile(np.where(np.isnan(every), np.inf, every), [0.025, 0.975], method="nearest")
    low, high = (float(bound) if np.isfinite(bound) else float("nan") for bound in bounds)
    return life, low, high


def known_when(studies: Mapping[str, Study], labels: str, pooling: str) -> list[Known]:
    """Of the studies by question, every block that was read with this pooling, in network order."""
    found: list[Known] = []
    for question, study in studies.items():
        result, correct, resamples = study.result(labels), study.correct(), resampled(study, labels)
        sigmas = np.asarray([level["sigma"] for level in study.facts["levels"]])
        table = study.table("curve")
        table = table[(table.source == "model") & (table.labels_per_class == labels)]
        for block in study.card.every:
            series = f"model/{block.name}/{pooling}"
            if series not in result["verdicts"]:
                continue
            verdict, right = result["verdicts"][series], correct[f"{labels}/{series}"]
            valid = table[(table.block == block.name) & (table.pooling == pooling)].sort_values("sigma").validation_accuracy.to_numpy()
            top = int(valid.argmax())
            life, *bounds = of_curve(right, sigmas, study.chance, resamples)
            middle, low, _ = curve(right[:, top : top + 1], resamples)
            peak = (float(verdict["peak_ci"][0]), float(verdict["peak_ci"][1]))
            found.append(
                Known(
                    question,
                    block.name,
                    float(verdict["peak_sigma"]),
                    peak,
                    life,
                    (bounds[0], bounds[1]),
                    float(middle[0]),
                    bool(low[0] > study.chance),
                    float(valid[top]),
                )
            )
    return found


def finding(known: list[Known], noisiest: float) -> str:
    """One sentence: for every question its best block, level and half-life."""
    said = []
    for question in dict.fromkeys(one.question for one in known):
        best = max((one for one in known if one.question == question), key=lambda one: one.validation)
        half = (
            f"half of it is gone by σ = {best.half_life:.2g}" if np.isfinite(best.half_life) else f"over half is left at σ = {noisiest:.2g}"
        )
        said.append(f"{question} is read best near σ = {best.peak:.2g} (block {best.block}, {best.best:.0%}), and {half}")
    return f"Of these images {'; '.join(said)}."
