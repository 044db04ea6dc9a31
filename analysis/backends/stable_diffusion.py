"""Stable Diffusion: latent U-Nets told a prompt; versions 1.x, 2.x and XL, turbo and other distilled variants of them.

A folder as a diffusers pipeline is saved: `unet` (a `UNet2DConditionModel`), `vae`, `scheduler`, and of each text encoder its weights and
tokenizer. Papers: Rombach et al., arXiv 2112.10752; XL: Podell et al., arXiv 2307.01952; latent consistency: Luo et al., arXiv
2310.04378. Weights, revision and licence are each checkpoint's own and stand on its Card. Noise: variance preserving, of the β that
the scheduler's file says. Features use the empty prompt: in XL, where its files say so, zeros, as it was trained.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from ..errors import InvalidRequest
from ._folder import read_json
from ._inside import Layer
from ._latent import Latent, Reads
from ._prompts import Prompts, prompt_of, tokens_of
from ._unet import layers_of
from .base import Told

DIFT = "DIFT up {}"  # what arXiv 2306.03881 calls an up block's output


class StableDiffusion(Latent):
    """A `UNet2DConditionModel` over latents."""

    network = UNet2DConditionModel
    classes = ("UNet2DConditionModel",)
    family = "stable-diffusion"
    part = "unet"
    text = "apart"
    paper = "arXiv 2112.10752"

    @classmethod
    def layers(cls, net: Any) -> Iterable[Layer]:
        last = {}
        for layer in (found := list(layers_of(net))):
            if layer.stage == "up":
                last[layer.path.split(".")[1]] = layer.name
        return [
            layer._replace(literature=DIFT.format(i)) if (i := layer.path.split(".")[1]) and last.get(i) == layer.name else layer
            for layer in found
        ]

    @classmethod
    def configuration(cls, place: Path) -> dict[str, Any]:
        config = super().configuration(place)
        wrong = {
            "addition_embed_type": config.get("addition_embed_type") not in (None, "text_time"),
            "encoder_hid_dim_type": config.get("encoder_hid_dim_type") is not None,
            "class_embed_type": config.get("class_embed_type") is not None or config.get("num_class_embeds") is not None,
            "in_channels": config.get("in_channels", 4) != config.get("out_channels", 4),
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise InvalidRequest(
                f"The U-Net in {place} has {name} {config.get(name)!r}: it is told more than a prompt, as inpainting, depth and "
                "upscaling networks are; the nearest that is read is StableDiffusionPipeline or StableDiffusionXLPipeline."
            )
        return config

    @classmethod
    def sides(cls, net: Any, stride: int) -> tuple[int, int] | None:
        return stride * 2 ** (len(net.config["block_out_channels"]) - 1), 4096

    @classmethod
    def notes(cls, net: Any) -> tuple[str, ...]:
        if net.config["time_cond_proj_dim"] is None:
            return ()
        return ("The guidance that this distilled network is told is 1, which is none; published ones were trained with larger.",)

    @classmethod
    def blank(cls, net: Any, side: int) -> Reads:
        empty = next(net.parameters()).new_zeros
        config = net.config
        given = {"encoder_hidden_states": empty(1, 2, config["cross_attention_dim"])}
        if config["addition_embed_type"] == "text_time":
            given |= {"text_embeds": empty(1, _pooled(net)), "time_ids": empty(1, 6)}
        return given

    @classmethod
    def run(cls, net: Any, x: Tensor, timestep: Tensor, given: Reads) -> Tensor:
        added = {name: given[name] for name in ("text_embeds", "time_ids") if name in given}
        unguided = None
        if net.config["time_cond_proj_dim"] is not None:  # a guidance w as latent consistency models are told it; 0 is none
            half = net.config["time_cond_proj_dim"] // 2
            unguided = torch.cat([x.new_zeros(len(x), half), x.new_ones(len(x), half)], 1)
        made: Tensor = net(x, timestep, given["encoder_hidden_states"], timestep_cond=unguided, added_cond_kwargs=added or None).sample
        return made

    def tell(self, condition: str) -> Told:
        from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

        prompt = prompt_of(condition)
        xl = self.net.config["addition_embed_type"] == "text_time"
        parts = Prompts.parts(
            self.place,
            {"tokenizer": "CLIPTokenizer", "text_encoder": "CLIPTextModel"}
            | ({"tokenizer_2": "CLIPTokenizer", "text_encoder_2": "CLIPTextModelWithProjection"} if xl else {}),
        )
        tokens, cut = tokens_of(parts["tokenizer"], prompt, parts["tokenizer"].model_max_length)
        said = (cut,) if cut else ()
        if not xl:
            pipeline = StableDiffusionPipeline(
                vae=None, unet=None, scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False, **parts
            )
            states, _ = pipeline.encode_prompt(prompt, torch.device("cpu"), 1, False)
            return Told({"encoder_hidden_states": states}, tokens, said)
        side = float(self.card.resolution)
        pipeline = StableDiffusionXLPipeline(vae=None, unet=None, scheduler=None, add_watermarker=False, **parts)
        states, _, pooled, _ = pipeline.encode_prompt(prompt, device=torch.device("cpu"), do_classifier_free_guidance=False)
        if not prompt and read_json(self.place / "model_index.json").get("force_zeros_for_empty_prompt", True):
            states, pooled = torch.zeros_like(states), torch.zeros_like(pooled)
        sizes = torch.tensor([[side, side, 0.0, 0.0, side, side]])  # as large as it was, nothing cut off, and as large as it is to be
        return Told({"encoder_hidden_states": states, "text_embeds": pooled, "time_ids": sizes}, tokens, said)


def _pooled(net: Any) -> int:
    """How wide the pooled embedding of a prompt is."""
    width: int = net.config["projection_class_embeddings_input_dim"] - 6 * net.config["addition_time_embed_dim"]
    return width


plugin = StableDiffusion
