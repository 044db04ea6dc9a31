"""Ridge regression on one-hot labels or on numbers, from one eigendecomposition for all penalties: the linear probe at a hundredth of the cost."""

from __future__ import annotations

import numpy as np

from .base import FittedHead, Linear, ProbeHead


class Ridge(ProbeHead):
    """Penalties are 1 / α, with α of Σ_i |y_i - W x_i - b|² + α n ||W||²: from the weakest model to the most flexible."""

    name = "ridge"
    differentiable = True
    penalties: tuple[float, ...] = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        return self._fit(features, np.eye(classes)[labels])

    def regress(self, features: np.ndarray, numbers: np.ndarray) -> list[FittedHead]:
        return self._fit(features, numbers[:, None])

    def _fit(self, features: np.ndarray, targets: np.ndarray) -> list[FittedHead]:
        """Of features (n, D) and targets (n, K)."""
        count, size = features.shape
        mean, shares = features.mean(0, dtype=np.float64), targets.mean(0)
        centred, targets = features - mean, targets - shares
        if count >= size:
            return self.solve(centred.T @ centred, centred.T @ targets, mean, shares, count)
        squares, vectors = np.linalg.eigh(centred @ centred.T)  # the dual: weights lie in the span of the images
        return self._heads(squares, centred.T @ vectors, vectors.T @ targets, mean, shares, count)

    def solve(
        self, scatter: np.ndarray, cross: np.ndarray, mean: np.ndarray, shares: np.ndarray, count: int, components: int | None = None
    ) -> list[FittedHead]:
        """One fitted head a penalty from sums over `count` images of features and targets less their means.

        XᵀX (D, D), XᵀY (D, K), the features' mean (D,), the targets' (K,), which are the classes' shares; all float64. With
        `components` the weights lie in the span of so many first principal components, all that heads fitted to these would read.
        """
        squares, vectors = np.linalg.eigh(scatter)
        if components:
            squares, vectors = squares[-components:], vectors[:, -components:]
        return self._heads(squares, vectors, vectors.T @ cross, mean, shares, count)

    def _heads(
        self, squares: np.ndarray, basis: np.ndarray, along: np.ndarray, mean: np.ndarray, shares: np.ndarray, count: int
    ) -> list[FittedHead]:
        found: list[FittedHead] = []
        for penalty in self.penalties:
            weight = (basis @ (along / (np.maximum(squares, 0) + count / penalty)[:, None])).T
            found.append(Linear(penalty, weight.astype(np.float32), (shares - weight @ mean).astype(np.float32)))
        return found


plugin = Ridge
