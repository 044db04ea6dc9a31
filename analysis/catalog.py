"""What can be chosen without loading it: bundled models and studies, found through importlib.resources."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from .errors import DamagedFile, UnknownName
from .specs import Card


def assets(kind: str) -> Path:
    """Where something that ships is: the folders `models` and `studies`, the file `icon.png`."""
    return _assets() / kind


@lru_cache
def _assets() -> Path:
    return Path(str(files("assets")))


def models() -> list[str]:
    """Names of the bundled models."""
    return list(_models(assets("models")))


@lru_cache
def _models(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in folder.glob("*/card.json")))  # what ships does not change


def model_folder(name: str) -> Path:
    """The folder of a model, by bundled name or by path.

    Raises UnknownName if it is neither.
    """
    if name in models():
        return assets("models") / name
    path = Path(name).expanduser()
    if (path / "card.json").is_file():
        return path
    raise UnknownName("backend", name, [*models(), "or a folder that `train` wrote"])


def card(name: str) -> Card:
    """The Card of a model. Raises UnknownName or DamagedFile."""
    path = model_folder(name) / "card.json"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValidationError) as error:
        raise DamagedFile(f"The card {path} cannot be read ({type(error).__name__}); restore or train the model again.") from error


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Card:
    return Card.model_validate_json(path.read_text())
