"""What features say of themselves without a label: formulas of one cell, a block at a noise level.

Which direction of each is the better one stands in regret.py, as its paper has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from . import sums
from .similarity import space

STARTS = 3  # of k-means; the best is kept
TEMPERATURE = 2.0  # t of uniformity


def effective_rank(features: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values of features (n, D): from 1 to min(n - 1, D).

    Roy and Vetterli, EUSIPCO 2007. The mean over images is taken off first, which a probe's intercept does too.
    """
    vectors = _centred(features)
    gram = vectors @ vectors.T if len(vectors) <= vectors.shape[1] else vectors.T @ vectors
    squares = np.linalg.eigvalsh(gram)
    return sums.effective_rank(squares[squares > squares[-1] * len(gram) * np.finfo(float).eps])


def invariance(first: np.ndarray, second: np.ndarray) -> float:
    """The share of the variance of features that is the images', not the noise's: 1 where ε changes nothing, 0 where it is all.

    The intraclass correlation of two draws of ε, (n, D) each (Shrout and Fleiss, Psychol. Bull. 86 (1979) 420, in Fisher's form for
    pairs), variances and covariances summed over features.
    """
    mean = (first.mean(0, dtype=np.float64) + second.mean(0, dtype=np.float64)) / 2
    a, b = first - mean, second - mean
    return float(2 * (a * b).sum() / ((a * a).sum() + (b * b).sum()))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """The mean squared distance of an image's two unit vectors, (n, D) each: from 0, the best, to 4. Wang and Isola, arXiv 2005.10242, α = 2."""
    return float(((first - second) ** 2).sum(1, dtype=np.float64).mean())


def uniformity(vectors: np.ndarray) -> float:
    """log of the mean of exp(-2 ‖x - y‖²) over all pairs of different images' unit vectors (n, D): the lower, the more evenly spread.

    Wang and Isola, arXiv 2005.10242, t = 2.
    """
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].astype(np.float64)
    return math.log(float(np.exp(-2 * TEMPERATURE * (1 - cosines)).mean()))


def clusters(features: np.ndarray, count: int) -> np.ndarray | None:
    """Which of `count` clusters of k-means each image is in, (n,); None where features do not vary or are no numbers.

    Equal features give equal clusters.
    """
    if not varies(features):
        return None
    return np.asarray(KMeans(min(count, len(features)), n_init=STARTS, random_state=0).fit_predict(features))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """The adjusted Rand index of two clusterings (n,): 1 where they are the same, 0 by chance. Hubert and Arabie, J. Classif. 2 (1985) 193."""
    return float(adjusted_rand_score(one, other))


def varies(features: np.ndarray) -> bool:
    """Whether features (n, D) are numbers and not the same for all images."""
    return bool(np.isfinite(features).all() and (features != features[0]).any())


def scores(draws: Sequence[np.ndarray]) -> dict[str, float]:
    """The scores of one cell from its features (n, D) under one or two draws of ε; nan for what needs a second, or cannot be told.

    Alignment and uniformity are of features without the mean over images, which else all of them share: where they were not
    trained to lie on a sphere, as the paper's are, that mean would be all there is to see.
    """
    found = dict.fromkeys(("effective_rank", "invariance", "alignment", "uniformity"), math.nan)
    if not all(varies(features) for features in draws):
        return found
    into = space(np.concatenate(list(draws)), "cosine")
    units = [into(features) for features in draws]
    found["effective_rank"] = float(np.mean([effective_rank(features) for features in draws]))
    found["uniformity"] = float(np.mean([uniformity(vectors) for vectors in units]))
    if len(draws) > 1:
        found["invariance"], found["alignment"] = invariance(*draws[:2]), alignment(*units[:2])
    return found


def _centred(features: np.ndarray) -> np.ndarray:
    return np.asarray(features - features.mean(0, dtype=np.float64))
