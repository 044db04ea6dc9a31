"""Learned fusion of the maps of several cells (block, σ): one class token reads them all ([GD], arXiv 2311.17921, DifFormer).

There the maps of one noise level are read together and the class tokens of the levels are joined; here all maps of all levels are read
at once, with one set of weights, so that a label that only two levels tell together can be found too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from . import trained
from .errors import InvalidRequest
from .heads.attention import Attention
from .heads.base import FittedHead, Foreseen, ProbeHead
from .trained import Trained, Training


def fuse(maps: Sequence[np.ndarray], labels: np.ndarray, classes: int, head: Attention | None = None) -> list[Trained]:
    """One fitted network for each weight decay of `head`, by default the attention head with its sizes and its training.

    `maps` are one array (n, C, p, p) a cell, each scaled by a Scaler of its own, of the same n images in the same order; C and p may
    differ between cells. Labels (n,) are in 0…classes-1, each class there. Each network has `penalty`, `converged`, and
    `predict_logits(maps)`, from maps of the same cells in the same order to logits (m, K). Raises InvalidRequest for what are no such
    maps.
    """
    like = head or Attention()
    return trained.fit(_network(maps, labels, classes, like), maps, labels, like.penalties, like.training)


def foresee(maps: Sequence[np.ndarray], labels: np.ndarray, classes: int, head: Attention | None = None) -> Foreseen:
    """What `fuse` will take, from a few steps on a few images of the same maps."""
    like = head or Attention()
    return trained.foresee(_network(maps, labels, classes, like), maps, labels, like.penalties, like.training)


def _network(maps: Sequence[np.ndarray], labels: np.ndarray, classes: int, like: Attention) -> Callable[[], nn.Module]:
    if not maps:
        raise InvalidRequest("No maps are given; allowed: the maps of one cell or more.")
    for place, one in enumerate(maps):
        if one.ndim != 4 or one.shape[2] != one.shape[3] or len(one) != len(labels):
            raise InvalidRequest(f"Map {place} has the shape {one.shape}; allowed: ({len(labels)}, C, p, p), as many images as labels.")
    return lambda: like.reading([one.shape[1:] for one in maps], classes)


class Small(Attention):
    """What a sweep fuses with, for many maps and few labelled images: a sixteenth of the attention head's width, and a higher rate.

    On validation images of the bundled digits, with 10 labels a class, widths of 128 and 256 read no more and took longer.
    """

    width = 64
    penalties = (10.0, 1.0, 0.1)
    training = Training(rate=1e-3, least=150)


class Fusion(ProbeHead):
    """Learned fusion as a probe head: features (n, D) are the maps of several cells, flattened and side by side, of these shapes (C, p, p)."""

    name = "fusion"
    differentiable = True
    log_odds = True

    def __init__(self, shapes: Sequence[tuple[int, int, int]], like: Attention | None = None) -> None:
        self.shapes, self.like = shapes, like or Small()
        self.penalties = self.like.penalties

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        return [Apart(one, self.shapes) for one in fuse(apart(features, self.shapes), labels, classes, self.like)]

    def foresee(self, features: np.ndarray, labels: np.ndarray, classes: int) -> Foreseen:
        return foresee(apart(features, self.shapes), labels, classes, self.like)


class Apart(FittedHead):
    """A fitted fusion that is given its maps side by side."""

    def __init__(self, fitted: Trained, shapes: Sequence[tuple[int, int, int]]) -> None:
        self.penalty, self.converged, self.fitted, self.shapes = fitted.penalty, fitted.converged, fitted, shapes

    def predict_logits(self, features: np.ndarray) -> np.ndarray:
        return self.fitted.predict_logits(apart(features, self.shapes))


def apart(features: np.ndarray, shapes: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """Features (n, D) as the maps (n, C, p, p) that stand side by side in them."""
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(features, ends[:-1].tolist(), axis=1)
    return [part.reshape(len(features), *shape) for part, shape in zip(parts, shapes, strict=True)]
