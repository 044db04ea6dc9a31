"""The one file that knows the disk layout.

    <root>/<kind>/<key>/identity.json       what the results are of
                        settings.json       batch size, threads, device: written with the first unit, used ever after
                        <σ>/<unit>.safetensors
                        <σ>/<name>.json         what was found in one cell, where that is not a row an image
    <root>/studies/<key>/                   finished studies (studies.py)

A unit holds tensors of n rows each, one row an image, and the image ids. It is written under a temporary name and
renamed, so a file that exists is complete; the checksum of each tensor is in the unit's own header, where no second
writer can tear it. Its name is a hash of what it covers: two processes filling the same key write the same file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import DamagedFile, StoreUnavailable
from .specs import Frozen

Kind = Literal["features", "probes", "errors", "layouts", "latents"]
FORMAT = 1
UNIT_IMAGES = 4096


def default_root() -> Path:
    """`NOISESCOPE_STORE` if set, else the user's data folder. Raises StoreUnavailable for a URL there."""
    if given := os.environ.get("NOISESCOPE_STORE"):
        if "://" in given:
            raise StoreUnavailable(f"NOISESCOPE_STORE is {given!r}; allowed: a folder. Give object storage to a sweep, as --store {given}.")
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("noisescope")


class Unit(NamedTuple):
    path: Path
    names: frozenset[str]
    ids: np.ndarray  # (n,) uint64
    meta: dict[str, str]


def checksum(array: np.ndarray) -> str:
    """The first 8 bytes of the BLAKE2b of an array's values."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the body ends well and it is on the disk, and removed when it does not.

    Raises StoreUnavailable where the disk is full, read-only or forbidden.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        for file in temporary.rglob("*") if temporary.is_dir() else [temporary]:
            if file.is_file():
                _flush(file)
        os.replace(temporary, path)
    except OSError as error:
        reasons = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "it is read-only"}
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise StoreUnavailable(f"Cannot write {path}: {reason}; free the place or set NOISESCOPE_STORE to another folder.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):  # where the folder could not be made there is nothing to remove
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file's bytes are on the disk: a renamed file without them may be empty after a power loss."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with writing(path) as temporary:
        temporary.write_bytes(data)


def read_json(path: Path) -> Any:
    """The parsed file. Raises DamagedFile if it is missing, unreadable or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); delete its folder and make it again.") from error


@lru_cache(maxsize=65536)
def _header(path: Path, _size: int, _time: int) -> Unit:
    try:
        with safe_open(path, framework="numpy") as file:
            meta = json.loads((file.metadata() or {})["unit"])
            ids = file.get_tensor("ids")
            names = frozenset(file.keys()) - {"ids"}
        intact = meta["ids"] == checksum(ids)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not intact:
        raise _damaged(path, "its image ids do not match their checksum")
    return Unit(path, names, ids, meta)


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(f"Unit {path} is damaged ({reason}); delete it and run again: only that unit is computed anew.")


