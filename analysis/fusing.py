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
from .heads.base import Foreseen
from .trained import Trained


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
