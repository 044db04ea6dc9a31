"""Plug-ins by name, found from file names and entry points without importing them.

A kind is a folder of this package (`backends`, `datasets`, `heads`, `encoders`); each file in it, except those that
start with an underscore and `base`, is one plug-in of that name and defines it as `plugin`. An installed package adds
one through the entry-point group `noisescope.<kind>`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import InvalidRequest, UnknownName

Kind = Literal["backends", "datasets", "heads", "encoders"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@cache
def _locations(kind: Kind) -> dict[str, str]:
    """Plug-in name -> where its object is, as `module:attribute`."""
    folder = Path(__file__).parent / kind
    found = {
        path.stem.replace("_", "-"): f"{__package__}.{kind}.{path.stem}:plugin"
        for path in sorted(folder.glob("*.py"))
        if not path.stem.startswith("_") and path.stem != "base"
    }
    for entry in entry_points(group=f"noisescope.{kind}"):
        if entry.name in found:
            raise InvalidRequest(
                f"The {kind} plug-in {entry.name!r} is defined by both {found[entry.name]} and {entry.value}; "
                "rename or uninstall one of them."
            )
        found[entry.name] = entry.value
    return found


def names(kind: Kind) -> list[str]:
    """Names of all plug-ins of a kind, sorted; nothing is imported."""
    return sorted(_locations(kind))


def get(kind: Kind, name: str) -> Any:
    """The plug-in object itself, importing its file.

    Raises UnknownName if there is none of that name.
    """
    locations = _locations(kind)
    if name not in locations:
        raise UnknownName(kind[:-1], name, locations)
    module, _, attribute = locations[name].partition(":")
    return getattr(import_module(module), attribute)
