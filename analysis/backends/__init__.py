"""Model families, one file each, and the one door through which models are opened."""

from __future__ import annotations

from .. import cards, catalog, registry
from ..devices import check_fits
from ..errors import InvalidRequest
from ..specs import Card
from .base import NOWHERE, Backend


def describe(name: str) -> Card:
    """The Card of a model, made and remembered where it has none; its weights are hashed, not loaded.

    Raises UnknownName, DamagedFile, or InvalidRequest for a model that no family reads.
    """
    place = catalog.model_folder(name)
    if (place / "card.json").is_file():
        return catalog.card(name)
    known = cards.remembered(place)
    if known is None:
        families = {family: registry.get("backends", family) for family in registry.names("backends")}
        family = next((found for found in families.values() if found.claims(place)), None)
        if family is None:
            raise InvalidRequest(f"No model family here reads {place}; allowed: a model of {', '.join(families)}.")
        known = family.describe(place)
        cards.remember(place, known)
    return known


def open_backend(name: str, weights: str = "trained", device: str = "cpu") -> Backend:
    """A model by bundled name, folder, `.pt` file or id of the hub, trained or as `random:<seed>`.

    Raises UnknownName, DamagedFile, or InvalidRequest, also where the device has no room for it.
    """
    card = describe(name)
    if device != NOWHERE:
        check_fits(card, device)
    backend: Backend = registry.get("backends", card.family).load(catalog.model_folder(name), card, weights, device)
    return backend
