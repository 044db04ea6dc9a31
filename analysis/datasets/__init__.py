"""Sources of images, one file each, and their label sets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from .. import registry
from ..errors import InvalidRequest, UnknownName
from ..specs import DataCard
from ._presets import PRESETS as PRESETS
from .base import Dataset

if TYPE_CHECKING:
    from ..catalog import Lacking
    from ..hub import Record

HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?")  # a revision may be refs/convert/parquet
PLACES = ("hub", "zip")  # plug-ins that a place alone calls for


def plugins() -> list[str]:
    """Names of the plug-ins that need no place."""
    return [name for name in registry.names("datasets") if name not in PLACES]


def choices() -> list[str]:
    """What a data set may be called: plug-ins, then presets, then what else."""
    return [*plugins(), *PRESETS, "or a folder, a Parquet file, a zip or a hub id"]


def open_dataset(name: str, side: int | None = None) -> Dataset:
    """A data set: a plug-in's name with what it takes after a colon, a preset's, or else a hub id, a folder, a Parquet file or a zip.

    A preset or place may be followed by what is chosen of it: `?image=COLUMN&label=COLUMN,COLUMN&config=NAME&test=SPLIT`. Images that
    are not side × side are cropped to their middle square and resized. Nothing is downloaded: a hub id is of a data set that
    was fetched. Raises UnknownName, InvalidRequest, InvalidData or, where decoded images cannot be kept, StoreUnavailable.
    """
    plugin, argument = _named(name)
    more = {"fetched": here[1]} if plugin == "hub" and (here := fetched(argument.partition("?")[0])) else {}
    dataset: Dataset = registry.get("datasets", plugin)(argument, side, **more)
    return dataset


def describe(name: str) -> DataCard:
    """What a data set holds, by what `open_dataset` takes, without decoding an image. Raises UnknownName, InvalidRequest or InvalidData."""
    from ._described import of_dataset, of_source

    plugin, argument = _named(name)
    kind = registry.get("datasets", plugin)
    if plugin not in PLACES:
        return of_dataset(kind(argument))
    place, preset = argument.partition("?")[0], PRESETS.get(name.partition("?")[0])
    licence = preset.licence if preset else None
    if plugin == "hub" and (here := fetched(place)):
        record, folder = here
        return of_source(kind(argument, images=False, fetched=folder), folder, record.license or licence)
    return of_source(kind(argument, images=False), Path(place).expanduser(), licence)


def forget(folder: Path) -> None:
    """Remove what was kept of the images of every data set that lies, or lay, in a folder."""
    from ._decoded import forget as run

    run(folder)


def _named(name: str) -> tuple[str, str]:
    """The plug-in that a name calls for, and its argument. Raises UnknownName."""
    plugin, _, argument = name.partition(":")
    place, _, query = name.partition("?")
    if plugin not in registry.names("datasets"):
        if place in PRESETS:
            plugin, argument = "hub", PRESETS[place].argument(query)
        elif "/" in place or os.path.exists(os.path.expanduser(place)):
            plugin, argument = "zip" if place.lower().endswith(".zip") and not Path(place).is_dir() else "hub", name
    if plugin not in registry.names("datasets"):
        raise UnknownName("dataset", plugin, choices())
    return plugin, argument


def fetched(place: str) -> tuple[Record, Path] | None:
    """A fetched data set and its folder by its hub id, `owner/name` or `owner/name@revision`; None for what cannot be one, or is a path.

    Raises InvalidRequest for one that was not fetched.
    """
    from .. import hub

    given = HUB_ID.fullmatch(place)
    if given is None or os.path.exists(place):
        return None
    repo_id, revision = given["repo"], given["revision"]
    if (record := hub.find(repo_id, revision, "dataset")) and (folder := hub.folder(repo_id, record.commit, "dataset")):
        return record, folder
    option = f" --revision {revision}" if revision else ""
    raise InvalidRequest(
        f"There is no folder or file {place!r}, and no data set of the hub was fetched under that id: fetch it with "
        f"`python -m analysis datasets fetch {repo_id}{option}`, or with 'Look it up' on the lab bench."
    )


def lacks(name: str) -> Lacking | None:
    """What a name is of, which may be a data set of the hub or a preset, and is none that is here."""
    from .. import catalog, hub

    place, _, query = name.partition("?")
    place, _, query = (PRESETS[place].argument(query) if place in PRESETS else name).partition("?")
    given = HUB_ID.fullmatch(place)
    if given is None or os.path.exists(os.path.expanduser(place)) or hub.folder(given["repo"], given["revision"], "dataset"):
        return None
    return catalog.Lacking("dataset", given["repo"], given["revision"], config=dict(parse_qsl(query)).get("config"))
