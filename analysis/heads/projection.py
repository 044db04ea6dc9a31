"""The class on whose subspace a feature falls longest decides: arg max_k ||h V_k|| (arXiv 2502.05743)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import FittedHead, ProbeHead, unit


@dataclass(frozen=True)
class Subspaces(FittedHead):
    """Features of length one, without the labelled ones' mean, are projected on each class's directions (K, D, d)."""

    penalty: float
    mean: np.ndarray  # (D,)
    directions: np.ndarray

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        points = unit(features) - self.mean
        return np.stack([np.linalg.norm(points @ basis, axis=1) for basis in self.directions], 1).astype(np.float32)


class Projection(ProbeHead):
    """Settings are how many directions a class has: its first right singular vectors."""

    name = "projection"
    differentiable = False
    penalties: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        points = unit(features)
        mean = points.mean(0, dtype=np.float64).astype(np.float32)
        bases = [np.linalg.svd(points[labels == k] - mean, full_matrices=False)[2].T for k in range(classes)]
        most = min(basis.shape[1] for basis in bases)  # a class with fewer images has fewer directions; all have as many
        return [Subspaces(penalty, mean, np.stack([basis[:, : min(int(penalty), most)] for basis in bases])) for penalty in self.penalties]


plugin = Projection
