"""Scores by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss

from analysis.scores import calibration_error, scores

RNG = np.random.default_rng(0)


def test_scores_are_sklearns() -> None:
    labels = RNG.integers(0, 4, 300)
    logits = RNG.normal(size=(300, 4)) + 1.5 * np.eye(4)[labels]
    found = scores(logits.astype(np.float16), labels)
    rounded = logits.astype(np.float16).astype(np.float64)
    shares = np.exp(rounded) / np.exp(rounded).sum(1, keepdims=True)
    assert found.accuracy == pytest.approx((rounded.argmax(1) == labels).mean())
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, rounded.argmax(1)))
    assert found.log_loss == pytest.approx(log_loss(labels, shares))
    assert found.confusion.sum() == 300
    assert np.diag(found.confusion) / found.confusion.sum(1) == pytest.approx(found.per_class)


def test_calibration_is_counted_by_hand() -> None:
    confidence, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True])
    assert calibration_error(confidence, right) == pytest.approx((abs(1 - 1.9) + abs(2 - 1.1)) / 4)


def test_what_is_as_sure_as_it_is_right_is_calibrated() -> None:
    confidence = RNG.uniform(0.2, 1, 200_000)
    assert calibration_error(confidence, RNG.random(200_000) < confidence) < 0.01


def test_a_class_that_is_not_there_counts_for_nothing() -> None:
    found = scores(np.eye(3)[[0, 1, 1]] * 5, np.array([0, 1, 0]))
    assert found.per_class[:2] == pytest.approx([0.5, 1.0])
    assert np.isnan(found.per_class[2])
    assert found.balanced_accuracy == pytest.approx(0.75)


def test_of_a_class_that_was_never_told_there_is_no_log_loss() -> None:
    logits, labels = np.array([[2.0, 1, -60000], [0, 1, -60000]], np.float16), np.array([0, 1])
    assert np.isfinite(scores(logits, labels).log_loss)
    found = scores(logits, np.array([0, 2]))
    assert np.isnan(found.log_loss)
    assert found.accuracy == 0.5


def test_many_classes_have_no_confusion_and_the_same_shares() -> None:
    labels = np.arange(300) % 150
    found = scores(np.eye(150, dtype=np.float16)[(labels + (np.arange(300) < 75)) % 150], labels)
    assert found.confusion is None
    assert found.accuracy == found.balanced_accuracy == 0.75
