"""Batches that a device has too little memory for are halved, and that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch

from .devices import too_little
from .errors import NoisescopeError
from .specs import FeatureIdentity, LatentIdentity
from .store import Kind, Store

Found = TypeVar("Found")


def halving(
    store: Store, kind: Kind, identity: FeatureIdentity | LatentIdentity, settings: Mapping[str, Any], attempt: Callable[[int], Found]
) -> Found:
    """What `attempt` gives for the batch size in the settings kept with a kind of results.

    Where the device has too little memory for a batch, half of it is tried and kept. Raises NoisescopeError where one image is too many.
    """
    batch = int(store.settings(kind, identity, settings)["batch_size"])
    while True:
        try:
            return attempt(batch)
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise NoisescopeError(too_little(str(settings.get("device", "cpu")), getattr(identity, "precision", "float32"))) from error
            batch = store.halve_batch(kind, identity, batch)
