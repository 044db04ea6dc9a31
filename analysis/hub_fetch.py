"""Bringing a repository's files here: with progress, going on where it stopped, each verified before it counts."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from .errors import DamagedFile, StoreUnavailable
from .hub_calls import NOTICE, Between, patiently, quiet
from .hub_records import HubFile, Kind, Record, blob, find, in_units, is_there, keep, named, own, repo_type, snapshot

Progress = Callable[[int, int, str], None]
CHUNK = 1 << 20  # bytes between two looks at whether the download is still wanted
SPARE = 50_000_000  # bytes that stay free on the disk
ROOM = 2_000_000  # bytes that are given back where it is full: the job table may lie on it too
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as cut
FULL = (errno.ENOSPC, errno.EDQUOT)


def fetch(record: Record, progress: Progress | None = None, between: Between | None = None) -> Path:
    """The folder of a record's files, those downloaded that are not here; what is already here of a file is not downloaded again.

    `progress(bytes done, bytes in all, file)`; `between` is called after every chunk and while it waits, and may raise to stop.
    Raises NotAllowed, InvalidRequest, Unreachable, DamagedFile where a checksum is wrong, StoreUnavailable where the disk is full.
    """
    look = between or _nothing
    tell: Progress = progress or _nothing
    kept = find(record.repo_id, record.commit, record.kind)
    if kept and {file.name for file in record.files} <= {file.name for file in kept.files}:
        if kept.revision != record.revision or record.before:
            with _writing(record):
                keep(record)
        tell(record.bytes, record.bytes, "")
        return snapshot(record)
    quiet()
    with _writing(record), _alone(record, look):
        _check_space(record)
        done = 0
        for file in record.files:
            tell(done, record.bytes, file.name)
            _bring(record, file, partial(_further, tell, record.bytes, file.name, done), look)
            done += file.size
        keep(record)
        tell(done, record.bytes, "")
    return snapshot(record)


def _nothing(*_: object) -> None:
    """Where nobody wants to know."""


def _further(tell: Progress, total: int, name: str, before: int, here: int) -> None:
    tell(before + here, total, name)


@contextmanager
def _writing(record: Record) -> Iterator[None]:
    """What the disk refuses, in a sentence."""
    place = own(record.repo_id, record.kind)
    try:
        place.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in FULL:
            _give_back(record)
            raise StoreUnavailable(
                f"The disk of {place.parent} is full; what came of {record.repo_id} is kept: free {in_units(_lacking(record))} and try again."
            ) from error
        raise StoreUnavailable(f"Cannot write {place.parent} ({error.strerror or error}); set HF_HOME to another folder.") from error


def _give_back(record: Record) -> None:
    """Cut the end of what is under way: it comes again with the next call."""
    for file in record.files:
        part = _part(record, file)
        with suppress(OSError):
            os.truncate(part, max(0, part.stat().st_size - ROOM))


@contextmanager
def _alone(record: Record, between: Between) -> Iterator[None]:
    """Nobody else fetches the same repository meanwhile: who comes second waits, and finds it there."""
    lock = FileLock(own(record.repo_id, record.kind) / "lock")
    while True:
        try:
            lock.acquire(timeout=NOTICE)
            break
        except Timeout:
            between()
    try:
        yield
    finally:
        lock.release()


def _part(record: Record, file: HubFile) -> Path:
    return own(record.repo_id, record.kind) / f"{file.hash}.part"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _lacking(record: Record) -> int:
    """Bytes that have yet to come."""
    return sum(max(0, file.size - _size(_part(record, file))) for file in record.files if not is_there(record, file))


def _check_space(record: Record) -> None:
    """Before the first byte. Raises StoreUnavailable."""
    place, lacking = own(record.repo_id, record.kind), _lacking(record)
    free = shutil.disk_usage(place).free
    if lacking and free < lacking + SPARE:
        raise StoreUnavailable(
            f"{record.repo_id} needs {in_units(lacking)} more; {in_units(free)} are free at {place.parent}, of which "
            f"{in_units(SPARE)} are to stay free: free some, or set HF_HOME to a folder on a larger disk."
        )


def _bring(record: Record, file: HubFile, tell: Callable[[int], None], between: Between) -> None:
    """One file, whole and verified, under its own name."""
    whole, name = blob(record, file), snapshot(record) / file.name
    if whole.exists() and not _verified(whole, file, between):  # another program's, cut or altered
        whole.unlink()
    if not whole.exists():
        part = _part(record, file)
        if _size(part) > file.size:
            part.unlink()
        part.touch()
        if _size(part) < file.size:
            patiently(
                lambda: _stream(record, file, part, tell, between),
                named(record.repo_id, record.kind),
                record.repo_id,
                between,
                gained=lambda: _size(part),
            )
        if not _verified(part, file, between):
            part.unlink()
            raise DamagedFile(
                f"{file.name} of {record.repo_id} came with a wrong checksum and was removed; fetch it again. "
                "If that happens twice, the repository or something on the way to it is damaged."
            )
        whole.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, whole)
    _link(whole, name)
    tell(file.size)


def _stream(record: Record, file: HubFile, part: Path, tell: Callable[[int], None], between: Between) -> None:
    """Write what is lacking of a file behind what is there."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    here = _size(part)
    if here >= file.size:
        return
    url = hf_hub_url(record.repo_id, file.name, repo_type=repo_type(record.kind), revision=record.commit)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
        hf_raise_for_status(response)
        goes_on = response.status_code == 206
        here = here if goes_on else 0  # a server that does not know ranges sends all of it
        with part.open("ab" if goes_on else "wb", buffering=0) as out:
            for chunk in response.iter_bytes(CHUNK):
                here += _write(out, chunk[: file.size - here])
                tell(here)
                between()
                if here >= file.size:  # what sends more than is listed is not read to its end
                    break


def content_of(repo_id: str, kind: Kind, commit: str, file: HubFile, between: Between | None = None) -> bytes:
    """A small file, which is kept nowhere. Raises NotAllowed, InvalidRequest or Unreachable."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    def ask() -> bytes:
        url = hf_hub_url(repo_id, file.name, repo_type=repo_type(kind), revision=commit)
        headers, content = {**build_hf_headers(), "Accept-Encoding": "identity"}, b""
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
            hf_raise_for_status(response)
            for chunk in response.iter_bytes(CHUNK):
                content += chunk
                if len(content) >= file.size:
                    break
        return content[: file.size]

    return patiently(ask, named(repo_id, kind), repo_id, between, cut=False)


def _write(out: BinaryIO, chunk: bytes) -> int:
    """Write all of a chunk, which a full disk may take in part; returns its length."""
    left = memoryview(chunk)
    while left:
        left = left[out.write(left) :]
    return len(chunk)


def _verified(path: Path, file: HubFile, between: Between) -> bool:
    """Whether a file's content is what the repository lists."""
    if _size(path) != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            between()
    return digest.hexdigest() == file.hash


def _link(whole: Path, name: Path) -> None:
    """Give a content its own name; a hard link or a copy where the disk knows no others."""
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    try:
        name.symlink_to(os.path.relpath(whole, name.parent))
    except OSError:
        try:
            name.hardlink_to(whole)
        except OSError:
            shutil.copyfile(whole, name)