class Store:
    """Results by identity; a root that does not exist yet is made by the first write."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root).expanduser() if root is not None else default_root()
        stamp = self.root / "store.json"
        if stamp.exists() and (found := read_json(stamp).get("format")) != FORMAT:
            raise StoreUnavailable(
                f"The store {self.root} has format {found}; this version reads {FORMAT}: set NOISESCOPE_STORE to another folder."
            )

    @property
    def place(self) -> str:
        """What another process opens the same store by, with `remote.open_store`."""
        return str(self.root)

    def refresh(self) -> None:
        """Others have written: where a store has a copy of its own, it looks again."""

    def publish(self, folder: Path) -> None:
        """A folder below `root` is whole: where others have a copy of their own, they can have it now."""

    def folder(self, kind: Kind, identity: Frozen) -> Path:
        return self.root / kind / identity.key()

    def settings(self, kind: Kind, identity: Frozen, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of the first unit of this identity: `proposed` if this is the first, else what was used then."""
        folder = self.folder(kind, identity)
        path = folder / "settings.json"
        if not path.exists():
            if not (self.root / "store.json").exists():
                write_json(self.root / "store.json", {"format": FORMAT})
            write_json(folder / "identity.json", identity.model_dump(mode="json"))
            text = json.dumps(dict(proposed), sort_keys=True)
            with writing(path) as temporary:
                temporary.write_text(text)
                try:
                    os.link(temporary, path)  # fails where another process was first: its settings stand
                except FileExistsError:
                    temporary.write_text(path.read_text())
                except OSError:  # a file system without hard links
                    with suppress(FileExistsError), path.open("x") as file:
                        file.write(text)
                    temporary.write_text(path.read_text() or text)
        return dict(read_json(path))

    def halve_batch(self, kind: Kind, identity: Frozen, tried: int) -> int:
        """Half of the batch size in the settings, which is used from now on; `halved` counts how often that was.

        Where another process has gone below `tried` already, its batch size.
        """
        path = self.folder(kind, identity) / "settings.json"
        known = dict(read_json(path))
        if known["batch_size"] < tried:
            return int(known["batch_size"])
        known |= {"batch_size": max(1, int(known["batch_size"]) // 2), "halved": known.get("halved", 0) + 1}
        write_json(path, known)
        return int(known["batch_size"])

    def units(self, kind: Kind, identity: Frozen, sigma: float) -> list[Unit]:
        """The units at one noise level. Raises DamagedFile for one that cannot be read."""
        folder = self.folder(kind, identity) / f"{sigma:.9g}"
        found = []
        for path in sorted(folder.glob("[!.]*.safetensors")):
            stat = path.stat()
            found.append(_header(path, stat.st_size, stat.st_mtime_ns))
        return found

    def missing(
        self, kind: Kind, identity: Frozen, sigma: float, names: Iterable[str], ids: np.ndarray
    ) -> list[tuple[tuple[str, ...], np.ndarray]]:
        """What a request lacks: groups of (tensor names, image ids), each of at most 4,096 images."""
        units = self.units(kind, identity, sigma)
        groups: dict[bytes, tuple[list[str], np.ndarray]] = {}
        for name in names:
            held = [unit.ids for unit in units if name in unit.names]
            lacking = ids[~np.isin(ids, np.concatenate(held))] if held else ids
            if len(lacking):
                groups.setdefault(lacking.tobytes(), ([], lacking))[0].append(name)
        return [
            (tuple(group), lacking[start : start + UNIT_IMAGES])
            for group, lacking in groups.values()
            for start in range(0, len(lacking), UNIT_IMAGES)
        ]

    def put(
        self,
        kind: Kind,
        identity: Frozen,
        sigma: float,
        ids: np.ndarray,
        tensors: Mapping[str, np.ndarray],
        meta: Mapping[str, str] | None = None,
    ) -> Path:
        """Write one unit and return its path. Raises StoreUnavailable."""
        ids = np.ascontiguousarray(ids, dtype=np.uint64)
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()} | {"ids": ids}
        header = {name: checksum(array) for name, array in arrays.items()} | dict(meta or {})
        covered = hashlib.blake2b("\n".join(sorted(tensors)).encode() + ids.tobytes(), digest_size=8).hexdigest()
        path = self.folder(kind, identity) / f"{sigma:.9g}" / f"{covered}.safetensors"
        with writing(path) as temporary:
            # One entry, because several come out in any order, and equal units are to be equal files.
            temporary.write_bytes(save(arrays, metadata={"unit": json.dumps(header, sort_keys=True)}))
        return path

    def note(self, kind: Kind, identity: Frozen, sigma: float, name: str, found: Any) -> None:
        """Keep what was found in one cell, as JSON. Raises StoreUnavailable."""
        write_json(self._note(kind, identity, sigma, name), found)

    def noted(self, kind: Kind, identity: Frozen, sigma: float, name: str) -> Any | None:
        """What `note` kept, or None. Raises DamagedFile."""
        path = self._note(kind, identity, sigma, name)
        return read_json(path) if path.exists() else None

    def _note(self, kind: Kind, identity: Frozen, sigma: float, name: str) -> Path:
        return self.folder(kind, identity) / f"{sigma:.9g}" / f"{quote(name, safe='')}.json"

    def read(self, unit: Unit, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Tensors of one unit, checked. Raises DamagedFile."""
        try:
            with safe_open(unit.path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise _damaged(unit.path, str(error)) from error
        for name, array in arrays.items():
            if unit.meta.get(name) != checksum(array):
                raise _damaged(unit.path, f"{name} does not match its checksum")
        return arrays

    def cell(self, identity: Frozen, sigma: float, block: str, pooling: str, ids: np.ndarray) -> np.ndarray:
        """Features (n, D) of one block at one σ, as `rows`."""
        return self.rows("features", identity, sigma, f"{block}/{pooling}", ids)

    def rows(self, kind: Kind, identity: Frozen, sigma: float, name: str, ids: np.ndarray) -> np.ndarray:
        """A tensor (n, …) at one σ, in the order of `ids` (n,).

        Raises DamagedFile if a unit is damaged or an image is not there.
        """
        rows: np.ndarray | None = None
        found = np.zeros(len(ids), dtype=bool)
        for unit in self.units(kind, identity, sigma):
            if name not in unit.names:
                continue
            order = np.argsort(unit.ids)
            place = np.searchsorted(unit.ids, ids, sorter=order).clip(max=len(order) - 1)
            source = order[place]
            take = (unit.ids[source] == ids) & ~found
            if take.any():
                values = self.read(unit, [name])[name]
                rows = np.empty((len(ids), *values.shape[1:]), values.dtype) if rows is None else rows
                rows[take] = values[source[take]]
                found |= take
        if rows is None or not found.all():
            raise DamagedFile(
                f"The store lacks {name} at σ = {sigma:.4g} for {int((~found).sum())} of {len(ids)} images; run the sweep again."
            )
        return rows
