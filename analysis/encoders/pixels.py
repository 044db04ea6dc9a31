"""The noised pixels themselves: what can be read before any network has looked."""

from __future__ import annotations

from torch import Tensor

from .base import Encoder


class Pixels(Encoder):
    """Pixels as they are; one global scale is fitted with the probe, because pixels have one unit."""

    name = "pixels"
    identity = "encoder:pixels"
    heads = ("logistic", "knn", "svm")
    scaling = "global"

    def __call__(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def dimension(self, channels: int, side: int) -> int:
        return channels * side**2


plugin = Pixels
