"""What was fetched from the hub and where it lies: read without the network.

Files lie where `huggingface_hub` keeps its own, so that it and everything on top of it finds them:

    <cache>/models--owner--name/blobs/<sha256 or git hash>          the files, by content
                                snapshots/<commit>/<name>           links to them, under the repository's own names
                                noisescope/<revision>@<commit>.json what was fetched, when: written last, when all of it is verified
                                noisescope/<hash>.part              a file that is under way
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from uuid import uuid4

from pydantic import Field, ValidationError, field_validator

from .specs import Frozen

Kind = Literal["model", "dataset", "encoder"]  # what it is wanted as: for the hub itself an encoder is a model
MAIN = "main"  # the branch that a repository is read at where nobody says another
CONVERTED = "refs/convert/parquet"  # the branch of a data set that the hub itself writes, for those that only code could read
SHORT = 7  # from so many digits on, the beginning of a commit hash names it
ID = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?")
UNITS = ("bytes", "kB", "MB", "GB", "TB")


class HubFile(Frozen):
    """One file of a repository at a commit."""

    name: str  # as the repository has it, with forward slashes
    size: int = Field(ge=0)  # bytes
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")  # of large files
    blob: str = Field(pattern="^[0-9a-f]{40}$")  # git's hash, of small ones that of the content
    there: bool = False  # it is on this machine

    @field_validator("name")
    @classmethod
    def _inside(cls, value: str) -> str:
        if "\\" in value or ":" in value or any(part in ("", ".", "..") for part in value.split("/")):
            raise ValueError("a file's name stays inside its repository")
        return value

    @property
    def hash(self) -> str:
        """What its content is checked against, and its name in the cache."""
        return self.sha256 or self.blob


class Record(Frozen):
    """What a repository offers at one commit, of that what is wanted here."""

    repo_id: str
    kind: Kind = "model"
    revision: str = MAIN  # as asked for: a branch, a tag or a commit
    commit: str = Field(pattern="^[0-9a-f]{40}$")  # what that was when the hub was asked
    license: str | None = None
    gated: bool = False  # its files are given to those who accepted its licence
    files: tuple[HubFile, ...] = ()
    fetched: str | None = None  # when all of it was here and verified, ISO 8601, UTC
    before: str | None = None  # another commit that was fetched under this revision: it has moved since
    converted: bool = False  # its files are of the hub's own conversion: those of the repository are for code to read
    offline: bool = False  # the hub did not answer: this is what was fetched before

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def weights(self) -> int:
        """Bytes of its weights, which is about what they take in memory; 0 of a data set."""
        return sum(file.size for file in self.files if file.name.endswith((".safetensors", ".pt")))

    @property
    def missing(self) -> int:
        """Bytes that are not on this machine."""
        return sum(file.size for file in self.files if not file.there)

    @property
    def said(self) -> str | None:
        """What a person should know about this record; None where all is as usual."""
        said = []
        if self.converted:
            said.append(
                f"The files of {self.repo_id} are for code to read, which is not run: these are of the hub's own conversion to Parquet, {CONVERTED}."
            )
        if self.offline:
            said.append(
                f"The hub does not answer: {self.repo_id} is as it was fetched on {day(self)}, {self.revision} at {self.commit[:SHORT]}."
            )
        elif self.before:
            said.append(
                f"{self.revision} of {self.repo_id} has moved from {self.before[:SHORT]} to {self.commit}; "
                f"what was fetched stays usable as {self.repo_id}@{self.before[:SHORT]}."
            )
        return " ".join(said) or None


def day(record: Record) -> str:
    """The day on which a record was fetched, such as 22 November 2026."""
    at = datetime.fromisoformat(record.fetched or "1970-01-01")
    return f"{at.day} {at:%B %Y}"


def in_units(size: float) -> str:
    """A number of bytes in words, such as 14.3 MB."""
    unit = 0
    while size >= 999.5 and unit + 1 < len(UNITS):
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[0]}" if unit == 0 else f"{size:.3g} {UNITS[unit]}"


def named(repo_id: str, kind: Kind, revision: str | None = None) -> str:
    """A repository in the middle of a sentence."""
    return f"the {'data set' if kind == 'dataset' else kind} {repo_id}" + (f" at {revision!r}" if revision else "")


def cache() -> Path:
    """The folder in which all that is fetched lies, whether it is there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repo_type(kind: Kind) -> Literal["model", "dataset"]:
    """What the hub calls it."""
    return "dataset" if kind == "dataset" else "model"


