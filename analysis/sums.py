"""Running sums of features: ridge regression, class means, principal components and effective rank without keeping one feature.

Products are summed about the mean and in double precision, because sums of the products themselves cancel where means are large.
Sums are merged as in Chan, Golub and LeVeque, The American Statistician 37 (1983) 242.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InvalidData
from .heads.base import FittedHead, Scaler, Untold
from .heads.ridge import Ridge


@dataclass(frozen=True)
class Sums:
    """Of n images with D features and K classes; `a + b` is of the images of both, in any order and any parts."""

    counts: np.ndarray  # (K,) images of each class
    mean: np.ndarray  # (D,)
    scatter: np.ndarray  # (D, D): XᵀX about the mean, Σ (x - mean)(x - mean)ᵀ
    cross: np.ndarray  # (K, D): YᵀX about the mean, Σ (x - mean) over the images of each class

    @classmethod
    def of(cls, features: np.ndarray, labels: np.ndarray, classes: int) -> Sums:
        """Of features (n, D) and labels (n,) in 0…classes-1; n may be 0."""
        with np.errstate(invalid="ignore"):
            mean = features.mean(0, dtype=np.float64) if len(features) else np.zeros(features.shape[1])
        mean = np.where(np.isfinite(mean), mean, np.nan)  # what is not finite stays so, and is said where it is solved
        centred = features - mean
        member = (labels == np.arange(classes)[:, None]).astype(np.float64)
        return cls(np.bincount(labels, minlength=classes), mean, centred.T @ centred, member @ centred)

    def __add__(self, other: Sums) -> Sums:
        count, theirs = self.count + other.count, other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (theirs / max(count, 1))
        scatter = self.scatter + other.scatter
        scatter += np.outer(apart * (self.count * theirs / max(count, 1)), apart)
        cross = self._about(mean) + other._about(mean)
        return Sums(self.counts + other.counts, mean, scatter, cross)

    def _about(self, mean: np.ndarray) -> np.ndarray:
        return np.asarray(self.cross + np.outer(self.counts, self.mean - mean))

    @property
    def count(self) -> int:
        return int(self.counts.sum())

    @property
    def class_means(self) -> np.ndarray:
        """(K, D); NaN for a class without an image."""
        return np.asarray(self.mean + self.cross / np.where(self.counts > 0, self.counts, np.nan)[:, None])

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
        """Which share of the variance is between the classes' means, from 0 to 1; NaN where nothing varies."""
        whole = np.trace(self.scatter)
        seen = self.counts > 0
        return float((self.cross[seen] ** 2 / self.counts[seen, None]).sum() / whole) if whole > 0 else float("nan")

    def components(self, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The first principal components, all by default: variances (r,), the largest first, and directions (r, D) of length one."""
        variances, directions = np.linalg.eigh(self.covariance)
        return np.maximum(variances[::-1][:count], 0), directions.T[::-1][:count]

    def ridge(self) -> tuple[Scaler, list[FittedHead]]:
        """The scaler, and the ridge head of scaled features at every penalty: those of `heads/ridge.py`, fitted to the same images.

        Raises InvalidData, as a probe of these images does, for features that are not finite or where there is nothing to tell apart.
        """
        if not np.isfinite(self.scatter).all():
            raise InvalidData("features are not finite")
        if not self.scatter.any():
            raise InvalidData("all labelled images have the same features")
        told = np.flatnonzero(self.counts)
        if len(told) < 2:
            raise InvalidData("all labelled images are of one class; a probe needs at least two")
        scaler, count = self.scaler, self.count
        spread = scaler.spread.astype(np.float64)
        heads = Ridge().solve(
            scatter=self.scatter / np.outer(spread, spread),
            cross=(self.cross[told] / spread).T,
            mean=(self.mean - scaler.mean) / spread,
            shares=self.counts[told] / count,
            count=count,
        )
        if len(told) < len(self.counts):
            heads = [Untold(head, told, len(self.counts)) for head in heads]
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
