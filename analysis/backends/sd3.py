"""Stable Diffusion 3 and 3.5: transformers of two streams, image and text, over latents; flow matching.

A folder as diffusers' `StableDiffusion3Pipeline` is saved: `transformer` (an `SD3Transformer2DModel`), `vae`, `scheduler`, two CLIP
encoders, and a T5, which may be left out: then its places are zeros, as the network was trained with, and that is said. Paper: Esser et
al., Scaling Rectified Flow Transformers, arXiv 2403.03206. Weights, revision and licence are each checkpoint's own and stand on its
Card. Noise: x_t = (1-t) x_0 + t ε, σ = t/(1-t). Features use the empty prompt. A block's map is of the image's stream alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor

from ._inside import Layer
from ._joint import Joint
from ._latent import Reads
from ._prompts import Prompts, prompt_of, tokens_of
from .base import Told

KINDS = {
    "tokenizer": "CLIPTokenizer",
    "text_encoder": "CLIPTextModelWithProjection",
    "tokenizer_2": "CLIPTokenizer",
    "text_encoder_2": "CLIPTextModelWithProjection",
    "tokenizer_3": "T5TokenizerFast",
    "text_encoder_3": "T5EncoderModel",
}
LENGTH = 256  # tokens of the T5
WITHOUT = "There is no T5 encoder (text_encoder_3) here: its places are zeros, as in training where it was left out."


class StableDiffusion3(Joint):
    """An `SD3Transformer2DModel` over latents."""

    network = SD3Transformer2DModel
    classes = ("SD3Transformer2DModel",)
    family = "sd3"
    text = "behind"
    paper = "arXiv 2403.03206"

    @classmethod
    def layers(cls, net: Any) -> Iterable[Layer]:
        for i in range(len(net.transformer_blocks)):
            path = f"transformer_blocks.{i}"
            yield Layer(f"layer{i}", "layer", path, within=(path,))

    @classmethod
    def sides(cls, net: Any, stride: int) -> tuple[int, int] | None:
        return stride * net.config["patch_size"], stride * net.config["patch_size"] * net.config["pos_embed_max_size"]

    @classmethod
    def run(cls, net: Any, x: Tensor, timestep: Tensor, given: Reads) -> Tensor:
        made: Tensor = net(hidden_states=x, timestep=timestep, **given).sample
        return made

    def streams(self, told: Told) -> tuple[range, ...]:
        count = len(told.tokens)
        return range(count - LENGTH), range(count - LENGTH, count)

    def tell(self, condition: str) -> Told:
        from diffusers import StableDiffusion3Pipeline

        prompt = prompt_of(condition)
        parts = Prompts.parts(self.place, KINDS, optional=("tokenizer_3", "text_encoder_3"))
        tokens, cut = tokens_of(parts["tokenizer"], prompt, parts["tokenizer"].model_max_length)
        said = [cut] if cut else []
        if parts["text_encoder_3"] is None or parts["tokenizer_3"] is None:
            parts |= {"text_encoder_3": None, "tokenizer_3": None}
            tokens += ("",) * LENGTH
            said.append(WITHOUT)
        else:
            more, cut = tokens_of(parts["tokenizer_3"], prompt, LENGTH)
            tokens, said = tokens + more, said + ([cut] if cut else [])
        pipeline = StableDiffusion3Pipeline(vae=None, transformer=self.net, scheduler=None, **parts)
        states, _, pooled, _ = pipeline.encode_prompt(
            prompt, None, None, device=torch.device("cpu"), do_classifier_free_guidance=False, max_sequence_length=LENGTH
        )
        return Told({"encoder_hidden_states": states, "pooled_projections": pooled}, tokens, tuple(said))


plugin = StableDiffusion3
