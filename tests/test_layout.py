"""Maps: exact neighbours, UMAPs that follow each other, new points."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from analysis.errors import InvalidData, InvalidRequest
from analysis.geometry import purity
from analysis.layout import aligned, chain, cloud, cuml_here, mirrored, nearest_of_all, onto, placed, principal, umap_of

RNG = np.random.default_rng(0)
CLUMPS = 4


def clumps(apart: float, count: int = 240, width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of four classes whose means lie `apart` standard deviations from each other's, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLUMPS
    means = np.linalg.qr(rng.normal(size=(width, width)))[0][:CLUMPS] * apart
    return (means[labels] + rng.normal(size=(count, width))).astype(np.float32), labels


def map_purity(layout: np.ndarray, labels: np.ndarray) -> float:
    return purity(nearest_of_all(layout, 16)[0][:, 1:], labels)


@pytest.mark.parametrize("chunk", [1 << 26, 700])
def test_neighbours_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("analysis.layout.CHUNK", chunk)
    points = RNG.normal(size=(200, 5)).astype(np.float32) + 100
    places, distances = nearest_of_all(points, 7)
    expected, theirs = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(points.astype(np.float64)).kneighbors()  # without itself
    assert (places[:, 0] == np.arange(200)).all()
    assert (places[:, 1:] == theirs[:, :6]).all()
    np.testing.assert_allclose(distances[:, 1:], expected[:, :6], rtol=1e-4)


def test_of_points_that_lie_on_each_other_each_is_its_own_nearest() -> None:
    points = np.repeat(RNG.normal(size=(5, 3)), 4, 0).astype(np.float32)
    places, distances = nearest_of_all(points, 4)
    assert (places[:, 0] == np.arange(20)).all()
    assert (distances == 0).all()
    assert all(set(row.tolist()) == {4 * (i // 4) + j for j in range(4)} for i, row in enumerate(places))


def test_all_points_may_be_asked_for() -> None:
    places, _ = nearest_of_all(RNG.normal(size=(5, 2)).astype(np.float32), 5)
    assert (np.sort(places, 1) == np.arange(5)).all()


def test_pca_is_scikit_learns_up_to_sign() -> None:
    points = (RNG.normal(size=(60, 8)) * np.arange(1, 9)).astype(np.float32)
    ours, theirs = principal(points, 3), PCA(3).fit_transform(points)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-3, atol=1e-3)


def test_pca_of_fewer_channels_than_dimensions_is_filled_with_zeros() -> None:
    assert (principal(RNG.normal(size=(10, 1)).astype(np.float32), 2)[:, 1] == 0).all()


def test_the_axes_of_a_pca_are_mirrored_as_anothers_and_not_turned() -> None:
    layout = RNG.normal(size=(30, 2)).astype(np.float32)
    np.testing.assert_array_equal(mirrored(layout * [-1, 1], layout), layout)
    np.testing.assert_array_equal(mirrored(layout, np.zeros((30, 2), np.float32)), layout)


def test_planted_clumps_come_out_pure() -> None:
    features, labels = clumps(8)
    given = cloud(features)
    layout = umap_of(given)
    assert layout.shape == (240, 2)
    assert map_purity(layout, labels) > 0.99
    assert umap_of(given, dims=3).shape == (240, 3)


def test_a_map_is_the_same_for_the_same_seed() -> None:
    given = cloud(clumps(3)[0])
    assert (umap_of(given, seed=1) == umap_of(given, seed=1)).all()
    assert not np.allclose(umap_of(given, seed=1), umap_of(given, seed=2))


def test_laying_a_map_onto_itself_leaves_it_and_undoes_turns_and_scales() -> None:
    layout = RNG.normal(size=(50, 2)).astype(np.float32)
    np.testing.assert_allclose(onto(layout, layout), layout, atol=1e-5)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]]) @ np.diag([1, -1])
    np.testing.assert_allclose(onto(3 * layout @ turn + 5, layout), layout, atol=1e-5)


def test_a_chain_keeps_its_extent_however_little_its_spaces_have_in_common() -> None:
    spaces = [cloud(clumps(2, seed=seed)[0]) for seed in range(6)]
    extents = [layout.std() for layout in chain(spaces)]
    assert min(extents) > 0.9 * max(extents)


def test_shuffled_images_stay_as_mixed_through_a_chain_as_in_their_spaces() -> None:
    mixed = np.random.default_rng(1).permutation(clumps(0, count=400)[1])
    spaces = [cloud(clumps(apart, count=400)[0]) for apart in (8, 4, 0)]
    for given, layout in zip(spaces, chain(spaces), strict=True):
        assert map_purity(layout, mixed) == pytest.approx(purity(given.places[:, 1:], mixed), abs=0.03)


def test_features_that_differ_by_rounding_alone_are_the_same() -> None:
    given = cloud((3.3 + 1e-7 * RNG.normal(size=(40, 6))).astype(np.float32))
    assert given.spread == 0
    assert given.plain(2)


def test_a_chain_of_one_space_stays_where_it_is() -> None:
    given = cloud(clumps(8)[0])
    first, second, third = chain([given, given, given])
    extent = first.std()
    assert np.sqrt(((third - second) ** 2).sum(1)).mean() < extent / 2
    assert np.sqrt(((second - first) ** 2).sum(1)).mean() < extent


@pytest.mark.parametrize("turned", [False, True])
def test_following_makes_no_clumps_that_are_not_there(turned: bool) -> None:
    """From clear clumps to none, and the other way: no map of the chain is purer than one that follows nothing."""
    spaces = [cloud(clumps(apart, count=400)[0]) for apart in (8, 4, 2, 1, 0.5, 0)]
    labels = clumps(0, count=400)[1]
    order = list(reversed(spaces)) if turned else spaces
    for given, layout in zip(order, chain(order), strict=True):
        assert map_purity(layout, labels) <= map_purity(umap_of(given), labels) + 0.03
    noisiest = spaces[-1]
    found = dict(zip(map(id, order), chain(order), strict=True))[id(noisiest)]
    assert map_purity(found, labels) == pytest.approx(purity(noisiest.places[:, 1:], labels), abs=0.03)


def test_both_directions_of_a_chain_are_as_pure() -> None:
    spaces, labels = [cloud(clumps(apart, count=400)[0]) for apart in (6, 3, 1)], clumps(0, count=400)[1]
    there = [map_purity(layout, labels) for layout in chain(spaces)]
    back = [map_purity(layout, labels) for layout in chain(spaces[::-1])][::-1]
    assert there == pytest.approx(back, abs=0.03)


def test_images_whose_labels_are_shuffled_are_as_mixed_in_the_map_as_in_the_space() -> None:
    features, labels = clumps(6, count=400)
    given, mixed = cloud(features), np.random.default_rng(1).permutation(labels)
    assert map_purity(umap_of(given), mixed) == pytest.approx(purity(given.places[:, 1:], mixed), abs=0.03)


def test_an_image_that_is_there_lands_on_itself_and_one_between_two_between_them() -> None:
    features, labels = clumps(8)
    given = cloud(features, "l2")
    layout = umap_of(given)
    np.testing.assert_array_equal(placed(given, layout, features[[3, 50]]), layout[[3, 50]])
    middle = features[labels == 2].mean(0, keepdims=True)
    place = placed(given, layout, middle)
    assert labels[((layout - place) ** 2).sum(1).argmin()] == 2


@pytest.mark.parametrize("features", [np.zeros((30, 4)), np.ones((3, 4)), np.eye(4), np.repeat(np.eye(2), 20, 0)])
def test_few_or_equal_images_have_a_map_too(features: np.ndarray) -> None:
    for metric in ("cosine", "l2"):
        layout = umap_of(cloud(features, metric))  # type: ignore[arg-type]
        assert layout.shape == (len(features), 2)
        assert np.isfinite(layout).all()


def test_what_has_no_map_is_refused_in_words() -> None:
    with pytest.raises(InvalidRequest, match="1 images were given"):
        cloud(np.zeros((1, 4)))
    with pytest.raises(InvalidData, match="not finite"):
        cloud(np.full((9, 4), np.nan))
    with pytest.raises(InvalidRequest, match="metric 'l1'"):
        cloud(np.zeros((9, 4)), "l1")  # type: ignore[arg-type]


def test_cumls_umap_is_asked_for_the_same_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its documentation has it (cuML 26.08): no GPU was there to try it on."""
    asked: dict[str, object] = {}

    class UMAP:
        def __init__(self, **settings: object) -> None:
            asked.update(settings)

        def fit_transform(self, points: np.ndarray) -> np.ndarray:
            return points[:, :2]

    runtime = SimpleNamespace(getDeviceCount=lambda: 1)
    monkeypatch.setitem(sys.modules, "cuml", SimpleNamespace(manifold=SimpleNamespace(UMAP=UMAP)))
    monkeypatch.setitem(sys.modules, "cuml.manifold", SimpleNamespace(UMAP=UMAP))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    assert cuml_here()
    given = cloud(clumps(8)[0])
    before = principal(given.points)
    umap_of(given, seed=3, start=before, engine="cuml")
    assert asked.pop("init").shape == (240, 2)  # type: ignore[attr-defined]
    places, distances = asked.pop("precomputed_knn")  # type: ignore[misc]
    assert (places == given.places[:, :15]).all()
    assert (distances == given.distances[:, :15]).all()
    assert asked == {"n_neighbors": 15, "n_components": 2, "min_dist": 0.1, "n_epochs": 100, "random_state": 3, "output_type": "numpy"}
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert not cuml_here()


@pytest.mark.slow
def test_umap_learns_own_alignment_keeps_planted_clumps_and_moves_less() -> None:
    spaces, labels = [cloud(clumps(apart, count=120)[0]) for apart in (8, 7, 6)], clumps(0, count=120)[1]
    found = aligned(spaces)
    assert [layout.shape for layout in found] == [(120, 2)] * 3
    assert all(map_purity(layout, labels) > 0.95 for layout in found)
    with pytest.raises(InvalidRequest, match="1 clouds"):
        aligned(spaces[:1])
