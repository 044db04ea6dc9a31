"""Features -> maps in two or three dimensions: PCA, UMAP, and UMAPs that follow each other over noise or depth.

Everything is about one space, `space`: cosine takes unit vectors without the images' common mean, l2 the features as they are.
Neighbours are exact and in the full space; PCA gives a UMAP its start alone, never its graph. Distances between clumps of a UMAP
mean nothing, and another seed gives another map: `trust` in geometry.py says how far one may be believed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from .errors import InvalidData, InvalidRequest
from .similarity import Metric, Space, space

NEIGHBOURS = 15  # of a UMAP's graph, umap-learn's own default
EPOCHS, FOLLOWING = 250, 100  # of a first map, for which umap-learn's 500 bring nothing, and of one that starts from the map before
MIN_DIST = 0.1
STILL = 1e-6  # of the largest value: features that differ by less are all the same
Engine = Literal["umap-learn", "cuml"]
CHUNK = 1 << 21  # numbers of neighbours' features that are in memory at once


@dataclass(frozen=True)
class Cloud:
    """Points of a space (n, D) float32, and the k nearest of each: itself first, then by distance."""

    into: Space
    points: np.ndarray
    places: np.ndarray  # (n, k) int32
    distances: np.ndarray  # (n, k) float32

    def __len__(self) -> int:
        return len(self.points)

    def plain(self, dims: int) -> bool:
        """Whether there are too few points, or they have too little extent, for a UMAP: its PCA is all there is."""
        return len(self) <= dims + 2 or self.spread == 0

    @cached_property
    def spread(self) -> float:
        """Root mean square distance from the mean: 0 where all points are one."""
        return float(np.sqrt(((self.points - self.points.mean(0)) ** 2).sum(1).mean()))


def cloud(features: np.ndarray, metric: Metric = "cosine", neighbours: int = NEIGHBOURS) -> Cloud:
    """The space of features (n, D), with the `neighbours` nearest of each point and itself; fewer where there are fewer points.

    Raises InvalidRequest for fewer than two images, InvalidData for features that are not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise InvalidRequest(f"{len(features)} images were given; allowed: two or more, for a map.")
    if not np.isfinite(features).all():
        raise InvalidData("The features are not finite, so that images have no distance; choose another block or level.")
    into = space(features, metric)
    points = into(features)
    if float(features.std(0).max()) <= STILL * float(np.abs(features).max()):  # what differs is rounding
        points = np.zeros_like(points)
    return Cloud(into, points, *nearest_of_all(points, min(neighbours + 1, len(points))))


