"""How far a map may be trusted, against scikit-learn and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from analysis import geometry
from analysis.layout import cloud, principal

RNG = np.random.default_rng(0)


def test_purity_by_hand() -> None:
    labels, places = np.array([0, 0, 1, -1]), np.array([[1, 2], [0, 2], [0, 3], [0, 1]])
    assert geometry.purity(places, labels) == pytest.approx(2 / 5)  # pairs with both labels known: 01 02 10 12 20


def test_trustworthiness_is_scikit_learns_and_a_map_that_is_its_space_has_all_of_it() -> None:
    points = RNG.normal(size=(120, 6)).astype(np.float32)
    layout = principal(points)
    trusty, steady = geometry.ranks(points, layout, 7)
    assert trusty == trustworthiness(points, layout, n_neighbors=7)
    assert steady == trustworthiness(layout, points, n_neighbors=7)
    assert geometry.ranks(layout, layout, 7) == (1.0, 1.0)


@pytest.mark.parametrize(("dims", "near"), [(1, 0.1), (2, 0.2), (5, 0.6)])
def test_the_dimension_of_a_flat_cloud_in_many_channels_is_found(dims: int, near: float) -> None:
    points = RNG.uniform(size=(3000, dims)) @ np.linalg.qr(RNG.normal(size=(20, 20)))[0][:dims]
    assert geometry.two_nn(cloud(points, "l2").distances) == pytest.approx(dims, abs=near)


def test_participation_counts_directions_that_share_the_variance() -> None:
    points = np.concatenate([np.eye(4), -np.eye(4)])
    assert geometry.participation(points) == pytest.approx(4)
    assert geometry.participation(points * np.array([1, 0, 0, 0])) == pytest.approx(1)
    assert geometry.participation(np.ones((5, 3))) == 0
    wide = RNG.normal(size=(6, 40))
    values = np.linalg.eigvalsh(np.cov(wide.T))
    assert geometry.participation(wide) == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_a_map_that_looks_purer_than_its_space_is_marked() -> None:
    labels = np.arange(200) % 2
    given = cloud(RNG.normal(size=(200, 8)))
    honest, made_up = principal(given.points), np.stack([labels * 100.0, RNG.normal(size=200)], 1)
    assert not geometry.trust(given, honest, labels).purer
    found = geometry.trust(given, made_up, labels)
    assert found.purer
    assert found.purity_map == 1


def test_clumps_that_are_far_apart_have_a_silhouette_near_one() -> None:
    labels = np.arange(60) % 3
    points = np.eye(3)[labels] * 50 + RNG.normal(size=(60, 3))
    found = geometry.trust(cloud(points, "l2"), points[:, :2], labels)
    assert found.silhouette is not None
    assert found.silhouette > 0.9
    assert found.purity_space == 1


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
@pytest.mark.parametrize("labels", [None, "one", "own", "some"])
def test_few_images_one_class_and_equal_images_give_numbers_that_can_be_written_down(count: int, labels: str | None) -> None:
    given = {None: None, "one": np.zeros(count, int), "own": np.arange(count), "some": np.where(np.arange(count) % 2, 1, -1)}[labels]
    for features in (RNG.normal(size=(count, 4)), np.ones((count, 4))):
        space = cloud(features)
        found = geometry.trust(space, principal(space.points), given).to_dict()
        json.dumps(found, allow_nan=False)
        assert 0 <= found["trustworthiness"] <= 1
