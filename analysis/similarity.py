"""Nearest neighbours in feature space."""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.neighbors import NearestNeighbors

from .errors import InvalidRequest

Metric = Literal["cosine", "l2"]
MANY = 100_000  # vectors: beyond, faiss is used where it is installed; both are exact


def nearest(known: np.ndarray, queries: np.ndarray, count: int, metric: Metric = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of (N, D) to each of (m, D): places and distances, both (m, count), the nearest first.

    Cosine distance is 1 - cosine of what is left of a vector without the known ones' mean, which else all vectors share;
    ℓ2 is Euclidean. Raises InvalidRequest.
    """
    if metric not in ("cosine", "l2"):
        raise InvalidRequest(f"metric {metric!r}; allowed: 'cosine' and 'l2'.")
    if not 1 <= count <= len(known):
        raise InvalidRequest(f"count is {count}; allowed: 1 to {len(known)} neighbours.")
    known, queries = known.astype(np.float32), queries.astype(np.float32)
    if metric == "cosine":
        mean = known.mean(0)
        known, queries = (_unit(part - mean) for part in (known, queries))
    found = _by_faiss(known, queries, count) if len(known) > MANY else None
    if found is None:
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(known)
        distances, places = search.kneighbors(queries)
    else:
        distances, places = found
    if metric == "cosine":  # between unit vectors |a - b|² = 2 (1 - cos)
        distances = distances**2 / 2
    return places, distances


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _by_faiss(known: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Distances and places by an exact search of faiss, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    index = faiss.IndexFlatL2(known.shape[1])
    index.add(known)
    squares, places = index.search(queries, count)
    return np.sqrt(np.maximum(squares, 0)), places
