"""A small convolutional network on the map, the third of the heads of [GD] (arXiv 2307.08702).

Its code does not have it and we could not find its sizes: here two 3×3 convolutions to 256 channels that halve the side, each normed over
the whole map (which a batch of one image can be too) and with ReLU, then one linear layer on all that is left, so that it knows where on
the map something is.
"""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ..trained import TrainedHead, Training


class CNN(TrainedHead):
    name = "cnn"
    training = Training(rate=3e-4, least=300)
    width = 256

    def network(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        channels, side, _ = shape
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, self.width, self.width)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(1, after), nn.ReLU()]
            side = (side + 1) // 2
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.width * side**2, classes))


plugin = CNN
