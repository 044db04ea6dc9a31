"""Model families, one file each, and the one door through which models are opened."""

from __future__ import annotations

from .. import catalog, registry
from .base import Backend


def open_backend(name: str, weights: str = "trained", device: str = "cpu") -> Backend:
    """A model by bundled name or folder, trained or as `random:<seed>`.

    Raises UnknownName or DamagedFile.
    """
    card = catalog.card(name)
    backend: Backend = registry.get("backends", card.family).load(catalog.model_folder(name), weights, device)
    return backend
