"""Data sets that are read slab by slab and decoded into a file once: nothing needs the whole of one in memory."""

from __future__ import annotations

import io
import json
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..containers import FORMATS
from ..errors import InvalidData
from ..uploads import frame, read
from . import _decoded
from ._columns import Chosen, Gathered, choose, only
from .base import Dataset, Labels, LabelSet, fit_square

SLAB = 64  # encoded images that are in memory at once: of photographs, some hundred megabytes
SPLITS = ("train", "validation", "test")
CALLED = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"} | {
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
VERSION = 3  # of the decoding: another one reads every source again


class Encoded(NamedTuple):
    """One image: its name for messages, and its bytes or the path of its file; a ValueError's sentence where there is neither.

    What gives the bytes of a stranger's file is asked for them when the image is wanted; they are checked before they are decoded.
    """

    name: str
    content: bytes | str | ValueError | Callable[[], bytes]


class Slab(NamedTuple):
    """Some rows of one split: encoded images and, by name, columns of as many values."""

    split: str
    images: Sequence[Encoded]
    columns: Mapping[str, Sequence[Any]]


class Part(NamedTuple):
    """Some rows of one split without their images: how many, and columns of as many values by name."""

    split: str
    rows: int
    columns: Mapping[str, Sequence[Any]]


class Opened(NamedTuple):
    """A source that was opened: types of its columns of labels, and its slabs from the first, as often as they are asked for.

    `rows` are all its rows with the columns of these names, and no image is read for it; `pictures` are the columns of images.
    """

    kinds: Mapping[str, Any]
    slabs: Callable[[], Iterator[Slab]]
    rows: Callable[[Sequence[str]], Iterator[Part]]
    pictures: tuple[str, ...] = ("image",)


def _image(content: bytes | str) -> Image.Image:
    """A stranger's image, not yet decoded."""
    return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS)


def decode(given: Encoded, side: int) -> tuple[np.ndarray | None, bool, str]:
    """Pixels (side, side, 3) uint8 or None, whether the image had another size, and why it cannot be read."""
    try:
        if isinstance(given.content, ValueError):
            raise given.content
        if callable(given.content):
            pixels = read(given.content()).pixels
            return frame(pixels, side), pixels.shape[:2] != (side, side), ""
        with _image(given.content) as image:
            return fit_square(image, side), image.size != (side, side), ""
    except Exception as error:  # each of Pillow's formats raises what it likes
        reason = "no image that can be read" if isinstance(error, UnidentifiedImageError) else (str(error).splitlines() or [repr(error)])[0]
        return None, False, f"{given.name}: {reason}"


