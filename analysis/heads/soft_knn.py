"""The k nearest labelled images vote, the nearer the more: weights exp(cosine / .07) (Wu et al., arXiv 1805.01978)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import FittedHead, ProbeHead, unit

TEMPERATURE = 0.07
ROWS = 1024  # images that vote is taken on at a time


@dataclass(frozen=True)
class Voting(FittedHead):
    """logit of a class = log of its share of the votes, with one vote in a million for every class."""

    penalty: float
    features: np.ndarray  # (n, D), of length one
    labels: np.ndarray
    classes: int

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        count, parts = min(round(1 / self.penalty), len(self.labels)), []
        for start in range(0, len(features), ROWS):
            cosine = unit(features[start : start + ROWS]) @ self.features.T
            places = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
            weights = np.exp((np.take_along_axis(cosine, places, 1) - 1) / TEMPERATURE)
            votes = np.stack([(weights * (self.labels[places] == k)).sum(1) for k in range(self.classes)], 1)
            parts.append(np.log(votes / votes.sum(1, keepdims=True) + 1e-6))
        return np.concatenate(parts).astype(np.float32)


class SoftKNN(ProbeHead):
    """Settings are 1 / k: the fewer vote, the more flexible."""

    name = "soft-knn"
    log_odds = True
    differentiable = False
    penalties: tuple[float, ...] = (1 / 200, 1 / 50, 1 / 20, 1 / 5, 1.0)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        points = unit(features)
        return [Voting(penalty, points, labels, classes) for penalty in self.penalties]


plugin = SoftKNN
