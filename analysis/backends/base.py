"""What a model family must give: its Card, its network as a denoiser in σ, and its blocks' outputs as maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from ..errors import UnknownName
from ..noise import Schedule
from ..specs import Block, Card, Precision


@dataclass(frozen=True)
class Excerpt:
    """One feature to be read elsewhere: a block of a model at one noise level, pooled, the mean over so many draws of ε."""

    place: str  # a hub id, or the model's folder
    card: Card
    block: Block
    sigma: float
    timestep: float
    pooling: str
    draws: int = 1
    clean: bool = False  # the network is shown x_0, scaled as at σ
    condition: str = "none"
    precision: Precision = "float32"

    def pooled(self, map_: str) -> str:
        """Code that pools the map (B, C, h, w) which the code `map_` gives, as `features.pooled` does."""
        if self.pooling == "1":
            return f"{map_}.mean((-2, -1))"
        if self.pooling == "max":
            return f"{map_}.amax((-2, -1))"
        if self.pooling == "gem":
            return f"{map_}.clamp_min(1e-6).pow(3).mean((-2, -1)).pow(1 / 3)"
        return f"torch.nn.functional.adaptive_avg_pool2d({map_}, {self.pooling}).flatten(1)"


@dataclass(frozen=True)
class Told:
    """What a network is told of a condition: tensors (1, …) by the names that it is given, and what stands at each of its places."""

    tensors: Mapping[str, Tensor]
    tokens: tuple[str, ...] = ()  # of the text that attention reads, one a place; "" where nothing of the prompt stands
    said: tuple[str, ...] = ()  # a sentence each: what was cut, what is not there


NOWHERE = "meta"  # a device of shapes alone: a model opened on it says what it is, takes no memory and computes nothing


class Backend(ABC):
    """A network with its noise schedule. Nothing here decides device, precision or gradients for the caller."""

    card: Card
    net: nn.Module
    schedule: Schedule
    precision: Precision = "float32"  # of matrix products and convolutions while features are read
    kept: MutableMapping[str, Told]  # what a network with text encoders was told of each condition; may outlive the process
    text: ClassVar[Literal["apart", "behind", "before"] | None] = (
        None  # where a text's keys stand in attention: behind or before the image's
    )

    @classmethod
    def claims(cls, place: Path) -> bool:
        """Whether this family reads the folder or file of a model that brought no Card. Raises DamagedFile."""
        return False

    @classmethod
    def describe(cls, place: Path) -> Card:
        """The Card of a place that it claims. Raises DamagedFile, and InvalidRequest for what cannot be expressed."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def load(cls, place: Path, card: Card, weights: str = "trained", device: str = "cpu") -> Self:
        """Open the network in a folder or file with its weights, or with fresh ones of `random:<seed>`.

        Raises DamagedFile if a file is missing, truncated or altered.
        """

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """x_0: (B, 3, H, W) in [-1, 1] -> (B, c, h, w); deterministic."""

    @abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        """D(x; σ), the posterior mean of x_0: (B, c, h, w) x_σ unscaled, (B,) -> (B, c, h, w); differentiable."""

    def decode(self, x0: Tensor) -> Tensor:
        """What a person sees of x_0: (B, c, h, w) -> (B, 1 or 3, H, W) in about [-1, 1]."""
        return x0

    def told(self, condition: str | None = None) -> Told:
        """What the network is told of a condition, by text encoders where it has some."""
        return Told({})

    def as_map(self, block: Block, output: Any) -> Tensor:
        """Whatever the block's module returned, as a map (B, C, h, w): of tokens the image's, which stand behind those of a text."""
        found = self.picked(output)
        if found.ndim == 4:
            return found
        side = self.card.resolution // block.stride
        return found[:, -side * side :].transpose(1, 2).reshape(len(found), -1, side, side)

    @staticmethod
    def picked(output: Any) -> Tensor:
        """Of what a module returned, what is of the image."""
        return picked(output)

    @classmethod
    def snippet(cls, excerpt: Excerpt) -> str | None:
        """About a dozen lines of the family's own library, without ours, that read one feature; None where a family has none.

        They define `feature(x0, eps)`, (B, c, h, w) each -> (B, D); `feature(x0)` of clean input; and `averaged(x0)` of several draws.
        """
        return None

    def at(self, precision: Precision) -> Self:
        """The same network, read in a precision; the same object again as long as somebody holds it."""
        known: WeakValueDictionary[Precision, Self] = vars(self).setdefault("_at", WeakValueDictionary())
        known[self.precision] = self
        if (found := known.get(precision)) is None:
            found = copy(self)  # shares the weights, and what is known here
            found.precision = precision
            known[precision] = found
        return found

    def block(self, name: str) -> Block:
        """A block by name. Raises UnknownName."""
        known = {block.name: block for block in self.card.every}
        if name not in known:
            raise UnknownName("block", name, [block.name for block in self.card.blocks])
        return known[name]

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def denoise_each(self, x: Tensor, sigma: Tensor, conditions: Sequence[str]) -> Tensor:
        """D(x; σ) with a condition for each of the B rows: a pass a condition, or one for all where a family can."""
        made = torch.empty_like(x)
        for condition in dict.fromkeys(conditions):
            rows = [row for row, name in enumerate(conditions) if name == condition]
            made[rows] = self.denoise(x[rows], sigma[rows], condition).to(made.dtype)
        return made


def origin(place: Path) -> dict[str, Any]:
    """What a place says of where a model comes from, as fields of a Card: name, repo_id, revision, license.

    The hub's own folders are `models--owner--name/snapshots/<commit>`; the licence is in the README's metadata.
    """
    repo = revision = license_ = None
    folder = place.absolute() if place.is_dir() else place.absolute().parent
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
        repo, revision = folder.parents[1].name.removeprefix("models--").replace("--", "/", 1), folder.name
    readme = folder / "README.md"
    if readme.is_file():
        from huggingface_hub import metadata_load

        found = metadata_load(readme) or {}
        license_ = found.get("license_name") or found.get("license")
    return {"name": place.stem if place.is_file() else repo or folder.name, "repo_id": repo, "revision": revision, "license": license_}


def picked(output: Any) -> Tensor:
    """What a module returned, or the first of several."""
    found: Tensor = output[0] if isinstance(output, tuple) else output
    return found


def in_order(backend: Backend, names: Sequence[str]) -> list[Block]:
    """Blocks by name, in the order of execution. Raises UnknownName."""
    inner = {block.name: place for place, block in enumerate(backend.card.inside)}
    last = len(inner)
    return sorted((backend.block(name) for name in names), key=lambda block: (block.depth, inner.get(block.name, last)))