def home(repo_id: str, kind: Kind = "model") -> Path:
    """The folder of a repository in the hub's cache, whether it is there or not."""
    return cache() / "--".join([f"{repo_type(kind)}s", *repo_id.split("/")])


def blob(record: Record, file: HubFile) -> Path:
    """Where a file's content is once it is whole and verified."""
    return home(record.repo_id, record.kind) / "blobs" / file.hash


def snapshot(record: Record) -> Path:
    """The folder in which a commit's files have their own names."""
    return home(record.repo_id, record.kind) / "snapshots" / record.commit


def own(repo_id: str, kind: Kind = "model") -> Path:
    """Where this library notes what it fetched of a repository."""
    return home(repo_id, kind) / ("noisescope-encoder" if kind == "encoder" else "noisescope")


def is_there(record: Record, file: HubFile) -> bool:
    """Whether a file of the right size is on this machine."""
    try:
        return blob(record, file).stat().st_size == file.size
    except OSError:
        return False


def keep(record: Record) -> Record:
    """Note that all of a record is here now; with what was noted of the same commit before. Raises OSError."""
    folder_ = own(record.repo_id, record.kind)
    files = {file.name: file for earlier in _noted(folder_, f"*@{record.commit}.json") for file in earlier.files}
    files |= {file.name: file.model_copy(update={"there": True}) for file in record.files}
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    kept = record.model_copy(update={"files": tuple(files[name] for name in sorted(files)), "fetched": now, "before": None})
    temporary = folder_ / f"{uuid4().hex}.tmp"
    temporary.write_text(kept.model_dump_json())
    os.replace(temporary, folder_ / f"{quote(record.revision, safe='')}@{record.commit}.json")
    return kept


def _noted(folder_: Path, pattern: str = "*.json") -> list[Record]:
    found = []
    for path in folder_.glob(pattern):
        try:
            found.append(Record.model_validate_json(path.read_text()))
        except (OSError, ValidationError):  # what cannot be read was not fetched, and fetching it again mends it
            continue
    return found


def _whole(record: Record) -> bool:
    try:
        return all((snapshot(record) / file.name).stat().st_size == file.size for file in record.files)
    except OSError:
        return False


def find(repo_id: str, revision: str | None = None, kind: Kind = "model") -> Record | None:
    """The latest that was fetched of a repository under a revision, or at a commit by the beginning of its hash, and still is whole."""
    wanted = revision or MAIN
    if not ID.fullmatch(repo_id):
        return None
    for record in sorted(_noted(own(repo_id, kind)), key=lambda record: record.fetched or "", reverse=True):
        names = {record.revision, CONVERTED} if record.converted else {record.revision}
        named = wanted in names or (len(wanted) >= SHORT and record.commit.startswith(wanted.lower()))
        if named and _whole(record):
            return record
    return None


def folder(repo_id: str, revision: str | None = None, kind: Kind = "model") -> Path | None:
    """The folder of a repository that was fetched; None where it was not. `revision` is a branch, a tag, or a commit or its beginning."""
    found = find(repo_id, revision, kind)
    return snapshot(found) if found else None


def fetched() -> list[Record]:
    """All that was fetched and still is whole, models before data sets, by name, the latest first."""
    folders = sorted(cache().glob("*--*/noisescope*"), key=lambda path: (path.parent.name[0] != "m", path))
    found = []
    for folder_ in folders:
        found += sorted(filter(_whole, _noted(folder_)), key=lambda record: record.fetched or "", reverse=True)
    return found
