"""DiT: class-conditional transformers over latents.

A folder as diffusers' `DiTPipeline` is saved: `transformer` (a `DiTTransformer2DModel`, called `Transformer2DModel` by older files), `vae`,
`scheduler`. Paper: Peebles & Xie, Scalable Diffusion Models with Transformers, arXiv 2212.09748. Weights, revision and licence are each
checkpoint's own and stand on its Card. Noise: variance preserving; of 2c output channels the second c are a variance. Features use the
null class, which was trained; blocks are counted from 1 in papers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiTTransformer2DModel

from ..errors import InvalidRequest
from ._inside import Layer
from ._latent import Latent, Reads
from .base import Told


class DiT(Latent):
    """A `DiTTransformer2DModel` over latents."""

    network = DiTTransformer2DModel
    classes = ("DiTTransformer2DModel", "Transformer2DModel")
    family = "dit"
    paper = "arXiv 2212.09748"

    @classmethod
    def configuration(cls, place: Path) -> dict[str, Any]:
        config = super().configuration(place)
        if config.get("norm_type", "ada_norm_zero") != "ada_norm_zero":
            raise InvalidRequest(
                f"The transformer in {place} has norm_type {config['norm_type']!r}; allowed: 'ada_norm_zero', which is DiT. "
                "The nearest that is read is DiTPipeline."
            )
        return config

    @classmethod
    def layers(cls, net: Any) -> Iterable[Layer]:
        for i in range(len(net.transformer_blocks)):
            path = f"transformer_blocks.{i}"
            yield Layer(f"layer{i}", "layer", path, f"DiT {i + 1}", (path,))

    @classmethod
    def conditions(cls, net: Any, place: Path) -> tuple[str, ...]:
        return ("null", *(f"class:{k}" for k in range(net.config["num_embeds_ada_norm"])))

    @classmethod
    def blank(cls, net: Any, side: int) -> Reads:
        return {"class_labels": torch.zeros(1, dtype=torch.long, device=next(net.parameters()).device)}

    def tell(self, condition: str) -> Told:
        null = self.net.config["num_embeds_ada_norm"]
        return Told({"class_labels": torch.tensor([null if condition == "null" else int(condition.partition(":")[2])])})


plugin = DiT
