"""What a baseline encoder must give: one vector an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

from torch import Tensor


class Encoder(ABC):
    """Reads the noised image as a model does, and says one vector for it.

    `argument` is what follows the plug-in's name and a colon. Nothing here decides gradients for the caller.
    """

    name: str  # short, without a slash: what curves and legends call it
    identity: str
    heads: tuple[str, ...] = ()  # validation chooses among these at every σ; none: the request's own head
    scaling: Literal["feature", "global"] = "feature"
    parameters: int = 0  # of its network; without one, reading an image takes no pass
    pixels: int = 0  # of one image, as its network is shown it

    def __init__(self, argument: str = "", device: str = "cpu", fetched: Path | None = None) -> None:
        """`fetched` is the folder of what the argument names, where that was fetched from the hub."""
        self.argument, self.device, self.fetched = argument, device, fetched

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """(B, c, h, w) x_σ, unscaled -> (B, D)."""

    @abstractmethod
    def dimension(self, channels: int, side: int) -> int:
        """D, for images of so many channels and pixels a side."""

    def facts(self) -> dict[str, Any]:
        """What a receipt says of it."""
        return {"name": self.name, "identity": self.identity, "parameters": self.parameters}
