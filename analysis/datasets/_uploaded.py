"""A labelled folder that came through a browser, as a data set: it belongs to one session, in memory, and no file is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np

from ..containers import place
from ..errors import InvalidData, InvalidRequest
from ..uploads import frame, read
from ._streamed import split_named
from .base import Dataset, Labels

MOST_FILES = 20_000
MOST_HELD = 1_000_000_000  # bytes of decoded images in all


class Uploaded(Dataset):
    """Images of files as (path, bytes), (side, side, 3) each: the folder that a file lies in is its class.

    Folders called train, validation and test are splits. Files in no folder, and those that hold no image, are listed in `skipped`.
    Whatever the bytes, each is told by its content and checked before it is decoded (uploads.read). `files` are read once, so that they
    may come one by one. Raises InvalidRequest for too many or too large ones, InvalidData for fewer than two classes.
    """

    def __init__(self, files: Iterable[tuple[str, bytes]], side: int, name: str = "your folder") -> None:
        if side < 1:
            raise InvalidRequest(f"The side is {side}; allowed: 1 pixel or more.")
        self.name, self._files, self._side = name, files, side
        super().__init__(name, side)

    def load(self) -> tuple[np.ndarray, Labels]:
        images: list[np.ndarray] = []
        classes: list[str] = []
        splits: list[str] = []
        skipped: list[str] = []
        most = min(MOST_FILES, MOST_HELD // (3 * self._side**2))
        for count, (path, data) in enumerate(self._files, 1):
            if count > most:
                raise InvalidRequest(
                    f"More than {most:,} files were given; allowed: so many at {self._side} × {self._side} pixels. Leave some out, or open "
                    "the folder by its path on this machine."
                )
            folder, name = place(path)
            if not folder or split_named([folder]):
                skipped.append(f"{name or 'a file'}: in no folder that names its class")
                continue
            try:
                picture = read(data)
            except InvalidData as error:
                skipped.append(f"{folder}/{name}: {error}")
                continue
            pixels = frame(picture.pixels, self._side)
            self.resized += picture.pixels.shape[:2] != pixels.shape[:2]
            images.append(pixels)
            classes.append(folder)
            splits.append(split_named(PurePosixPath(path.replace("\\", "/")).parts[:-2]) or "train")
        names = tuple(sorted(set(classes)))
        if len(names) < 2:
            found = f"all images lie in one folder, {names[0]!r}" if names else "no image lies in a folder"
            raise InvalidData(f"Among the files {found}; allowed: a folder of images for each of two or more classes.")
        self.skipped, given = tuple(skipped), np.asarray(splits)
        if not (given == "test").any():
            given = np.where(given == "validation", "test", given)
        self.given = given if {"train", "test"} <= set(given) else None
        return np.stack(images), {"label": (names, np.asarray([names.index(name) for name in classes], dtype=np.int64))}
