"""Presets of data sets, and whether each was ever opened: verifying asks the hub, and what it found is kept in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from .datasets._presets import PRESETS, Preset
from .datasets._streamed import Encoded, decode
from .errors import DamagedFile, NoisescopeError, UnknownName, Unreachable
from .hub import Record, look_up
from .store import default_root, read_json, write_json

FILE = "presets.json"


def checked(root: Path | None = None) -> dict[str, dict[str, str]]:
    """By name of a preset, the date and revision of the last time that it was opened as it is described."""
    path = (root or default_root()) / FILE
    if not path.exists():
        return {}
    try:
        found: dict[str, dict[str, str]] = read_json(path)
    except DamagedFile:
        return {}
    return {name: said for name, said in found.items() if name in PRESETS and said.get("of") == PRESETS[name].argument()}


class Verified(NamedTuple):
    """What came of one preset: the commit that was found as it is described, or the reason why not."""

    name: str
    revision: str
    reason: str


def verify(names: Sequence[str] = (), root: Path | None = None) -> Iterator[Verified]:
    """Open each preset on the hub, all if none is named, and keep the date and revision of each that is as it is described.

    Splits, columns, the number of classes and the first image are compared with what the preset says; data are streamed, not
    downloaded. Raises UnknownName, Unreachable where the hub cannot be reached, and StoreUnavailable.
    """
    for name in names:
        if name not in PRESETS:
            raise UnknownName("preset", name, PRESETS)
    for name in names or list(PRESETS):
        revision, reason = _compared(PRESETS[name])
        if not reason:
            said = {"date": datetime.now(UTC).date().isoformat(), "revision": revision, "of": PRESETS[name].argument()}
            write_json((root or default_root()) / FILE, checked(root) | {name: said})
        yield Verified(name, "" if reason else revision, reason)


def _compared(preset: Preset) -> tuple[str, str]:
    """The commit that the hub has now, and how its data differ from what the preset says. Raises Unreachable."""
    try:
        record = look_up(preset.repo_id, kind="dataset")
    except Unreachable:
        raise
    except NoisescopeError as error:
        return "", _sentence(error)
    if record.offline:
        raise Unreachable(f"The hub does not answer, so {preset.name} was not checked; run this again where there is a network.")
    return record.commit, _differs(preset, record)


def _differs(preset: Preset, record: Record) -> str:
    """How the data differ from what the preset says; empty where they do not."""
    from datasets import Image

    from .datasets.hub import quiet

    quiet()
    try:
        found = _streamed(preset, record)
        lacking = [name for name in preset.splits.values() if name not in found]
        if lacking:
            return f"it has the splits {', '.join(found)}, not {', '.join(lacking)}"
        part = found[preset.splits["train"]]
        columns = part.features or {}
        lacking = [name for name in (preset.image, *preset.labels) if name not in columns]
        if lacking:
            return f"it has the columns {', '.join(columns)}, not {', '.join(lacking)}"
        names = getattr(columns[preset.labels[0]], "names", None)
        if names is not None and len(names) != preset.classes:
            return f"its column {preset.labels[0]} has {len(names)} classes, not {preset.classes}"
        given = next(iter(part.cast_column(preset.image, Image(decode=False))))[preset.image] or {}
        content = given.get("bytes")
        if decode(Encoded(preset.image, content), 8)[0] is None if content else not given.get("path"):
            return "its first image cannot be read"
    except Exception as error:  # the library and what it stands on raise a dozen unrelated types
        return f"it cannot be opened ({_sentence(error)})"
    return ""


def _streamed(preset: Preset, record: Record) -> Any:
    """The splits on the hub, at the commit that was found; of the hub's own conversion, files of the preset's configuration."""
    import datasets

    if not record.converted:
        return datasets.load_dataset(preset.repo_id, *([preset.config] if preset.config else []), revision=record.commit, streaming=True)
    files: dict[str, list[str]] = {}
    for file in record.files:
        config, split, _ = [*file.name.split("/"), "", ""][:3]
        if config == (preset.config or "default"):
            files.setdefault(split, []).append(f"hf://datasets/{preset.repo_id}@{record.commit}/{file.name}")
    return datasets.load_dataset("parquet", data_files=files, streaming=True)


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
