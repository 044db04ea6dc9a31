"""Images and Parquet files in zips; nothing is unpacked to a path that a zip names.

Folders (or, of Parquet files and of several zips, words of their names) called train, validation (val, valid, dev) and test are splits, of
images where two of them lie side by side; the folder that an image lies in is its class, and may be called train or dev. A zip may be a stranger's: an image is told by its content and checked before it is decoded, as
one that a browser sends.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile, gettempdir
from typing import Any, NamedTuple

from ..containers import begins, form_of, member, members, place, readable, unpacked
from ..errors import InvalidData, InvalidRequest
from ._columns import Chosen, Named
from ._streamed import SLAB, Encoded, Opened, Part, Slab, split_named
from ._tables import ParquetRows, opened, refused, schema, splits_of

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp"))  # files of other names are pictures if they begin as one
MOST = 20_000_000  # bytes of one image, unpacked
MOST_TABLES = 100_000_000_000  # bytes of all Parquet files, unpacked
SPARE = 50_000_000  # bytes that stay free where they are unpacked
MOST_FILES = 2_000_000


class _Member(NamedTuple):
    """A file of a zip, and the words that may name its split where its folders do not."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    words: tuple[str, ...]
    splits: frozenset[tuple[str, ...]] = frozenset()  # folders of the zip that are splits, as parts of their paths

    @property
    def path(self) -> PurePosixPath:
        return PurePosixPath(self.info.filename.replace("\\", "/"))

    @property
    def split(self) -> str:
        folders = self.path.parts[:-1]
        own = next((name for depth, name in enumerate(folders, 1) if folders[:depth] in self.splits), None)
        return (split_named([own]) if own else split_named(self.words)) or "train"

    @property
    def is_called_picture(self) -> bool:
        return self.path.suffix.lower() in PICTURES

    @property
    def folder(self) -> str:
        """The folder that it lies in; none where that is a split."""
        folder, _ = place(self.info.filename)
        return "" if self.path.parts[:-1] in self.splits else folder


class _Row(NamedTuple):
    """A file, whether it is a picture, and the index of its class."""

    file: _Member
    picture: bool
    label: int | None


def open_zips(paths: Sequence[Path], chosen: Chosen) -> Opened:
    """The images, or the rows of the Parquet files, of these zips. Raises InvalidData or InvalidRequest."""
    every: list[_Member] = []
    try:
        for path in paths:
            archive, words = zipfile.ZipFile(path), _words(path.stem) if len(paths) > 1 else ()
            every += [_Member(archive, info, words) for info in sorted(members(archive), key=lambda info: info.filename)]
    except Exception as error:  # zipfile raises ten kinds of error over a damaged file
        raise refused(chosen.place, error) from error
    if len(every) > MOST_FILES:
        raise InvalidRequest(f"The zip {chosen.place!r} holds {len(every):,} files; allowed: at most {MOST_FILES:,}. Split it.")
    tables = [file for file in every if file.path.suffix.lower() == ".parquet"]
    if tables and not any(file.is_called_picture for file in every):
        return _tables(tables, chosen)
    return _images(every, chosen)


def _splits(every: Sequence[_Member]) -> frozenset[tuple[str, ...]]:
    """Folders that are splits: those called as one, beside a folder that is called as another."""
    beside: dict[tuple[str, ...], dict[str, str]] = {}
    for file in every:
        folders = file.path.parts[:-1]
        for depth, name in enumerate(folders):
            if split := split_named([name]):
                beside.setdefault(folders[:depth], {})[name] = split
    return frozenset((*above, name) for above, named in beside.items() if len(set(named.values())) > 1 for name in named)


def _words(stem: str) -> tuple[str, ...]:
    return tuple(re.split(r"[-_.]", stem))


