"""Features at 16 noise levels of a model like Stable Diffusion over its VAE once an image and 16 bare passes of its U-Net.

Random weights: a `UNet2DConditionModel` that reads a text, behind a VAE, as diffusers keeps a pipeline on disk. Ours begins at the data
set's pixels and ends with files: latents encoded once, every block pooled at every level. Where a GPU is at hand, at Stable Diffusion
1.5's own size and at 512 pixels; on a CPU smaller, with a little more than 3 GFLOP a pass.
"""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from analysis.backends import open_backend
from analysis.backends._latent import Latent
from analysis.datasets import open_dataset
from analysis.devices import devices
from analysis.features import extract
from analysis.specs import FeatureIdentity
from analysis.store import Store
from tests import latents

from .measure import Measured, cpu, measure
from .networks import Work, flops

LEVELS, IMAGES, BATCH, ROUNDS = 16, 16, 8, 1
SMALL: dict[str, Any] = {"sample_size": 16, "block_out_channels": (128, 256), "layers_per_block": 2, "cross_attention_dim": 128}
KINDS: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
VAE: dict[str, Any] = {"block_out_channels": (32, 64, 64), "layers_per_block": 1, "norm_num_groups": 32}


def written(place: Path, real: bool) -> Path:
    """A pipeline on disk; `real` is of Stable Diffusion 1.5's size, whose configuration is the library's own default."""
    torch.manual_seed(0)
    net = UNet2DConditionModel(cross_attention_dim=768, sample_size=64) if real else UNet2DConditionModel(**SMALL, **KINDS)
    vae = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2} if real else VAE
    levels = len(vae["block_out_channels"])
    autoencoder = AutoencoderKL(
        **vae, down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels, latent_channels=4
    )
    tokenizer = latents.clip_tokenizer(place / "tokens")
    StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=latents.clip(tokenizer, net.config["cross_attention_dim"]),
        tokenizer=tokenizer,
        unet=net,
        scheduler=DDIMScheduler(**latents.BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(place)
    return place


def sides(backend: Latent, store: Store, images: int = IMAGES) -> tuple[Work, Work]:
    """(bare, ours): the VAE once and the U-Net at every level, and the features of as many images at these levels in the store."""
    card, device = backend.card, backend.device
    dataset = open_dataset(f"shapes:{images}", card.resolution)
    pixels = torch.from_numpy(dataset.images).permute(0, 3, 1, 2)
    sigmas = backend.schedule.spread(LEVELS)
    steps = backend.schedule.timestep(torch.tensor(sigmas, dtype=torch.float64)).to(device)
    told = backend.told().tensors["encoder_hidden_states"]
    names = [f"{block.name}/1" for block in card.blocks]
    settings = {"batch_size": BATCH, "device": device.type, "threads": 1, "memory_format": "channels_last"}
    draws = count()

    @torch.inference_mode()
    def bare() -> float:
        total = 0.0
        for start in range(0, images, BATCH):
            part = pixels[start : start + BATCH].to(device).float().div_(127.5).sub_(1)
            x0 = backend.vae.encode(part).latent_dist.mode() * backend.vae.config["scaling_factor"]
            for step in steps:
                total += float(backend.net(x0, step, told.expand(len(x0), -1, -1)).sample.mean())
        return total

    def ours() -> int:
        draw = next(draws)  # nothing of it is stored yet, nor of its latents
        identity = FeatureIdentity(backend=card.identity, condition="null", dataset=dataset.identity, draw=draw)
        fresh = Store(store.root / str(draw))
        return extract(fresh, backend, backend, dataset, identity, names, sigmas, dataset.ids, settings)

    bare()
    ours()  # nobody pays for the first call
    return bare, ours


def run() -> Measured:
    """Bare seconds over ours, which is our throughput over theirs."""
    device = next((found for found in devices() if found != "cpu"), "cpu")
    if device == "cpu":
        torch.set_num_threads(1)
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"NOISESCOPE_STORE": f"{folder}/store"}):
        backend = open_backend(str(written(Path(folder) / "model", device != "cpu")), device=device)
        assert isinstance(backend, Latent)
        bare, ours = sides(backend, Store(Path(folder) / "features"))
        facts = {
            "device": device,
            "images": IMAGES,
            "levels": len(backend.schedule.spread(LEVELS)),
            "blocks": len(backend.card.blocks),
            "resolution": backend.card.resolution,
            "gflop_per_pass": round(flops(backend) / 1e9, 2),
        }
        clock = time.process_time if device == "cpu" else time.perf_counter
        return measure(cpu(bare, clock), cpu(ours, clock), ROUNDS, lambda cost: 1 / cost, facts)
