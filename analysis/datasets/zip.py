"""Images in a zip: of one folder a class, or of Parquet files as the hub keeps them; nothing is unpacked to a path that the zip names.

Folders (or, of Parquet files, first words of names) called train, validation (val, valid, dev) and test are splits; the folder that an
image lies in is its class. Licence and source are each data set's own.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import Any

from ..containers import member, members, place, unpacked
from ..errors import InvalidData, InvalidRequest
from ._columns import Named
from ._streamed import SLAB, Encoded, Opened, Slab, Streamed, files_of, split_named
from ._tables import ParquetRows, opened, refused, schema, splits_of

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
MOST = 100_000_000  # bytes of one image, unpacked
MOST_TABLE = 100_000_000_000  # bytes of one Parquet file, unpacked


class Zip(Streamed):
    """`argument` is the path of the zip, with columns chosen after a question mark as of any table."""

    name = "zip"

    def state(self) -> Any:
        path = Path(self.chosen.place).expanduser()
        if not path.is_file():
            raise InvalidRequest(f"There is no zip {self.chosen.place!r}; give the path of one.")
        self.name = path.name
        return files_of(path)

    def open(self) -> Opened:
        try:
            self._archive = zipfile.ZipFile(Path(self.chosen.place).expanduser())
            every = sorted(members(self._archive), key=lambda info: info.filename)
        except Exception as error:  # zipfile raises ten kinds of error over a damaged file
            raise refused(self.chosen.place, error) from error
        tables = [info for info in every if info.filename.lower().endswith(".parquet")]
        pictures = [info for info in every if PurePosixPath(info.filename).suffix.lower() in PICTURES]
        if tables and not pictures:
            return self._tables(tables)
        if not pictures:
            raise InvalidData(
                f"The zip {self.chosen.place!r} holds {len(every)} files, none an image; allowed: folders of images, or Parquet files."
            )
        if asked := {name: value for name, value in self.chosen.options.items() if name != "image" or value != "image"}:
            raise InvalidRequest(f"A zip of images has the column image and takes no {', '.join(asked)}; leave it out.")
        classes = [_class(info) for info in pictures]
        names = tuple(sorted({name for name in classes if name}))
        return Opened({"label": Named(names)} if len(names) > 1 else {}, lambda: self._slabs(pictures, classes, names))

    def _slabs(self, pictures: Sequence[zipfile.ZipInfo], classes: Sequence[str], names: Sequence[str]) -> Iterator[Slab]:
        which = {name: index for index, name in enumerate(names)}
        splits = [split_named(PurePosixPath(info.filename).parts[:-1]) or "train" for info in pictures]
        for split in dict.fromkeys(splits):
            rows = [index for index, name in enumerate(splits) if name == split]
            for start in range(0, len(rows), SLAB):
                part = rows[start : start + SLAB]
                yield Slab(split, [self._picture(pictures[i]) for i in part], {"label": [which.get(classes[i]) for i in part]})

    def _picture(self, info: zipfile.ZipInfo) -> Encoded:
        _, name = place(info.filename)
        try:
            content = member(self._archive, info, MOST)
        except InvalidData:
            raise
        except Exception:  # zipfile and zlib raise what they like over damaged data
            return Encoded(name, ValueError("damaged in the zip"))
        return Encoded(name, ValueError(f"more than {MOST:,} bytes") if content is None else content)

    def _tables(self, tables: Sequence[zipfile.ZipInfo]) -> Opened:
        found: dict[str, list[Any]] = {}
        try:
            for info in tables:
                path = PurePosixPath(info.filename)
                split = split_named(path.parts[:-1]) or split_named(re.split(r"[-_.]", path.stem)) or "train"
                file = TemporaryFile(suffix=".parquet")  # noqa: SIM115 - gone when the data set is
                unpacked(self._archive, info, file, MOST_TABLE)
                found.setdefault(split, []).append(file)
            rows = {name: ParquetRows(files, schema(files[0])) for name, files in found.items()}
        except (InvalidData, InvalidRequest):
            raise
        except Exception as error:  # pyarrow and zipfile
            raise refused(self.chosen.place, error) from error
        return opened(splits_of(rows, self.chosen), self.chosen)


def _class(info: zipfile.ZipInfo) -> str:
    """The folder that an image lies in; none where that is a split."""
    folder, _ = place(info.filename)
    return "" if split_named([folder]) else folder


plugin = Zip
