"""Model families, one file each, and the one door through which models are opened."""

from __future__ import annotations

from .. import catalog, registry
from ..devices import check_fits
from .base import Backend


def open_backend(name: str, weights: str = "trained", device: str = "cpu") -> Backend:
    """A model by bundled name or folder, trained or as `random:<seed>`.

    Raises UnknownName or DamagedFile, and InvalidRequest where the device has no room for it.
    """
    card = catalog.card(name)
    check_fits(card, device)
    backend: Backend = registry.get("backends", card.family).load(catalog.model_folder(name), weights, device)
    return backend
