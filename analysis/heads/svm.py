"""Support vector machine with a radial basis kernel, by scikit-learn; one against the rest for its logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.svm import SVC

from .base import FittedHead, ProbeHead


@dataclass(frozen=True)
class Kernel(FittedHead):
    penalty: float
    model: SVC

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        decision = self.model.decision_function(features)
        if decision.ndim == 1:
            decision = np.stack([np.zeros_like(decision), decision], 1)
        return np.asarray(decision, dtype=np.float32)


class SVM(ProbeHead):
    """Penalties are scikit-learn's C; the kernel's width is its `scale`."""

    name = "svm"
    differentiable = False
    penalties = (1.0, 10.0, 100.0)

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        return [Kernel(penalty, SVC(C=penalty).fit(features, labels)) for penalty in self.penalties]


plugin = SVM
