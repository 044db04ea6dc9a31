"""What a model family must give: its Card, its network as a denoiser in σ, and its blocks' outputs as maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..errors import UnknownName
from ..noise import Schedule
from ..specs import Block, Card


class Backend(ABC):
    """A network with its noise schedule. Nothing here decides device, precision or gradients for the caller."""

    card: Card
    net: nn.Module
    schedule: Schedule

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, weights: str = "trained", device: str = "cpu") -> Self:
        """Open a folder's network with its weights, or with fresh ones of `random:<seed>`.

        Raises DamagedFile if a file is missing, truncated or altered.
        """

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """x_0: (B, 3, H, W) in [-1, 1] -> (B, c, h, w); deterministic."""

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        """D(x; σ), the posterior mean of x_0: (B, c, h, w) x_σ unscaled, (B,) -> (B, c, h, w); differentiable."""

    def as_map(self, block: Block, output: Any) -> Tensor:
        """Whatever the block's module returned, as a map (B, C, h, w)."""
        return output[0] if isinstance(output, tuple) else output

    def block(self, name: str) -> Block:
        """A block by name. Raises UnknownName."""
        known = {block.name: block for block in self.card.blocks}
        if name not in known:
            raise UnknownName("block", name, known)
        return known[name]

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device


def in_order(backend: Backend, names: Sequence[str]) -> list[Block]:
    """Blocks by name, in the order of execution. Raises UnknownName."""
    return sorted((backend.block(name) for name in names), key=lambda block: block.depth)
