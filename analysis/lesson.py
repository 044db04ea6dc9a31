"""What may be taught with a handful of images, and labelled files as named boxes of them. Nothing is written to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import uploads
from .containers import form_of, place
from .errors import InvalidData, InvalidRequest

MOST = 200  # images
CLASSES = 10  # as many as digits and CIFAR-10 have
DRAWS = 5  # of noise; fewer leave the interval wide
FEW, FOLDS = 20, 5  # up to FEW images each is left out in turn, beyond in FOLDS folds
LONGEST = 40  # letters of a name


@dataclass(frozen=True)
class LabelledSet:
    """Images of one size by class, each {name: (side, side, 3) uint8}, and (file, why) of those that were left out."""

    classes: Mapping[str, Mapping[str, np.ndarray]] = field(repr=False)
    skipped: Sequence[tuple[str, str]]


def check(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raises InvalidData for too many images, too few classes or images of one, two classes of one name, or one without."""
    counts = np.bincount(labels, minlength=len(classes)) if len(labels) else np.zeros(len(classes), int)
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InvalidData(f"The classes are {', '.join(map(repr, classes)) or 'none'}; allowed: two or more with different names.")
    if "" in classes:
        raise InvalidData(f"A class has no name; allowed: 1 to {LONGEST} letters. Give it one.")
    if len(classes) > CLASSES:
        raise InvalidData(f"There are {len(classes)} classes; allowed: at most {CLASSES}. Measure a larger data set on the Curve page.")
    if counts.min() < 2:
        few = int(counts.min())
        raise InvalidData(
            f"Class {classes[int(counts.argmin())]!r} has {few} {'image' if few == 1 else 'images'}; allowed: at least two, so that one can "
            "test the others. Add some."
        )
    if len(labels) > MOST:
        raise InvalidData(f"There are {len(labels)} images; allowed: at most {MOST}. Measure a larger data set on the Curve page.")


def folds(counts: Sequence[int]) -> int:
    """In how many folds images are scored, of so many a class; as many as there are images where each is left out in turn."""
    return sum(counts) if sum(counts) <= FEW else min(FOLDS, *counts)


def tidy(name: str) -> str:
    """A class's name without control characters and Markdown's marks, not too long; "" where nothing is left."""
    return " ".join("".join(letter for letter in name if letter.isprintable() and letter not in uploads.MARKS).split())[:LONGEST].strip()


def of_files(files: uploads.Files, side: int) -> LabelledSet:
    """The middle square of each picture, as (side, side, 3), by the folder that it lies in; one after the other, so that only
    one is held as large as it came. What is no picture, in no folder or there before is left out, and said.

    Raises InvalidRequest for more than uploads.MAX_FILES files, InvalidData for fewer than two classes or more than CLASSES.
    """
    files = [(path, data) for path, data in files if not place(path)[1].startswith(".")]  # what systems put into folders
    if len(files) > uploads.MAX_FILES:
        raise InvalidRequest(f"{len(files)} files were given; allowed: at most {uploads.MAX_FILES} at once. Leave some out.")
    named = uploads.labelled(files)
    if len(named) > CLASSES:
        raise InvalidData(f"There are images in {len(named)} folders; allowed: at most {CLASSES} classes. Leave some out.")
    classes: dict[str, dict[str, np.ndarray]] = {}
    skipped = [(path, _unfit(path, data)) for path, data in files if not (place(path)[0] and form_of(data))]
    before: dict[bytes, str] = {}
    for number, (folder, members) in enumerate(named.items(), start=1):
        name = tidy(folder)
        images = classes.setdefault(name if name and name not in classes else f"Class {number}", {})
        for path, data in members:
            try:
                pixels = uploads.frame(uploads.read(data).pixels, side)
            except InvalidData as error:
                skipped.append((path, str(error)))
                continue
            if (like := before.setdefault(pixels.tobytes(), path)) is not path:
                skipped.append((path, f"At {side}×{side} pixels it is the same picture as {like}."))
                continue
            images[path if path not in images else f"{path} ({len(images) + 1})"] = pixels
    return LabelledSet(classes, skipped)


def _unfit(path: str, data: bytes) -> str:
    if form_of(data):
        return "It lies in no folder, so its class is not known; put it into one."
    return f"It is none of {', '.join(uploads.FORMATS)}; save it as one of them."
