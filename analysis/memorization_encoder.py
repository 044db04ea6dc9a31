"""Copies by an encoder: samples of a finished study and their training images in the features of a network that was trained otherwise."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .crew import Between, still_wanted
from .encoders import open_encoder
from .encoders.base import Encoder
from .errands import Progress
from .memorization import FRESH, MemorizationRequest, place_of
from .memorization_generation import Generation, Viewer, viewed_path
from .memorization_report import extend, parquet
from .memorization_run import material_of
from .memorization_work import alone
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
    """A finished study with `encoder.parquet`: the shares of `generation.parquet` by an encoder such as `transformers:PLACE`.

    What it makes of real images is kept; another encoder's table takes the place of the last. Raises UnknownName or InvalidRequest for an
    encoder that cannot be had, DamagedFile where the study is not finished, StoreUnavailable where another process is at it.
    """
    encoder, folder = open_encoder(name, device), place_of(request, root)
    open_memorized(folder)
    done, total, key = 0, images_of(request, folder, encoder), key_of(encoder)

    def view(images: np.ndarray) -> np.ndarray:
        nonlocal done
        found = read(encoder, images, between, progress and (lambda count: progress(done + count, total, f"images, by {encoder.name}")))
        done += len(images)
        return found

    with alone(folder):
        generation = Generation(material_of(request.canonical()), folder, device)
        rows = [row for found in generation.viewed(Viewer("encoder", key, view)) for row in found]
        return extend(folder, {"encoder": encoder.facts() | {"place": name}}, {"encoder.parquet": parquet(pd.DataFrame(rows))})


def read(encoder: Encoder, images: np.ndarray, between: Between = still_wanted, told: Callable[[int], object] | None = None) -> np.ndarray:
    """What an encoder makes of images (n, H, W, 3) uint8, without noise: (n, D) float16. `told` hears how many are done."""
    parts = []
    for start in range(0, len(images), BATCH):
        between()
        x = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).to(encoder.device).float() / 127.5 - 1
        with torch.inference_mode():
            parts.append(encoder(x).half().cpu().numpy())
        if told:
            told(start + len(x))
    return np.concatenate(parts)


def key_of(encoder: Encoder) -> str:
    """What files of an encoder's features begin with."""
    return f"encoder-{hashlib.sha256(encoder.identity.encode()).hexdigest()[:12]}"


def images_of(request: MemorizationRequest, folder: Path, encoder: Encoder) -> int:
    """How many images an encoder reads: every look's samples; of what it has not read before, each seed's largest set, those without end, and held-out images."""
    held_out = len(material_of(request.canonical()).test[: request.samples])
    sets = {str(request.largest): request.largest} | ({FRESH: request.met} if FRESH in request.sizes else {})
    real = {f"{size}-{seed}": count for size, count in sets.items() for seed in range(request.seeds)} | {"held-out": held_out}
    lacking = sum(count for name, count in real.items() if not viewed_path(folder, key_of(encoder), name).exists())
    return lacking + len(list(request.looks())) * request.samples


def reads(request: MemorizationRequest, name: str, root: Path | None = None, device: str = "cpu") -> tuple[int, float]:
    """(images, seconds) that `encode` reads and about takes, from one timed batch. Raises UnknownName or InvalidRequest for an encoder that cannot be had."""
    encoder = open_encoder(name, device)
    material = material_of(request.canonical())
    images, count = material.dataset.images[:BATCH], images_of(request, place_of(request, root), encoder)
    read(encoder, images[:1])
    began = time.perf_counter()
    read(encoder, images)
    return count, (time.perf_counter() - began) / len(images) * count
