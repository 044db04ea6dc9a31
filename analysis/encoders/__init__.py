"""Baseline encoders, one file each, and the one door through which they are opened."""

from __future__ import annotations

from .. import catalog, hub, registry
from .base import Encoder


def open_encoder(name: str, device: str = "cpu") -> Encoder:
    """An encoder: a plug-in's name with what it takes after a colon, such as `transformers:facebook/dinov2-small`.

    Raises UnknownName, InvalidRequest or DamagedFile.
    """
    plugin, _, argument = name.partition(":")
    given = catalog.HUB_ID.fullmatch(argument)
    fetched = hub.folder(given["repo"], given["revision"], "encoder") if given else None
    encoder: Encoder = registry.get("encoders", plugin)(argument, device, fetched)
    return encoder
