"""Does a network copy its training images? Nearest training images, shares that are no copies, and networks of disjoint halves.

Every share is taken a second time of held-out real images in the samples' place: images that nobody can have copied. A threshold that
calls many of them copies says more of the data than of the network, so what counts is the difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from .errors import InvalidRequest
from .intervals import wilson

Measure = Literal["l2_ratio", "features", "own_features", "encoder"]
NEXT = 50  # training images after the nearest, whose mean distance the nearest is divided by
CHUNK = 2048  # training images compared at once: 50 MB of 32×32 colour images
# Carlini et al., arXiv 2301.13188, §5.1: extracted below half (.5) of the mean distance to the 50 nearest. Li et al. take .6 of the cosine
# of copy-detection descriptors (SSCD); features of another network have another scale, and held-out images tell which.
COSINES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
THRESHOLDS: Mapping[Measure, tuple[float, ...]] = {
    "l2_ratio": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "features": COSINES,
    "own_features": COSINES,
    "encoder": COSINES,
}


@dataclass(frozen=True)
class Nearest:
    """Of n samples: the place of the nearest training image, its ℓ2 distance in the images' own units, and the ℓ2-ratio, each (n,)."""

    index: np.ndarray
    distance: np.ndarray
    ratio: np.ndarray  # 0 for a copy, near 1 for an image that is not closer to one training image than to others
    next: int  # how many further training images the ratio's mean is over


@dataclass(frozen=True)
class Copies:
    """Which share of samples a threshold calls copies, and of held-out real images; intervals are 95 %, over images.

    `difference` is the score less the score of held-out images: below 0 where the network copies.
    """

    measure: Measure
    threshold: float
    copies: float
    copies_low: float
    copies_high: float
    held_out: float
    held_out_low: float
    held_out_high: float
    score: float  # generalization score, 1 - copies
    difference: float
    difference_low: float
    difference_high: float
    n: int
    n_held_out: int

    def to_dict(self) -> dict[str, Any]:
        """A row of a tidy table."""
        return asdict(self)


@dataclass(frozen=True)
class Halves:
    """Mean cosines of n samples of one network, with 95 % intervals; two networks, trained on disjoint sets, began from the same noise.

    `closer` is the share of samples closer to the other network's than to any of their own training images, `difference` is
    between - own, paired. For comparison: `held_out`, of held-out real images with the nearest of the own training images, and `above`, own -
    held_out, of independent means; `across`, to the nearest image of the other's training set, which the network never saw, and
    `by_chance`, to the other network's sample from other noise.
    """

    between: float
    between_low: float
    between_high: float
    own: float
    own_low: float
    own_high: float
    difference: float
    difference_low: float
    difference_high: float
    held_out: float
    held_out_low: float
    held_out_high: float
    above: float
    above_low: float
    above_high: float
    across: float
    by_chance: float
    closer: float
    closer_low: float
    closer_high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """A row of a tidy table."""
        return asdict(self)


def nearest_images(samples: np.ndarray, training: np.ndarray) -> Nearest:
    """The nearest training image of each sample, exactly: images (n, ...) and (N, ...), both uint8 or both floating, in one range.

    The ratio is Carlini et al.'s (arXiv 2301.13188, §5.1), whose mean is over the 50 nearest; here over the 50 after the nearest, so that
    it does not contain the distance it divides. With N ≤ 50 it is over the N - 1 others: of 16 images over 15, which are far, so that
    ratios are lower than with many images and more of what is new counts as a copy. Held-out images in the samples' place say how much.
    Raises InvalidRequest for fewer than two training images or images that do not go together.
    """
    left, right = _vectors(samples, "samples"), _vectors(training, "training")
    if len(right) < 2 or left.shape[1] != right.shape[1] or (samples.dtype == np.uint8) != (training.dtype == np.uint8):
        raise InvalidRequest(
            f"training has {len(right)} images of {right.shape[1]} {training.dtype} values and samples {left.shape[1]} {samples.dtype} values "
            "each; allowed: at least 2 training images, of the samples' size, both uint8 or both floating."
        )
    kept = min(NEXT, len(right) - 1) + 1
    squares, places = np.zeros((len(left), 0)), np.zeros((len(left), 0), int)
    own = (left**2).sum(1)[:, None]
    for start in range(0, len(right), CHUNK):  # whole numbers below 2^53 add up exactly in float64
        part = right[start : start + CHUNK].astype(np.float64)
        found = own - 2 * left @ part.T + (part**2).sum(1)
        squares = np.concatenate([squares, found], 1)
        places = np.concatenate([places, np.broadcast_to(np.arange(start, start + len(part)), found.shape)], 1)
        near = np.argpartition(squares, min(kept, squares.shape[1]) - 1, axis=1)[:, :kept]
        squares, places = np.take_along_axis(squares, near, 1), np.take_along_axis(places, near, 1)
    return _from(left, right, places)


