"""Running sums against numpy, scikit-learn and the heads that see all features at once."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from analysis.errors import InvalidData
from analysis.heads.base import Linear, Scaler
from analysis.heads.ridge import Ridge
from analysis.sums import Sums, effective_rank


def images(count: int, size: int, classes: int, seed: int = 0, away: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, D) float32 of unlike spreads, `away` from 0, the last of them dead; labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % classes)
    mixed = rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + rng.normal(size=(classes, size))[labels]
    features = away + mixed * np.geomspace(0.01, 10, size)
    features[:, -1] = 0.3
    return features.astype(np.float32), labels


def same(one: Sums, other: Sums) -> None:
    """Equal but for rounding in double precision, which grows with the mean's distance from 0."""
    assert one.count == other.count
    np.testing.assert_allclose(one.totals, other.totals, atol=1e-9)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    scale = np.sqrt(np.outer(np.diag(other.scatter), np.diag(other.scatter)))
    assert (np.abs(one.scatter - other.scatter) <= 1e-11 * scale + 1e-20).all()
    np.testing.assert_allclose(one.cross, other.cross, atol=1e-9 * np.abs(other.cross).max())


@pytest.mark.parametrize("away", [0.0, 1000.0])
def test_sums_are_numpys_also_far_from_zero(away: float) -> None:
    x, y = images(200, 6, 3, away=away)
    parts = [Sums.of(x[i : i + 7], y[i : i + 7], 3) for i in range(0, 200, 7)]
    found = reduce(add, parts)
    exact = x.astype(np.float64)
    assert found.count == 200
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(exact.T, bias=True), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found.class_means, [exact[y == k].mean(0) for k in range(3)], rtol=1e-12)
    np.testing.assert_allclose(found.cross, (np.eye(3)[y] - 1 / 3).T @ (exact - exact.mean(0)), atol=1e-9)


