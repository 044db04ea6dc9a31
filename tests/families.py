"""Tiny models of every family, as their libraries or authors keep them on disk, for the tests that every family must pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import Tensor

from . import latents
from .conftest import TINY

NETWORK: dict[str, Any] = TINY | {"in_channels": 3, "out_channels": 3, "block_out_channels": [16, 16], "attention_head_dim": 8}
MADE: dict[str, Callable[[Path], Path]] = {}  # `family:what is special about it` -> writes it under a folder, and says where


def made(name: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def keep(function: Callable[[Path], Path]) -> Callable[[Path], Path]:
        MADE[name] = function
        return function

    return keep


def folder(out: Path, scheduler: Any = None, **network: Any) -> Path:
    """Network and schedule side by side, as `save_pretrained` writes them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DModel(**NETWORK | network).save_pretrained(out)
    (scheduler or DDPMScheduler()).save_pretrained(out)
    return out


@made("unet2d:epsilon")
def epsilon(out: Path) -> Path:
    return folder(out / "epsilon")


@made("unet2d:v")
def v(out: Path) -> Path:
    schedule = DDPMScheduler(prediction_type="v_prediction", beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True)
    return folder(out / "v", schedule)


@made("unet2d:x0")
def x0(out: Path) -> Path:
    return folder(out / "x0", DDPMScheduler(prediction_type="sample", beta_schedule="sigmoid", num_train_timesteps=500))


@made("unet2d:classes")
def classes(out: Path) -> Path:
    return folder(out / "classes", num_class_embeds=4, out_channels=6, resnet_time_scale_shift="scale_shift")


@made("unet2d:pipeline")
def pipeline(out: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet2DModel(**NETWORK | {"in_channels": 1, "out_channels": 1, "downsample_padding": 0})
    DDPMPipeline(net, DDPMScheduler(beta_schedule="scaled_linear")).save_pretrained(out / "pipeline")
    return out / "pipeline"


@made("adm:classes")
def adm_classes(out: Path) -> Path:
    return adm_file(out / "adm_classes.pt", classes=3)


@made("adm:plain")
def adm_plain(out: Path) -> Path:
    return adm_file(out / "adm_plain.pt", classes=None)


LATENT: dict[str, Callable[[Path], Path]] = {  # those of latents
    "stable-diffusion:epsilon": lambda out: latents.stable(out / "sd"),
    "stable-diffusion:v": lambda out: latents.stable(out / "sd2", latents.ddim("v_prediction"), use_linear_projection=True),
    "stable-diffusion:xl": lambda out: latents.xl(out / "xl"),
    "stable-diffusion:lcm": lambda out: latents.lcm(out / "lcm"),
    "dit:imagenet": lambda out: latents.dit(out / "dit"),
    "sd3:plain": lambda out: latents.sd3(out / "sd3"),
    "flux:dev": lambda out: latents.flux(out / "flux"),
    "flux:schnell": lambda out: latents.flux(out / "schnell", guided=False),
}
SIDE = {"flux": "?side=32"}  # FLUX's files say no side; its own of 1,024 pixels is more than a test needs
MADE |= LATENT


def adm_file(path: Path, classes: int | None) -> Path:
    """Two levels that both attend: what the file does not tell is then taken as 32×32."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = adm_state((64, 64), 1, 0, 32, classes, device="cpu")
    torch.save(state, path)
    return path


def adm_state(
    widths: tuple[int, ...], resnets: int, attends: int, base: int, classes: int | None, device: str = "meta"
) -> dict[str, Tensor]:
    """A checkpoint with scale-shift, ResNets that sample, and attention from level `attends` on; on `meta` names and shapes alone."""
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        size = torch.Size(shape[1:]).numel()
        drawn = torch.randn(shape, device=device)
        state[f"{name}.weight"] = drawn / size**0.5 if len(shape) > 1 else 1 + 0.1 * drawn
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], device=device)

    def resnet(name: str, given: int, out: int) -> None:
        put(f"{name}.in_layers.0", given)
        put(f"{name}.in_layers.2", out, given, 3, 3)
        put(f"{name}.emb_layers.1", 2 * out, 4 * base)
        put(f"{name}.out_layers.0", out)
        put(f"{name}.out_layers.3", out, out, 3, 3)
        if given != out:
            put(f"{name}.skip_connection", out, given, 1, 1)

    def attention(name: str, width: int) -> None:
        put(f"{name}.norm", width)
        put(f"{name}.qkv", 3 * width, width, 1)
        put(f"{name}.proj_out", width, width, 1)

    put("time_embed.0", 4 * base, base)
    put("time_embed.2", 4 * base, 4 * base)
    if classes:
        state["label_emb.weight"] = torch.randn(classes, 4 * base, device=device)
    put("input_blocks.0.0", widths[0], 3, 3, 3)
    at, width, skips = 1, widths[0], [widths[0]]
    for level, out in enumerate(widths):
        for _ in range(resnets):
            resnet(f"input_blocks.{at}.0", width, out)
            if level >= attends:
                attention(f"input_blocks.{at}.1", out)
            at, width = at + 1, out
            skips.append(out)
        if level < len(widths) - 1:
            resnet(f"input_blocks.{at}.0", width, width)
            at += 1
            skips.append(width)
    resnet("middle_block.0", width, width)
    attention("middle_block.1", width)
    resnet("middle_block.2", width, width)
    at = 0
    for level, out in reversed(list(enumerate(widths))):
        for j in range(resnets + 1):
            resnet(f"output_blocks.{at}.0", width + skips.pop(), out)
            width = out
            if level >= attends:
                attention(f"output_blocks.{at}.1", out)
            if level and j == resnets:
                resnet(f"output_blocks.{at}.{1 + (level >= attends)}", out, out)
            at += 1
    put("out.0", width)
    put("out.2", 6, width, 3, 3)
    return state
