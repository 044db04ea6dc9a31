"""Heads against scikit-learn, closed forms and planted structure."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.neighbors import NearestCentroid

from analysis import probing, registry, solver
from analysis.errors import InvalidData
from analysis.heads import logistic
from analysis.heads.base import Linear
from analysis.heads.centroid import Centroid
from analysis.heads.logistic import Logistic
from analysis.heads.projection import Projection
from analysis.heads.ridge import Ridge
from analysis.heads.soft_knn import TEMPERATURE, SoftKNN

RNG = np.random.default_rng(0)


def blobs(count: int, size: int, classes: int, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % classes
    return (RNG.normal(0, apart, (classes, size))[labels] + RNG.normal(size=(count, size))).astype(np.float32), labels


@pytest.mark.parametrize(("count", "size"), [(60, 8), (20, 50)])
def test_ridge_is_sklearns_at_every_penalty(count: int, size: int) -> None:
    x, y = blobs(count, size, 3)
    for head in Ridge().fit(x, y, 3):
        theirs = TheirRidge(alpha=count / head.penalty).fit(x.astype(np.float64), np.eye(3)[y])
        np.testing.assert_allclose(head.predict_logits(x), theirs.predict(x), atol=2e-4)


def test_the_nearest_mean_is_sklearns() -> None:
    x, y = blobs(90, 5, 4, 0.7)
    (head,) = Centroid().fit(x, y, 4)
    assert head.predict_logits(x).argmax(1).tolist() == NearestCentroid().fit(x, y).predict(x).tolist()


def test_subspaces_that_are_planted_are_found() -> None:
    """Classes of mean 0 on planes of their own: no linear probe tells them apart, projections do."""
    labels = np.repeat([0, 1], 200)
    planes = np.linalg.qr(RNG.normal(size=(12, 4)))[0].reshape(12, 2, 2).transpose(1, 0, 2)
    x = np.einsum("nd,nkd->nk", RNG.normal(size=(400, 2)), planes[labels]) + 0.05 * RNG.normal(size=(400, 12))
    heads = {head.penalty: head for head in Projection().fit(x.astype(np.float32), labels, 2)}
    assert (heads[2.0].predict_logits(x).argmax(1) == labels).mean() > 0.98
    (linear, *_) = Logistic().fit(x.astype(np.float32), labels, 2)
    assert (linear.predict_logits(x).argmax(1) == labels).mean() < 0.65


def test_no_class_has_more_directions_than_images() -> None:
    x, y = blobs(9, 6, 3)
    assert [head.directions.shape for head in Projection().fit(x, y, 3)] == [(3, 6, count) for count in (1, 2, 3, 3)]  # type: ignore[attr-defined]


def test_votes_are_counted_by_hand() -> None:
    known = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    heads = {round(1 / head.penalty): head for head in SoftKNN().fit(known, np.array([0, 1, 1]), 2)}
    query = np.array([[2, 0]], np.float32)
    assert heads[1].predict_logits(query).argmax() == 0
    weights = np.exp((np.array([1, 0, 0.6]) - 1) / TEMPERATURE)
    shares = np.array([weights[0], weights[1] + weights[2]]) / weights.sum()
    np.testing.assert_allclose(heads[200].predict_logits(query)[0], np.log(shares + 1e-6), rtol=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_many_features_are_solved_together_as_few_are_one_by_one(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(600, 30, classes, 0.3)
    monkeypatch.setattr(logistic, "small", lambda *_: True)
    apart = Logistic().fit(x, y, classes)
    monkeypatch.setattr(logistic, "small", lambda *_: False)
    together = Logistic().fit(x, y, classes)
    for one, other in zip(apart, together, strict=True):
        assert isinstance(one, Linear)
        assert isinstance(other, Linear)
        assert one.penalty == other.penalty
        assert other.converged
        assert one.weight.shape == other.weight.shape == (classes, 30)
        np.testing.assert_allclose(other.predict_logits(x), one.predict_logits(x), atol=0.05)


def test_a_fit_that_does_not_converge_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(60, 5, 3)
    fit = LogisticRegression.fit

    def stuck(self: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> LogisticRegression:

        if self.C == 1.0:
            warnings.warn("lbfgs failed to converge", ConvergenceWarning, stacklevel=1)
        return fit(self, features, labels)

    monkeypatch.setattr(LogisticRegression, "fit", stuck)
    monkeypatch.setattr(logistic, "small", lambda *_: True)
    heads = [head for head in Logistic().fit(x, y, 3) if isinstance(head, Linear)]
    assert [head.converged for head in heads] == [head.penalty != 1.0 for head in heads]


def watched(monkeypatch: pytest.MonkeyPatch, mark: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.dtype]:
    """Solutions whose marks of convergence are what `mark` makes of them; in which precisions they were sought."""
    fit, seen = solver.fit, []

    def watch(features: torch.Tensor, *args: object) -> solver.Solution:
        seen.append(features.dtype)
        found = fit(features, *args)  # type: ignore[arg-type]
        return replace(found, converged=mark(found.converged))

    monkeypatch.setattr(solver, "fit", watch)
    return seen


def test_a_penalty_whose_fit_did_not_converge_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(60, 5, 3)
    seen = watched(monkeypatch, lambda found: found & torch.tensor([True, True, True, False, True]))
    found = probing.probe(Logistic(), "feature", (x, y), (x, y), x, 3)
    assert found.head.penalty != 1.0
    assert found.converged == pytest.approx(4 / 5)
    assert seen == [torch.float32, torch.float64]  # a small one is tried once more


def test_where_no_fit_converged_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(60, 5, 3)
    watched(monkeypatch, torch.zeros_like)
    with pytest.raises(InvalidData, match="no penalty's fit converged"):
        probing.probe(Logistic(), "feature", (x, y), (x, y), x, 3)


@pytest.mark.usefixtures("small_networks")
def test_only_log_odds_are_kept_to_read_images_with() -> None:
    x, y = blobs(60, 5, 3)
    heads = [registry.get("heads", name)() for name in registry.names("heads")]
    assert {head.name for head in heads if head.fit(probing.shaped(head, x), y, 3)[0].tensors()} == {"logistic"}


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("name", registry.names("heads"))
def test_a_class_that_no_image_was_said_to_be_of_is_never_said(name: str) -> None:
    x, y = blobs(80, 5, 4)
    y = np.where(y == 1, 2, y)
    found = probing.probe(registry.get("heads", name)(), "feature", (x, y), (x, y), x, 4)
    best, kept = found.head, found.head.tensors()
    assert 1 not in found.logits.argmax(1)
    assert all(len(rows) == 4 for rows in kept.values())
    if kept:
        np.testing.assert_allclose(x @ kept["weight"].T + kept["bias"], best.predict_logits(x), rtol=1e-5)


def test_one_class_alone_is_refused() -> None:
    x, _ = blobs(20, 5, 2)
    with pytest.raises(InvalidData, match="all labelled images are of one class"):
        probing.probe(Logistic(), "feature", (x, np.zeros(20, int)), (x, np.zeros(20, int)), x, 3)
