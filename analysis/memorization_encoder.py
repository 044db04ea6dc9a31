"""Copies by an encoder: samples of a finished study and their training images in the features of a network that was trained otherwise."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .crew import Between, still_wanted
from .encoders import open_encoder
from .encoders.base import Encoder
from .errands import Progress
from .memorization import MemorizationRequest, place_of
from .memorization_generation import Generation, Viewer
from .memorization_report import extend, parquet
from .memorization_run import material_of
from .memorized import Memorized, open_memorized

BATCH = 32  # images that an encoder reads at once


def encode(
    request: MemorizationRequest,
    name: str,
    root: Path | None = None,
    *,
    device: str = "cpu",
    between: Between = still_wanted,
    progress: Progress | None = None,
) -> Memorized:
    """A finished study whose `generation.parquet` also has the measure `encoder`, by an encoder such as `transformers:PLACE`.

    Another encoder takes the place of the last. Raises UnknownName or InvalidRequest for an encoder that cannot be had, DamagedFile where
    the study is not finished.
    """
    encoder, folder = open_encoder(name, device), place_of(request, root)
    study, generation = open_memorized(folder), Generation(material_of(request.canonical()), folder, device)
    key = f"encoder-{hashlib.sha256(encoder.identity.encode()).hexdigest()[:12]}"
    rows, looks = [], len(list(request.looks()))
    for done, found in enumerate(generation.viewed(Viewer("encoder", key, lambda images: view(encoder, images, between))), start=1):
        rows += found
        if progress:
            progress(done, looks, f"looks, by {encoder.name}")
    table = study.table("generation")
    both = pd.concat([table[table.measure != "encoder"], pd.DataFrame(rows)], ignore_index=True)
    return extend(study, {"encoder": encoder.facts()}, {"generation.parquet": parquet(both)})


def view(encoder: Encoder, images: np.ndarray, between: Between = still_wanted) -> np.ndarray:
    """What an encoder makes of images (n, H, W, 3) uint8, without noise: (n, D) float32."""
    parts = []
    for start in range(0, len(images), BATCH):
        between()
        x = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).to(encoder.device).float() / 127.5 - 1
        with torch.inference_mode():
            parts.append(encoder(x).float().cpu().numpy())
    return np.concatenate(parts)
