"""A method's map over several draws of ε: its mean, its spread, and where it is more than its spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .attribution import Settings, fitted, one_map
from .noise import noise_like
from .probed import ProbedModel


@dataclass(frozen=True)
class Map:
    """A method's map over draws of ε: mean and standard deviation (H, W) or (h, w); without spread, one draw of noise tells none."""

    method: str
    block: str
    sigma: float
    mean: Tensor
    spread: Tensor | None
    draws: int
    gap: float | None  # Integrated Gradients: mean distance between the map's sum and the target's change
    baseline: str | None  # where the method has one

    @property
    def sure(self) -> Tensor:
        """Where the map exceeds its spread between draws; the rest is shown grey."""
        return torch.zeros_like(self.mean, dtype=torch.bool) if self.spread is None else self.mean.abs() > self.spread


def over_draws(
    probed: ProbedModel, image: Tensor, method: str, settings: Settings, image_id: int, draws: int = 8, seed: int = 0
) -> Iterator[Map]:
    """The map after one draw of ε, after two, up to `draws`; the caller may stop between them. With no draws, clean input's one map.

    ε is the one that the image's features were read with, whatever `probed` has.
    """
    image = image.to(probed.backend.device)
    settings = fitted(probed, image, method, settings)
    with torch.no_grad():
        x0 = probed.backend.encode(image)
    maps, gaps = [], []
    for draw in range(max(1, draws)):
        one = probed.changed(eps=noise_like(x0, [image_id], seed, draw) if draws else None)
        found, gap = one_map(one, image, method, settings.model_copy(update={"seed": settings.seed + draw}))
        maps.append(found)
        gaps += [] if gap is None else [abs(gap)]
        stacked = torch.stack(maps)
        spread = stacked.std(0) if len(maps) > 1 else None
        yield Map(
            method=method,
            block=probed.block.name,
            sigma=probed.sigma,
            mean=stacked.mean(0),
            spread=spread if draws else torch.zeros_like(found),  # clean input has no ε to differ in
            draws=len(maps) if draws else 0,
            gap=sum(gaps) / len(gaps) if gaps else None,
            baseline=settings.baseline if method in ("integrated_gradients", "occlusion") else None,
        )
