"""How well segments meet true masks: intersection over union, its mean over classes, and intervals over images.

IoU of a class is taken over all pixels of all images together, as Pascal VOC and Baranchuk et al. (arXiv 2112.03126) do. Intervals
are 95 %, of images that are resampled (dynamics.resamples), the same at every level: differences of levels are paired. Those of the
best level hold for all levels at once, so that looking for the best is paid for. Strokes and ε stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dynamics import resamples
from .label_images import VOID

LEVEL, REACH = 0.95, (2.5, 97.5)  # of an interval, and its percentiles
TINY = 1e-9


def confusion(said: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) int64: pixels of true class (down) that are said to be of a class (across); those of no true class are left out."""
    known = true != VOID
    return np.bincount(true[known].astype(np.int64) * classes + said[known], minlength=classes**2).reshape(classes, classes)


def iou(confusions: np.ndarray) -> np.ndarray:
    """(..., K, K) -> (..., K): intersection over union of each class, nan where it is neither there nor said."""
    both = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)
    either = confusions.sum(-1) + confusions.sum(-2) - both
    return np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)


def mean_iou(confusions: np.ndarray) -> np.ndarray:
    """(..., K, K) -> (...): the mean over classes that are there or said."""
    each = iou(confusions)
    return np.asarray(np.nansum(each, -1) / np.maximum(1, (~np.isnan(each)).sum(-1)))


@dataclass(frozen=True)
class Overlap:
    """Of S levels: mean IoU (S,), that of each class (S, K), and 95 % intervals, None for one image."""

    mean: np.ndarray
    each: np.ndarray
    images: int
    pixels: int
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    below: tuple[float, float, float] | None = None  # best level less the lowest: difference, low, high
    above: tuple[float, float, float] | None = None  # ... less the highest

    @property
    def best(self) -> int:
        return int(self.mean.argmax())

    def to_dict(self) -> dict[str, object]:
        """For JSON: a class that is nowhere is None."""
        each = [[None if np.isnan(value) else float(value) for value in row] for row in self.each]
        told = {"mean": self.mean.tolist(), "each": each, "images": self.images, "pixels": self.pixels, "best": self.best}
        between = {"low": None if self.low is None else self.low.tolist(), "high": None if self.high is None else self.high.tolist()}
        return {**told, **between, "below": self.below, "above": self.above}


def overlap(confusions: np.ndarray) -> Overlap:
    """From the confusions of N images at S levels, (S, N, K, K)."""
    whole = confusions.sum(1)
    found = Overlap(mean_iou(whole), iou(whole), confusions.shape[1], int(whole[0].sum()))
    if confusions.shape[1] < 2:
        return found
    drawn = resamples(np.zeros(2, int), np.arange(2), confusions.shape[1]).images.astype(np.float64)  # (B, N)
    means = np.stack([mean_iou(np.tensordot(drawn, level, 1)) for level in confusions], 1)  # (B, S)
    low, high = np.percentile(means, REACH, axis=0)

    def less(other: int) -> tuple[float, float, float]:
        apart, difference = means - means[:, [other]], found.mean - found.mean[other]
        error = apart.std(0)
        largest = (np.abs(apart - difference) / (error + TINY)).max(1)  # over all levels at once, for the best was looked for
        reach = float(np.quantile(largest, LEVEL)) * error[found.best]
        gain = float(difference[found.best])
        return gain, float(gain - reach), float(gain + reach)

    return Overlap(found.mean, found.each, found.images, found.pixels, low, high, less(0), less(-1))


def sentence(found: Overlap, sigmas: list[float], block: str) -> str:
    """What the curve over noise levels says."""
    best = found.best
    mean = 100 * found.mean
    interval = "" if found.low is None or found.high is None else f" ({100 * found.low[best]:.0f} to {100 * found.high[best]:.0f})"
    said = f"For {block} segments meet the masks best at σ = {sigmas[best]:.2g}: mean IoU {mean[best]:.0f} %{interval}"
    said += f"; {mean[0]:.0f} % at the lowest level and {mean[-1]:.0f} % at the highest."
    if found.below is None or found.above is None:
        return f"{said} Of one image there is no interval."
    rises, falls = found.below[1] > 0, found.above[1] > 0
    shape = {
        (True, True): "It rises with noise, then falls: a hump",
        (True, False): "It rises with noise",
        (False, True): "It falls with noise, and no rise before that is sure",
        (False, False): "No level is surely better than the lowest or the highest",
    }[rises, falls]
    gain, low, high = (100 * value for value in found.below)
    return f"{said} {shape}: {gain:+.0f} points ({low:+.0f} to {high:+.0f}) over the lowest level, on {found.images} images."