@given(st.lists(st.integers(0, 25), min_size=1, max_size=12), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_parts_of_any_size_merge_in_any_order_to_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = images(max(1, sum(sizes)), 5, 3, seed % 1000)
    parts = [Sums.of(a, b, 3) for a, b in zip(np.split(x, np.cumsum(sizes)), np.split(y, np.cumsum(sizes)), strict=True)]
    while len(parts) > 1:  # any tree of sums
        one, other = (parts.pop(rng.integers(len(parts))) for _ in range(2))
        parts.append(one + other)
    same(parts[0], Sums.of(x, y, 3))


def test_a_dead_feature_stays_dead_however_it_is_added_up() -> None:
    x, y = images(90, 4, 2)
    found = reduce(add, [Sums.of(x[i : i + 1], y[i : i + 1], 2) for i in range(90)])
    assert found.scatter[-1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("count", "size"), [(300, 12), (20, 40)])
def test_ridge_from_sums_is_the_head_of_all_scaled_features(count: int, size: int) -> None:
    x, y = images(count, size, 4)
    found = reduce(add, [Sums.of(x[i : i + 9], y[i : i + 9], 4) for i in range(0, count, 9)])
    scaler, heads = found.ridge()
    theirs = Scaler.fit(x)
    np.testing.assert_allclose(scaler.mean, theirs.mean, rtol=1e-7)
    np.testing.assert_allclose(scaler.spread, theirs.spread, rtol=1e-7)
    for ours, head in zip(heads, Ridge().fit((x - theirs.mean.astype(np.float64)) / theirs.spread, y, 4), strict=True):
        assert isinstance(ours, Linear)
        assert isinstance(head, Linear)
        assert ours.penalty == head.penalty
        np.testing.assert_allclose(ours.weight, head.weight, atol=1e-5 * np.abs(head.weight).max())
        np.testing.assert_allclose(ours.bias, head.bias, atol=1e-6)


def numbers(x: np.ndarray) -> np.ndarray:
    """A number an image (n,): half of it is in the features, and its mean is not 0."""
    rng = np.random.default_rng(1)
    told = (x - x.mean(0)) @ rng.normal(size=x.shape[1])
    return np.asarray(0.5 + told / told.std() + rng.normal(size=len(x)))


@pytest.mark.parametrize(("count", "size"), [(300, 12), (20, 40)])
def test_ridge_from_sums_reads_numbers_as_the_head_of_all_scaled_features_does(count: int, size: int) -> None:
    x, _ = images(count, size, 4)
    y = numbers(x)
    scaler, heads = reduce(add, [Sums.of(x[i : i + 9], y[i : i + 9], 4) for i in range(0, count, 9)]).ridge()
    theirs = Scaler.fit(x)
    for ours, head in zip(heads, Ridge().regress((x - theirs.mean.astype(np.float64)) / theirs.spread, y), strict=True):
        said = ours.predict_logits(scaler(x))
        assert said.shape == (count, 1)
        np.testing.assert_allclose(said, head.predict_logits(theirs(x)), atol=2e-4)


def test_sums_of_numbers_merge_to_the_whole() -> None:
    x, _ = images(60, 5, 3)
    y = numbers(x)
    parts = [Sums.of(x[i : i + 7], y[i : i + 7], 3) for i in range(0, 60, 7)]
    same(reduce(add, parts), Sums.of(x, y, 3))
    np.testing.assert_allclose(reduce(add, parts).cross[0], (y - y.mean()) @ (x - x.mean(0, dtype=np.float64)), rtol=1e-9, atol=1e-9)


def test_numbers_have_no_class_means() -> None:
    x, _ = images(60, 5, 3)
    found = Sums.of(x, numbers(x), 3)
    assert found.moments(2).class_means.shape == (0, 5)
    assert np.isnan(found.between)


@pytest.mark.parametrize(("count", "size", "components"), [(300, 12, 3), (20, 40, 7), (300, 12, 12), (300, 12, 50)])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_ridge_of_components_is_that_of_sklearns_components(count: int, size: int, components: int, kind: str) -> None:
    x, y = images(count, size, 4)
    scaler, heads = Sums.of(x, y if kind == "classes" else numbers(x), 4).ridge(components)
    scaled = scaler(x).astype(np.float64)
    axes = PCA(min(components, size), svd_solver="full").fit(scaled)
    projected = axes.transform(scaled)
    theirs = Ridge().fit(projected, y, 4) if kind == "classes" else Ridge().regress(projected, numbers(x))
    for ours, head in zip(heads, theirs, strict=True):
        np.testing.assert_allclose(ours.predict_logits(scaler(x)), head.predict_logits(projected), atol=1e-4)


def test_a_class_without_an_image_is_never_said() -> None:
    x, y = images(120, 5, 4)
    scaler, heads = Sums.of(x, np.where(y == 1, 2, y), 4).ridge()
    assert all(1 not in head.predict_logits(scaler(x)).argmax(1) for head in heads)


def test_one_class_alone_is_refused() -> None:
    x, _ = images(20, 5, 2)
    with pytest.raises(InvalidData, match="all labelled images are of one class"):
        Sums.of(x, np.ones(20, int), 3).ridge()


@pytest.mark.parametrize(("value", "words"), [(0.3, "the same features"), (np.nan, "not finite"), (np.inf, "not finite")])
@pytest.mark.filterwarnings("error")
def test_features_that_cannot_be_probed_are_refused(value: float, words: str) -> None:
    x, y = np.full((21, 3), value, np.float32), np.arange(21) % 2
    with pytest.raises(InvalidData, match=words):
        reduce(add, [Sums.of(x[i : i + 5], y[i : i + 5], 2) for i in range(0, 21, 5)]).ridge()


def test_components_are_sklearns() -> None:
    x, y = images(150, 6, 3)
    variances, directions = Sums.of(x, y, 3).components(4)
    theirs = PCA(4, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(variances, theirs.explained_variance_ * 149 / 150, rtol=1e-6)
    np.testing.assert_allclose(np.abs((directions * theirs.components_).sum(1)), 1, rtol=1e-6)


def test_moments_are_the_means_and_the_first_components() -> None:
    x, y = images(150, 6, 3)
    found = Sums.of(x, np.where(y == 1, 2, y), 3).moments(2)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(found.mean, exact.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.class_means[[0, 2]], [exact[y == 0].mean(0), exact[y != 0].mean(0)], rtol=1e-6)
    assert np.isnan(found.class_means[1]).all()
    np.testing.assert_allclose(((exact - found.mean) @ found.directions.T).var(0), found.variances, rtol=1e-5)
    assert all(part.dtype == np.float32 for part in found)


def test_effective_rank_is_worked_out_by_hand() -> None:
    assert effective_rank(np.full(7, 0.2)) == pytest.approx(7)
    assert effective_rank(np.array([3.0, 0, 0])) == 1
    assert effective_rank(np.array([9.0, 1.0])) == pytest.approx(4 / 3**0.75)  # exp(H(3/4, 1/4))
    assert np.isnan(effective_rank(np.zeros(3)))


def test_the_share_between_classes_is_worked_out_by_hand() -> None:
    """Means ±2, within each class ±1: variance 4 between and 1 within."""
    x, y = np.array([[1.0], [3.0], [-1.0], [-3.0]]), np.array([0, 0, 1, 1])
    assert Sums.of(x, y, 3).between == pytest.approx(0.8)
    assert np.isnan(Sums.of(np.ones((4, 1)), y, 3).between)
