"""Sources of images, one file each, and their label sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .. import registry
from ..errors import InvalidRequest, UnknownName
from ._presets import PRESETS as PRESETS
from .base import Dataset

HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")  # a revision may be refs/convert/parquet
PLACES = ("hub", "zip")  # plug-ins that a place alone calls for


def choices() -> list[str]:
    """What a data set may be called: plug-ins, then presets, then what else."""
    plugins = [name for name in registry.names("datasets") if name not in PLACES]
    return [*plugins, *PRESETS, "or a folder, a Parquet file, a zip or a hub id"]


def open_dataset(name: str, side: int | None = None) -> Dataset:
    """A data set: a plug-in's name with what it takes after a colon, a preset's, or else a hub id, a folder, a Parquet file or a zip.

    A preset or place may be followed by what is chosen of it: `?image=COLUMN&label=COLUMN,COLUMN&config=NAME&test=SPLIT`. Images that
    are not side × side are cropped to their middle square and resized. Nothing is downloaded: a hub id is of a data set that
    was fetched. Raises UnknownName, InvalidRequest, InvalidData or, where decoded images cannot be kept, StoreUnavailable.
    """
    plugin, argument, more = _found(name)
    dataset: Dataset = registry.get("datasets", plugin)(argument, side, **more)
    return dataset


def _found(name: str) -> tuple[str, str, dict[str, Any]]:
    """The plug-in that a name calls for, its argument, and what else it is told: of a hub id, the folder that was fetched."""
    plugin, _, argument = name.partition(":")
    place, _, query = name.partition("?")
    if plugin not in registry.names("datasets"):
        if place in PRESETS:
            plugin, argument = "hub", PRESETS[place].argument(query)
        elif "/" in place or Path(place).expanduser().exists():
            plugin, argument = "zip" if place.lower().endswith(".zip") and not Path(place).is_dir() else "hub", name
    if plugin not in registry.names("datasets"):
        raise UnknownName("dataset", plugin, choices())
    return plugin, argument, {"fetched": fetched(argument.partition("?")[0])} if plugin == "hub" else {}


def fetched(place: str) -> Path | None:
    """The folder of a fetched data set by its hub id, `owner/name` or `owner/name@revision`; None for what cannot be one, or is a path.

    Raises InvalidRequest for one that was not fetched.
    """
    from .. import hub

    given = HUB_ID.fullmatch(place)
    if given is None or Path(place).exists():
        return None
    if folder := hub.folder(given["repo"], given["revision"], "dataset"):
        return folder
    revision = f" --revision {given['revision']}" if given["revision"] else ""
    raise InvalidRequest(
        f"There is no folder or file {place!r}, and no data set of the hub was fetched under that id: fetch it with "
        f"`python -m analysis datasets fetch {given['repo']}{revision}`, or with 'Look it up' on the lab bench."
    )
