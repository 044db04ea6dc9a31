"""Tiny random pipelines of every latent family, as diffusers saves them, with tokenizers of a few words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    LCMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

WORDS = ("a", "photo", "of", "red", "fox", "blue", "house", "in", "snow", "on")
BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "steps_offset": 1,
}


def vae(channels: int = 4, **more: Any) -> AutoencoderKL:
    """Two levels: a latent is two pixels wide."""
    return AutoencoderKL(
        block_out_channels=[8, 8],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
        **more,
    )


def clip_tokenizer(folder: Path) -> Any:
    """Letters, and each of `WORDS` as one token."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + list("0123456789,.!")
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
            if parts[0] not in vocabulary:
                vocabulary.append(parts[0])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges)]))
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def t5_tokenizer() -> Any:
    """Sentence pieces: letters, and each of `WORDS` as one."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -1.0) for word in WORDS] + [(chr(code), -5.0) for code in range(ord("a"), ord("z") + 1)]
    inner = Tokenizer(models.Unigram(pieces, unk_id=2))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=inner, extra_ids=0, model_max_length=512)


def clip(tokenizer: Any, width: int = 16, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(tokenizer: Any, width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(T5Config(vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2))


def unet(**more: Any) -> UNet2DConditionModel:
    given: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": [16, 16],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**given | more)


def saved(out: Path, make: Callable[[Path], Any]) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make(out / "tokens").save_pretrained(out)
    return out


def stable(out: Path, scheduler: Any = None, **network: Any) -> Path:
    def make(folder: Path) -> Any:
        tokenizer = clip_tokenizer(folder)
        return StableDiffusionPipeline(
            vae=vae(),
            text_encoder=clip(tokenizer),
            tokenizer=tokenizer,
            unet=unet(**network),
            scheduler=scheduler or DDIMScheduler(**BETAS),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    return saved(out, make)


def xl(out: Path) -> Path:
    def make(folder: Path) -> Any:
        tokenizer, other = clip_tokenizer(folder), clip_tokenizer(folder / "2")
        net = unet(
            cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=40
        )
        return StableDiffusionXLPipeline(
            vae=vae(),
            text_encoder=clip(tokenizer),
            text_encoder_2=clip(other, projected=True),
            tokenizer=tokenizer,
            tokenizer_2=other,
            unet=net,
            scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )

    return saved(out, make)


def ddim(prediction: str) -> DDIMScheduler:
    return DDIMScheduler(**BETAS, prediction_type=prediction)


def lcm(out: Path) -> Path:
    return stable(out, LCMScheduler(**BETAS), time_cond_proj_dim=8)


def dit(out: Path) -> Path:
    net = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=3,
        sample_size=8,
        num_embeds_ada_norm=5,
        attention_bias=True,
    )
    return saved(out, lambda _: DiTPipeline(transformer=net, vae=vae(), scheduler=DDIMScheduler()))


def sd3(out: Path, with_t5: bool = True) -> Path:
    def make(folder: Path) -> Any:
        one, two, three = clip_tokenizer(folder), clip_tokenizer(folder / "2"), t5_tokenizer()
        net = SD3Transformer2DModel(
            sample_size=8,
            in_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=32,
            out_channels=4,
            pos_embed_max_size=12,
        )
        return StableDiffusion3Pipeline(
            transformer=net,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=vae(shift_factor=0.06, scaling_factor=1.5),
            text_encoder=clip(one, projected=True),
            tokenizer=one,
            text_encoder_2=clip(two, projected=True),
            tokenizer_2=two,
            text_encoder_3=t5(three, 32) if with_t5 else None,
            tokenizer_3=three if with_t5 else None,
        )

    return saved(out, make)


def flux(out: Path, guided: bool = True) -> Path:
    def make(folder: Path) -> Any:
        one, two = clip_tokenizer(folder), t5_tokenizer()
        net = FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=16,
            guidance_embeds=guided,
            axes_dims_rope=(4, 6, 6),
        )
        return FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=vae(4, shift_factor=0.1, scaling_factor=0.4),
            text_encoder=clip(one),
            tokenizer=one,
            text_encoder_2=t5(two, 32),
            tokenizer_2=two,
            transformer=net,
        )

    return saved(out, make)
