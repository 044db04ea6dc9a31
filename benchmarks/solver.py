"""Logistic regression for all cells and penalties of a grid: ours over scikit-learn's, which has some of the cells.

Images are generated shapes, features those of the network trained on them: every block pooled to a grid that gives 256 numbers or
more, of which 256 are taken evenly. Classes are products of labels, with the images that have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from time import process_time
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from analysis import solver
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.features import load_x0, pooling_side, read_features
from analysis.heads.base import Scaler
from analysis.noise import noise_like

from .measure import Attempt, Measured, attempts, cpu, summary

MODEL, BLOCKS, LEVELS, IMAGES, SIZE = "shapes-ddpm", 12, 16, 5000, 256
PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 1, 7))  # as far as the product's own reach
CELLS = {10: 12, 100: 6}  # of scikit-learn, by how many classes
DRAWN = 18_000  # images, of which enough have one of the classes
ALIKE, TIGHT = 4, 1e-6  # cells that scikit-learn fits once more, with a tolerance that brings it within 1e-6 of the optimum
WORSE, GAP, ACCURACY = 1e-6, 1e-6, 1e-3  # objectives, relatively: over scikit-learn's, over the optimum; shares of images


def classes_of(labels: dict[str, np.ndarray], count: int) -> np.ndarray:
    """10 classes of five hues and two textures, or 100 of five shapes, four textures and five hues; -1 for other images."""
    hue, texture, shape = labels["hue"], labels["texture"], labels["shape"]
    if count == 10:
        return np.where((hue < 5) & (texture < 2), hue * 2 + texture, -1)
    return np.where((hue < 5) & (shape < 5), (shape * 4 + texture) * 5 + hue, -1)


@torch.inference_mode()
def cells(classes: int, levels: Sequence[int]) -> Any:
    """(level, block, scaled features (n, 256) of 5,000 labelled images and 1,000 others, labels (n,)) of every block at some levels."""
    model, dataset = open_backend(MODEL), open_dataset(f"shapes:{DRAWN}")
    values = classes_of({name: known.values for name, known in dataset.label_sets.items()}, classes)
    rows = np.flatnonzero(values >= 0)[: IMAGES + IMAGES // 5]
    labels, ids = values[rows], dataset.ids[rows]
    x0 = load_x0(dataset, ids, model)
    eps = noise_like(x0, ids.tolist(), 0, 0)
    sigmas = model.schedule.spread(LEVELS)
    names = [f"{block.name}/{wide(block.channels)}" for block in model.card.blocks[-BLOCKS:]]
    for name in names:
        pooling_side(name.rpartition("/")[2])
    for level in levels:
        found = read_features(model, names, x0, eps, sigmas[level], 64)
        for name in names:
            every = found[name].numpy()
            features = every[:, np.linspace(0, every.shape[1] - 1, SIZE).round().astype(int)]
            yield level, name, Scaler.fit(features[:IMAGES])(features), labels


def wide(channels: int) -> int:
    """The side of the smallest grid that gives enough numbers."""
    return next(side for side in (1, 2, 4, 8) if channels * side**2 >= SIZE)


def ours(x: np.ndarray, y: np.ndarray, classes: int) -> solver.Solution:
    return solver.fit(torch.from_numpy(x[:IMAGES])[None], torch.from_numpy(y[:IMAGES]), classes, PENALTIES)


def theirs(x: np.ndarray, y: np.ndarray, tolerance: float = 1e-4) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and intercepts of every penalty, each fit started from the one before; 1e-4 is scikit-learn's own tolerance."""
    model, found = LogisticRegression(warm_start=True, max_iter=20_000, tol=tolerance), []
    for penalty in PENALTIES:
        model.set_params(C=penalty).fit(x[:IMAGES], y[:IMAGES])
        found.append((model.coef_.copy(), model.intercept_.copy()))
    return found


def objective(x: np.ndarray, y: np.ndarray, weight: np.ndarray, bias: np.ndarray, penalty: float) -> float:
    """Mean loss + ||W||² / (2 C n), in double precision."""
    logits = x[:IMAGES].astype(np.float64) @ weight.T.astype(np.float64) + bias
    top = logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(IMAGES), y[:IMAGES]]
    return float(losses.mean() + (weight.astype(np.float64) ** 2).sum() / (2 * penalty * IMAGES))