def _from(left: np.ndarray, right: np.ndarray, places: np.ndarray) -> Nearest:
    """Distances to the candidates (n, 1 + next) by subtraction: of floating values, the products above lose a copy's last digits."""
    index, distance, mean = (np.zeros(len(left), kind) for kind in (int, float, float))
    for row, (image, near) in enumerate(zip(left, np.sort(places, 1), strict=True)):  # of equal ones the first in the set
        lengths = np.sqrt(((right[near].astype(np.float64) - image) ** 2).sum(1))
        best = int(lengths.argmin())
        index[row], distance[row], mean[row] = near[best], lengths[best], np.delete(lengths, best).mean()
    ratio = np.divide(distance, mean, out=np.zeros(len(left)), where=mean > 0)
    return Nearest(index, distance, ratio, places.shape[1] - 1)


def highest_cosine(vectors: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(place, cosine) of the known vector (N, ...) that is most like each of (n, ...), both (n,); 0 for a vector of zeros.

    Vectors are taken as they are: what all of them share is not taken off.
    """
    left, best = _unit(_vectors(vectors, "vectors")), np.full(len(vectors), -np.inf)
    places = np.zeros(len(vectors), int)
    for start, part in _parts(known):
        cosine = left @ _unit(part).T
        near = cosine.argmax(1)
        value = cosine[np.arange(len(left)), near]
        places, best = np.where(value > best, start + near, places), np.maximum(best, value)
    return places, best


def copies(measure: Measure, samples: np.ndarray, held_out: np.ndarray, threshold: float) -> Copies:
    """What a threshold calls copies: ratios (n,) below it, or cosines above it, of samples and of held-out real images (m,).

    Shares have Wilson's intervals, their difference Newcombe's of two independent shares (Stat. Med. 17 (1998) 873, method 10). They are
    over images alone, of networks as they are. Raises InvalidRequest without images, or for an unknown measure.
    """
    if measure not in THRESHOLDS or not len(samples) or not len(held_out):
        raise InvalidRequest(
            f"measure is {measure!r} of {len(samples)} samples and {len(held_out)} held-out images; allowed: {', '.join(THRESHOLDS)}, of at least one each."
        )

    def counted(values: np.ndarray) -> int:
        return int((values < threshold if measure == "l2_ratio" else values > threshold).sum())

    ours, theirs = counted(samples), counted(held_out)
    (low, high), (under, over) = wilson(ours, len(samples)), wilson(theirs, len(held_out))
    share, real = ours / len(samples), theirs / len(held_out)
    apart = real - share
    return Copies(
        measure=measure,
        threshold=threshold,
        copies=share,
        copies_low=low,
        copies_high=high,
        held_out=real,
        held_out_low=under,
        held_out_high=over,
        score=1 - share,
        difference=apart,
        difference_low=apart - math.hypot(real - under, high - share),
        difference_high=apart + math.hypot(over - real, share - low),
        n=len(samples),
        n_held_out=len(held_out),
    )


def sensitivity(
    measure: Measure, samples: np.ndarray, held_out: np.ndarray, thresholds: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """`copies` at every threshold, a row each: how much of what is concluded is the threshold's."""
    return [copies(measure, samples, held_out, one).to_dict() for one in thresholds or THRESHOLDS[measure]]


def nearest_cosines(images: np.ndarray, own: np.ndarray, others_own: np.ndarray, center: bool = True) -> np.ndarray:
    """(n,) highest cosine of each image (n, ...) with any of `own` (N, ...), as `halves` takes it. Raises InvalidRequest."""
    mean = _common(own, others_own) if center else 0
    return _best(_unit(_vectors(images, "images") - mean), own, mean)


def _common(own: np.ndarray, others_own: np.ndarray) -> np.ndarray:
    """The mean image of two sets together."""
    both = len(own) + len(others_own)
    return np.asarray(sum(part.sum(0) for images in (own, others_own) for _, part in _parts(images)) / both)


def halves(
    samples: np.ndarray, others: np.ndarray, own: np.ndarray, others_own: np.ndarray, held_out: np.ndarray, center: bool = True
) -> Halves:
    """Are samples of two networks, from the same noise, more like each other than like their own training images? No threshold.

    Samples (n, ...) and the other network's (n, ...) from the same noise; their training images (N, ...) and (M, ...), disjoint; and what
    `nearest_cosines` gives of held-out real images (m,): how near to a training image an image is that none was made of. Likeness
    is the cosine of pixels without the mean image of both sets together (else all images are alike), or of any features; `center=False`
    takes vectors as they are. The nearest training image is the best of N, the other sample is one. Kadkhodaie et al., arXiv 2310.02557,
    figure 2; its means with Student's intervals over samples, their difference paired. Raises InvalidRequest.
    """
    if len(samples) != len(others) or len(samples) < 2:
        raise InvalidRequest(f"There are {len(samples)} and {len(others)} samples; allowed: at least 2, as many of each network.")
    if shared := {row.tobytes() for row in own} & {row.tobytes() for row in others_own}:
        raise InvalidRequest(f"{len(shared)} images are in both training sets; allowed: disjoint sets.")
    mean = _common(own, others_own) if center else 0
    a, b = (_unit(_vectors(images, "samples") - mean) for images in (samples, others))
    between = (a * b).sum(1)
    mine = _best(a, own, mean)
    (between_low, between_high), (own_low, own_high), (low, high) = (_mean_interval(v) for v in (between, mine, between - mine))
    real_low, real_high = _mean_interval(held_out)
    above = float(mine.mean() - held_out.mean())
    reach = math.hypot(own_high - float(mine.mean()), real_high - float(held_out.mean()))
    closer = int((between > mine).sum())
    closer_low, closer_high = wilson(closer, len(a))
    return Halves(
        between=float(between.mean()),
        between_low=between_low,
        between_high=between_high,
        own=float(mine.mean()),
        own_low=own_low,
        own_high=own_high,
        difference=float((between - mine).mean()),
        difference_low=low,
        difference_high=high,
        held_out=float(held_out.mean()),
        held_out_low=real_low,
        held_out_high=real_high,
        above=above,
        above_low=above - reach,
        above_high=above + reach,
        across=float(_best(a, others_own, mean).mean()),
        by_chance=float((a * np.roll(b, 1, 0)).sum(1).mean()),
        closer=closer / len(a),
        closer_low=closer_low,
        closer_high=closer_high,
        n=len(a),
    )


def _best(unit: np.ndarray, known: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
    best = np.full(len(unit), -np.inf)
    for _, part in _parts(known):
        best = np.maximum(best, (unit @ _unit(part - mean).T).max(1))
    return best


def _mean_interval(values: np.ndarray) -> tuple[float, float]:
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _vectors(images: np.ndarray, name: str) -> np.ndarray:
    """(n, D) float64 of samples; of training images as they are, a part at a time is converted. Raises InvalidRequest."""
    if images.ndim < 2 or not len(images):
        raise InvalidRequest(f"{name} has the shape {images.shape}; allowed: (n, ...) with at least one image.")
    flat = images.reshape(len(images), -1)
    return flat if name == "training" else flat.astype(np.float64)


def _parts(known: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    flat = _vectors(known, "training")
    for start in range(0, len(flat), CHUNK):
        yield start, flat[start : start + CHUNK].astype(np.float64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
