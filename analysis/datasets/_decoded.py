"""Decoded images in a file of the user's data folder: written once, read through a memory map, made again where damaged.

Two files lie side by side: `<name>.pixels`, the images as they lie in memory, and `<name>.safetensors`, everything else that is known
of them. Each is written under a temporary name and renamed; the second has the checksums of both, so that neither can be half there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..errors import StoreUnavailable
from ..store import default_root, writing
from .base import image_ids

CHUNK = 1 << 22  # bytes that are in memory at once, of a file that is sorted or checked


class Decoded(NamedTuple):
    """Images (N, side, side, 3) uint8 as a read-only memory map, arrays of N rows by name, and facts as JSON has them."""

    images: np.ndarray
    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


def place(name: str) -> Path:
    """Where the images of a source of this name are, without the ending of either file."""
    return default_root() / "images" / hashlib.sha256(name.encode()).hexdigest()[:16]


def _sum(facts: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(facts.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode() + arrays[name].tobytes())
    return digest.hexdigest()


def read(path: Path, source: Any) -> Decoded | None:
    """What was kept of a source in this state; None where there is nothing, or of another state, or either file is damaged."""
    try:
        with safe_open(path.with_suffix(".safetensors"), framework="numpy") as file:
            said = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(said["facts"])
        if said["sum"] != _sum(said["facts"], arrays) or facts["source"] != source:
            return None
        pixels, shape = path.with_suffix(".pixels"), (len(arrays["ids"]), facts["side"], facts["side"], 3)
        if pixels.stat().st_size != np.prod(shape) or said["pixels"] != _checksum(pixels):
            return None
        return Decoded(np.memmap(pixels, np.uint8, "r", shape=shape), arrays, facts)
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def forget(folder: Path) -> None:
    """Remove the decoded images of every source that lies, or lay, in a folder."""
    inside = folder.resolve()
    for path in (default_root() / "images").glob("*.safetensors"):
        with suppress(OSError, ValueError, KeyError, SafetensorError):  # a damaged one says nothing of its source, and is made again
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["facts"])
            if Path(facts["place"]).is_relative_to(inside):
                path.unlink()
                path.with_suffix(".pixels").unlink(missing_ok=True)


def _checksum(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


SPARE = 500_000_000  # bytes that stay free


class Writer:
    """Takes images as they come, in slabs, and keeps those that are wanted in the order that is wanted."""

    def __init__(self, path: Path, side: int, temporary: Any) -> None:
        self.path, self.side, self._came = path, side, temporary
        self._ids: list[np.ndarray] = []

    def add(self, images: np.ndarray) -> None:
        """Take a slab (n, side, side, 3) uint8."""
        self._ids.append(image_ids(images))
        if (free := shutil.disk_usage(self.path.parent).free) < SPARE + 2 * images.nbytes:
            raise StoreUnavailable(
                f"Images of {self.side}×{self.side} pixels are kept decoded in {self.path.parent}, where {free / 1e9:.1f} GB are free: free more, set "
                "NOISESCOPE_STORE to another place, or ask for smaller images (?side= behind a model's name) or fewer."
            )
        with _explained(self.path):
            self._came.write(images.tobytes())
            self._came.flush()

    @property
    def ids(self) -> np.ndarray:
        """Ids (n,) uint64 of the images that came, in their order."""
        return np.concatenate(self._ids) if self._ids else np.zeros(0, np.uint64)

    def keep(self, rows: np.ndarray, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
        """Write the images that came at these places (N,), with what is known of them. Raises StoreUnavailable."""
        size, digest = self.side * self.side * 3, hashlib.blake2b(digest_size=16)
        with writing(self.path.with_suffix(".pixels")) as temporary, temporary.open("wb") as file:
            count = max(1, CHUNK // size)
            for start in range(0, len(rows), count):
                slab = b"".join(os.pread(self._came.fileno(), size, int(row) * size) for row in rows[start : start + count])
                file.write(slab)
                digest.update(slab)
        told, arrays = json.dumps({**facts, "side": self.side}), {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        with writing(self.path.with_suffix(".safetensors")) as temporary:
            said = {"facts": told, "sum": _sum(told, arrays), "pixels": digest.hexdigest()}
            temporary.write_bytes(save(arrays, metadata=said))


@contextmanager
def writer(path: Path, side: int) -> Iterator[Writer]:
    """A Writer whose unsorted images are gone when the body ends, however it ends. Raises StoreUnavailable."""
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryFile(dir=path.parent, prefix=".", suffix=".tmp")  # noqa: SIM115
    with temporary:
        yield Writer(path, side, temporary)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"Cannot write {path.parent}: {error.strerror or error}; free the place or set NOISESCOPE_STORE to another folder."
        ) from error
