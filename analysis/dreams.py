"""Questions about samples on their way from noise: one that is watched, its forks, and when a thousand are settled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from .backends.base import Backend
from .decided import check, measuring
from .deciding import Asked, Fork, Trajectory, Watcher, ask
from .errors import InvalidRequest
from .lane import Answer, Question, Steps, Teller
from .noise import nearest
from .own import Own, pack
from .readout import softmax
from .sampling import seen, visited
from .steps import relay
from .studies import Study, find_study

BATCH = 16  # samples that go together: others who ask wait for no more
SAMPLES, FORKS, STEPS = 1000, 256, 1000  # at most


class Dreams:
    """The answers by name. `studies` are of one model, each with a question; `block` is theirs unless it is said."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self._asked = lru_cache(maxsize=16)(lambda key, version: ask(find_study(key, own.store.root)))
        self.answers: dict[str, Teller] = {
            "sample": self.sample,
            "fork": self.fork,
            "forks": self.forks,
            "decide": self.decide,
            "pace": self.pace,
        }

    def _studies(self, question: Question) -> tuple[list[Study], Backend]:
        studies = [find_study(str(key), self.own.store.root) for key in question.get("studies", ())]
        if not studies:
            raise InvalidRequest("studies is empty; allowed: at least one study of one model.")
        model = self.own.model(studies[0])
        for study in studies:
            if study.facts["receipt"]["revision"] != model.card.identity:
                raise InvalidRequest(f"{study.name} is of another model than {studies[0].name}; allowed: studies of one model.")
            check(study, model)
        return studies, model

    def _watcher(self, question: Question) -> Watcher:
        studies, model = self._studies(question)
        asked: list[Asked] = [self._asked(study.key, study.version) for study in studies]
        if block := question.get("block"):
            asked = [replace(one, block=str(block)) for one in asked]
        return Watcher(model, asked, question.get("sampler", "ddim"), _whole(question, "steps", 19, 2, STEPS), BATCH)

    def _sample(self, watcher: Watcher, question: Question) -> Trajectory:
        number = _whole(question, "number", 0, 0, SAMPLES - 1)
        (made,) = watcher.watch(range(number, number + 1), _seed(question))
        return made

    def sample(self, question: Question, data: bytes) -> Answer:
        """Sample `number` at every level, σ descending: noisy/clean (T, h, w, 3) uint8, told/… (T, K) by question, x0."""
        watcher = self._watcher(question)
        made = self._sample(watcher, question)
        assert made.noisy is not None
        assert made.clean is not None
        told = {f"told/{name}": softmax(reading.logits[:, 0]) for name, reading in made.readings.items()}
        asked = {
            one.name: {
                "classes": list(one.readout.classes),
                "block": one.block,
                "probed": made.readings[one.name].probed.tolist(),
                "outside": made.readings[one.name].outside.tolist(),
            }
            for one in watcher.asked
        }
        pictures = {"noisy": made.noisy[:, 0], "clean": made.clean[:, 0], "x0": seen(watcher.backend, torch.from_numpy(made.x0))[0]}
        return {"levels": _levels(watcher.backend, made.sigmas), "questions": asked}, pack(pictures | told)

    def fork(self, question: Question, data: bytes) -> Answer:
        """`count` pictures that the sample becomes from σ, their classes, and the share that keep its own."""
        watcher, sigma, count = self._watcher(question), _sigma(question.get("sigma")), _whole(question, "count", 16, 1, FORKS)
        made = self._sample(watcher, question)
        found = watcher.fork(made.x0, _finals(made), sigma, count, _seed(question))
        assert found.made.noisy is not None
        classes = {name: reading.final.tolist() for name, reading in found.made.readings.items()}
        said = {**_kept(watcher.backend, found), "own": _finals(made), "classes": classes}
        return said, pack({"images": seen(watcher.backend, torch.from_numpy(found.made.x0)), "noised": found.made.noisy[0]})

    def forks(self, question: Question, data: bytes) -> Steps:
        """`rows`: the share that keep the class at the sampler's level nearest to each of `sigmas`, one level after the other."""
        watcher, count = replace(self._watcher(question), pictures=False), _whole(question, "count", 16, 1, FORKS)
        model, sigmas = watcher.backend, [_sigma(sigma) for sigma in question.get("sigmas", ())]
        if not sigmas:
            raise InvalidRequest("sigmas is empty; allowed: at least one noise level.")
        known = visited(model.schedule, watcher.sampler, watcher.steps)
        levels = list(dict.fromkeys(float(known[nearest(known, sigma)]) for sigma in sigmas))
        made = self._sample(watcher, question)
        rows: list[dict[str, Any]] = []
        for found in watcher.forks(made.x0, _finals(made), levels, count, _seed(question)):
            rows.append(_kept(model, found))
            if len(rows) < len(levels):
                yield {"done": len(rows), "of": len(levels), "rows": list(rows)}, b""
        return {"rows": rows}, b""

    def decide(self, question: Question, data: bytes) -> Steps:
        """`found`: decided.measure's of `count` samples, by study key, a batch after the other; nothing is written."""
        studies, model = self._studies(question)
        count, steps = _whole(question, "count", SAMPLES, 2, SAMPLES), _whole(question, "steps", 19, 2, STEPS)
        way = measuring(studies, model, count, _seed(question), question.get("sampler", "ddim"), steps, BATCH)
        found = yield from relay(way, lambda done: ({"done": done, "of": count}, b""))
        return {"found": found}, b""

    def pace(self, question: Question, data: bytes) -> Answer:
        """Seconds that one pass of one image takes here, in a batch, probes and all."""
        watcher = replace(self._watcher({"studies": question.get("studies", ())}), steps=2, pictures=False)
        for _ in range(2):  # the first warms up
            began = time.perf_counter()
            list(watcher.watch(range(BATCH)))
        return {"pace": (time.perf_counter() - began) / (2 * BATCH)}, b""


def _levels(model: Backend, sigmas: np.ndarray) -> list[dict[str, float]]:
    timesteps = model.schedule.timestep(torch.from_numpy(sigmas)).tolist()
    return [
        {"sigma": float(sigma), "timestep": float(timestep), "log_snr": float(-2 * np.log(sigma))}
        for sigma, timestep in zip(sigmas, timesteps, strict=True)
    ]


def _finals(made: Trajectory) -> dict[str, int]:
    """The class that one sample ends in, by question."""
    return {name: int(reading.final[0]) for name, reading in made.readings.items()}


def _kept(model: Backend, found: Fork) -> dict[str, Any]:
    (level,) = _levels(model, np.array([found.sigma]))
    return {**level, "kept": {name: list(kept) for name, kept in found.kept.items()}}


def _whole(question: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    given = question.get(name, default)
    if not isinstance(given, int) or not low <= given <= high:
        raise InvalidRequest(f"{name} is {given!r}; allowed: a whole number from {low} to {high}.")
    return given


def _seed(question: Mapping[str, Any]) -> int:
    return _whole(question, "seed", 0, 0, 2**31 - 1)


def _sigma(given: object) -> float:
    if not isinstance(given, int | float):
        raise InvalidRequest(f"sigma is {given!r}; allowed: a number above 0.")
    return float(given)
