"""Model families, one file each, and the one door through which models are opened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .. import cards, catalog, registry
from ..devices import check_fits
from ..errors import InvalidRequest
from ..hub_choice import nearest
from ..specs import Card
from ._kept import Kept
from .base import NOWHERE, Backend


def describe(name: str) -> Card:
    """The Card of a model, made and remembered where it has none; its weights are hashed, not loaded.

    Raises UnknownName, DamagedFile, or InvalidRequest for a model that no family reads.
    """
    place, (_, side) = catalog.model_folder(name), catalog.sized(name)
    if (place / "card.json").is_file():
        return catalog.card(name)
    known = cards.remembered(place)
    if known is None:
        families = {family: registry.get("backends", family) for family in registry.names("backends")}
        family = next((found for found in families.values() if found.claims(place)), None)
        if family is None:
            raise InvalidRequest(_unread(place, families))
        known = family.describe(place)
        cards.remember(place, known)
    return known.at_side(side)


def _unread(place: Path, families: Iterable[str]) -> str:
    """What a folder is that no family reads, and what is nearest to it."""
    with suppress(OSError, ValueError):
        said = str(json.loads((place / "model_index.json").read_text()).get("_class_name"))
        return f"No model family here reads a {said}; {nearest(said)}"
    return f"No model family here reads {place}; allowed: a model of {', '.join(families)}."


def open_backend(name: str, weights: str = "trained", device: str = "cpu") -> Backend:
    """A model by bundled name, folder, `.pt` file or id of the hub, trained or as `random:<seed>`.

    Raises UnknownName, DamagedFile, or InvalidRequest, also where the device has no room for it.
    """
    card = describe(name)
    if device != NOWHERE:
        check_fits(card, device)
    plain, side = catalog.sized(name)
    own = card if side is None else describe(plain)
    backend: Backend = registry.get("backends", card.family).load(catalog.model_folder(name), own, weights, device)
    backend.card = backend.card.at_side(side)
    backend.kept = Kept(backend.card.identity, catalog.model_folder(name))
    return backend
