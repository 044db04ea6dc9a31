"""A class token that reads the map's cells through two transformer layers, the fourth of the heads of [GD] (arXiv 2307.08702, 2311.17921).

As in its code: the map pooled to 16 × 16 at most, LayerNorm over the whole of it, a 1×1 convolution to 1,024 numbers, a class token that
starts at 0, two layers with the norm first, 8 heads, an MLP four times as wide with GELU, no dropout, and a linear layer on the class
token. There only the LayerNorm's shift, 0 at first, tells one cell's place from another's; that moves little in few steps, so here each
cell has an embedding of its own, random at first. Queries, keys and values have biases here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..trained import TrainedHead, Training

SIDE = 16
SPREAD = 0.5  # of the cells' embeddings at first: what the convolution makes of a normed map has .58


class Reading(nn.Module):
    """Maps (B, C, p, p), of one shape (C, p, p) each, -> logits (B, K): one class token reads the cells of all.

    Every map has a LayerNorm and a convolution of its own, and every cell an embedding that tells its map and its place.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], classes: int, width: int, layers: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList()
        for channels, side, _ in shapes:
            side = min(side, SIDE)
            norm = nn.LayerNorm([channels, side, side])
            self.cells.append(nn.Sequential(nn.AdaptiveAvgPool2d(side), norm, nn.Conv2d(channels, width, 1), nn.Flatten(2)))
        self.places = nn.Parameter(SPREAD * torch.randn(1, sum(min(side, SIDE) ** 2 for _, side, _ in shapes), width))
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.layers = nn.Sequential(*(_layer(width, heads, ratio) for _ in range(layers)))
        self.answer = nn.Linear(width, classes)

    def forward(self, *maps: Tensor) -> Tensor:
        cells = torch.cat([read(one).mT for read, one in zip(self.cells, maps, strict=True)], 1) + self.places
        return self.answer(self.layers(torch.cat([self.token.expand(len(cells), -1, -1), cells], 1))[:, 0])


def _layer(width: int, heads: int, ratio: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, heads, ratio * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)


class Attention(TrainedHead):
    name = "attention"
    penalties = (100.0, 10.0, 1.0)  # ten times the others', for a rate that is a tenth of theirs
    training = Training(rate=3e-5, least=100)
    width, layers, heads, ratio = 1024, 2, 8, 4

    def network(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return self.reading([shape], classes)

    def reading(self, shapes: Sequence[tuple[int, int, int]], classes: int) -> Reading:
        """The network for several maps at once."""
        return Reading(shapes, classes, self.width, self.layers, self.heads, self.ratio)


plugin = Attention
