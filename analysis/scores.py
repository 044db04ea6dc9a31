"""What a classifier's logits say beside accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15
MOST = 100  # classes of which confusions are counted
UNTOLD = -59000.0  # a logit below which a class was never told: its probability means nothing


@dataclass(frozen=True)
class Scores:
    """Of n images and K classes; a class that no image has is nan in `per_class` and counts for nothing."""

    accuracy: float
    balanced_accuracy: float  # mean over classes
    log_loss: float  # nats an image
    calibration_error: float
    per_class: np.ndarray  # (K,): share of each class's images that are right
    confusion: np.ndarray | None  # (K, K) counts: rows are true classes; None of many classes


def scores(logits: np.ndarray, labels: np.ndarray, log_odds: bool = True) -> Scores:
    """Scores of logits (n, K) against labels (n,) in 0…K-1; where logits are no log-odds, or a class there was never
    told, those of probabilities are nan.
    """
    classes, values = logits.shape[1], logits.astype(np.float64)
    values = values - values.max(1, keepdims=True)
    logs = values - np.log(np.exp(values).sum(1, keepdims=True))
    said = logits.argmax(1)
    counts = np.bincount(labels, minlength=classes)
    per_class = np.where(counts > 0, np.bincount(labels[said == labels], minlength=classes) / np.maximum(counts, 1), np.nan)
    table = np.bincount(labels * classes + said, minlength=classes**2).reshape(classes, classes) if classes <= MOST else None
    log_odds = log_odds and not (logits[np.arange(len(labels)), labels] < UNTOLD).any()
    return Scores(
        accuracy=float((said == labels).mean()),
        balanced_accuracy=float(np.nanmean(per_class)),
        log_loss=float(-logs[np.arange(len(labels)), labels].mean()) if log_odds else np.nan,
        calibration_error=calibration_error(np.exp(logs.max(1)), said == labels) if log_odds else np.nan,
        per_class=per_class,
        confusion=table,
    )


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error with 15 bins of equal width: Σ share of images · |accuracy - mean confidence|.

    Guo et al., arXiv 1706.04599. Of confidence (n,) in [0, 1] and which images are right (n,).
    """
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, right.astype(float) - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
