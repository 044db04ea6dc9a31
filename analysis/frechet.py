"""How far two sets of features are apart: the Fréchet distance of the Gaussians that have their means and covariances.

It is no published FID, whose features are Inception's on 50,000 samples: say the network whose features these are, and n. With n samples
it is too large, by about 1/n times a constant that depends on what is compared (Chong & Forsyth, arXiv 1911.07023), and of equal
distributions it is not 0: compare only at the same n, and beside the distance of held-out real images from the same training images.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .errors import InvalidRequest

FLAT = 1e-10  # of the largest eigenvalue: directions below it have no variance


@dataclass(frozen=True)
class Frechet:
    """Squared distances d², in squared units of the features; of n samples, and of n held-out images, from the training images.

    Intervals are 95 %, over images of both sides, by the delta method; they do not take the bias away. `above` is the first distance less
    the second, in which most of the bias goes away; its interval takes them for independent, though the training images are the
    same, and is as little to be trusted where these are few beside the features' dimensions.
    """

    frechet: float
    frechet_low: float
    frechet_high: float
    reference: float
    reference_low: float
    reference_high: float
    above: float
    above_low: float
    above_high: float
    n: int
    n_training: int

    def to_dict(self) -> dict[str, Any]:
        """A row of a tidy table."""
        return asdict(self)


def gaussian_distance(mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray) -> float:
    """d² = |μ₁ - μ₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½) of means (D,) and covariances (D, D). Dowson & Landau, 1982.

    The root is of a symmetric matrix, by its eigenvalues: real and never negative, also where a covariance is singular.
    """
    root = _power(covariance, 0.5)
    eigenvalues = np.linalg.eigvalsh(root @ other_covariance @ root)
    crossed = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    apart = mean - other_mean
    return max(0.0, float(apart @ apart + np.trace(covariance) + np.trace(other_covariance) - 2 * crossed))


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """d² of two sets of features (n, D) and (m, D), at least two of each. Heusel et al., arXiv 1706.08500. Raises InvalidRequest."""
    return gaussian_distance(*_moments(features, others), *_moments(others, features))


def frechet_interval(features: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """(d², low, high): with a 95 % interval over the images of both sets, by the delta method; low is at least 0.

    A vector x moves d² by 2 (μ₁ - μ₂)·(x - μ₁) + (x - μ₁)ᵀ (I - T) (x - μ₁), less its mean, T the linear map that carries the first
    Gaussian onto the second. Too narrow where a set has not several times as many vectors as dimensions. Raises InvalidRequest.
    """
    first, second = _moments(features, others), _moments(others, features)
    value = gaussian_distance(*first, *second)
    error = math.hypot(_error(features, *first, *second), _error(others, *second, *first))
    return value, max(0.0, value - 1.96 * error), value + 1.96 * error


def frechet(samples: np.ndarray, held_out: np.ndarray, training: np.ndarray, seed: int = 0) -> Frechet:
    """Samples (n, D) and held-out real images (m, D) against training images (N, D): the same number of both, drawn where there are more.

    Raises InvalidRequest.
    """
    rng, count = np.random.default_rng(seed), min(len(samples), len(held_out))
    ours, real = (rows[np.sort(rng.permutation(len(rows))[:count])] for rows in (samples, held_out))
    found, expected = frechet_interval(ours, training), frechet_interval(real, training)
    above, reach = found[0] - expected[0], math.hypot(found[2] - found[0], expected[2] - expected[0])
    return Frechet(*found, *expected, above, above - reach, above + reach, n=count, n_training=len(training))


def _moments(features: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if features.ndim != 2 or others.ndim != 2 or len(features) < 2 or features.shape[1] != others.shape[1]:
        raise InvalidRequest(
            f"features have the shapes {features.shape} and {others.shape}; allowed: (n, D) with at least 2 vectors and the same D."
        )
    vectors = features.astype(np.float64)
    return vectors.mean(0), np.atleast_2d(np.cov(vectors, rowvar=False))


def _power(matrix: np.ndarray, power: float) -> np.ndarray:
    """A symmetric matrix to a power; directions without variance stay without it."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > FLAT * max(float(values[-1]), 0.0)
    raised = np.where(kept, np.where(kept, values, 1.0) ** power, 0.0)
    return np.asarray((vectors * raised) @ vectors.T)


def _error(features: np.ndarray, mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray) -> float:
    """Standard error of d² by the spread of what each vector moves it."""
    root, inverse = _power(covariance, 0.5), _power(covariance, -0.5)
    carries = inverse @ _power(root @ other_covariance @ root, 0.5) @ inverse
    apart = features.astype(np.float64) - mean
    moved = 2 * apart @ (mean - other_mean) + ((apart @ (np.eye(len(mean)) - carries)) * apart).sum(1)
    return float(moved.std(ddof=1) / math.sqrt(len(moved)))
