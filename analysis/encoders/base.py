"""What a baseline encoder must give: one vector an image."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Encoder(ABC):
    """Reads the noised image as a model does, and says one vector for it."""

    name: str
    identity: str
    heads: tuple[str, ...]  # validation chooses among these at every σ

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """(B, c, h, w) x_σ, unscaled -> (B, D)."""
