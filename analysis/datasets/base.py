"""What a data set is: images by id, a split that does not depend on labels, and any number of label sets."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from ..errors import InvalidData, InvalidRequest, UnknownName
from ..uploads import GREY

Split = Literal["train", "validation", "test"]
SHARES: dict[Split, float] = {"train": 0.5, "validation": 0.1, "test": 0.4}
OF_TRAIN = 0.1  # validation's share of the training images of a set that comes with a test split
Labels = Mapping[str, tuple[tuple[str, ...] | None, np.ndarray]]
BINS = 10  # parts of a continuous label set, each with as many images


@dataclass(frozen=True)
class LabelSet:
    """Labels of every image of a data set: values (N,) int64 index `classes`; -1 is an image without a label.

    Of a continuous set `numbers` (N,) are the labels, nan where there is none, and its classes are tenths of the images by size.
    """

    name: str
    classes: tuple[str, ...]
    values: np.ndarray
    kind: Literal["class", "continuous"] = "class"
    numbers: np.ndarray | None = None


def image_ids(images: np.ndarray) -> np.ndarray:
    """The first 64 bits of the SHA-256 of each image's shape and pixels; (N, H, W, 3) uint8 -> (N,) uint64."""
    shape = np.asarray(images.shape[1:], dtype=np.int64).tobytes()
    digests = [hashlib.sha256(shape + image.tobytes()).digest()[:8] for image in images]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def split_by_id(ids: np.ndarray) -> np.ndarray:
    """A split (N,) of `train`, `validation` or `test`: images in the order of their ids, cut at the shares.

    An id is a hash of the pixels, so this is a random split that needs no seed, the same on every machine.
    """
    rank = np.argsort(np.argsort(ids))
    edges = np.cumsum([SHARES["test"], SHARES["validation"]]) * len(ids)
    return np.asarray(["test", "validation", "train"])[np.searchsorted(edges, rank, side="right")]


def fit_square(image: Image.Image, side: int) -> np.ndarray:
    """The middle square of an image, upright, at side × side pixels, (side, side, 3) uint8; one that fits is left as it is.

    Raises ValueError for 32-bit images, whose range is not known.
    """
    image = ImageOps.exif_transpose(image)  # a photograph may say which side is up
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"images of mode {image.mode} have no known range of values")
    colour = image.convert("RGB")
    if image.has_transparency_data:  # as of a picture that a browser sends: transparent parts are mid-grey, not what lies beneath
        mask, upper = image.convert("RGBA").getchannel("A"), colour
        colour = Image.new("RGB", upper.size, (GREY, GREY, GREY))
        colour.paste(upper, mask=mask)
    if colour.size != (side, side):
        edge = min(colour.size)
        left, top = (colour.width - edge) // 2, (colour.height - edge) // 2
        colour = colour.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(colour)


