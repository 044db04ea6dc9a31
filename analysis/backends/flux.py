"""FLUX.1: transformers of first two streams, image and text, then one of both, over packed latents; flow matching.

A folder as diffusers' `FluxPipeline` is saved: `transformer` (a `FluxTransformer2DModel`), `vae`, `scheduler`, a CLIP encoder and a T5.
Black Forest Labs, github.com/black-forest-labs/flux. Weights, revision and licence are each checkpoint's own and stand on its Card.
Noise: x_t = (1-t) x_0 + t ε, σ = t/(1-t). Features use the empty prompt. The network reads 2 × 2 latents as one token; a block's map is
of the image's tokens alone. The dev network is distilled and told a guidance: it is fixed, and said.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from torch.nn import functional

from ..specs import Card
from ._inside import Layer
from ._joint import Joint
from ._latent import STEPS, Reads
from ._prompts import Prompts, prompt_of, tokens_of
from .base import Told

KINDS = {
    "tokenizer": "CLIPTokenizer",
    "text_encoder": "CLIPTextModel",
    "tokenizer_2": "T5TokenizerFast",
    "text_encoder_2": "T5EncoderModel",
}
LENGTHS = {True: 512, False: 256}  # tokens of the T5: of the network that is told a guidance, and of schnell
GUIDANCE = 3.5  # what the network was published with
PACK = 2


class Whole(nn.Linear):
    """A layer in the precision of its weights, whatever is around it: the network rounds its timestep to the type of what this one gives,
    and in bfloat16 t = .75 would become .752.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Flux(Joint):
    """A `FluxTransformer2DModel` over latents."""

    network = FluxTransformer2DModel
    classes = ("FluxTransformer2DModel",)
    family = "flux"
    text = "before"
    packed = PACK
    paper = "github.com/black-forest-labs/flux"

    def __init__(self, net: Any, card: Card, place: Path, prediction: str) -> None:
        super().__init__(net, card, place, prediction)
        net.x_embedder.__class__ = Whole

    @classmethod
    def layers(cls, net: Any) -> Iterable[Layer]:
        for i in range(len(net.transformer_blocks)):
            path = f"transformer_blocks.{i}"
            yield Layer(f"layer{i}", "layer", path, within=(path,))
        for i in range(len(net.single_transformer_blocks)):
            path = f"single_transformer_blocks.{i}"
            yield Layer(f"single{i}", "layer", path, within=(path,), single=True)

    @classmethod
    def side(cls, net: Any) -> int:
        return 128

    @classmethod
    def patch(cls, net: Any) -> int:
        return PACK

    @classmethod
    def sides(cls, net: Any, stride: int) -> tuple[int, int] | None:
        return stride * PACK, 4096

    @classmethod
    def notes(cls, net: Any) -> tuple[str, ...]:
        if not net.config["guidance_embeds"]:
            return ()
        return (f"This network is distilled and told a guidance: it is {GUIDANCE}, as published, everywhere.",)

    @classmethod
    def run(cls, net: Any, x: Tensor, timestep: Tensor, given: Reads) -> Tensor:
        side = x.shape[-1] // PACK
        places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).to(x)
        made: Tensor = net(
            hidden_states=functional.pixel_unshuffle(x, PACK).flatten(2).transpose(1, 2),
            timestep=timestep / STEPS,
            guidance=x.new_full((len(x),), GUIDANCE) if net.config["guidance_embeds"] else None,
            img_ids=functional.pad(places, (1, 0)),
            txt_ids=x.new_zeros(given["encoder_hidden_states"].shape[1], 3),
            **given,
        ).sample
        return functional.pixel_shuffle(made.transpose(1, 2).reshape(len(made), -1, side, side), PACK)

    def tell(self, condition: str) -> Told:
        from diffusers import FluxPipeline

        prompt = prompt_of(condition)
        parts, length = Prompts.parts(self.place, KINDS), LENGTHS[bool(self.net.config["guidance_embeds"])]
        tokens, cut = tokens_of(parts["tokenizer_2"], prompt, length)
        _, cut_too = tokens_of(parts["tokenizer"], prompt, parts["tokenizer"].model_max_length)
        said = (*((cut,) if cut else ()), *((f"Of its second encoder: {cut_too}",) if cut_too else ()))
        pipeline = FluxPipeline(vae=None, transformer=self.net, scheduler=None, **parts)
        states, pooled, _ = pipeline.encode_prompt(prompt, None, device=torch.device("cpu"), max_sequence_length=length)
        return Told({"encoder_hidden_states": states, "pooled_projections": pooled}, tokens, said)


plugin = Flux
