"""Sources of images, one file each, and their label sets."""

from __future__ import annotations

from pathlib import Path

from .. import registry
from ..errors import UnknownName
from .base import Dataset


def choices() -> list[str]:
    """What a data set may be called."""
    return [*(name for name in registry.names("datasets") if name != "hub"), "or a folder, a Parquet file or a hub id"]


def open_dataset(name: str, side: int | None = None) -> Dataset:
    """A data set: a plug-in's name with what it takes after a colon, or else a hub id, a folder or a Parquet file.

    Images that are not side × side are cropped to their middle square and resized. Raises UnknownName or InvalidData.
    """
    plugin, _, argument = name.partition(":")
    if plugin not in registry.names("datasets") and ("/" in name or Path(name).exists()):
        plugin, argument = "hub", name
    if plugin not in registry.names("datasets"):
        raise UnknownName("dataset", plugin, choices())
    dataset: Dataset = registry.get("datasets", plugin)(argument, side)
    return dataset
