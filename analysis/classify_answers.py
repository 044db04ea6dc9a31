"""What a worker answers about an image's class: the race of the candidates, step by step, and what it will cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import diffusion_classifier as classifier
from .backends.base import Backend
from .classified import check, classes
from .errors import InvalidRequest
from .lane import Answer, Question, Steps, Teller
from .own import pack
from .scene import Scene
from .steps import relay

STEP = 0.2  # seconds of passes between two answers


class ClassifyAnswers:
    """The answers by name."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._paces: dict[tuple[str, str], float] = {}  # seconds of a pass, by model and the kind of its condition
        self.answers: dict[str, Teller] = {"classify": self.classify, "classify-cost": self.cost}

    def classify(self, question: Question, data: bytes) -> Steps:
        """The first image's race (classified.Classified), and what there is of it so far after every look. Raises InvalidRequest."""
        model, image, candidates = self._asked(question, data)
        way = classifier.classifying(
            model,
            image,
            candidates,
            sigmas=classifier.levels_of(model, _whole(question, "levels")),
            draws=_whole(question, "draws"),
            seed=int(question.get("seed", 0)),
        )
        found = yield from relay(way, lambda step: self._so_far(step, len(candidates)), STEP)
        return {"found": found.facts()}, pack(found.arrays())

    def cost(self, question: Question, data: bytes) -> Answer:
        """Passes at most, and seconds of one, timed once a model."""
        model, image, candidates = self._asked(question, data)
        levels, draws = classifier.levels_of(model, _whole(question, "levels")), _whole(question, "draws")
        name = (model.card.identity, candidates[0].partition(":")[0])
        if name not in self._paces:
            self._paces[name] = classifier.seconds(model, image, candidates[0])
        return {"passes": len(candidates) * len(levels) * draws, "pace": self._paces[name]}, b""

    def _asked(self, question: Question, data: bytes) -> tuple[Backend, np.ndarray, Sequence[str]]:
        model = self.scene.model(question)
        candidates = [str(name) for name in question.get("candidates") or classes(model.card)]
        check(model.card, candidates)
        return model, self.scene.given(data)[0], candidates

    @staticmethod
    def _so_far(step: classifier.Step, count: int) -> Answer:
        left = f"{step.left:,} of {count:,} candidates are left" if step.left < count else f"{count:,} candidates"
        told: dict[str, Any] = {"done": step.done, "of": step.of, "doing": f"{step.done:,} passes made; {left} …"}
        if step.found is None:
            return told, b""
        return {**told, "draws": int(step.found.race.taken.max()), "found": step.found.facts()}, pack(step.found.arrays())


def _whole(question: Question, name: str) -> int:
    """A whole number from 1 of a question. Raises InvalidRequest."""
    value = question.get(name)
    if not isinstance(value, int) or value < 1:
        raise InvalidRequest(f"{name} is {value!r}; allowed: a whole number from 1.")
    return value
