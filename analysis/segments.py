"""From images and strokes to segments: what is learnt from the painted ones is said of every pixel of all, at one level or at many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from . import label_images
from .errors import InvalidRequest
from .label_images import VOID
from .overlap import confusion
from .segmentation import PENALTY, PIXELS, PLACES, Kept, Reading, Scores, Spread, at, chosen, kmeans, logistic, points
from .steps import relay

Images = Sequence[np.ndarray]  # (side, side, 3) uint8 each
Progress = tuple[int, int]  # steps that are done, of how many
STARTS = 4  # of k-means, of which the best is taken


@dataclass(frozen=True)
class Segments:
    """The class of every pixel (n, side, side) uint8, and its probability, in 255ths, (n, side, side) uint8; and what said so."""

    labels: np.ndarray
    certainty: np.ndarray
    scores: Scores


def learn(
    reading: Reading, images: Images, labels: np.ndarray, classes: int, kept: Kept, penalty: float = PENALTY, most: int = PIXELS
) -> Generator[int, None, Scores]:
    """Scores of the classes from painted pixels, labels (n, side, side) uint8, 255 where nothing is painted; yields steps done.

    Raises InvalidRequest where less than two classes are painted.
    """
    side = reading.model.card.resolution
    label_images.check(labels, (len(images), side, side), classes)
    painted = [row for row in range(len(images)) if (labels[row] != VOID).any()]
    picked, spread = chosen(labels[painted], most, reading.seed), Spread()
    features, told = [], []
    for done, part in enumerate(reading.groups(len(painted))):
        found = reading.maps([images[row] for row in painted[part]], kept)
        spread.add(found)
        for place in range(part.start, min(part.stop, len(painted))):
            features.append(at(found, place - part.start, *points(picked[place])))
            told.append(labels[painted[place]][picked[place]])
        yield done + 1
    mean, scale = spread.scaler()
    values = (np.concatenate(features) - mean) / scale
    return spread.fold(*logistic(values, np.concatenate(told), classes, penalty))


@torch.inference_mode()
def probabilities(scores: Scores, reading: Reading, image: np.ndarray, kept: Kept) -> np.ndarray:
    """(K, side, side) float32: the probability of each class at every pixel of an image."""
    return np.asarray(scores.of(reading.maps([image], kept), 0, reading.model.card.resolution).softmax(0))


def say(scores: Scores, reading: Reading, images: Images, kept: Kept) -> Generator[int, None, Segments]:
    """The likeliest class of every pixel of images, one image's scores at a time; yields steps done."""
    side = reading.model.card.resolution
    labels = np.empty((len(images), side, side), np.uint8)
    certainty = np.empty_like(labels)
    for done, part in enumerate(reading.groups(len(images))):
        found = reading.maps(images[part], kept)
        for row in range(part.start, min(part.stop, len(images))):
            best, which = scores.of(found, row - part.start, side).softmax(0).max(0)
            labels[row], certainty[row] = which.byte().numpy(), (255 * best).round().byte().numpy()
        yield done + 1
    return Segments(labels, certainty, scores)


def segment(
    reading: Reading, images: Images, labels: np.ndarray, classes: int, kept: Kept, penalty: float = PENALTY
) -> Generator[Progress, None, Segments]:
    """Segments of all images from the strokes on some (learn, say); yields progress."""
    painted = sum(1 for row in labels if (row != VOID).any())
    first = len(reading.groups(painted))
    steps = first + len(reading.groups(len(images)))
    yield 0, steps
    way = learn(reading, images, labels, classes, kept, penalty)
    scores = yield from relay(way, _told(0, steps))
    return (yield from relay(say(scores, reading, images, kept), _told(first, steps)))


def clusters(reading: Reading, images: Images, count: int, kept: Kept) -> Generator[Progress, None, Segments]:
    """Segments of images without strokes: k-means of their places, one set of centres for all, the largest first.

    Fitted at the places of the finest map, at most PLACES of them. A cluster has no probability: certainty is 255.
    Raises InvalidRequest for k outside 2 to 7.
    """
    if not 2 <= count <= label_images.CLASSES:
        raise InvalidRequest(f"k is {count}; allowed: 2 to {label_images.CLASSES} segments.")
    groups = reading.groups(len(images))
    steps = 2 * len(groups) + STARTS
    rng, spread, features = np.random.default_rng(reading.seed), Spread(), []
    yield 0, steps
    for done, part in enumerate(groups):
        found = reading.maps(images[part], kept)
        spread.add(found)
        fine = max(value.shape[-1] for value in found.values())
        room = min(fine**2, max(1, PLACES // len(images)))
        for row in range(min(part.stop, len(images)) - part.start):
            picked = np.zeros((fine, fine), dtype=bool)
            picked.flat[rng.choice(fine**2, room, replace=False)] = True
            features.append(at(found, row, *points(picked)))
        yield done + 1, steps
    mean, scale = spread.scaler()
    values, tried = (np.concatenate(features) - mean) / scale, []
    for start in range(STARTS):
        tried.append(kmeans(values, count, reading.seed + start))
        yield len(groups) + start + 1, steps
    _, weight, bias = min(tried, key=lambda one: one[0])
    told = yield from relay(say(spread.fold(weight, bias), reading, images, kept), _told(len(groups) + STARTS, steps))
    return replace(told, certainty=np.full_like(told.labels, 255))


def to_score(labels: np.ndarray, truth: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Which images have something to score, and their true masks without what was painted: that was learnt from.

    Raises InvalidRequest where nothing is left.
    """
    left = np.where(labels == VOID, truth, VOID).astype(np.uint8)
    rows = [row for row in range(len(left)) if (left[row] != VOID).any()]
    if not rows:
        raise InvalidRequest("No pixel is left to score: give the true mask of an image that is not painted all over.")
    return rows, left[rows]


def confusions(said: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Of each image: (n, side, side) twice -> (n, K, K)."""
    return np.stack([confusion(one, other, classes) for one, other in zip(said, true, strict=True)])


def over_levels(
    reading: Reading, images: Images, labels: np.ndarray, truth: np.ndarray, classes: int, kept: Kept, penalty: float = PENALTY
) -> Generator[Progress, None, np.ndarray]:
    """At each level of `reading` by itself: what a probe learnt from the strokes says of the pixels of true masks; (S, n, K, K).

    Pixels that were painted are not scored. overlap.overlap makes mean IoU and its intervals of it. Raises InvalidRequest.
    """
    rows, left = to_score(labels, truth)
    some = [images[row] for row in rows]
    painted = [row for row in range(len(images)) if (labels[row] != VOID).any()]
    one = replace(reading, sigmas=reading.sigmas[:1])
    scoring = len(one.groups(len(rows)))
    each = len(one.groups(len(painted))) + scoring
    steps, found = each * len(reading.sigmas), []
    yield 0, steps
    for place, sigma in enumerate(reading.sigmas):
        here = replace(reading, sigmas=(sigma,))
        way = learn(here, [images[row] for row in painted], labels[painted], classes, kept, penalty)
        scores = yield from relay(way, _told(place * each, steps))
        said = yield from relay(say(scores, here, some, kept), _told((place + 1) * each - scoring, steps))
        found.append(confusions(said.labels, left, classes))
    return np.stack(found)


def _told(before: int, steps: int) -> Callable[[int], Progress]:
    """How much of the whole is done, from the steps of a part."""
    return lambda done: (before + done, steps)
