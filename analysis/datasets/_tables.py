"""Tables of encoded images: the column that is read, and rows a few at a time, whatever a file's row groups (the hub writes 50,000 as one)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ..errors import InvalidData
from ._columns import Chosen
from ._streamed import SLAB, SPLITS, Encoded, Opened, Part, Slab

BUFFER = 1 << 20  # bytes of a column that are read ahead
LABELS = 10_000  # rows without images that are read at once
Rows = Any  # of the `datasets` library, or ParquetRows: both have `features`, `cast_column`, `select_columns` and `iter`


def schema(file: Any) -> Any:
    """The columns of a Parquet file as the `datasets` library has them."""
    from datasets import Features

    return Features.from_arrow_schema(pq.read_schema(file))


class ParquetRows:
    """What the library's own data sets have of which use is made here, of local files (paths, or open ones)."""

    def __init__(self, files: Sequence[Any], features: Any) -> None:
        self.files, self.features = files, features

    def cast_column(self, name: str, kind: Any) -> ParquetRows:
        """The same rows: images are bytes as they lie in the file."""
        return self

    def select_columns(self, names: Sequence[str]) -> ParquetRows:
        """The same rows with these columns alone."""
        return ParquetRows(self.files, {name: self.features[name] for name in names})

    def iter(self, batch_size: int) -> Iterator[dict[str, list[Any]]]:
        """Slabs of at most `batch_size` rows, each column a list; None where a file lacks it."""
        for source in self.files:
            with pq.ParquetFile(source, pre_buffer=False, buffer_size=BUFFER) as file:
                for batch in file.iter_batches(batch_size, columns=list(self.features)):
                    yield {name: [None] * len(batch) for name in self.features} | batch.to_pydict()


def splits_of(found: Mapping[str, Rows], chosen: Chosen) -> dict[str, Rows]:
    """The splits that are used, by what they are used as. Raises InvalidData where one is not there or all are empty."""
    named = {name: chosen.options.get(name, name) for name in SPLITS}
    for name, asked in named.items():
        if name in chosen.options and asked not in found:
            raise InvalidData(f"{chosen.place!r} has no split {asked!r}; its splits are {', '.join(found)}.")
    splits = {name: found[asked] for name, asked in named.items() if asked in found and getattr(found[asked], "num_rows", None) != 0}
    if not splits:
        raise InvalidData(
            f"{chosen.place!r} has the splits {', '.join(found)}; allowed: at least one of {', '.join(SPLITS)}, with images in it."
        )
    return splits


def opened(splits: Mapping[str, Rows], chosen: Chosen, roots: Sequence[str] = ()) -> Opened:
    """The chosen column of images, else the first, and the other columns; files that rows mention are read below `roots` alone.

    Raises InvalidData, also while slabs are taken: a file may be damaged behind its first rows.
    """
    kinds = next(iter(splits.values())).features
    pictures = [name for name, kind in kinds.items() if _is_image(kind)]
    column = chosen.options.get("image") or next(iter(pictures), None)
    if column is None or column not in pictures:
        asked = f"no column of images {column!r}" if column else "no column of images"
        there = f"; here {', '.join(pictures)}" if pictures else ""
        raise InvalidData(
            f"{chosen.place!r} has {asked}; its columns are {', '.join(kinds)}: allowed are encoded images, as bytes or as the "
            f"library's Image{there}."
        )
    others = {name: kind for name, kind in kinds.items() if name != column}
    first = (column, *(name for name in pictures if name != column))
    return Opened(
        others, lambda: _slabs(splits, column, chosen.place, roots), lambda names: _rows(splits, column, chosen.place, names), first
    )


def _rows(splits: Mapping[str, Rows], column: str, place: str, names: Sequence[str]) -> Iterator[Part]:
    from datasets import Image

    for split, part in splits.items():
        counted = list(names) or [column]  # of images alone there is nothing else to count
        rows = (part if names else part.cast_column(column, Image(decode=False))).select_columns(counted)
        for table in _tables(rows, LABELS if names else SLAB, place):
            yield Part(split, len(table[counted[0]]), {name: table[name] for name in names})


def _tables(rows: Rows, count: int, place: str) -> Iterator[Mapping[str, Sequence[Any]]]:
    """So many rows at a time. Raises InvalidData."""
    tables = rows.iter(count)
    while True:
        try:
            table = next(tables, None)
        except Exception as error:  # the libraries raise a dozen unrelated types
            raise refused(place, error) from error
        if table is None:
            return
        yield table


def _slabs(splits: Mapping[str, Rows], column: str, place: str, roots: Sequence[str]) -> Iterator[Slab]:
    from datasets import Image

    for split, part in splits.items():
        for table in _tables(part.cast_column(column, Image(decode=False)), SLAB, place):
            yield Slab(split, [_encoded(given, roots) for given in table[column]], table)


def refused(place: str, error: Exception) -> InvalidData:
    """One sentence of what a library raised."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InvalidData(
        f"The data set {place!r} cannot be opened ({reason}); give a hub id, a folder of class folders or Parquet files, a Parquet file, "
        "or a zip of either."
    )


def _is_image(kind: Any) -> bool:
    """Whether a column is of images: the library's own type, bytes, or bytes with a path."""
    if isinstance(kind, Mapping):
        return set(kind) == {"bytes", "path"}
    return type(kind).__name__ == "Image" or getattr(kind, "dtype", None) in ("binary", "large_binary")


def _encoded(given: Any, roots: Sequence[str]) -> Encoded:
    """What Pillow is to open: the bytes, or a file below one of these folders; never a path that a table merely mentions."""
    given = {"bytes": given} if isinstance(given, bytes) else given or {}
    path = given.get("path") or ""
    name = Path(path or "an image").name
    if given.get("bytes"):
        return Encoded(name, given["bytes"])
    if given.get("bytes") is None and any(os.path.realpath(path).startswith(root + os.sep) for root in roots):
        return Encoded(name, path)
    return Encoded(name, ValueError("no image data"))
