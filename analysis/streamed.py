"""What a sweep without a store found: counts -> tidy tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from .errors import InvalidData
from .intervals import wilson
from .planning import Bench
from .tables import row, share, tidy


class Cell(NamedTuple):
    """What the probe of one tensor at one σ in one draw says."""

    labels_per_class: int | str
    tensor: str  # block/pooling
    sigma: float
    draw: int
    penalty: float
    validation: int  # images that are right
    right: np.ndarray  # (K,): test images of each class that are right
    facts: Mapping[str, float]  # of the labelled images' features


class LeftOut(NamedTuple):
    """A cell that could not be probed, and why."""

    labels_per_class: int | str
    tensor: str
    sigma: float
    draw: int
    why: str


@dataclass(frozen=True)
class Streamed:
    """Tidy tables of a sweep without a store.

    `curve` and `draws` have the columns of a study's. Only counts are kept, so a draw's interval is Wilson's, and the curve's that
    of `over_draws`, in place of a study's paired bootstrap. `statistics` has a row a cell and draw: of the labelled images how many,
    features, effective rank, share of the variance in the first component and between classes; the penalty that was chosen.
    `left_out` are the cells that could not be probed, {labels_per_class, series, sigma, why}; their curves are in no table.
    """

    curve: pd.DataFrame
    draws: pd.DataFrame
    statistics: pd.DataFrame
    left_out: list[dict[str, Any]]

    def best(self) -> pd.DataFrame:
        """The rows of the curve that validation images chose, one a number of labels a class."""
        return self.curve.loc[self.curve.groupby("labels_per_class", sort=False).validation_accuracy.idxmax()]


def over_draws(right: np.ndarray, count: int, level: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high) of the accuracy over R draws with `right` (R,) of the same `count` test images each.

    Student's t over draws and, because all draws share their test images, Wilson's interval of a share of `count` images beside it:
    Zou and Donner, Stat. Med. 27 (2008) 1693. That counts twice what chance does to both, so it errs on the wide side.
    """
    accuracy = right / count
    mean = float(accuracy.mean())
    draws = float(student.ppf(0.5 + level / 2, len(right) - 1) * accuracy.std(ddof=1) / np.sqrt(len(right)))
    low, high = wilson(mean * count, count, level)
    return mean, max(0.0, mean - float(np.hypot(draws, mean - low))), min(1.0, mean + float(np.hypot(draws, high - mean)))


def tables(bench: Bench, cells: Iterable[Cell | LeftOut]) -> Streamed:
    """The cells of a request, whole, as tables in the order of labels, blocks, poolings, levels and draws.

    Raises InvalidData where no curve is left.
    """
    found, lacking = {}, {}
    for cell in cells:
        if isinstance(cell, LeftOut):
            lacking[cell.labels_per_class, cell.tensor] = cell
        else:
            found[cell.labels_per_class, cell.tensor, cell.sigma, cell.draw] = cell
    request, n_test, n_validation = bench.request, len(bench.test), len(bench.validation)
    tested = np.bincount(bench.labels.values[bench.dataset.rows(bench.test)], minlength=len(bench.labels.classes))
    left_out = [
        {"labels_per_class": str(cell.labels_per_class), "series": f"model/{cell.tensor}", "sigma": cell.sigma, "why": cell.why}
        for cell in lacking.values()
    ]
    curve: list[dict[str, Any]] = []
    draws: list[dict[str, Any]] = []
    statistics: list[dict[str, Any]] = []
    for per_class, block, pooling, sigma in (
        (n, b, p, s) for n in request.labels_per_class for b in request.blocks or () for p in request.poolings for s in bench.sigmas
    ):
        if (per_class, f"{block}/{pooling}") in lacking:
            continue
        here = [found[per_class, f"{block}/{pooling}", sigma, draw] for draw in range(request.eps_draws)]
        known = row(bench, per_class, f"model/{block}/{pooling}", request.head, sigma, int(here[0].facts["n_train"]))
        known |= {"log_loss": np.nan, "calibration_error": np.nan, "converged": 1.0}
        mean, low, high = over_draws(np.array([cell.right.sum() for cell in here]), n_test)
        valid = [cell.validation / n_validation for cell in here]
        balanced = [(cell.right[tested > 0] / tested[tested > 0]).mean() for cell in here]
        means = {"draw": None, "validation_accuracy": np.mean(valid), "balanced_accuracy": np.mean(balanced)}
        curve.append(known | {"accuracy": mean, "ci_low": low, "ci_high": high} | means)
        for cell, *scored in zip(here, valid, balanced, strict=True):
            own = {"draw": cell.draw} | dict(zip(("validation_accuracy", "balanced_accuracy"), scored, strict=True))
            draws.append(known | share(int(cell.right.sum()), n_test) | own)
            place = {name: known[name] for name in ("block", "depth", "pooling", "sigma", "labels_per_class")}
            statistics.append(place | {"draw": cell.draw, **cell.facts, "penalty": cell.penalty})
    if not curve:
        wrong = left_out[0]
        raise InvalidData(f"No block could be probed: {wrong['series']} at σ = {wrong['sigma']:.4g}: {wrong['why']}.")
    return Streamed(tidy(curve), tidy(draws), pd.DataFrame(statistics), left_out)
