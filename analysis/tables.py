"""Tidy tables of probed cells: one observation a row, the columns of `studies.COLUMNS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from . import dynamics
from .gathered import SCORES, Gathered
from .intervals import wilson
from .planning import CLEAN, Bench
from .sources import LINES
from .studies import COLUMNS


def row(bench: Bench, per_class: int | str, series: str, head: str, sigma: float, n_train: int) -> dict[str, Any]:
    """What a row is of: every column but the accuracies."""
    source, block, pooling = series.split("/")
    request, noisy = bench.request, sigma > 0
    return {
        "backend": request.backend if source in ("model", "random") else block,
        "dataset": bench.dataset.name,
        "label_set": bench.labels.name,
        "source": source,
        "input": request.input if noisy else "clean",
        "condition": request.condition,
        "block": block,
        "depth": next((known.depth for known in bench.card.every if known.name == block), None),
        "sigma": sigma,
        "log_snr": -2 * np.log(sigma) if noisy else None,
        "timestep": bench.schedule.timestep(torch.tensor([sigma])).item() if noisy else None,
        "pooling": pooling,
        "head": head,
        "labels_per_class": str(per_class),
        "label_noise": request.label_noise,
        "n_train": n_train,
        "n_test": len(bench.test),
        "chance": bench.chance,
        "measure": "r2" if bench.continuous else "accuracy",
    }


def share(right: float, count: int) -> dict[str, float]:
    """Accuracy with Wilson's interval."""
    low, high = wilson(right, count)
    return {"accuracy": right / count, "ci_low": low, "ci_high": high}


def _r2(shares: np.ndarray) -> dict[str, float]:
    """R² as the mean of what each test image gives to it (n,), with an interval by its standard error."""
    mean, half = float(shares.mean()), 1.96 * float(shares.std(ddof=1)) / len(shares) ** 0.5
    return {"accuracy": mean, "ci_low": mean - half, "ci_high": mean + half}


def tidy(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table whose columns and types are the same whatever is in them."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"draw": "Int64", "depth": "Int64"})


def tables(bench: Bench, gathered: Gathered) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(curve, draws): a row a series and level, and a row a series, level and draw."""
    curve_rows: list[Mapping[str, Any]] = []
    draw_rows: list[Mapping[str, Any]] = []
    for name, right in gathered.correct.items():
        mean, low, high = dynamics.curve(right, gathered.resamples)
        valid, scores = gathered.validation[name], gathered.scores[name]
        for level, sigma in enumerate([CLEAN] if name.split("/")[0] in LINES else bench.sigmas):
            known = row(bench, gathered.per_class, name, gathered.heads[name][level], sigma, gathered.n_train)
            found = {"accuracy": mean[level], "ci_low": low[level], "ci_high": high[level]}
            means = dict(zip(SCORES, scores[:, level].mean(0), strict=True))
            curve_rows.append(known | found | means | {"draw": None, "validation_accuracy": valid[:, level].mean()})
            for draw, images in enumerate(right[:, level]):
                told = dict(zip(SCORES, scores[draw, level], strict=True)) | {"draw": draw, "validation_accuracy": valid[draw, level]}
                draw_rows.append(known | (_r2(images) if bench.continuous else share(int(images.sum()), len(images))) | told)
    return tidy(curve_rows), tidy(draw_rows)
