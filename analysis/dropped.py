"""A folder that came through a browser, kept as one zip in the store for the worker to open: it is its session's, and gone a day later.

    <store>/uploads/<a random name>/<the folder's name>.zip

Other sessions are not offered it, though what was measured of it stands with all runs. Data sets open a zip by its path: what its images
are, the `zip` plug-in finds out.
"""

from __future__ import annotations

import secrets
import shutil
import time
import zipfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from . import datasets
from .errors import InvalidData, InvalidRequest
from .store import writing

FOLDER = "uploads"
MOST_FILES = 20_000
MOST_BYTES = 2_000_000_000
KEPT = 86_400.0  # seconds since it was last chosen
LONGEST = 60  # letters of a folder's name


def keep(files: Iterable[tuple[str, bytes]], root: Path, used: Collection[str] = ()) -> Path:
    """Keep files (path as the browser says it, content) as a zip; its path is the name of a data set.

    Hidden files are left out. Folders that no session has chosen for a day are removed first, but for data sets in use.
    Raises InvalidRequest for too many or too large ones, InvalidData where there is none, StoreUnavailable.
    """
    forget(root, used=used)
    inside = {name: content for path, content in files if (name := _inside(path))}
    if not inside:
        raise InvalidData("The folder holds no file; give one of class folders with images in them.")
    size = sum(map(len, inside.values()))
    if len(inside) > MOST_FILES or size > MOST_BYTES:
        raise InvalidRequest(
            f"The folder has {len(inside):,} files of {size / 1e9:.2g} GB; allowed: {MOST_FILES:,} of {MOST_BYTES / 1e9:g} GB in all. Leave "
            "some out, or give the folder's path on the machine where Noisescope runs."
        )
    path = root / FOLDER / secrets.token_hex(8) / f"{_title(inside)}.zip"
    with writing(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name, content in inside.items():
            archive.writestr(str(name), content)
    return path


def choose(path: Path) -> None:
    """Note that a folder is in use still."""
    with suppress(OSError):
        path.parent.touch()


def is_dropped(name: str, root: Path) -> bool:
    """Whether a data set's name is the path of such a folder."""
    path = Path(name.partition("?")[0])
    return path.suffix == ".zip" and path.parent.parent == root / FOLDER


def forget(root: Path, seconds: float = KEPT, used: Collection[str] = ()) -> None:
    """Remove what was last chosen longer ago than that, but for data sets in use."""
    for folder in (root / FOLDER).glob("*"):
        with suppress(OSError):
            if folder.stat().st_mtime < time.time() - seconds:
                shutil.rmtree(folder, ignore_errors=True)
                datasets.forget(folder)


def _inside(path: str) -> PurePosixPath | None:
    """A path that stays inside the zip; None for a hidden file or none at all."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part.strip("./ ") and not part.endswith(":")]
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return PurePosixPath(*parts) if parts and not hidden else None


def _title(names: Iterable[PurePosixPath]) -> str:
    """The folder's own name, where all files lie in one."""
    first = {name.parts[0] for name in names if len(name.parts) > 1}
    title = first.pop() if len(first) == 1 else ""
    return "".join(letter if letter.isalnum() or letter in " -_" else "-" for letter in title)[:LONGEST].strip() or "your folder"
