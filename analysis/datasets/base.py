"""What a data set is: images by id, a split that does not depend on labels, and any number of label sets."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InvalidData, InvalidRequest, UnknownName

Split = Literal["train", "validation", "test"]
SHARES: dict[Split, float] = {"train": 0.5, "validation": 0.1, "test": 0.4}


@dataclass(frozen=True)
class LabelSet:
    """Labels of every image of a data set: values (N,) int64 index `classes`."""

    name: str
    classes: tuple[str, ...]
    values: np.ndarray
    kind: Literal["class"] = "class"


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


class Dataset(ABC):
    """Images (N, H, W, 3) uint8 and what is known of them. A plug-in gives `name` and `load`."""

    name: str

    @abstractmethod
    def load(self) -> tuple[np.ndarray, dict[str, tuple[tuple[str, ...], np.ndarray]]]:
        """Images (N, H, W, 3) uint8, and for each label set its class names and values (N,)."""

    def __init__(self) -> None:
        images, labels = self.load()
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not images.size:
            raise InvalidData(
                f"Data set {self.name!r} gave images of shape {images.shape} and type {images.dtype}; "
                "allowed: (N, H, W, 3) uint8 with N, H and W above 0."
            )
        ids, first = np.unique(image_ids(images), return_index=True)  # the same picture twice is one image
        self.duplicates = len(images) - len(ids)
        self.ids = ids
        self.images = images[first]
        self.split = split_by_id(ids)
        self.label_sets = {name: LabelSet(name, classes, np.asarray(values)[first]) for name, (classes, values) in labels.items()}
        rule = ",".join(f"{split}:{share}" for split, share in SHARES.items())
        self.identity = hashlib.sha256(ids.tobytes() + rule.encode()).hexdigest()[:16]

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Where these ids (n,) are; ids are sorted. Raises InvalidData for one that is not there."""
        place = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        if not np.array_equal(self.ids[place], ids):
            raise InvalidData(f"Data set {self.name!r} lacks {int((self.ids[place] != ids).sum())} of the images asked for.")
        return place

    def members(self, split: Split, limit: int | None = None) -> np.ndarray:
        """Ids (n,) of a split, the first `limit` in the order of the ids.

        Raises InvalidRequest if there are fewer than `limit`.
        """
        members = self.ids[self.split == split]
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
