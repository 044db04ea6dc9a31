from __future__ import annotations

import numpy as np
import pytest

from analysis import similarity
from analysis.errors import InvalidRequest

KNOWN = np.random.default_rng(0).normal(size=(50, 6))


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
