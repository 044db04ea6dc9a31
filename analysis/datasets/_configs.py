"""Configurations of a repository in a folder: those that its README describes, and those of the hub's own conversion to Parquet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import InvalidData

CONVERTED = re.compile(r"(?P<config>[^/]+)/(?P<split>[^/]+)/\d{4}\.parquet")  # how the hub lays out what it converts


def _header(root: str) -> dict[str, Any]:
    """What the README's header says; empty where there is none. Raises what `huggingface_hub` does for one that cannot be read."""
    from huggingface_hub import DatasetCard

    path = Path(root, "README.md")
    return DatasetCard.load(path, ignore_metadata_errors=True).data.to_dict() if path.is_file() else {}


def is_told(root: str) -> bool:
    """Whether a header says how the files are to be read, or cannot be read itself."""
    try:
        return bool({"configs", "dataset_info"} & set(_header(root)))
    except Exception:  # of YAML and of the library; it is told where the folder is read
        return True


def in_readme(root: str) -> dict[str, bool]:
    """Names of the configurations that the README's header describes, and whether each is the default.

    Raises InvalidData for one whose files lie outside the folder, and as `_header`.
    """
    given = _header(root).get("configs")
    configs = [config for config in given if isinstance(config, dict)] if isinstance(given, list) else []
    for text in _texts([[config.get("data_files"), config.get("data_dir")] for config in configs]):
        if ":" in text or os.path.isabs(text) or ".." in PurePosixPath(text).parts:
            raise InvalidData(f"The README of the data set names the files {text!r}; allowed: files of its own folder.")
    names = [str(config.get("config_name", "default")) for config in configs]
    return {name: bool(config.get("default")) or name == "default" for name, config in zip(names, configs, strict=True)}


def files_in_readme(root: str, name: str) -> Any:
    """What the README's header says of the files of a configuration, as the library takes it; None where it does not say."""
    configs = _header(root).get("configs") or []
    return next((config.get("data_files") for config in configs if str(config.get("config_name", "default")) == name), None)


def _texts(given: Any) -> Iterator[str]:
    """Every text in lists and mappings but names of splits."""
    if isinstance(given, str):
        yield given
    elif isinstance(given, dict):
        yield from _texts([value for key, value in given.items() if key != "split"])
    elif isinstance(given, list):
        for part in given:
            yield from _texts(part)


def converted(root: str) -> dict[str, dict[str, list[str]]]:
    """Files by configuration and split of a folder in the hub's own layout `configuration/split/0000.parquet`; empty for any other."""
    found: dict[str, dict[str, list[str]]] = {}
    if Path(root, "README.md").exists():
        return {}
    for path in sorted(str(path) for path in Path(root).rglob("*.parquet")):
        if not (match := CONVERTED.fullmatch(Path(path).relative_to(root).as_posix())):
            return {}
        found.setdefault(match["config"], {}).setdefault(match["split"], []).append(path)
    return found


def one(names: Sequence[str], asked: str | None, place: str, default: str | None = None) -> str:
    """The configuration that is read. Raises InvalidData where it is not there, or none is chosen of several."""
    if asked is not None and asked not in names:
        raise InvalidData(f"{place!r} has no configuration {asked!r}; its configurations are {', '.join(names) or 'none'}.")
    chosen = asked or default or (names[0] if len(names) == 1 else None)
    if chosen is None:
        raise InvalidData(f"{place!r} has the configurations {', '.join(names)}; choose one, as {place}?config={names[0]}.")
    return chosen