class Streamed(Dataset):
    """A plug-in gives `state` and `open`; what comes out is kept in a file, and taken from there while the state is the same."""

    revision: str = ""  # of a source that has one: the commit that was read
    chosen: Chosen

    @abstractmethod
    def state(self) -> Any:
        """What tells, as JSON has it, whether the source is the one that was decoded: names, sizes and times of its files.

        May set `name` and `revision`. Raises InvalidData.
        """

    @abstractmethod
    def open(self) -> Opened:
        """The source, to be read through. Raises InvalidData."""

    def load(self) -> tuple[np.ndarray, Labels]:
        """Never asked for: the whole would be in memory."""
        raise NotImplementedError

    def __init__(self, argument: str = "", side: int | None = None, images: bool = True) -> None:
        """Without `images` none is read: `open` can be asked, for what the source holds."""
        self.argument, self.side, self.chosen = argument, side, choose(argument)
        source = [VERSION, json.loads(json.dumps(self.state()))]
        if not images:
            return
        place = Path(self.chosen.place).expanduser()
        where = str(place.resolve()) if place.exists() else self.chosen.place
        path = _decoded.place(json.dumps([type(self).__name__, where, self.chosen.options, side], sort_keys=True))
        kept = _decoded.read(path, source)
        if kept is None:
            self._decode(path, source, where)
            kept = _decoded.read(path, source)
            if kept is None:  # what was just written comes back another
                raise InvalidData(f"The decoded images of {argument!r} in {path.parent} changed while they were read; open them again.")
        self._take(kept)
        self.label_sets = only(self.label_sets, self.chosen.labels, self.chosen.place)

    def _decode(self, path: Path, source: Any, where: str) -> None:
        """Read every image once, and write what `_take` takes."""
        opened = self.open()
        side = self.side or edge(opened.slabs())
        gathered, skipped, splits, resized = Gathered(opened.kinds), [], [], 0
        with _decoded.writer(path, side) as writer:
            for slab in opened.slabs():
                done = [decode(image, side) for image in slab.images]
                good = np.asarray([pixels is not None for pixels, _, _ in done], dtype=bool)
                if good.any():
                    writer.add(np.stack([pixels for pixels, _, _ in done if pixels is not None]))
                gathered.add(slab.columns, good)
                splits.append(np.full(int(good.sum()), slab.split))
                skipped += [f"{slab.split}: {reason}" for _, _, reason in done if reason]
                resized += sum(other for _, other, _ in done)
            ids, given = writer.ids, np.concatenate(splits) if splits else np.zeros(0, str)
            if not len(ids):
                raise InvalidData(
                    f"None of the {len(skipped)} images of {self.argument!r} can be read; the first: {[*skipped, 'none'][0]}."
                )
            rows, labels = np.arange(len(ids)), gathered.labels()
            secret = _secret(given, labels)
            if secret.any():  # a benchmark whose answers are kept back
                skipped.append(f"{int(secret.sum())} test images, none with a label")
                rows, ids, given = rows[~secret], ids[~secret], given[~secret]
                labels = {name: (classes, values[~secret]) for name, (classes, values) in labels.items()}
            if not (given == "test").any() and (given == "validation").any():
                given = np.where(given == "validation", "test", given)
            self.given = given if {"train", "test"} <= set(given) else None
            first = self._arrange(ids, labels)
            arrays = {"ids": self.ids, "split": _numbered(self.split)}
            for index, labelled in enumerate(self.label_sets.values()):
                arrays[f"values/{index}"] = labelled.values
                if labelled.numbers is not None:
                    arrays[f"numbers/{index}"] = labelled.numbers
            sets = [[labelled.name, list(labelled.classes), labelled.kind] for labelled in self.label_sets.values()]
            facts = {
                "source": source,
                "place": where,
                "skipped": skipped,
                "resized": resized,
                "duplicates": self.duplicates,
                "labels": sets,
            }
            writer.keep(rows[first], arrays, {**facts, "identity": self.identity, "given": self.given is not None})

    def _take(self, kept: _decoded.Decoded) -> None:
        facts, arrays = kept.facts, kept.arrays
        self.images, self.ids, self.split = kept.images, arrays["ids"], np.asarray(SPLITS)[arrays["split"]]
        self.given = self.split if facts["given"] else None
        self.identity, self.skipped = facts["identity"], tuple(facts["skipped"])
        self.resized, self.duplicates = facts["resized"], facts["duplicates"]
        self.label_sets = {
            name: LabelSet(name, tuple(classes), arrays[f"values/{index}"], kind, arrays.get(f"numbers/{index}"))
            for index, (name, classes, kind) in enumerate(facts["labels"])
        }


def _numbered(split: np.ndarray) -> np.ndarray:
    return np.asarray([SPLITS.index(name) for name in split], dtype=np.uint8)


def _secret(given: np.ndarray, labels: Labels) -> np.ndarray:
    """Which images (N,) are test images of a set none of whose test images has a label."""
    if not labels:
        return np.zeros(len(given), dtype=bool)
    known = np.any([np.isfinite(values) if classes is None else values >= 0 for classes, values in labels.values()], axis=0)
    held_back = given == "test"
    return held_back if held_back.any() and not known[held_back].any() else np.zeros(len(given), dtype=bool)


def split_named(parts: Sequence[str]) -> str | None:
    """The split that one of these folders or words names, or None."""
    return next((CALLED[part.lower()] for part in parts if part.lower() in CALLED), None)


def files_of(place: Path) -> list[list[Any]]:
    """Names, sizes and times of a file, or of all files below a folder."""
    if place.is_file():
        return [stamp(place)]
    return sorted(stamp(Path(folder, name), place) for folder, _, names in os.walk(place) for name in names)


def stamp(path: Path, below: Path | None = None) -> list[Any]:
    """Name, size and times of a file; -1 where a link leads nowhere."""
    name = str(path.relative_to(below or path.parent))
    try:
        found = path.stat()
    except OSError:
        return [name, -1, -1, -1]
    return [name, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def edge(slabs: Iterator[Slab]) -> int:
    """The short edge of the first image that can be read."""
    seen = 0
    for slab in slabs:
        for given in slab.images[: 100 - seen]:
            if isinstance(given.content, ValueError):
                continue
            try:
                if callable(given.content):
                    return min(read(given.content()).pixels.shape[:2])
                with _image(given.content) as image:
                    return min(image.size)
            except Exception:  # each of Pillow's formats raises what it likes
                continue
        seen += len(slab.images)
        if seen >= 100:
            break
    raise InvalidData("None of the first 100 images can be read; check the files.")
