"""Sources of images, one file each, and their label sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .. import registry
from ..errors import UnknownName
from ._presets import PRESETS as PRESETS
from .base import Dataset

PLACES = ("hub", "zip")  # plug-ins that a place alone calls for


def choices() -> list[str]:
    """What a data set may be called: plug-ins, then presets, then what else."""
    plugins = [name for name in registry.names("datasets") if name not in PLACES]
    return [*plugins, *PRESETS, "or a folder, a Parquet file, a zip or a hub id"]


def open_dataset(name: str, side: int | None = None) -> Dataset:
    """A data set: a plug-in's name with what it takes after a colon, a preset's, or else a hub id, a folder, a Parquet file or a zip.

    A preset or place may be followed by what is chosen of it: `?image=COLUMN&label=COLUMN,COLUMN&config=NAME&test=SPLIT`. Images that
    are not side × side are cropped to their middle square and resized. Raises UnknownName, InvalidRequest, InvalidData or, where decoded
    images cannot be kept, StoreUnavailable.
    """
    plugin, _, argument = name.partition(":")
    place, _, query = name.partition("?")
    if plugin not in registry.names("datasets"):
        if place in PRESETS:
            plugin, argument = "hub", PRESETS[place].argument(query)
        elif "/" in place or Path(place).expanduser().exists():
            plugin, argument = "zip" if place.lower().endswith(".zip") and not Path(place).is_dir() else "hub", name
    if plugin not in registry.names("datasets"):
        raise UnknownName("dataset", plugin, choices())
    dataset: Dataset = registry.get("datasets", plugin)(argument, side)
    return dataset


def uploaded(files: Iterable[tuple[str, bytes]], side: int, name: str = "your folder") -> Dataset:
    """A data set of files (path, bytes) that a browser sent, the folder they lie in being their class: in memory, for one session.

    Raises InvalidRequest or InvalidData.
    """
    from ._uploaded import Uploaded

    return Uploaded(files, side, name)