def nearest_of_all(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of each of (n, D), itself first: places (n, count) int32 and Euclidean distances (n, count) float32.

    Exact, and in memory that does not grow with n²; `count` is two or more.
    """
    from sklearn.neighbors import NearestNeighbors

    n, width = points.shape
    others = NearestNeighbors(n_neighbors=count - 1, algorithm="brute").fit(points).kneighbors(return_distance=False)
    places = np.column_stack([np.arange(n), others]).astype(np.int32)
    distances = np.empty((n, count), np.float32)
    rows = max(1, CHUNK // (count * width))
    for start in range(0, n, rows):  # again from differences: by products, points that lie on each other have a distance
        part = slice(start, start + rows)
        distances[part] = np.sqrt(((points[places[part]] - points[part, None]) ** 2).sum(2))
    return places, distances


def principal(points: np.ndarray, dims: int = 2) -> np.ndarray:
    """PCA: (n, D) -> (n, dims) float32, the largest weight of each component positive; columns of zeros where D is smaller."""
    centred = points - points.mean(0)
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = vectors[:, np.argsort(values)[::-1][:dims]]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    found = np.zeros((len(points), dims), np.float32)
    found[:, : axes.shape[1]] = centred @ axes
    return found


def cuml_here() -> bool:
    """Whether cuML is installed and has a GPU."""
    try:
        import cuml.manifold  # noqa: F401
        import cupy

        return bool(cupy.cuda.runtime.getDeviceCount() > 0)
    except (ImportError, RuntimeError):
        return False


def umap_of(given: Cloud, dims: int = 2, seed: int = 0, start: np.ndarray | None = None, engine: Engine = "umap-learn") -> np.ndarray:
    """UMAP (n, dims) float32 of a cloud, McInnes et al., arXiv 1802.03426, from its PCA or from a map (n, dims) given as `start`.

    A cloud too small or without extent for a graph gives its PCA. cuML's is another implementation: its maps are not umap-learn's.
    """
    if given.plain(dims):
        return principal(given.points, dims)
    first = _scaled(principal(given.points, dims) if start is None else start, seed)
    count = given.places.shape[1] - 1  # UMAP counts a point among its own neighbours
    near, epochs = (given.places[:, :count], given.distances[:, :count]), EPOCHS if start is None else FOLLOWING
    settings = {"n_neighbors": count, "n_components": dims, "min_dist": MIN_DIST, "init": first, "n_epochs": epochs, "random_state": seed}
    if engine == "cuml":
        from cuml.manifold import UMAP

        return np.asarray(UMAP(**settings, precomputed_knn=near, output_type="numpy").fit_transform(given.points), np.float32)
    from umap import UMAP

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="precomputed_knn")  # there is no index for new points: see `placed`
        warnings.filterwarnings("ignore", message="n_jobs value")
        made = UMAP(**settings, n_jobs=1, precomputed_knn=(*near, None))
        return np.asarray(made.fit_transform(given.points), np.float32)


def _scaled(layout: np.ndarray, seed: int) -> np.ndarray:
    """A start as umap-learn scales its own: within ±10, with a little noise that parts points that lie on each other."""
    centred = layout - layout.mean(0)
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=layout.shape)
    return np.asarray(10 * centred / max(float(np.abs(centred).max()), 1e-12) + noise, np.float32)


def onto(moving: np.ndarray, still: np.ndarray) -> np.ndarray:
    """A map turned, mirrored and moved to lie as near as it can to another of the same images (Procrustes), and as wide as that.

    Its scale is the other's, not the one that lies nearest: that would shrink a map the more, the less the two have in common.
    """
    from scipy.linalg import orthogonal_procrustes

    a, b = moving - moving.mean(0), still - still.mean(0)
    turn, _ = orthogonal_procrustes(a, b)
    size = float(np.linalg.norm(a))
    return np.asarray(a @ turn * (float(np.linalg.norm(b)) / size if size > 0 else 1.0) + still.mean(0), np.float32)


def mirrored(moving: np.ndarray, still: np.ndarray) -> np.ndarray:
    """A PCA whose axes point as another's of the same images do: it is turned by nothing else, so its axes stay components."""
    signs = np.sign((moving * still).sum(0))
    return np.asarray(moving * np.where(signs == 0, 1, signs), np.float32)


def chain(clouds: Iterable[Cloud], dims: int = 2, seed: int = 0) -> Iterator[np.ndarray]:
    """UMAPs (n, dims) of the same images in one space after another, each started from the one before and laid onto it."""
    before: np.ndarray | None = None
    for given in clouds:
        before = follow(given, before, dims, seed)
        yield before


def follow(given: Cloud, before: np.ndarray | None, dims: int = 2, seed: int = 0, engine: Engine = "umap-learn") -> np.ndarray:
    """The next of a chain of UMAPs (n, dims), or the first."""
    found = umap_of(given, dims, seed, before, engine=engine)
    return found if before is None else onto(found, before)


def aligned(clouds: Sequence[Cloud], dims: int = 2, seed: int = 0) -> list[np.ndarray]:
    """The same by umap-learn's AlignedUMAP, which lays all of them out at once: points move half as far, for some twenty times the time.

    Measured by `python -m benchmarks run aligned-umap` (BENCHMARKS.md); it finds its own neighbours. Raises InvalidRequest for fewer than two clouds.
    """
    if len(clouds) < 2:
        raise InvalidRequest(f"{len(clouds)} clouds were given; allowed: two or more, to be laid onto each other.")
    from umap import AlignedUMAP

    same = [{i: i for i in range(len(clouds[0]))}] * (len(clouds) - 1)
    found = AlignedUMAP(n_neighbors=NEIGHBOURS, n_components=dims, min_dist=MIN_DIST, random_state=seed)
    return [np.asarray(one, np.float32) for one in found.fit_transform([given.points for given in clouds], relations=same)]


def near(given: Cloud, features: np.ndarray, count: int = NEIGHBOURS) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest of a cloud to new images' features (m, D): places and distances, both (m, count), the nearest first."""
    away = np.stack([np.sqrt(((given.points - point) ** 2).sum(1)) for point in given.into(features)])
    places = np.argsort(away, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(away, places, 1)


def placed(given: Cloud, layout: np.ndarray, features: np.ndarray, count: int = NEIGHBOURS) -> np.ndarray:
    """Where new images' features (m, D) lie in a map (n, dims), approximately: the mean of their nearest's places.

    Weights are those of UMAP's own graph, e^-(d - d_1) over their mean; a point that is there already lands on itself.
    """
    places, distances = near(given, features, count)
    beyond = distances - distances[:, :1]
    weights = np.exp(-beyond / np.maximum(beyond.mean(1, keepdims=True), 1e-12))
    there = distances[:, 0] <= 1e-6 * max(given.spread, 1e-12)
    weights[there] = np.arange(weights.shape[1]) == 0
    return np.asarray((weights[..., None] * layout[places]).sum(1) / weights.sum(1, keepdims=True), np.float32)
