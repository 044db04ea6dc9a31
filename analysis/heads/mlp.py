"""A multilayer perceptron on the flattened map, the second of the heads of [GD] (arXiv 2307.08702).

Its code leaves depth and width to the user, with ReLU between; here one hidden layer of 1,024.
"""

from __future__ import annotations

from torch import nn

from ..trained import TrainedHead, Training


class MLP(TrainedHead):
    name = "mlp"
    training = Training(rate=3e-4, least=300)
    width = 1024

    def network(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        channels, side, _ = shape
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * side**2, self.width), nn.ReLU(), nn.Linear(self.width, classes))


plugin = MLP
