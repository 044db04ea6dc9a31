"""A probe taught with a handful of images: its accuracy over noise by cross-validation, and its weights at every block and level.

With so few images none can be kept for testing alone: each is scored by probes that were fitted without it. Up to 20 images
each is left out in turn, beyond in five folds of even classes. Nothing is chosen: the penalty is C = 1. An interval is at least
Wilson's for as many images: where every image is right in every draw, the bootstrap's alone would have no width.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.model_selection import LeaveOneOut, StratifiedKFold

from . import dynamics
from .backends.base import Backend
from .features import capture
from .heads.base import Linear, Scaler
from .heads.logistic import Logistic
from .intervals import wilson
from .lesson import DRAWS, FEW, check, folds
from .readout import Readout, fold
from .verdict import Verdict
from .views import noised

PENALTY = 1.0
Progress = Generator[tuple[int, int], None, "Taught"]


@dataclass(frozen=True)
class Taught:
    """What was learnt: which images were right, (R, S, n), the curve (mean, low, high), the verdict, and the probes."""

    correct: np.ndarray
    curve: tuple[np.ndarray, np.ndarray, np.ndarray]
    verdict: Verdict
    readout: Readout


class _Head(Logistic):
    penalties = (PENALTY,)


def _fit(features: np.ndarray, labels: np.ndarray, classes: int) -> tuple[Scaler, Linear]:
    scaler = Scaler.fit(features)
    (head,) = _Head().fit(scaler(features), labels, classes)
    assert isinstance(head, Linear)
    return scaler, head


def splits(labels: np.ndarray, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(fitted on, scored) for each fold, places of images."""
    if len(labels) <= FEW:
        return list(LeaveOneOut().split(labels))
    return list(StratifiedKFold(folds(np.bincount(labels).tolist()), shuffle=True, random_state=seed).split(labels, labels))


def score(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Which images probes get right that were fitted without them: (n, D), (n,) -> (n,) bool."""
    right = np.zeros(len(labels), dtype=bool)
    for train, test in splits(labels):
        scaler, head = _fit(features[train], labels[train], classes)
        right[test] = head.predict_logits(scaler(features[test])).argmax(1) == labels[test]
    return right


def teach(
    model: Backend,
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    like: Readout,
    block: str,
    draws: int = DRAWS,
    seed: int = 0,
) -> Progress:
    """Learn from images (n, h, w, 3) uint8 with labels (n,); yields (done, of) between steps.

    The curve is of `block`, over `draws` of ε; the probes are from draw 0, of all blocks and levels of `like`. Raises InvalidData.
    """
    check(labels, classes)
    blocks, sigmas = like.blocks, like.sigmas
    steps = len(images) + len(sigmas)
    found: dict[str, list[np.ndarray]] = {name: [] for name in blocks}  # of draw 0, (S, D) an image
    curves = []  # of the one block, (R, S, D) an image
    for done, image in enumerate(images):
        yield done, steps
        features = [_features(model, image, like, seed, draw) for draw in range(draws)]
        for name in blocks:
            found[name].append(features[0][name])
        curves.append(np.stack([part[block] for part in features]))
    values = np.stack(curves)  # (n, R, S, D)
    correct = np.zeros((draws, len(sigmas), len(images)), dtype=bool)
    probes = {}
    for level in range(len(sigmas)):
        yield len(images) + level, steps
        for draw in range(draws):
            correct[draw, level] = score(values[:, draw, level], labels, len(classes))
        for name in blocks:
            scaler, head = _fit(np.stack(found[name])[:, level], labels, len(classes))
            probes[level, name] = fold(scaler.mean, scaler.spread, head.weight, head.bias)
    resampled = dynamics.resamples(np.zeros(draws, int), np.arange(draws), len(images))
    verdict = dynamics.judge(correct, np.asarray(sigmas), resampled)
    # That rises or falls stay below one point takes 300 images on which none is seen (3/n bounds what did not happen): never here.
    shape = verdict.shape if verdict.shape in ("unimodal", "multimodal") else "undecided"
    verdict = replace(verdict, shape=shape)
    curve = _at_least_wilson(*dynamics.curve(correct, resampled), len(images))
    return Taught(correct, curve, verdict, replace(like, classes=tuple(classes), probes=probes))


def _at_least_wilson(mean: np.ndarray, low: np.ndarray, high: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bounds = np.array([wilson(share * count, count) for share in mean])
    return mean, np.minimum(low, bounds[:, 0]), np.maximum(high, bounds[:, 1])


@torch.inference_mode()
def _features(model: Backend, image: np.ndarray, like: Readout, seed: int, draw: int) -> Mapping[str, np.ndarray]:
    """{block: (S, D)} of one image with one draw of its own ε."""
    _, levels, x = noised(model, image, like.sigmas, seed, draw)
    with capture(model, like.blocks, lambda value: value.float().mean((-2, -1))) as taps:
        return {name: value.cpu().numpy() for name, value in taps(x, levels, like.condition).items()}