def _images(every: Sequence[_Member], chosen: Chosen) -> Opened:
    pictures = [file.is_called_picture or form_of(begins(file.archive, file.info)) is not None for file in every]
    if not any(pictures):
        raise InvalidData(
            f"The zip {chosen.place!r} holds {len(every)} files, none an image; allowed: folders of JPEG, PNG, WebP or BMP images, "
            "or Parquet files."
        )
    splits = _splits([file for file, picture in zip(every, pictures, strict=True) if picture])
    every = [file._replace(splits=splits) for file in every]
    for file in every:
        readable(file.info)
    if asked := {name: value for name, value in chosen.options.items() if name != "image" or value != "image"}:
        raise InvalidRequest(f"A zip of images has the column image and takes no {', '.join(asked)}; leave it out.")
    classes = [file.folder if picture else "" for file, picture in zip(every, pictures, strict=True)]
    names = tuple(sorted({name for name in classes if name}))
    which = {name: index for index, name in enumerate(names)}
    rows: dict[str, list[_Row]] = {}
    for file, picture, name in zip(every, pictures, classes, strict=True):
        rows.setdefault(file.split, []).append(_Row(file, picture, which.get(name)))
    return Opened({"label": Named(names)} if len(names) > 1 else {}, lambda: _slabs(rows), lambda names: _parts(rows))


def _slabs(rows: Mapping[str, Sequence[_Row]]) -> Iterator[Slab]:
    for split, every in rows.items():
        for start in range(0, len(every), SLAB):
            part = every[start : start + SLAB]
            yield Slab(split, [_encoded(row) for row in part], {"label": [row.label for row in part]})


def _parts(rows: Mapping[str, Sequence[_Row]]) -> Iterator[Part]:
    for split, every in rows.items():
        pictures = [row for row in every if row.picture]
        yield Part(split, len(pictures), {"label": [row.label for row in pictures]})


def _encoded(row: _Row) -> Encoded:
    """A picture as what reads it when its turn comes: no two need be in memory."""
    name = "/".join(part for part in place(row.file.info.filename) if part)
    return Encoded(name, partial(_content, row.file) if row.picture else ValueError("none of JPEG, PNG, WebP and BMP"))


def _content(file: _Member) -> bytes:
    try:
        content = member(file.archive, file.info, MOST)
    except InvalidData:
        raise
    except Exception as error:  # zipfile and zlib raise what they like over damaged data
        raise ValueError("damaged in the zip") from error
    if content is None:
        raise ValueError(f"more than {MOST:,} bytes")
    return content


def _room(needed: int, place: str) -> int:
    """Bytes that Parquet files may unpack to, which are read from copies. Raises InvalidRequest before the first is written."""
    folder = gettempdir()
    free = shutil.disk_usage(folder).free - SPARE
    if needed > min(MOST_TABLES, free):
        raise InvalidRequest(
            f"The Parquet files in the zip {place!r} unpack to {needed:,} bytes; allowed: at most {MOST_TABLES:,}, and there is room for "
            f"{max(0, free):,} in {folder}. Unpack it yourself and give the folder, or set TMPDIR to a larger disk."
        )
    return needed


def _tables(tables: Sequence[_Member], chosen: Chosen) -> Opened:
    found: dict[str, list[Any]] = {}
    for file in tables:
        if not begins(file.archive, file.info).startswith(b"PAR1"):
            raise InvalidData(f"The zip {chosen.place!r} cannot be opened ({file.path.name} is no Parquet file); pack the folder anew.")
    left = _room(sum(file.info.file_size for file in tables), chosen.place)
    try:
        for file in tables:
            split = split_named((*file.path.parts[:-1], *_words(file.path.stem), *file.words)) or "train"
            unzipped = TemporaryFile(suffix=".parquet")  # noqa: SIM115 - gone when the data set is
            unpacked(file.archive, file.info, unzipped, left)
            left -= unzipped.tell()
            found.setdefault(split, []).append(unzipped)
        rows = {name: ParquetRows(files, schema(files[0])) for name, files in found.items()}
    except (InvalidData, InvalidRequest):
        raise
    except Exception as error:  # pyarrow and zipfile
        raise refused(chosen.place, error) from error
    return opened(splits_of(rows, chosen), chosen)
