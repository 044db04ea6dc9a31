"""Presets of data sets, and whether each was ever opened: verifying asks the hub, and what it found is kept in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from .datasets._presets import PRESETS, Preset
from .errors import DamagedFile, InvalidData, UnknownName
from .store import default_root, read_json, write_json

FILE = "presets.json"
COMMIT = 40  # letters of a commit's hash
SECONDS = 30.0  # that the hub may take to answer


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
    downloaded. Raises UnknownName, InvalidData where the hub cannot be reached, and StoreUnavailable.
    """
    for name in names:
        if name not in PRESETS:
            raise UnknownName("preset", name, PRESETS)
    for name in names or list(PRESETS):
        revision = _revision(PRESETS[name])
        reason = _differs(PRESETS[name], revision) if len(revision) == COMMIT else revision
        if not reason:
            said = {"date": datetime.now(UTC).date().isoformat(), "revision": revision, "of": PRESETS[name].argument()}
            write_json((root or default_root()) / FILE, checked(root) | {name: said})
        yield Verified(name, "" if reason else revision, reason)


def _revision(preset: Preset) -> str:
    """The commit that the hub has now, or why it gives none. Raises InvalidData where it cannot be reached."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().dataset_info(preset.repo_id, timeout=SECONDS).sha)
    except HfHubHTTPError as error:
        return _sentence(error)
    except Exception as error:  # the hub's library hands through what its own connections raise
        raise InvalidData(
            f"The hub cannot be reached ({_sentence(error)}), so no preset was checked; run this again where there is a network."
        ) from error


def _differs(preset: Preset, revision: str) -> str:
    """How the data differ from what the preset says; empty where they do not."""
    import datasets

    from .datasets.hub import quiet

    quiet()
    config = [preset.config] if preset.config else []
    try:
        found = datasets.load_dataset(preset.repo_id, *config, revision=revision, streaming=True)
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
        if next(iter(part))[preset.image] is None:
            return "its first image cannot be read"
    except Exception as error:  # the library and what it stands on raise a dozen unrelated types
        return f"it cannot be opened ({_sentence(error)})"
    return ""


def _sentence(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
