"""What a worker tells of images under a model that needs no run: which images there are to begin with, and the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from safetensors.numpy import load

from .backends.base import Backend
from .datasets import open_dataset
from .datasets.base import Dataset
from .errors import InvalidRequest
from .lane import Answer, Question, Teller
from .own import Own, pack

MOST = 24  # images to begin with


class Scene:
    """Models and images by name; a model that the worker has open is used again."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self.answers: dict[str, Teller] = {"images": self.images}
        self._dataset = lru_cache(maxsize=2)(self._open)

    def model(self, question: Question) -> Backend:
        """The model that a question names. Raises UnknownName, DamagedFile or InvalidRequest."""
        return self.own.opened(str(question.get("backend", "")))

    @staticmethod
    def given(data: bytes) -> Sequence[np.ndarray]:
        """The images (n, side, side, 3) uint8 that came with a question. Raises InvalidRequest."""
        images = load(data).get("images")
        if images is None or images.ndim != 4 or not len(images):
            raise InvalidRequest("A question about images came with none; allowed: at least one.")
        return list(images)

    def images(self, question: Question, data: bytes) -> Answer:
        """Test images of a data set, as the model reads them: at most `MOST`, of classes in turn where it has some, and the class of each."""
        model = self.model(question)
        dataset = self._dataset(str(question.get("dataset", "")), model.card.resolution)
        labels = next((found for found in dataset.label_sets.values() if found.numbers is None), None)
        test = dataset.members("test", None, labels)
        if labels is None:
            return {"names": [""] * len(test[:MOST])}, pack({"images": dataset.images[dataset.rows(test[:MOST])]})
        values = labels.values[dataset.rows(test)]
        turns = [np.flatnonzero(values == k) for k in range(len(labels.classes))]
        chosen = [int(turn[i]) for i in range(MOST) for turn in turns if i < len(turn)][:MOST]
        return {"names": [labels.classes[values[i]] for i in chosen]}, pack({"images": dataset.images[dataset.rows(test[chosen])]})

    @staticmethod
    def _open(name: str, side: int) -> Dataset:
        return open_dataset(name, side)
