from __future__ import annotations

import numpy as np
import pytest

from analysis import similarity
from analysis.errors import InvalidRequest

KNOWN = np.random.default_rng(0).normal(size=(50, 6))
RNG = np.random.default_rng(2)


def test_the_nearest_by_length_are_those_worked_out_one_by_one() -> None:
    query = np.random.default_rng(1).normal(size=(1, 6))
    places, distances = similarity.nearest(KNOWN, query, 3, "l2")
    by_hand = np.sqrt(((KNOWN - query) ** 2).sum(1))
    assert places[0].tolist() == np.argsort(by_hand)[:3].tolist()
    np.testing.assert_allclose(distances[0], np.sort(by_hand)[:3], rtol=1e-5)


def test_cosine_is_of_what_is_left_without_the_mean() -> None:
    query = np.random.default_rng(1).normal(size=(1, 6))
    mean = KNOWN.mean(0)
    cosine = ((KNOWN - mean) @ (query - mean)[0]) / np.linalg.norm(KNOWN - mean, axis=1) / np.linalg.norm(query - mean)
    places, distances = similarity.nearest(KNOWN, query, 4, "cosine")
    assert places[0].tolist() == np.argsort(-cosine)[:4].tolist()
    np.testing.assert_allclose(distances[0], np.sort(1 - cosine)[:4], atol=1e-5)


def test_faiss_and_scikit_learn_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="faiss is an optional install")
    queries = KNOWN[:5] + 0.01
    expected = [similarity.nearest(KNOWN, queries, 4, metric) for metric in ("cosine", "l2")]
    monkeypatch.setattr(similarity, "MANY", 10)
    for (places, distances), metric in zip(expected, ("cosine", "l2"), strict=True):
        found = similarity.nearest(KNOWN, queries, 4, metric)
        assert (found[0] == places).all()
        np.testing.assert_allclose(found[1], distances, atol=1e-4)


def test_without_faiss_many_vectors_are_searched_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "MANY", 10)
    monkeypatch.setattr(similarity, "_by_faiss", lambda *_: None)
    assert similarity.nearest(KNOWN, KNOWN[:1], 1, "l2")[0][0, 0] == 0


@pytest.mark.parametrize(("count", "metric", "words"), [(0, "l2", "1 to 50"), (51, "l2", "1 to 50"), (1, "l1", "'cosine' and 'l2'")])
def test_what_cannot_be_asked_is_said(count: int, metric: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        similarity.nearest(KNOWN, KNOWN[:1], count, metric)  # type: ignore[arg-type]


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. (2012), eq. 5, in words: the trace, the totals, the rows."""
    n, k, m = len(k), k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    return float(
        (np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 * (one @ k @ m @ one) / (n - 2)) / (n * (n - 3))
    )


def test_cka_is_the_formulas_in_double_precision() -> None:
    sets = [RNG.normal(size=(64, d)) + 3 for d in (5, 9, 40)]
    sets.append(sets[0] @ RNG.normal(size=(5, 7)))
    batches = [[features[start : start + 16] for features in sets] for start in range(0, 64, 16)]
    found = similarity.cka(batches)
    for i in range(4):
        for j in range(4):
            parts = [[hsic(batch[a] @ batch[a].T, batch[b] @ batch[b].T) for a, b in ((i, j), (i, i), (j, j))] for batch in batches]
            both, left, right = np.sum(parts, 0)
            assert found[i, j] == pytest.approx(both / np.sqrt(left * right), abs=1e-5)


def test_cka_does_not_change_when_features_are_turned_scaled_or_moved() -> None:
    features, other = RNG.normal(size=(50, 8)), RNG.normal(size=(50, 6))
    turned = 7 * features @ np.linalg.qr(RNG.normal(size=(8, 8)))[0] + 100
    found = similarity.cka([[features, turned, other]])
    assert found[0, 1] == pytest.approx(1, abs=1e-5)
    assert found[0, 2] == pytest.approx(found[1, 2], abs=1e-5)


def test_cka_of_features_that_have_nothing_in_common_is_about_zero_however_few_images() -> None:
    rng = np.random.default_rng(1)
    found = [similarity.cka([[rng.normal(size=(20, 200)), rng.normal(size=(20, 200))]])[0, 1] for _ in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 60**0.5 + 0.01  # the biased one gives .9


def test_cka_of_features_that_do_not_vary_is_unknown() -> None:
    found = similarity.cka([[np.ones((8, 3)), RNG.normal(size=(8, 3))]])
    assert np.isnan(found[0]).all()
    assert found[1, 1] == pytest.approx(1)
    with pytest.raises(InvalidRequest, match="4 or more"):
        similarity.cka([[np.ones((3, 2))]])
    with pytest.raises(InvalidRequest, match="No images"):
        similarity.cka([])


def test_mutual_neighbours_are_shares_of_those_in_common() -> None:
    assert similarity.mutual(np.array([[1, 2], [0, 2]]), np.array([[2, 1], [2, 3]])) == pytest.approx(3 / 4)


@pytest.mark.parametrize("count", [4, 256, 258, 261, 600])
def test_sets_of_any_size_are_compared_in_batches(count: int) -> None:
    sets = [RNG.normal(size=(count, 6)), RNG.normal(size=(count, 3))]
    places = [np.argsort(RNG.normal(size=(count, count)), 1)[:, :3] for _ in sets]
    found, shared = similarity.compare(sets, places)
    assert np.diag(found) == pytest.approx(1)
    assert np.diag(shared) == pytest.approx(1)
    assert found[0, 1] == pytest.approx(found[1, 0])
    assert shared[0, 1] == shared[1, 0] == similarity.mutual(*places)
