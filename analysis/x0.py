"""x_0 of a data set's images: pixels as they are, latents encoded once and kept in the store."""

from __future__ import annotations

import mmap

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import Dataset
from .errors import NoisescopeError
from .halving import halving
from .specs import LatentIdentity
from .store import Store

ENCODED, NAME = 8, "x0"  # images that a VAE encodes at once; what latents are stored as
NO_LEVEL = 0.0


def load_x0(dataset: Dataset, ids: np.ndarray, backend: Backend, store: Store | None = None) -> Tensor:
    """x_0 of images by id, (n, c, h, w) float32 on the model's device; latents are read from a store, and those it lacks encoded and kept.

    Raises NoisescopeError where the device cannot hold them.
    """
    try:
        if store is None or backend.card.space == "pixel":
            return _made(dataset, ids, backend)
        encode(store, backend, dataset, ids)
        return torch.from_numpy(store.rows("latents", _identity(backend, dataset), NO_LEVEL, NAME, ids)).to(backend.device)
    except torch.OutOfMemoryError as error:
        size = f"{len(ids)} images of {dataset.images.shape[2]}×{dataset.images.shape[1]} pixels"
        raise NoisescopeError(f"{backend.device} has too little memory to hold {size}; choose another device.") from error


def encode(store: Store, backend: Backend, dataset: Dataset, ids: np.ndarray, between: Between = still_wanted) -> int:
    """Encode the images whose latents the store lacks; returns how many. Batches are halved as in `halving`."""
    identity, count = _identity(backend, dataset), 0
    for _, part in store.missing("latents", identity, NO_LEVEL, [NAME], ids):

        def make(batch: int, part: np.ndarray = part) -> np.ndarray:
            found = []
            for start in range(0, len(part), batch):
                between()
                with torch.inference_mode():
                    found.append(_made(dataset, part[start : start + batch], backend).float().cpu().numpy())
            return np.concatenate(found)

        settings = {"batch_size": ENCODED, "device": backend.device.type}
        store.put("latents", identity, NO_LEVEL, part, {NAME: halving(store, "latents", identity, settings, make)})
        count += len(part)
    return count


def _identity(backend: Backend, dataset: Dataset) -> LatentIdentity:
    return LatentIdentity(backend=backend.card.identity, dataset=dataset.identity)


def _made(dataset: Dataset, ids: np.ndarray, backend: Backend) -> Tensor:
    pixels = torch.from_numpy(dataset.images[dataset.rows(ids)]).permute(0, 3, 1, 2)
    if isinstance(mapped := dataset.images.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)  # what was read is not wanted again soon: a process does not grow into the whole file
    return backend.encode(pixels.to(backend.device).float().div_(127.5).sub_(1))
