"""Cards of models that did not bring one: written when a model is first read, kept in the store, made again when its files change."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from .errors import DamagedFile, StoreUnavailable
from .specs import Card
from .store import default_root, read_json, write_json

FORMAT = 2  # what a Card says
READ = (".json", ".safetensors", ".md", ".pt")  # what a model is read from


def remembered(place: Path) -> Card | None:
    """The Card of a folder or file as it is now; None where it was never read, or its files have changed since."""
    with suppress(DamagedFile, ValidationError, KeyError, TypeError):  # no file, or another version's: it is made again
        kept = read_json(_path(place))
        if (kept["format"], kept["files"]) == (FORMAT, files_of(place)):
            return Card.model_validate(kept["card"])
    return None


def remember(place: Path, card: Card) -> None:
    """Keep a Card; where the store cannot be written it is made again next time."""
    with suppress(StoreUnavailable):
        write_json(_path(place), {"format": FORMAT, "place": str(place), "files": files_of(place), "card": card.model_dump(mode="json")})


def _path(place: Path) -> Path:
    return default_root() / "cards" / f"{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]}.json"


def files_of(place: Path) -> list[list[str | int]]:
    """Name, size and time of every file that may be read."""
    found = [place] if place.is_file() else [path for pattern in ("*", "*/*") for path in place.glob(pattern) if path.suffix in READ]
    return sorted([str(path.relative_to(place)), path.stat().st_size, path.stat().st_mtime_ns] for path in found if path.is_file())
