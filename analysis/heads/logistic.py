"""Multinomial logistic regression with an L2 penalty, by L-BFGS: the field's linear probe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from .. import solver
from .base import FittedHead, Linear, ProbeHead

FEW, MANY = 100_000, 8  # numbers, and images for each feature
TOGETHER = 16  # small cells at once, in which we are faster than scikit-learn


def small(images: int, size: int) -> bool:
    """Whether scikit-learn is faster than we are with one cell by itself."""
    return images * size < FEW and images < MANY * size


class LogOdds(Linear):
    """Linear scores whose softmax are probabilities: kept, so that images can be read with them."""

    def tensors(self) -> Mapping[str, np.ndarray]:
        return {"weight": self.weight, "bias": self.bias}


class Logistic(ProbeHead):
    """Penalties are scikit-learn's C; of many features all are solved together, else each fit starts from the one before."""

    name = "logistic"
    log_odds = True
    differentiable = True
    version = 2  # small cells are no longer scikit-learn's
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        return self._one_by_one(features, labels, classes) if small(*features.shape) else self.fit_cells([features], labels, classes)[0]

    def together(self, images: int, size: int) -> int:
        return TOGETHER if small(images, size) else 1

    def fit_cells(self, cells: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> list[list[FittedHead]]:
        """By the solver always, whether few cells are given or many: what a cell's probe is does not depend on the others."""
        stacked, given = torch.from_numpy(np.stack(cells)), torch.from_numpy(labels)
        found = self._solved(stacked, given, classes)
        coarse = [cell for cell, fitted in enumerate(found) if cells[0].size < FEW and not all(one.converged for one in fitted)]
        if coarse:  # single precision was
            for cell, fitted in zip(coarse, self._solved(stacked[coarse].double(), given, classes), strict=True):
                found[cell] = fitted
        return found

    def _solved(self, cells: torch.Tensor, labels: torch.Tensor, classes: int) -> list[list[FittedHead]]:
        found = solver.fit(cells, labels, classes, self.penalties)
        weight, bias, converged = found.weight.numpy(), found.bias.numpy(), found.converged.tolist()
        return [
            [_linear(penalty, weight[cell, at], bias[cell, at], converged[cell][at]) for at, penalty in enumerate(self.penalties)]
            for cell in range(len(cells))
        ]

    def _one_by_one(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        model = LogisticRegression(warm_start=True, max_iter=2000)
        heads: list[FittedHead] = []
        for penalty in self.penalties:
            converged = _converge(model.set_params(C=penalty), features, labels)
            heads.append(_linear(penalty, model.coef_, model.intercept_, converged))
        return heads


def _linear(penalty: float, weight: np.ndarray, bias: np.ndarray, converged: bool) -> LogOdds:
    weight, bias = weight.astype(np.float32), bias.astype(np.float32)
    if len(weight) == 1:  # two classes have one row, which tells the second from the first
        weight, bias = np.vstack([0 * weight, weight]), np.append(0 * bias, bias)
    return LogOdds(penalty, weight, bias, converged)


def _converge(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> bool:
    """Fit; where single precision is too coarse for the line search, once more in double. Whether it converged."""
    for given in (features, features.astype(np.float64)):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model.fit(given, labels)
        if not any(issubclass(one.category, ConvergenceWarning) for one in said):
            return True
    return False


plugin = Logistic
