"""Running sums of features: ridge regression, class means, principal components and effective rank without keeping one feature.

Products are summed about the mean and in double precision, because sums of the products themselves cancel where means are large.
Sums are merged as in Chan, Golub and LeVeque, The American Statistician 37 (1983) 242.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .errors import InvalidData
from .heads.base import FittedHead, Scaler, Untold
from .heads.ridge import Ridge


class Moments(NamedTuple):
    """Where a cell's features are and how they vary, in their own units, float32; of numbers there are no classes: K is 0."""

    mean: np.ndarray  # (D,)
    class_means: np.ndarray  # (K, D); NaN for a class without an image
    variances: np.ndarray  # (r,) along the first principal components, the largest first; divided by n
    directions: np.ndarray  # (r, D), of length one: (x - mean) @ directions.T are the components of x


@dataclass(frozen=True)
class Sums:
    """Of n images with D features and K targets: a class's are 1 for its images and 0 for the others, and a number is one target.

    `a + b` is of the images of both, in any order and any parts.
    """

    count: int
    totals: np.ndarray  # (K,) sums of the targets: images of each class
    mean: np.ndarray  # (D,)
    scatter: np.ndarray  # (D, D): XᵀX about the mean, Σ (x - mean)(x - mean)ᵀ
    cross: np.ndarray  # (K, D): YᵀX about the mean, Σ y (x - mean)
    numbers: bool = False

    @classmethod
    def of(cls, features: np.ndarray, labels: np.ndarray, classes: int) -> Sums:
        """Of features (n, D) and labels (n,) in 0…classes-1, or fractions where they are numbers; n may be 0."""
        with np.errstate(invalid="ignore"):
            mean = features.mean(0, dtype=np.float64) if len(features) else np.zeros(features.shape[1])
        mean = np.where(np.isfinite(mean), mean, np.nan)  # what is not finite stays so, and is said where it is solved
        centred = features - mean
        numbers = labels.dtype.kind != "i"
        targets = labels[None] if numbers else (labels == np.arange(classes)[:, None]).astype(np.float64)
        return cls(len(features), targets.sum(1), mean, centred.T @ centred, targets @ centred, numbers)

    def __add__(self, other: Sums) -> Sums:
        count, theirs = self.count + other.count, other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (theirs / max(count, 1))
        scatter = self.scatter + other.scatter
        scatter += np.outer(apart * (self.count * theirs / max(count, 1)), apart)
        cross = self._about(mean) + other._about(mean)
        return Sums(count, self.totals + other.totals, mean, scatter, cross, self.numbers)

    def _about(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(self.cross + np.outer(self.totals, self.mean - mean))

    @property
    def class_means(self) -> np.ndarray:
        """(K, D); NaN for a class without an image, and (0, D) of numbers."""
        if self.numbers:
            return np.empty((0, len(self.mean)))
        return np.asarray(self.mean + self.cross / np.where(self.totals > 0, self.totals, np.nan)[:, None])

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), of the images as they are: divided by n."""
        return np.asarray(self.scatter / self.count)

    @property
    def scaler(self) -> Scaler:
        """The scaler that a probe of these images has."""
        return Scaler.per_feature(self.mean, np.sqrt(np.diag(self.scatter) / self.count))

    @property
    def between(self) -> float:
        """Which share of the variance is between the classes' means, from 0 to 1; NaN where nothing varies, and of numbers."""
        whole = np.trace(self.scatter)
        if self.numbers or not whole > 0:
            return float("nan")
        seen = self.totals > 0
        return float((self.cross[seen] ** 2 / self.totals[seen, None]).sum() / whole)

    def components(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The first principal components, all by default: variances (r,), the largest first, and directions (r, D) of length one."""
        variances, directions = np.linalg.eigh(self.covariance)
        return np.maximum(variances[::-1][:count], 0), directions.T[::-1][:count]

    def moments(self, count: int) -> Moments:
        """The means, and the first `count` principal components."""
        found = self.mean, self.class_means, *self.components(count)
        return Moments(*(part.astype(np.float32) for part in found))

    def ridge(self, components: int | None = None) -> tuple[Scaler, list[FittedHead]]:
        """The scaler, and the ridge head of scaled features at every penalty: those of `heads/ridge.py`, fitted to the same images.

        With `components` they read so many principal components of the scaled features, where there are more features.
        Raises InvalidData, as a probe of these images does, for features that are not finite or where there is nothing to tell apart.
        """
        if not np.isfinite(self.scatter).all():
            raise InvalidData("features are not finite")
        if not self.scatter.any():
            raise InvalidData("all labelled images have the same features")
        told = np.arange(1) if self.numbers else np.flatnonzero(self.totals)
        if not self.numbers and len(told) < 2:
            raise InvalidData("all labelled images are of one class; a probe needs at least two")
        scaler, count = self.scaler, self.count
        spread = scaler.spread.astype(np.float64)
        heads = Ridge().solve(
            scatter=self.scatter / np.outer(spread, spread),
            cross=(self.cross[told] / spread).T,
            mean=(self.mean - scaler.mean) / spread,
            shares=self.totals[told] / count,
            count=count,
            components=components,
        )
        if len(told) < len(self.totals):
            heads = [Untold(head, told, len(self.totals)) for head in heads]
        return scaler, heads


def effective_rank(variances: np.ndarray) -> float:
    """exp of the entropy of singular values as shares of their sum: r where all are equal, 1 where one is all; NaN where nothing varies.

    Roy and Vetterli, The effective rank, EUSIPCO 2007, of features less their mean, given their variances (r,) along the principal
    axes, of which singular values are the roots.
    """
    values = np.sqrt(variances[variances > 0])
    if not values.sum() > 0:
        return float("nan")
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
