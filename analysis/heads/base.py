"""What a probe head must give: a classifier fitted on frozen features, and what is kept of it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InvalidRequest

Scaling = Literal["feature", "global"]


@dataclass(frozen=True)
class Scaler:
    """x -> (x - mean) / spread; both (D,)."""

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, scaling: Scaling = "feature") -> Scaler:
        """Per feature, with a floor at 1 % of the median spread, or one mean and one spread for all (`global`).

        The floor is there because a dead channel's spread is rounding error, and dividing by it drowns the others.
        """
        if scaling == "global":
            mean, spread = np.full(features.shape[1], features.mean()), np.full(features.shape[1], features.std())
            return cls._of(mean, spread)
        return cls.per_feature(features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64))

    @classmethod
    def per_feature(cls, mean: np.ndarray, spread: np.ndarray) -> Scaler:
        """From each feature's mean and standard deviation, both (D,), with the floor."""
        return cls._of(mean, np.maximum(spread, 0.01 * np.median(spread)))

    @classmethod
    def _of(cls, mean: np.ndarray, spread: np.ndarray) -> Scaler:
        return cls(mean.astype(np.float32), np.where(spread > 0, spread, 1.0).astype(np.float32))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, D) -> (n, D) float32."""
        return np.asarray((features - self.mean) / self.spread, dtype=np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    """(n, D) -> (n, D) float32, of length one; what is 0 stays so."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), dtype=np.float32)


class FittedHead(ABC):
    """A fitted classifier of scaled features."""

    penalty: float  # the setting that validation chose
    converged: bool = True  # else it is not chosen

    @abstractmethod
    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        """(n, D) scaled, or (n, C, p, p) -> (n, K): the larger, the likelier."""

    def tensors(self) -> Mapping[str, np.ndarray]:
        """What is kept of it in the store, by name, to read images with: nothing where logits are no log-odds."""
        return {}


@dataclass(frozen=True)
class Linear(FittedHead):
    """logits = x Wᵀ + b; weight (K, D), bias (K,)."""

    penalty: float
    weight: np.ndarray
    bias: np.ndarray
    converged: bool = True

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)


@dataclass(frozen=True)
class Around(FittedHead):
    """Another head, of features or classes that are not all there are."""

    head: FittedHead

    @property
    def penalty(self) -> float:  # type: ignore[override]
        return self.head.penalty

    @property
    def converged(self) -> bool:  # type: ignore[override]
        return self.head.converged


@dataclass(frozen=True)
class Projected(Around):
    """A head fitted to features projected on the rows of `axes` (k, D), about their mean (D,)."""

    mean: np.ndarray
    axes: np.ndarray

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        return self.head.predict_logits((features - self.mean) @ self.axes.T)

    def tensors(self) -> Mapping[str, np.ndarray]:
        found = dict(self.head.tensors())
        if "weight" in found:
            found["weight"] = found["weight"] @ self.axes
            found["bias"] = found["bias"] - found["weight"] @ self.mean
        return found


NEVER = -60000.0  # the logit of a class that no image was said to be of


@dataclass(frozen=True)
class Untold(Around):
    """A head fitted to some of the classes, `told` (k,), as one of all `classes`: the others are never said."""

    told: np.ndarray
    classes: int

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        logits = np.full((len(features), self.classes), NEVER, np.float32)
        logits[:, self.told] = self.head.predict_logits(features)
        return logits

    def tensors(self) -> Mapping[str, np.ndarray]:
        found = {}
        for name, rows in self.head.tensors().items():
            every = np.full((self.classes, *rows.shape[1:]), NEVER if rows.ndim == 1 else 0, np.float32)
            every[self.told] = rows
            found[name] = every
        return found


@dataclass(frozen=True)
class Foreseen:
    """What fits of a head will take, on features of one size."""

    fit: Callable[[int], float]  # seconds of all penalties' fits, by the number of labelled images
    score: float  # seconds an image
    memory: int = 0  # bytes beside the features


class ProbeHead(ABC):
    """A kind of classifier and the settings that validation chooses among."""

    name: str
    needs: Literal["pooled", "map"] = "pooled"
    differentiable: bool
    log_odds: bool = False  # whether softmax of its logits are probabilities
    penalties: tuple[float, ...]  # from the weakest model to the most flexible
    version: int = 1  # of what it computes: stored probes of another are not used

    @abstractmethod
    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        """One fitted head a penalty; labels (n,) in 0…classes-1, each class there.

        Features are scaled: (n, D), or for a head that needs maps (n, C, p, p), where p is the side of the pooling's grid.
        """

    def together(self, images: int, size: int) -> int:
        """How many cells of as many labelled images and features it would rather fit at once."""
        return 1

    def fit_cells(self, cells: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> list[list[FittedHead]]:
        """As `fit`, of several cells of the same images and as many features: what `probing` calls, of one cell too."""
        return [self.fit(features, labels, classes) for features in cells]

    def regress(self, features: np.ndarray, numbers: np.ndarray) -> list[FittedHead]:
        """One fitted head a penalty whose one logit is the number; scaled features (n, D), numbers (n,). Raises InvalidRequest."""
        raise InvalidRequest(f"head {self.name} tells classes apart and cannot say a number; allowed for such labels: ridge.")

    def foresee(self, features: np.ndarray, labels: np.ndarray, classes: int) -> Foreseen:
        """What fits will take, from two to these, the first of which loads what it needs: taken to grow in proportion."""
        cells = [features] * self.together(*features.shape[:2])
        self.fit_cells(cells, labels, classes)
        started = time.perf_counter()
        fitted = self.fit_cells(cells, labels, classes)[0]
        between = started + (time.perf_counter() - started) / len(cells)
        again = time.perf_counter()
        fitted[0].predict_logits(features)
        score = (time.perf_counter() - again) / len(features)
        return Foreseen(lambda images: (between - started) / len(features) * images, score)
