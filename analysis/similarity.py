"""Which images are alike in feature space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from sklearn.neighbors import NearestNeighbors

from .errors import InvalidRequest

Metric = Literal["cosine", "l2"]
FEWEST, BATCH = 4, 256  # images of a batch of CKA, at least and in `compare`
MANY = 100_000  # vectors: beyond, faiss is used where it is installed; both are exact


@dataclass(frozen=True)
class Space:
    """Where images are compared: by Euclidean distance of their features as they are (l2), or of unit vectors without `mean`."""

    metric: Metric
    mean: np.ndarray  # (D,) of the images that the space is of

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features (n, D) in this space, float32."""
        vectors = features.astype(np.float32)
        if self.metric == "l2":
            return vectors
        vectors = vectors - self.mean
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def space(known: np.ndarray, metric: Metric) -> Space:
    """The space of images (N, D). Raises InvalidRequest for another metric than cosine and l2."""
    if metric not in ("cosine", "l2"):
        raise InvalidRequest(f"metric {metric!r}; allowed: 'cosine' and 'l2'.")
    return Space(metric, known.astype(np.float32).mean(0))


def nearest(known: np.ndarray, queries: np.ndarray, count: int, metric: Metric = "cosine") -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of (N, D) to each of (m, D): places and distances, both (m, count), the nearest first.

    Cosine distance is 1 - cosine of what is left of a vector without the known ones' mean, which else all vectors share;
    ℓ2 is Euclidean. Raises InvalidRequest.
    """
    into = space(known, metric)
    if not 1 <= count <= len(known):
        raise InvalidRequest(f"count is {count}; allowed: 1 to {len(known)} neighbours.")
    known, queries = into(known), into(queries)
    found = _by_faiss(known, queries, count) if len(known) > MANY else None
    if found is None:
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(known)
        distances, places = search.kneighbors(queries)
    else:
        distances, places = found
    if metric == "cosine":  # between unit vectors |a - b|² = 2 (1 - cos)
        distances = distances**2 / 2
    return places, distances


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


def cka(batches: Iterable[Sequence[np.ndarray]]) -> np.ndarray:
    """Linear CKA between B sets of features of the same images, (B, B), from batches of B arrays (n, D_b) each.

    Kornblith et al., arXiv 1905.00414, with the unbiased HSIC of Song et al. (2012) summed over batches, as in Nguyen et al.,
    arXiv 2010.15327: it does not depend on how many images there are, and memory holds one batch. Features that do not vary are
    like nothing: NaN. Raises InvalidRequest for a batch of fewer than four images, or none.
    """
    shared: np.ndarray | None = None
    for batch in batches:
        count = len(batch[0])
        if count < FEWEST:
            raise InvalidRequest(f"A batch has {count} images; allowed: {FEWEST} or more.")
        if shared is None:  # one scale for all batches of a set: what float32 holds, and changes nothing
            scales = [float(np.abs(features).max()) or 1.0 for features in batch]
        centred = np.stack([_centred_gram(features / scale).ravel() for features, scale in zip(batch, scales, strict=True)])
        found = (centred @ centred.T).astype(np.float64) / (count * (count - 3))
        shared = found if shared is None else shared + found
    if shared is None:
        raise InvalidRequest("No images were given; allowed: one batch or more.")
    own = np.sqrt(np.maximum(np.diag(shared), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(shared / np.where(own > 0, own, np.nan) / np.where(own > 0, own, np.nan)[:, None])


def _centred_gram(features: np.ndarray) -> np.ndarray:
    """The Gram matrix (n, n) float32 of features (n, D), without its diagonal and U-centred: products of two sum to n(n-3) HSIC."""
    vectors = features.astype(np.float32)
    vectors = vectors - vectors.mean(0)  # changes nothing but what float32 loses
    gram = vectors @ vectors.T
    np.fill_diagonal(gram, 0)
    count, rows = len(gram), gram.sum(1, dtype=np.float64)
    half = (rows / (count - 2) - rows.sum() / (2 * (count - 1) * (count - 2))).astype(np.float32)
    gram -= half[:, None] + half
    np.fill_diagonal(gram, 0)
    return gram


def mutual(a: np.ndarray, b: np.ndarray) -> float:
    """Mean share of the k nearest (n, k) of each image that two spaces have in common. Huh et al., arXiv 2405.07987, §2."""
    return float((a[:, :, None] == b[:, None]).any(2).mean())


class Source(Protocol):
    """Features (n, D) that are read a part at a time; an array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


def compare(features: Sequence[Source], places: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """CKA and mutual neighbours, both (B, B), between B sets of features (n, D_b) of the same images and their nearest (n, k)."""
    edges = np.arange(0, len(features[0]) - FEWEST + 1, BATCH)  # the last batch takes what is too little for one of its own
    parts = [slice(start, end) for start, end in zip(edges, [*edges[1:], len(features[0])], strict=True)]
    found = cka([one[part] for one in features] for part in parts)
    shared = np.eye(len(places))
    for i in range(len(places)):
        for j in range(i):
            shared[i, j] = shared[j, i] = mutual(places[i], places[j])
    return found, shared
