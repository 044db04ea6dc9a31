"""What can be chosen without loading it: bundled models and studies, found through importlib.resources, and other models by place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from . import hub
from .errors import DamagedFile, InvalidRequest, UnknownName
from .specs import Card

SIGNS = ("card.json", "model_index.json", "config.json", "unet/config.json")  # a folder with one of these holds a model
HUB_ID = re.compile(  # owner/name, owner/name@revision, and either with :file.pt
    r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w.-]+))?(:(?P<file>([\w-][\w.-]*/)*[\w-][\w.-]*\.pt))?"
)


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


def sized(name: str) -> tuple[str, int | None]:
    """A model's name without, and the side of images that it is opened for: `NAME?side=256`. Raises InvalidRequest."""
    place, mark, query = name.partition("?")
    if not mark:
        return name, None
    key, _, side = query.partition("=")
    if key != "side" or not side.isdecimal():
        raise InvalidRequest(f"{name}: after ? stands {query!r}; allowed: side=PIXELS, the side of the images that it is to read.")
    return place, int(side)


def model_folder(name: str) -> Path:
    """The folder or file of a model: by bundled name, by path, or by the hub id of one that was fetched, `owner/name` or `owner/name@revision`.

    `?side=PIXELS` may follow. Of a repository with several `.pt` files one is named: `owner/name:file.pt` or `owner/name@revision:file.pt`.
    Raises UnknownName if it is none of these, and InvalidRequest for a pickle and for a file that is not named or not here.
    """
    name, _ = sized(name)
    if name in models():
        return assets("models") / name
    path = Path(name).expanduser()
    if path.suffix in (".pkl", ".pickle"):
        raise InvalidRequest(
            f"{name} is a pickle, which runs whatever code it holds when it is read (EDM's published ones hold their network's source): "
            "it is refused; allowed: a folder of diffusers with safetensors, or a .pt file that holds tensors alone."
        )
    if path.suffix == ".pt" and path.is_file():
        return path
    if inside := _inside(path):
        return inside
    if (given := HUB_ID.fullmatch(name)) and (folder := hub.folder(given["repo"], given["revision"])):
        return _checkpoint(folder, given["repo"], given["file"], name)
    raise UnknownName("backend", name, [*models(), "or a model's folder, a .pt file, or the id of a model fetched from the hub"])


class Lacking(NamedTuple):
    """What is to be fetched of the hub."""

    kind: hub.Kind
    repo_id: str
    revision: str | None = None
    checkpoint: str | None = None
    config: str | None = None


def lacks(name: str, kind: hub.Kind = "model") -> Lacking | None:
    """What a name is of, which may be a model or encoder of the hub and is none that is here."""
    name = name.partition("?")[0]
    given = HUB_ID.fullmatch(name)
    if given is None or name in models() or os.path.exists(os.path.expanduser(name)):
        return None
    folder, file = hub.folder(given["repo"], given["revision"], kind), given["file"]
    if folder is None or (file and not (folder / file).is_file()):
        return Lacking(kind, given["repo"], given["revision"], file)
    return None


def _checkpoint(folder: Path, repo: str, file: str | None, name: str) -> Path:
    """What is meant in a repository that was fetched: a file of it, or its one model. Raises InvalidRequest."""
    here = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.pt"))
    if file is not None and file not in here:
        raise InvalidRequest(
            f"{name} was not fetched; of {repo} there are here: {', '.join(here) or 'no .pt files'}. "
            f"Fetch it with `python -m analysis models fetch {repo} --checkpoint {file}`."
        )
    if file is None and (inside := _inside(folder)):
        return inside
    if file is None and len(here) > 1:
        raise InvalidRequest(f"{repo} has the files {', '.join(here)}; say which, as {name}:{here[0]}.")
    return folder / (file or here[0]) if here else folder


def _inside(folder: Path) -> Path | None:
    """The model in a folder: the folder, or the only `.pt` file in it; None where there is none."""
    if any((folder / sign).is_file() for sign in SIGNS):
        return folder
    files = list(folder.glob("*.pt"))
    return files[0] if len(files) == 1 else None


def card(name: str) -> Card:
    """The Card of a model: the one in its folder, else the one that was made when the model was first read, which it is now if it was not.

    Reading takes seconds, in a process of its own. Raises UnknownName, InvalidRequest or DamagedFile.
    """
    from .cards import remembered

    place, (_, side) = model_folder(name), sized(name)
    path = place / "card.json"
    if not path.is_file():
        return (remembered(place) or _first_read(place)).at_side(side)
    try:
        return _read(path, path.stat().st_mtime_ns).at_side(side)
    except (OSError, ValidationError) as error:
        raise DamagedFile(f"The card {path} cannot be read ({type(error).__name__}); restore or train the model again.") from error


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Card:
    return Card.model_validate_json(path.read_text())


def _first_read(place: Path) -> Card:
    """The Card that `list card` makes: whoever asks here may not load what a network needs."""
    from .cards import files_of

    made, text = _asked(place.absolute(), str(files_of(place)))
    if not made:
        raise InvalidRequest(text)
    return Card.model_validate_json(text)


@lru_cache(maxsize=64)
def _asked(place: Path, files: str) -> tuple[bool, str]:
    """Whether `list card` made a Card, and the Card or the sentence why not; asked again when the files change. Raises DamagedFile."""
    command = [sys.executable, "-m", __package__, "list", "card", "--backend", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return True, done.stdout
    last = (done.stderr.strip() or "no reason was given").splitlines()[-1]
    if done.returncode == 2:
        return False, last.removeprefix("Error: ")
    raise DamagedFile(f"The model {place} could not be read ({last}); start it again, or fetch it again.")