class Dataset(ABC):
    """Images (N, H, W, 3) uint8 and what is known of them. A plug-in gives `name` and `load`.

    `argument` is what follows the plug-in's name and a colon; images of another size than `side`, where one is given, are
    cropped to their middle square and resized.
    """

    name: str
    licence: str | None = None
    skipped: tuple[str, ...] = ()  # images that could not be read, and why
    resized: int = 0  # images that were cropped or resized

    @abstractmethod
    def load(self) -> tuple[np.ndarray, Labels]:
        """Images (N, H, W, 3) uint8, and for each label set its class names and values (N,); without names the values are numbers.

        May set `given`: the split (N,) that the data come with, without which images are split by id.
        """

    given: np.ndarray | None = None

    def __init__(self, argument: str = "", side: int | None = None) -> None:
        self.argument, self.side = argument, side
        images, labels = self.load()
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not images.size:
            raise InvalidData(
                f"Data set {self.name!r} gave images of shape {images.shape} and type {images.dtype}; "
                "allowed: (N, H, W, 3) uint8 with N, H and W above 0."
            )
        target = side or min(images.shape[1:3])
        if images.shape[1:3] != (target, target):
            self.resized = len(images)
            images = np.stack([fit_square(Image.fromarray(image), target) for image in images])
        self.images = images[self._arrange(image_ids(images), labels)]

    def _arrange(self, every: np.ndarray, labels: Labels) -> np.ndarray:
        """Which of the images read, whose ids are `every` (N,), are kept, in the order of their ids; with split, identity and labels."""
        order = np.arange(len(every)) if self.given is None else np.argsort(self.given != "test", kind="stable")
        self.ids, first, which = np.unique(every[order], return_index=True, return_inverse=True)
        first, copies = order[first], (order, which)  # the same picture twice is one image, of the test split if one is
        self.duplicates = len(every) - len(self.ids)
        rule = ",".join(f"{split}:{share}" for split, share in SHARES.items())
        if self.given is None:
            self.split = split_by_id(self.ids)
        else:
            self.split = self._complete(self.given[first])
            if not (self.split == "train").any():
                raise InvalidData(f"Every training image of {self.name!r} is a test image too; give it others to train on.")
            rule = f"given,validation:{OF_TRAIN}:" + hashlib.sha256("".join(s[0:2] for s in self.split).encode()).hexdigest()
        self.identity = hashlib.sha256(self.ids.tobytes() + rule.encode()).hexdigest()[:16]
        self.label_sets = {
            name: self._labels(name, classes, np.asarray(values), first, copies) for name, (classes, values) in labels.items()
        }
        return first

    def _labels(
        self, name: str, classes: tuple[str, ...] | None, values: np.ndarray, first: np.ndarray, copies: tuple[np.ndarray, np.ndarray]
    ) -> LabelSet:
        if classes is None:
            return self._numbers(name, values.astype(np.float64), first, copies)
        if len(values) < len(first) or values.min() < -1 or values.max() >= len(classes):
            raise InvalidData(
                f"Label set {name!r} of {self.name!r} has {len(values)} values from {values.min()} to {values.max()} for {len(first)} "
                f"images and {len(classes)} classes; allowed: one from 0 to {len(classes) - 1} an image, or -1 for none."
            )
        kept, (order, which) = values[first].astype(np.int64), copies
        kept[which[values[order] != kept[which]]] = -1  # copies of one picture that disagree tell nothing
        return LabelSet(name, classes, kept)

    def _numbers(self, name: str, values: np.ndarray, first: np.ndarray, copies: tuple[np.ndarray, np.ndarray]) -> LabelSet:
        numbers, (order, which) = values[first].copy(), copies
        numbers[which[~np.isclose(values[order], numbers[which])]] = np.nan
        numbers[~np.isfinite(numbers)] = np.nan
        known = np.isfinite(numbers)
        if len(np.unique(numbers[known])) < BINS:
            raise InvalidData(f"Label set {name!r} of {self.name!r} has fewer than {BINS} different numbers; give them as classes.")
        edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1)))
        for digits in range(3, 18):
            classes = tuple(f"{low:.{digits}g} to {high:.{digits}g}" for low, high in pairwise(edges))
            if len(set(classes)) == len(classes):
                break
        place = np.searchsorted(edges[1:-1], numbers, side="right")
        return LabelSet(name, classes, np.where(known, place, -1).astype(np.int64), "continuous", numbers)

    def _complete(self, split: np.ndarray) -> np.ndarray:
        """The given split with a validation part: without one, the first tenth of the training images in the order of their ids."""
        split = split.astype("<U10")
        train = np.flatnonzero(split == "train")
        if not (split == "validation").any():
            split[train[: round(OF_TRAIN * len(train))]] = "validation"
        return split

    @staticmethod
    def number(what: str, given: str, default: int) -> int:
        """A whole number of an argument. Raises InvalidRequest."""
        if given and not (given.isdecimal() and int(given) >= (1 if what == "size" else 0)):
            raise InvalidRequest(f"{what} of the data set is {given!r}; allowed: a whole number.")
        return int(given) if given else default

    def fresh(self, seed: int, step: int, count: int) -> tuple[np.ndarray, Mapping[str, np.ndarray]] | None:
        """`count` images that are in no split and never come again, (count, H, W, 3) uint8, and their values (count,) in each label set.

        None where there is no such source.
        """
        return None

    def another(self, count: int, seed: int) -> Dataset | None:
        """A data set of `count` other images of the same kind, with labels; None where there is no such source."""
        return None

    def compose(self, labels: Mapping[str, str], seed: int) -> np.ndarray | None:
        """A new image (H, W, 3) uint8 with these labels, {label set: class}; None where the data set makes none."""
        return None

    def masks(self, ids: np.ndarray) -> tuple[tuple[str, ...], np.ndarray] | None:
        """Class names, and the class of every pixel of these images (n, side, side) uint8; None where the data set has no masks."""
        return None

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Where these ids (n,) are; ids are sorted. Raises InvalidData for one that is not there."""
        place = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        if not np.array_equal(self.ids[place], ids):
            raise InvalidData(f"Data set {self.name!r} lacks {int((self.ids[place] != ids).sum())} of the images asked for.")
        return place

    def members(self, split: Split, limit: int | None = None, labels: LabelSet | None = None) -> np.ndarray:
        """Ids (n,) of a split, of images that have a label where a label set is given, the first `limit` in the order of the ids.

        Raises InvalidRequest if there are fewer than `limit`.
        """
        here = self.split == split
        members = self.ids[here if labels is None else here & (labels.values >= 0)]
        if limit is not None and limit > len(members):
            raise InvalidRequest(f"{limit} {split} images were asked for; data set {self.name!r} has {len(members)}.")
        return members[:limit]

    def label_set(self, name: str | None = None) -> LabelSet:
        """A label set by name, or the first. Raises UnknownName or InvalidData."""
        if not self.label_sets:
            raise InvalidData(f"Data set {self.name!r} has no labels; choose one that has, or add a label set.")
        if name is None:
            return next(iter(self.label_sets.values()))
        if name not in self.label_sets:
            raise UnknownName("label set", name, self.label_sets)
        return self.label_sets[name]
