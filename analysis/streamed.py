"""What a sweep without a store found: counts -> tidy tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy.stats import t as student

from .errors import InvalidData, InvalidRequest
from .intervals import wilson
from .planning import Bench
from .store import writing
from .sums import Moments
from .tables import row, share, tidy


class Cell(NamedTuple):
    """What the probe of one tensor at one σ in one draw says, as `passes.Counted` keeps it."""

    labels_per_class: int | str
    tensor: str  # block/pooling
    sigma: float
    draw: int
    penalty: float
    validation: np.ndarray  # (K,): validation images of each class that are right; of numbers (3,)
    tested: np.ndarray  # the same of test images
    facts: Mapping[str, float]  # of the labelled images' features
    moments: Moments | None = None  # of the same, where they are kept


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
    of `over_draws`, in place of a study's over images and draws; R², where labels are numbers, has intervals of the same kind by its
    standard error. `statistics` has a row a cell and draw: of the labelled images how many, features, effective rank, share of the
    variance in the first component and between classes (NaN of numbers); the penalty that was chosen.
    `left_out` are the cells that could not be probed, {labels_per_class, series, sigma, why}; their curves are in no table.
    `moments` are those of the first draw's labelled images, by (labels per class, block, pooling, σ), and `classes` the names of
    their class means.
    """

    curve: pd.DataFrame
    draws: pd.DataFrame
    statistics: pd.DataFrame
    left_out: list[dict[str, Any]]
    moments: Mapping[tuple[str, str, str, float], Moments]
    classes: tuple[str, ...]

    def best(self) -> pd.DataFrame:
        """The rows of the curve that validation images chose, one a number of labels a class."""
        return self.curve.loc[self.curve.groupby("labels_per_class", sort=False).validation_accuracy.idxmax()]

    def at(self, block: str, sigma: float, pooling: str | None = None, labels_per_class: int | str | None = None) -> Moments:
        """The moments of a block at the level nearest to σ in ln σ, by default of the first pooling and number of labels. Raises InvalidRequest."""
        kept = [key for key in self.moments if key[:3] == (str(labels_per_class or key[0]), block, pooling or key[2])]
        kept = [key for key in kept if key[:3] == kept[0][:3]]
        if not kept or not sigma > 0:
            raise InvalidRequest(
                f"No moments are kept of block {block!r}, pooling {pooling!r}, labels per class {labels_per_class!r} at σ = {sigma!r}; "
                f"allowed: σ above 0 and {sorted({key[:3] for key in self.moments})} as (labels per class, block, pooling)."
            )
        return self.moments[min(kept, key=lambda key: abs(np.log(key[3] / sigma)))]

    def save_moments(self, path: Path) -> None:
        """One safetensors file: tensors `labels/level/block/pooling/part`; levels and classes are in its metadata, as JSON.

        Raises StoreUnavailable where it cannot be written.
        """
        sigmas = sorted({sigma for *_, sigma in self.moments})
        tensors = {
            f"{labels}/{sigmas.index(sigma)}/{block}/{pooling}/{part}": np.ascontiguousarray(value)
            for (labels, block, pooling, sigma), moments in self.moments.items()
            for part, value in moments._asdict().items()
        }
        with writing(path) as temporary:
            save_file(tensors, temporary, {"sigmas": json.dumps(sigmas), "classes": json.dumps(self.classes)})


def over_draws(values: np.ndarray, low: float, high: float) -> tuple[float, float, float]:
    """(mean, low, high) over R draws, whose values are (R,); of the mean alone, test images leave between `low` and `high`.

    Student's t over draws and, because all draws share their test images, the interval of these beside it: Zou and Donner, Stat. Med.
    27 (2008) 1693. That counts twice what chance does to both, so it errs on the wide side.
    """
    mean = float(values.mean())
    draws = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - float(np.hypot(draws, mean - low)), mean + float(np.hypot(draws, high - mean))


class Score(NamedTuple):
    """Accuracy or R² of some draws' probes, and of each alone; intervals are 95 %."""

    mean: dict[str, float]
    draws: list[dict[str, float]]


def accuracy(right: np.ndarray, images: np.ndarray) -> Score:
    """Of (R, K) images of each class that are right, of (K,) images; over draws Wilson's interval is of their mean."""
    total = int(images.sum())
    each = [share(int(count), total) for count in right.sum(1)]
    balanced = (right[:, images > 0] / images[images > 0]).mean(1)
    values = np.array([one["accuracy"] for one in each])
    mean, low, high = over_draws(values, *wilson(values.mean() * total, total))
    whole = {"accuracy": mean, "ci_low": max(0.0, low), "ci_high": min(1.0, high), "balanced_accuracy": float(balanced.mean())}
    return Score(whole, [one | {"balanced_accuracy": float(own)} for one, own in zip(each, balanced, strict=True)])


def r2(errors: np.ndarray, truth: np.ndarray) -> Score:
    """Of the numbers (n,) and (R, 3) sums over images: of squared errors, of their squares, and of them times squares of the numbers
    less their mean. Intervals are by the standard error of a ratio of two means; over draws the mean one stands.
    """
    count, apart = len(truth), (truth - truth.mean()) ** 2
    left = errors[:, 0] / apart.sum()  # 1 - R²
    squares = errors[:, 1] - 2 * left * errors[:, 2] + left**2 * (apart @ apart)  # Σ (e² - left (y - mean)²)², whose mean is 0
    half = 1.96 * np.sqrt(np.maximum(squares, 0) / (count - 1) / count) / apart.mean()
    values = 1 - left
    mean, low, high = over_draws(values, values.mean() - half.mean(), values.mean() + half.mean())
    whole = {"accuracy": mean, "ci_low": low, "ci_high": min(1.0, high), "balanced_accuracy": np.nan}
    draws = [{"accuracy": v, "ci_low": v - h, "ci_high": v + h, "balanced_accuracy": np.nan} for v, h in zip(values, half, strict=True)]
    return Score(whole, draws)


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
    request = bench.request
    score, of_validation, of_test = (r2 if bench.continuous else accuracy), _truth(bench, bench.validation), _truth(bench, bench.test)
    moments: dict[tuple[str, str, str, float], Moments] = {}
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
        valid = score(np.array([cell.validation for cell in here]), of_validation)
        tested = score(np.array([cell.tested for cell in here]), of_test)
        curve.append(known | tested.mean | {"draw": None, "validation_accuracy": valid.mean["accuracy"]})
        for cell, on_valid, on_test in zip(here, valid.draws, tested.draws, strict=True):
            draws.append(known | on_test | {"draw": cell.draw, "validation_accuracy": on_valid["accuracy"]})
            place = {name: known[name] for name in ("block", "depth", "pooling", "sigma", "labels_per_class")}
            statistics.append(place | {"draw": cell.draw, **cell.facts, "penalty": cell.penalty})
            if cell.moments:
                moments[str(per_class), block, pooling, sigma] = cell.moments
    if not curve:
        wrong = left_out[0]
        raise InvalidData(f"No block could be probed: {wrong['series']} at σ = {wrong['sigma']:.4g}: {wrong['why']}.")
    classes = () if bench.continuous else bench.labels.classes
    return Streamed(tidy(curve), tidy(draws), pd.DataFrame(statistics), left_out, moments, classes)


def _truth(bench: Bench, ids: np.ndarray) -> np.ndarray:
    """Of images (n,) how many each class has, (K,); of numbers these, as a probe is told them (n,)."""
    values = bench.task(bench.request.labels_per_class[0], 0).values(ids)
    return values if bench.continuous else np.bincount(values, minlength=len(bench.labels.classes))
