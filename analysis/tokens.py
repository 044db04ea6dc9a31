"""The places of a map as tokens: which resemble each other, which stand out, and whether the corners are too alike.

Loos and Linhardt, arXiv 2504.07008, found in Stable Diffusion that corner tokens resemble each other more than what they show
explains, and that a few tokens, often in squares of 2 × 2, have a norm far above the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional

RARE = 0.01  # of maps without outliers, the share in which any token is marked
LEAST = 0.01  # of log norm: a map whose norms differ by less than this has no outlier
MOST = 1024  # tokens whose similarities are held at once


@dataclass(frozen=True)
class Corners:
    """Cosine of the four corner tokens, the mean of their six pairs, beside other tokens as far apart: their median and 95th percentile."""

    similarity: float
    typical: float
    high: float

    @property
    def alike(self) -> bool:
        """Whether the corners are more alike than 95 % of other pairs."""
        return self.similarity > self.high


def norms(feature_map: Tensor) -> np.ndarray:
    """(C, h, w) -> (h, w): the length of each token."""
    return feature_map.norm(dim=0).numpy()


def outliers(lengths: np.ndarray) -> np.ndarray:
    """(h, w) bool: tokens whose log norm lies further above the median than any token's does in 99 of 100 normal maps.

    It is counted in robust standard deviations, 1.4826 times the median absolute one. Of a hundred maps of as many independent normal
    log norms about one has a token beyond the limit: 3.6 deviations for 64 tokens, where Iglewicz and Hoaglin, How to Detect and
    Handle Outliers (1993), take 3.5, and 4.6 for 4,096. The logarithm makes a ratio of norms count the same at any scale.
    """
    logs = np.log(np.maximum(lengths, np.finfo(np.float32).tiny))
    distances = logs - np.median(logs)
    return distances > norm.isf(RARE / lengths.size) * max(1.4826 * float(np.median(np.abs(distances))), LEAST)


def groups(mask: np.ndarray) -> list[int]:
    """How many tokens each group of marked neighbours has, sides and corners touching, the largest first."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return sorted((int((labels == k).sum()) for k in range(1, count + 1)), reverse=True)


def similarities(feature_map: Tensor) -> Tensor:
    """Cosine (h·w, h·w) of every token (C, h, w) with every other, tokens row by row."""
    units = functional.normalize(feature_map.flatten(1), dim=0)
    return (units.T @ units).clamp(-1, 1)


def corners(feature_map: Tensor) -> Corners | None:
    """How alike the corners of a map (C, h, w) are; None where it has no two other tokens half its side apart.

    Of a map with more than MOST tokens, others are taken at even distances.
    """
    _, height, width = feature_map.shape
    ends = torch.tensor([0, width - 1, (height - 1) * width, height * width - 1])
    step = max(1, -(-max(height, width) // int(MOST**0.5)))
    row, column = (axis.flatten() for axis in torch.meshgrid(torch.arange(0, height, step), torch.arange(0, width, step), indexing="ij"))
    others = row * width + column
    inner = ~torch.isin(others, ends)
    row, column, others = row[inner], column[inner], others[inner]
    far = torch.triu(((row[:, None] - row).abs() * 2 >= height) | ((column[:, None] - column).abs() * 2 >= width), 1)
    if height < 2 or width < 2 or not far.any():
        return None
    tokens = feature_map.flatten(1)
    between = similarities(tokens[:, ends, None])[torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)]
    beside = similarities(tokens[:, others, None])[far].numpy()
    return Corners(float(between.mean()), float(np.median(beside)), float(np.quantile(beside, 0.95)))
