"""Extraction of every block, pooled and written to the store, over bare forward passes of the same network, for every model family.

Networks of every pixel-space family and kind of prediction, as their libraries or authors keep them on disk, with random weights and a
little more than 3 GFLOP an image, where what we add weighs most. Both sides have the same weights, batch, precision and memory format;
ours begins at the data set's pixels and ends with a file, a new draw of ε each time. The number is that of the worst family.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from diffusers import DDPMScheduler, UNet2DModel

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets import open_dataset
from analysis.features import extract
from analysis.specs import FeatureIdentity
from analysis.store import Store
from tests.families import adm_state

from .measure import Measured, cpu, measure
from .networks import SIGMA, Work, flops

BATCH, IMAGES, ROUNDS = 8, 16, 3
LEAST = 3.0  # GFLOP an image

UNET: dict[str, Any] = {
    "sample_size": 32,
    "block_out_channels": (96, 128, 192),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
}


def unet2d(prediction: str = "epsilon", **network: Any) -> Callable[[Path], Path]:
    """A folder of diffusers with a network of this prediction."""

    def write(place: Path) -> Path:
        torch.manual_seed(0)
        UNet2DModel(**UNET | network).save_pretrained(place)
        DDPMScheduler(prediction_type=prediction).save_pretrained(place)
        return place

    return write


def adm(classes: int | None = None) -> Callable[[Path], Path]:
    """A guided-diffusion file, as its authors publish them."""

    def write(place: Path) -> Path:
        torch.manual_seed(0)
        path = place.with_suffix(".pt")
        torch.save(adm_state((64, 128), 2, 0, 64, classes, device="cpu"), path)
        return path

    return write


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "unet2d, ε": unet2d(),
    "unet2d, v": unet2d("v_prediction"),
    "unet2d, x0": unet2d("sample"),
    "unet2d, ε, 10 classes": unet2d(num_class_embeds=10),
    "adm": adm(),
    "adm, 10 classes": adm(10),
}


def sides(backend: Backend, store: Store, images: int = IMAGES, batch: int = BATCH) -> tuple[Work, Work]:
    """(bare, ours): the network alone on prepared input, and features of as many images extracted into the store."""
    card = backend.card
    dataset = open_dataset(f"shapes:{images}", card.resolution)
    x = torch.randn(images, card.image_channels, card.resolution, card.resolution, generator=torch.Generator().manual_seed(0))
    timestep = backend.schedule.timestep(torch.full((batch,), SIGMA, dtype=torch.float64)).long()
    told = () if backend.net.class_embedding is None else (torch.full((batch,), backend.net.class_embedding.num_embeddings),)
    names = [f"{block.name}/1" for block in card.blocks]
    settings = {"batch_size": batch, "device": "cpu", "threads": 1, "memory_format": "channels_last"}
    draws = count()

    @torch.inference_mode()
    def bare() -> list[torch.Tensor]:
        return [backend.net(part, timestep, *told).sample for part in x.split(batch)]

    def ours() -> int:
        draw = next(draws)  # nothing of it is stored yet
        identity = FeatureIdentity(backend=card.identity, condition=card.unconditional, dataset=dataset.identity, draw=draw)
        return extract(store, backend, backend, dataset, identity, names, [SIGMA], dataset.ids, settings)

    bare()
    ours()  # nobody pays for the first call
    return bare, ours


def run() -> Measured:
    """Bare CPU seconds over ours, which is our throughput over theirs, of the family where it is least."""
    torch.set_num_threads(1)
    found: dict[str, Measured] = {}
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"NOISESCOPE_STORE": f"{folder}/store"}):
        for place, (name, write) in enumerate(FAMILIES.items()):
            backend = open_backend(str(write(Path(folder) / str(place))))
            bare, ours = sides(backend, Store(Path(folder) / f"{place}-features"))
            facts = {"gflop_per_image": round(flops(backend) / 1e9, 2), "blocks": len(backend.card.blocks)}
            print(f"{name}:", file=sys.stderr)
            found[name] = measure(cpu(bare), cpu(ours), ROUNDS, lambda cost: 1 / cost, facts)
    return worst(found)


def worst(found: dict[str, Measured]) -> Measured:
    """The family whose ratio is least, with every family's own in the details; no ratio where a family has none."""
    known = [one for one in found.values() if one.ratio is not None]
    least = min(known, key=lambda one: one.ratio or 0.0) if known else next(iter(found.values()))
    details: dict[str, Any] = {
        "worst": next(name for name, one in found.items() if one is least),
        "images_per_round": IMAGES,
        "batch": BATCH,
        "unit": "CPU seconds, one thread, float32, channels_last, inference_mode; ours from pixels to the file in the store",
    }
    for name, one in found.items():
        tried = [[run["ratio"], run["control"]] for run in one.runs]
        details[name] = {"ratio": one.ratio, "control": one.control, **one.details, "ratio_and_control_of_every_attempt": tried}
    return Measured(least.ratio if len(known) == len(found) else None, least.control, least.runs, details)