def compared(x: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    """The worst of all penalties: objective over scikit-learn's and over the optimum (ours in double precision), and accuracy beside it."""
    found, known = ours(x, y, classes), theirs(x, y)
    tight = solver.fit(torch.from_numpy(x[:IMAGES]).double()[None], torch.from_numpy(y[:IMAGES]), classes, PENALTIES, 1e-11, 1e-9, 5000)
    worst = {"over_sklearn": -1.0, "over_optimum": -1.0, "accuracy": 0.0, "unconverged": float((~found.converged).sum())}
    for place, penalty in enumerate(PENALTIES):
        mine, best = ((one.weight[0, place].double().numpy(), one.bias[0, place].double().numpy()) for one in (found, tight))
        values = [objective(x, y, *one, penalty) for one in (mine, known[place], best)]
        worst["over_sklearn"] = max(worst["over_sklearn"], values[0] / values[1] - 1)
        worst["over_optimum"] = max(worst["over_optimum"], values[0] / min(values[1:]) - 1)
        right = [float(((x[IMAGES:] @ one[0].T + one[1]).argmax(1) == y[IMAGES:]).mean()) for one in (mine, best)]
        worst["accuracy"] = max(worst["accuracy"], abs(right[0] - right[1]))
    return worst


def equally(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """How many times as fast we are where scikit-learn goes on until it is as near to the optimum, and how near that is of all penalties."""
    double = x.astype(np.float64)
    seconds = cpu(lambda: ours(x, y, 10))()
    start = process_time()
    known = theirs(double, y, TIGHT)
    ratio = (process_time() - start) / seconds
    found = ours(x, y, 10).objective[0].tolist()
    gaps = [objective(x, y, *one, penalty) / mine - 1 for one, mine, penalty in zip(known, found, PENALTIES, strict=True)]
    return {"ratio": round(ratio, 1), "their_objective_over_ours": max(gaps, key=abs)}


def run() -> Measured:
    """How many times as fast a cell is, the objectives being no worse; each attempt is another of scikit-learn's cells."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    details: dict[str, Any] = {"blocks": BLOCKS, "levels": LEVELS, "penalties": len(PENALTIES), "images": IMAGES, "features": SIZE}
    holds, kept = True, {}
    with threadpool_limits(1):
        for classes, count in CELLS.items():
            chosen = {divmod(int(place), BLOCKS) for place in rng.permutation(BLOCKS * LEVELS)[:count]}
            levels = range(LEVELS) if classes == 10 else sorted({level for level, _ in chosen})
            kept[classes], seconds, total = [], 0.0, 0
            for at, (level, _, x, y) in enumerate(cells(classes, levels)):
                if (level, at % BLOCKS) in chosen:
                    kept[classes].append((x, y))
                elif classes == 100:  # of which some tell enough
                    continue
                seconds += cpu(lambda x=x, y=y, classes=classes: ours(x, y, classes))()  # type: ignore[misc]
                total += 1
            checked = [compared(x, y, classes) for x, y in kept[classes]]
            worst = {name: max(one[name] for one in checked) for name in checked[0]}
            holds &= worst["over_sklearn"] <= WORSE and worst["over_optimum"] <= GAP and worst["accuracy"] <= ACCURACY
            holds &= worst["unconverged"] == 0
            details[f"of {classes} classes"] = {"cells": total, "seconds_a_cell": round(seconds / total, 4), "worst": worst}
        turn = cycle(kept[10])

        def once() -> Attempt:
            x, y = next(turn)
            cost = {"ours": cpu(lambda: ours(x, y, 10)), "theirs": cpu(lambda: theirs(x, y))}
            first, mine, second = cost["theirs"](), cost["ours"](), cost["theirs"]()
            return Attempt(first, second, mine)

        found = summary(attempts(once), lambda cost: 1 / cost, details)
        alike = [equally(x, y) for x, y in kept[10][:ALIKE]]
        found.details["of 10 classes"]["as near to the optimum"] = alike
        more = [cpu(lambda x=x, y=y: theirs(x, y))() / cpu(lambda x=x, y=y: ours(x, y, 100))() for x, y in kept[100]]  # type: ignore[misc]
    found.details["of 100 classes"]["ratios"] = [round(ratio, 2) for ratio in more]
    return replace(found, holds=holds)
