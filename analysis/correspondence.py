"""A point of one image and the place of another that is most like it, by the cosine of a block's features.

A map (C, h, w) covers a square image of `side` pixels: its place (row, column) stands at ((column + ½) · side/w, (row + ½) · side/h).
Points are (x, y) in pixels from the image's upper left corner, 0 to `side`; the middle of the first pixel is (½, ½). Between places
features are bilinear, beyond the outermost ones constant (`align_corners=False`).

As in Tang et al., Emergent Correspondence from Image Diffusion (DIFT), arXiv 2306.03881, the map is brought to the image's size and the
match is the pixel with the highest cosine. The large map itself is never made: a cosine is the upsampled product with one feature
(upsampling is linear), over the upsampled map's lengths, which follow from the products of neighbouring places.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .errors import InvalidRequest

RADIUS = 0.1  # of the side: what lies nearer is the same place
ALPHA = 0.1  # of the side: a match that is nearer to the truth is right


@dataclass(frozen=True)
class Match:
    """Where a point's feature is found again, in pixels; `second` is the best place that lies further than RADIUS from the best.

    `back` is how many pixels from the point one comes out when the match is matched with the point's own image again.
    """

    x: float
    y: float
    similarity: float
    second_x: float
    second_y: float
    second: float
    back: float

    @property
    def margin(self) -> float:
        """How much more like the point the match is than the second place: near 0, it might as well be there."""
        return self.similarity - self.second

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "margin": self.margin}


@dataclass(frozen=True)
class Field:
    """Features at every pixel of an image: a map (C, h, w) float32, and the lengths (side, side) of the upsampled map."""

    map: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, feature_map: Tensor, side: int) -> Field:
        """The field of a map (C, h, w) on the CPU, of an image of side × side pixels."""
        feature_map = feature_map.float().contiguous()
        return cls(feature_map, _lengths(feature_map, side))

    @property
    def side(self) -> int:
        return int(self.lengths.shape[0])

    @property
    def nbytes(self) -> int:
        return self.map.nbytes + self.lengths.nbytes

    def at(self, points: Tensor) -> Tensor:
        """Features (n, C) at points (n, 2) in pixels. Raises InvalidRequest for a point outside the image."""
        for x, y in points.tolist():
            check_point(x, y, self.side)
        places = (2 * points.to(self.map) / self.side - 1)[None, None]
        return functional.grid_sample(self.map[None], places, "bilinear", "border", align_corners=False)[0, :, 0].T

    def heat(self, feature: Tensor) -> Tensor:
        """Cosine (side, side) of a feature (C,) with that of every pixel; 0 where one of them is 0."""
        unit = feature / feature.norm().clamp_min(1e-12)
        products = _upsampled(torch.einsum("c,chw->hw", unit, self.map)[None], self.side)[0]
        return (products / self.lengths.clamp_min(1e-12)).clamp(-1, 1)


def check_point(x: float, y: float, side: int) -> None:
    """Raises InvalidRequest for a point outside an image of side × side pixels."""
    if not (0 <= x <= side and 0 <= y <= side):
        raise InvalidRequest(f"The point is ({x:g}, {y:g}); allowed: 0 to {side} each, in pixels of the image from its upper left corner.")


def _upsampled(feature_map: Tensor, side: int) -> Tensor:
    return functional.interpolate(feature_map[None], (side, side), mode="bilinear", align_corners=False)[0]


def _lengths(feature_map: Tensor, side: int) -> Tensor:
    """(C, h, w) -> (side, side): the lengths of the upsampled features.

    A pixel's feature is a weighted sum of the four places around it, so its square is the weighted sum of their products.
    """
    (top, down), (left, right) = (_between(size, side) for size in feature_map.shape[1:])
    weights = [(1 - down)[:, None] * (1 - right), (1 - down)[:, None] * right, down[:, None] * (1 - right), down[:, None] * right]
    below = torch.cat([feature_map[:, 1:], feature_map[:, -1:]], 1)
    places = [part for rows in (feature_map, below) for part in (rows, torch.cat([rows[:, :, 1:], rows[:, :, -1:]], 2))]
    squares = torch.zeros(side, side)
    for i, j in combinations_with_replacement(range(4), 2):
        products = (places[i] * places[j]).sum(0)[top][:, left]
        squares += (1 if i == j else 2) * weights[i] * weights[j] * products
    return squares.clamp_min(0).sqrt()


def _between(size: int, side: int) -> tuple[Tensor, Tensor]:
    """For each of `side` pixels the place before it, of `size`, and how far it is to the next, from 0 to 1."""
    at = ((torch.arange(side) + 0.5) * size / side - 0.5).clamp(0, size - 1)
    return at.long(), at - at.long()


def best(heat: Tensor) -> tuple[float, float, float]:
    """The middle (x, y) of the pixel with the highest value of (side, side), and the value; of equal ones, the first by rows."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    return column + 0.5, row + 0.5, float(heat[row, column])


def match(source: Field, point: tuple[float, float], target: Field) -> tuple[Match, Tensor]:
    """The match of a point of one image in another, and the heat map (side, side) that it is the peak of. Raises InvalidRequest."""
    heat = target.heat(source.at(torch.tensor([point]))[0])
    x, y, similarity = best(heat)
    middles = torch.arange(target.side) + 0.5
    near = torch.hypot(middles[None] - x, middles[:, None] - y) <= RADIUS * target.side
    again = best(source.heat(target.at(torch.tensor([[x, y]]))[0]))
    back = math.hypot(again[0] - point[0], again[1] - point[1])
    return Match(x, y, similarity, *best(heat.masked_fill(near, -1.0)), back), heat


def pck(matches: np.ndarray, truth: np.ndarray, size: float, alpha: float = ALPHA) -> float:
    """The share of matches (n, 2) that lie within alpha · size of the truth (n, 2): the percentage of correct key points, as a share.

    Raises InvalidRequest where there are none, or not as many of one as of the other.
    """
    if matches.shape != truth.shape or matches.ndim != 2 or matches.shape[1] != 2 or not len(matches):
        raise InvalidRequest(f"Matches are {matches.shape} and true places {truth.shape}; allowed: (n, 2) of both, at least one.")
    return float((np.hypot(*(matches - truth).T) <= alpha * size).mean())
