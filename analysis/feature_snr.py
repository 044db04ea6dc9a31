"""How much of a feature lies in its class's own subspace, and how far features of clean images are from those of noised ones.

[Li] (arXiv 2502.05743), SNR of real features: features of length one, without the mean of the training ones; U_k are the first right
singular vectors of a class's training features, as many as DIRECTIONS; SNR = Σ_k π_k E[‖U_kU_kᵀh‖² | k] / E[‖h - U_kU_kᵀh‖² | k],
a ratio of expectations in each class, then the mean over classes, π_k their shares. Departing from the paper, the expectations are over
images that the subspaces were not fitted on: on the fitted ones noise counts as signal. Subspaces are those of the probe head
`projection`, whose answer is arg max_k ‖h V_k‖: SNR and that classifier read the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InvalidData
from .heads.base import unit
from .heads.projection import Projection, Subspaces

DIRECTIONS = 5  # of a class, as the paper has it


@dataclass(frozen=True)
class Energies:
    """What a class's subspace holds of each image (n,): `inside` ‖U_kU_kᵀh‖² of its own class k, `outside` the rest, and whether arg max_k is right."""

    inside: np.ndarray
    outside: np.ndarray
    right: np.ndarray


def subspaces(features: np.ndarray, labels: np.ndarray, classes: int, directions: int = DIRECTIONS) -> Subspaces:
    """The directions of every class, fitted on training features (n, D) whose labels (n,) are in 0…classes-1.

    All classes have as many: `directions`, or as many as the smallest class has images, or as features have numbers. Raises InvalidData
    where a class has no image: leave it out first.
    """
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise InvalidData(f"Class {int(counts.argmin())} has no training image; a subspace needs at least one: leave the class out.")
    head = Projection()
    head.penalties = (float(directions),)
    (found,) = head.fit(features, labels, classes)
    assert isinstance(found, Subspaces)
    return found


def energies(fitted: Subspaces, features: np.ndarray, labels: np.ndarray) -> Energies:
    """What held-out features (n, D) of the given classes (n,) have inside and outside their own class's subspace."""
    lengths = fitted.predict_logits(features).astype(np.float64)
    points = (unit(features) - fitted.mean).astype(np.float64)
    inside = lengths[np.arange(len(labels)), labels] ** 2
    return Energies(inside, np.maximum((points**2).sum(1) - inside, 0), lengths.argmax(1) == labels)


def snr(found: Energies, labels: np.ndarray) -> float:
    """Σ_k π_k Σ inside / Σ outside over the images of class k, π_k the share of the images; nan where some class has nothing outside."""
    return float(parts(found, labels).mean())


def parts(found: Energies, labels: np.ndarray) -> np.ndarray:
    """What each image adds to the SNR (n,): their mean is the SNR, their scatter that of the SNR over images, to first order.

    r_k + (inside - r_k outside) / E[outside | k] with r_k the ratio in class k: the SNR plus its influence function
    (F. R. Hampel, J. Am. Stat. Assoc. 69 (1974) 383).
    """
    counts = np.bincount(labels)[labels]
    inside, outside = (np.bincount(labels, values)[labels] / counts for values in (found.inside, found.outside))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = inside / outside
        value = ratio + (found.inside - ratio * found.outside) / outside
    return value if np.isfinite(value).all() else np.full(len(labels), np.nan)


def log_parts(found: Energies, labels: np.ndarray) -> np.ndarray:
    """The same of ln SNR, (n,)."""
    each = parts(found, labels)
    mean = each.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(mean) + (each - mean) / mean
    return value if np.isfinite(value).all() else np.full(len(labels), np.nan)


def shuffled(
    train: np.ndarray, told: np.ndarray, held: np.ndarray, labels: np.ndarray, classes: int, seed: int, directions: int = DIRECTIONS
) -> float:
    """The SNR (of held-out features and their true labels) by subspaces that know no class: those of permuted training labels."""
    fitted = subspaces(train, np.random.default_rng(seed).permutation(told), classes, directions)
    return snr(energies(fitted, held, labels), labels)


def noise_scatter(draws: np.ndarray) -> np.ndarray:
    """Of each image (n,) the variance of its feature over draws of ε, summed over numbers: draws (E, n, D), E at least 2."""
    return np.asarray(draws.var(0, ddof=1, dtype=np.float64).sum(-1))


def squared_distance(one: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Of each image (n,) the squared distance of `one` (n, D) from the mean over ε of `draws` (E, n, D), without bias.

    What the mean over E draws itself scatters is taken off: an image's may be below 0, their mean is of the true mean's distance.
    """
    apart = ((one - draws.mean(0, dtype=np.float64)) ** 2).sum(-1)
    return np.asarray(apart - noise_scatter(draws) / len(draws))


def relative(squares: np.ndarray, units: np.ndarray, reach: float = 1.96) -> tuple[float, float, float]:
    """(√(mean squares / mean units), low, high), with the 95 % interval over images; both (n,). A root of what is below 0 is 0.

    The interval is that of the ratio of the two means, to first order. nan where there is nothing to measure by.
    """
    scale = units.mean()
    if not scale > 0 or not np.isfinite(squares).all():
        return np.nan, np.nan, np.nan
    ratio = squares.mean() / scale
    half = reach * float(np.std((squares - ratio * units) / scale, ddof=1)) / np.sqrt(len(units))
    low, value, high = np.sqrt(np.maximum([ratio - half, ratio, ratio + half], 0))
    return float(value), float(low), float(high)
