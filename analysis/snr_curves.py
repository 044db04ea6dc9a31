"""Feature SNR over noise with its interval, where it peaks, and how far from there accuracy does.

SNR comes as `parts` (E, S, N): what each held-out image adds to ln SNR (feature_snr.log_parts) under each draw of ε at each level, in
ascending σ. Their mean over images and draws is the curve, and their scatter that of the curve, so that intervals and resampled curves
are those of any other mean over draws and test images (resampling.py): what images, draws and their residual add counts once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as student

from .dynamics import vertices
from .resampling import Resamples

LEVEL = 0.95


@dataclass(frozen=True)
class Apart:
    """Where the SNR of a block peaks and where accuracy does (σ), and the distance of the peaks in ln σ: above 0 where accuracy peaks
    in more noise. Intervals are 95 %. An `edge` is a peak at the lowest or the highest level: the true one may lie beyond.
    """

    snr_sigma: float
    snr_ci: tuple[float, float]
    snr_edge: bool
    accuracy_sigma: float
    accuracy_ci: tuple[float, float]
    accuracy_edge: bool
    distance: float
    distance_ci: tuple[float, float]
    images: int  # of the SNR
    paired: int  # of these that the accuracy is of too

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def alone(draws: int, images: int) -> Resamples:
    """What standard errors over draws of ε and images are of; it holds no resample."""
    return Resamples(np.empty((0, images), np.uint8), np.ones((0, draws)), np.arange(draws))


def curve(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(SNR, low, high), each (S,), with the pointwise interval, symmetric in ln SNR; nan at levels where it cannot be told."""
    known = np.isfinite(parts).all((0, 2))
    found = np.full((3, parts.shape[1]), np.nan)
    if known.any():
        some = parts[:, known].astype(np.float64)
        mean = some.mean((0, 2))
        error, freedom = alone(len(parts), parts.shape[2]).spread(some - mean[:, None]).error()
        half = student.ppf(0.5 + LEVEL / 2, freedom) * error
        found[:, known] = np.exp([mean, mean - half, mean + half])
    return found[0], found[1], found[2]


def beside(accuracy: Resamples, test: np.ndarray, draws: int, shared: bool, seed: int = 0) -> Resamples:
    """Resamples of an SNR that go with those of an accuracy: its image i is test image `test[i]` of the accuracy's, or -1 for none.

    Images that both are of are drawn as often in both, the others on their own. With `shared` the draws of ε are the accuracy's
    groups, and as often in both too.
    """
    rng, times = np.random.default_rng(seed), len(accuracy.images)
    images = np.empty((times, len(test)), np.uint8)
    mine = np.flatnonzero(test < 0)
    images[:, test >= 0] = accuracy.images[:, test[test >= 0]]
    if len(mine):
        images[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=times)
    groups = accuracy.groups
    if not shared:
        drawn = rng.multinomial(draws, np.full(draws, 1 / draws), size=times)
        groups = 1 + (drawn - 1) * np.sqrt(draws / max(1, draws - 1))
    return Resamples(images, groups, np.arange(draws))


def curves(values: np.ndarray, resamples: Resamples) -> np.ndarray:
    """Resampled curves (B, S) of a mean over draws and images of (E, S, N).

    The mean is taken off first: resamples that share images with others need not have as many in all.
    """
    mean = values.mean((0, 2), dtype=np.float64)
    return np.asarray(mean + resamples.spread(values - mean[:, None]).deviations)


def apart(parts: np.ndarray, resamples: Resamples, right: np.ndarray, accuracy: Resamples, sigmas: np.ndarray, paired: int) -> Apart | None:
    """The peaks of ln SNR (E, S, N) and of accuracy (R, S, N') and how far apart they are; None where fewer than three levels have an SNR.

    Each peak is the vertex of a parabola in ln σ through up to five levels about the highest (dynamics.vertices). The interval is of
    the differences of the resampled peaks, which `beside` pairs.
    """
    known = np.isfinite(parts).all((0, 2))
    if known.sum() < 3:
        return None
    sigmas, values = np.asarray(sigmas, dtype=float)[known], parts[:, known].astype(np.float64)
    answers = right[:, known]
    means = values.mean((0, 2)), answers.mean((0, 2), dtype=np.float64)
    place, other = (float(vertices(mean[None], sigmas)[0]) for mean in means)
    many = vertices(curves(values, resamples), sigmas), vertices(accuracy.curves(answers), sigmas)
    distance = float(np.log(other / place))
    edges = [int(mean.argmax()) in (0, len(mean) - 1) for mean in means]
    return Apart(
        place,
        _interval(many[0], place),
        edges[0],
        other,
        _interval(many[1], other),
        edges[1],
        distance,
        _interval(np.log(many[1] / many[0]), distance),
        parts.shape[2],
        paired,
    )


def _interval(values: np.ndarray, told: float) -> tuple[float, float]:
    """The middle 95 % of resampled values, and what is told of the run itself."""
    low, high = np.quantile(values, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return min(float(low), told), max(float(high), told)
