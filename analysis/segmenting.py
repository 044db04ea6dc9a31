"""What a worker tells of segments: from strokes, without any, over noise levels, and the masks that a data set knows."""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load

from . import label_images, overlap
from .datasets import open_dataset, plugins
from .datasets.base import image_ids
from .errors import InvalidRequest
from .label_images import VOID
from .lane import Answer, Question, Steps, Teller
from .own import pack
from .scene import Scene
from .segmentation import Kept, Reading
from .segments import Progress, clusters, confusions, over_levels, segment, to_score
from .steps import relay

STEP = 0.2  # seconds of work between two answers
DRAWS = 16  # of ε, at most
Found = TypeVar("Found")


class Segmenting:
    """The answers by name; maps of the last images are kept, so that another stroke needs no pass."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self._kept = scene, Kept()
        self._dataset = lru_cache(maxsize=1)(open_dataset)
        self.answers: dict[str, Teller] = {
            "segment": self.segment,
            "segment-clusters": self.clusters,
            "segment-levels": self.levels,
            "segment-masks": self.masks,
        }

    def segment(self, question: Question, data: bytes) -> Steps:
        """Segments (n, side, side) and their certainty from strokes on some images; how they meet true masks where there are."""
        images, labels, truth, classes = self._given(question, data)
        reading = self._reading(question)
        found = yield from _said(segment(reading, images, labels, classes, self._kept))
        told: dict[str, Any] = {
            "unpainted": label_images.unpainted(labels, classes),
            "painted": [int((labels == k).sum()) for k in range(classes)],
        }
        if left := _scored(labels, truth):
            rows, true = left
            told["overlap"] = overlap.overlap(confusions(found.labels[rows], true, classes)[None]).to_dict()
        return told, pack({"labels": found.labels, "certainty": found.certainty})

    def clusters(self, question: Question, data: bytes) -> Steps:
        """Segments of images without strokes, numbered from the largest."""
        images = self.scene.given(data)
        found = yield from _said(clusters(self._reading(question), images, int(question.get("k", 2)), self._kept))
        return {}, pack({"labels": found.labels})

    def levels(self, question: Question, data: bytes) -> Steps:
        """How segments from the same strokes meet true masks at each level by itself (overlap.Overlap), and what that says."""
        images, labels, truth, classes = self._given(question, data)
        reading = self._reading(question)
        found = overlap.overlap((yield from _said(over_levels(reading, images, labels, truth, classes, self._kept))))
        sigmas = list(reading.sigmas)
        return {**found.to_dict(), "sigmas": sigmas, "sentence": overlap.sentence(found, sigmas, _blocks(reading))}, b""

    def masks(self, question: Question, data: bytes) -> Answer:
        """The true masks (n, side, side) of those images that are in a data set which knows them, 255 elsewhere; class names, or none."""
        images = np.stack(list(self.scene.given(data)))
        name, masks = str(question.get("dataset", "")), np.full(images.shape[:3], VOID, np.uint8)
        if name.partition(":")[0] not in plugins():  # what lies in a folder or was fetched has none
            return {"names": []}, pack({"masks": masks})
        dataset, ids = self._dataset(name, images.shape[1]), image_ids(images)
        known = np.isin(ids, dataset.ids)
        told = dataset.masks(ids[known])
        if told is not None:
            masks[known] = told[1]
        return {"names": list(told[0]) if told and known.any() else []}, pack({"masks": masks})

    def _reading(self, question: Question) -> Reading:
        """What pixels are read with. Raises UnknownName or InvalidRequest."""
        draws = int(question.get("draws", 1))
        if not 1 <= draws <= DRAWS:
            raise InvalidRequest(f"draws is {draws}; allowed: 1 to {DRAWS} draws of ε.")
        blocks, sigmas = (str(name) for name in question["blocks"]), (float(sigma) for sigma in question["sigmas"])
        return Reading(self.scene.model(question), tuple(blocks), tuple(sigmas), draws, int(question.get("seed", 0)))

    def _given(self, question: Question, data: bytes) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, int]:
        """Images, strokes and true masks (n, side, side), 255 where there are none, and how many classes. Raises InvalidRequest."""
        arrays, images = load(data), list(self.scene.given(data))
        nothing = np.full((len(images), *images[0].shape[:2]), VOID, np.uint8)
        labels, truth, classes = arrays.get("labels", nothing), arrays.get("truth", nothing), int(question.get("classes", 2))
        label_images.check(labels, nothing.shape, classes)
        if truth.shape != nothing.shape or truth.dtype != np.uint8:
            raise InvalidRequest(f"The masks are {truth.shape} {truth.dtype}; allowed for these images: {nothing.shape} uint8.")
        if (truth[truth != VOID] >= classes).any():
            given = int(truth[truth != VOID].max())
            raise InvalidRequest(f"A mask has class {given}; allowed: 0 to {classes - 1}. Add a class, or give another mask.")
        return images, labels, truth, classes


def _scored(labels: np.ndarray, truth: np.ndarray) -> tuple[list[int], np.ndarray] | None:
    """What there is to score, None where there is nothing."""
    return to_score(labels, truth) if ((labels == VOID) & (truth != VOID)).any() else None


def _said(way: Generator[Progress, None, Found]) -> Generator[Answer, None, Found]:
    return relay(way, lambda step: ({"done": step[0], "of": step[1]}, b""), STEP)


def _blocks(reading: Reading) -> str:
    return f"block{'s' if len(reading.blocks) > 1 else ''} {', '.join(reading.blocks)}"
