"""How images lie in a space, and how far a map of it may be trusted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .layout import NEIGHBOURS, Cloud, nearest_of_all

SAMPLE = 2000  # images that ranks and silhouettes are taken of: both cost the square of their number
PURER = 0.03  # a map whose neighbours share their class so much oftener than the space's shows clumps that are not there
TRIM = 0.1  # share of the largest ratios that the intrinsic dimension leaves out, as its authors do


@dataclass(frozen=True)
class Trust:
    """Of n images; shares from 0 to 1. Labels may be wanting: then purities and silhouette are None."""

    count: int
    trustworthiness: float  # neighbours in the map that are neighbours in the space
    continuity: float  # neighbours in the space that are neighbours in the map
    purity_space: float | None
    purity_map: float | None
    silhouette: float | None  # of the classes in the space, -1 to 1
    dimension: float | None  # two-nearest-neighbour estimate, where there are neighbours enough
    participation: float  # ratio of the covariance's eigenvalues

    @property
    def purer(self) -> bool:
        """Whether the map looks purer than its space."""
        return self.purity_map is not None and self.purity_space is not None and self.purity_map - self.purity_space > PURER

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"purer": self.purer}


def trust(given: Cloud, layout: np.ndarray, labels: np.ndarray | None = None, neighbours: int = NEIGHBOURS) -> Trust:
    """All of it, of a cloud and its map (n, dims); labels (n,) whole numbers, -1 for an image without."""
    count = min(neighbours, len(given) - 1)
    places, _ = nearest_of_all(np.asarray(layout, np.float32), count + 1)
    known = labels if labels is not None and len(set(labels[labels >= 0].tolist())) > 1 else None
    mine = np.random.default_rng(0).permutation(len(given))[:SAMPLE]  # ranks among these alone
    trusty, steady = ranks(given.points[mine], layout[mine], min(count, (len(mine) - 1) // 2))
    return Trust(
        count=len(given),
        trustworthiness=trusty,
        continuity=steady,
        purity_space=None if known is None else purity(given.places[:, 1 : count + 1], known),
        purity_map=None if known is None else purity(places[:, 1:], known),
        silhouette=None if known is None else silhouette(given.points[mine], known[mine]),
        dimension=two_nn(given.distances),
        participation=participation(given.points),
    )


def purity(places: np.ndarray, labels: np.ndarray) -> float:
    """Share of the k nearest (n, k), without the point itself, that have its label; of points and neighbours that have one."""
    known = (labels[:, None] >= 0) & (labels[places] >= 0)
    same = (labels[places] == labels[:, None]) & known
    return float(same.sum() / max(1, known.sum()))


def ranks(points: np.ndarray, layout: np.ndarray, count: int) -> tuple[float, float]:
    """(trustworthiness, continuity) of a map with `count` neighbours. Venna and Kaski, 2001; 1 where there are none to compare.

    Trustworthiness is scikit-learn's; continuity is the same with space and map exchanged. `count` is below half of the points.
    """
    from sklearn.manifold import trustworthiness

    if count < 1:
        return 1.0, 1.0
    return float(trustworthiness(points, layout, n_neighbors=count)), float(trustworthiness(layout, points, n_neighbors=count))


def silhouette(points: np.ndarray, labels: np.ndarray) -> float | None:
    """Mean silhouette of the classes, -1 to 1. Rousseeuw 1987; None where there are not two classes, or one a point."""
    from sklearn.metrics import silhouette_score

    known = labels >= 0
    classes = len(set(labels[known].tolist()))
    return float(silhouette_score(points[known], labels[known])) if 1 < classes < known.sum() else None


def two_nn(distances: np.ndarray) -> float | None:
    """Intrinsic dimension from the ratio of each point's two nearest distances; distances (n, k), a point's own first.

    Facco et al., Scientific Reports 7:12140 (2017): the slope through 0 of -log(1 - F) over log μ, without the largest tenth.
    Points that lie on another are left out; None where fewer than three remain.
    """
    if distances.shape[1] < 3:
        return None
    first, second = distances[:, 1].astype(np.float64), distances[:, 2].astype(np.float64)
    ratios = np.sort(second[first > 0] / first[first > 0])
    kept = int(len(ratios) * (1 - TRIM))
    if kept < 3:
        return None
    x = np.log(ratios[:kept])
    y = -np.log1p(-np.arange(1, len(ratios) + 1)[:kept] / (len(ratios) + 1))
    return float(x @ y / (x @ x)) if (x @ x) > 0 else None


def participation(points: np.ndarray) -> float:
    """(Σλ)² / Σλ² of the covariance's eigenvalues: how many directions share the variance; 0 where there is none."""
    centred = (points - points.mean(0)).astype(np.float64)
    gram = centred.T @ centred if points.shape[1] <= len(points) else centred @ centred.T
    total = float(np.trace(gram))
    return total**2 / float((gram**2).sum()) if total > 0 else 0.0
