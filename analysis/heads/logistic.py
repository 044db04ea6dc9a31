"""Multinomial logistic regression with an L2 penalty, by scikit-learn's L-BFGS: the field's linear probe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from .base import FittedHead, ProbeHead


@dataclass(frozen=True)
class Linear(FittedHead):
    """logits = x Wᵀ + b; weight (K, D), bias (K,)."""

    penalty: float
    weight: np.ndarray
    bias: np.ndarray

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(features @ self.weight.T + self.bias, dtype=np.float32)

    def tensors(self) -> Mapping[str, np.ndarray]:
        return {"weight": self.weight, "bias": self.bias}


class Logistic(ProbeHead):
    """Penalties are scikit-learn's C; each fit starts from the one before."""

    name = "logistic"
    differentiable = True
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        model = LogisticRegression(warm_start=True, max_iter=2000)
        heads: list[FittedHead] = []
        for penalty in self.penalties:
            _converge(model.set_params(C=penalty), features, labels)
            weight, bias = model.coef_.astype(np.float32), model.intercept_.astype(np.float32)
            if classes == 2:  # scikit-learn keeps the one row that tells the second class from the first
                weight, bias = np.vstack([0 * weight, weight]), np.append(0 * bias, bias)
            heads.append(Linear(penalty, weight, bias))
        return heads


def _converge(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> None:
    """Fit; where single precision is too coarse for the line search, once more in double."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            model.fit(features, labels)
            return
        except ConvergenceWarning:
            pass
    model.fit(features.astype(np.float64), labels)


plugin = Logistic
