"""What a worker answers between two batches: what requests come to and cost, and one image at every noise level."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from functools import lru_cache

import torch

from .advising import Advising
from .classify_answers import ClassifyAnswers
from .combining import combine
from .costs import estimate
from .crew import Crew
from .datasets import describe
from .devices import room
from .dreams import Dreams
from .errors import InvalidRequest
from .explanations import Explanations
from .features import load_x0
from .lane import Answer, Question, Steps, Teller
from .mapped import Mapped
from .memorization_answers import MemorizationAnswers
from .noise import add_noise, noise_like
from .own import Own
from .planning import Bench
from .pointing import Pointing
from .scene import Scene
from .segmenting import Segmenting
from .specs import SweepRequest
from .store import Store
from .strips import decoded, sheet
from .theory_answers import TheoryAnswers
from .wording import Wording

KEPT = 16  # answers that are begun and not ended, of all who ask; the one that waits longest is forgotten


class Answers:
    """The questions by name; the last few benches stay open, so that a model is loaded once."""

    def __init__(self, store: Store, device: str, processes: int, crew: Crew | None = None) -> None:
        """`processes` is how many a sweep has; `crew` lays out maps beside this process."""
        self.store, self.device, self.processes = store, device, processes
        self.crew = crew or Crew(1)
        self.like: Bench | None = None  # whose images and models may be used again
        self._bench = lru_cache(maxsize=2)(self._open)
        self.own = Own(store, device)
        scene = Scene(self.own)
        self.known: dict[str, Teller] = {
            **{"cost": self.cost, "combine": self.combine, "strip": self.strip, "room": self.room, "data": self.data},
            **self.own.answers,
            **Explanations(self.own).answers,
            **Dreams(self.own).answers,
            **Mapped(self.own, self.crew).answers,
            **Advising(self.own).answers,
            **scene.answers,
            **Pointing(scene).answers,
            **Segmenting(scene).answers,
            **ClassifyAnswers(scene).answers,
            **Wording(scene).answers,
            **MemorizationAnswers(store).answers,
            **TheoryAnswers().answers,
        }
        self._begun: dict[bytes, Steps] = {}

    def __call__(self, question: Question, data: bytes = b"") -> Answer:
        """The answer, or of one that takes long, the next step: who wants it asks again until there is no `left`.

        So others are served between two steps, and what nobody asks for any more costs nothing.
        """
        if question.get("ask") not in self.known:
            raise InvalidRequest(f"ask is {question.get('ask')!r}; allowed: {', '.join(self.known)}.")
        self.own.like = self.like
        with torch.inference_mode(False), torch.enable_grad():  # a sweep may be asked between two of its own passes
            return self._answer(question, data)

    def _answer(self, question: Question, data: bytes) -> Answer:
        name = hashlib.sha256(json.dumps(question, sort_keys=True).encode() + data).digest()
        steps = self._begun.pop(name, None)
        if steps is None:
            found = self.known[question["ask"]](question, data)
            if not isinstance(found, Generator):
                return found
            steps = found
        try:
            said, back = next(steps)
        except StopIteration as end:
            return end.value
        self._begun[name] = steps
        while len(self._begun) > KEPT:
            self._begun.pop(next(iter(self._begun))).close()
        return {**said, "left": max(1, said["of"] - said["done"])}, back

    def _open(self, request: str) -> Bench:
        self.like = Bench(SweepRequest.model_validate_json(request), self.store, self.device, like=self.like)
        return self.like

    def cost(self, question: Question, data: bytes) -> Answer:
        """Seconds, memory, disk, and how much is there already."""
        bench = self._bench(question["request"])
        return estimate(bench, self.processes).to_dict(), b""

    def room(self, question: Question, data: bytes) -> Answer:
        """Bytes that are free on the device, None where that cannot be told."""
        return {"free": room(self.device)}, b""

    def data(self, question: Question, data: bytes) -> Answer:
        """The card of a data set."""
        return describe(question["dataset"]).model_dump(mode="json"), b""

    def combine(self, question: Question, data: bytes) -> Answer:
        """Of several requests those that can be carried out, each another run, and what is said of the others."""
        asked = [SweepRequest.model_validate_json(request) for request in question["requests"]]
        found = combine(asked, lambda request, _: self._bench(request.canonical()))
        return {"requests": [request.canonical() for request in found.requests], "said": found.said}, b""

    def strip(self, question: Question, data: bytes) -> Answer:
        """One test image at every level: a PNG with what the network is shown above what it makes of it, D(x_σ; σ)."""
        bench = self._bench(question["request"])
        place = question.get("image", 0)
        if not isinstance(place, int) or not 0 <= place < len(bench.test):
            raise InvalidRequest(f"image is {place!r}; allowed: a whole number from 0 to {len(bench.test) - 1}.")
        ids = bench.test[place : place + 1]
        x0 = load_x0(bench.dataset, ids, bench.model, self.store)
        levels = torch.tensor(bench.sigmas, dtype=torch.float64)
        eps = torch.zeros_like(x0) if bench.request.input == "clean" else noise_like(x0, ids.tolist(), bench.request.seed, 0)
        x = add_noise(x0, levels, eps.to(x0.device))
        with torch.inference_mode():
            made = bench.model.denoise(x, levels, bench.request.condition)
        seen = x * bench.model.schedule.input_scale(levels).to(x0).reshape(-1, 1, 1, 1)
        label = bench.labels.classes[int(bench.labels.values[bench.dataset.rows(ids)][0])]
        return {"sigmas": list(bench.sigmas), "image": f"{int(ids[0]):016x}", "label": label}, sheet(
            decoded(bench.model, torch.stack([seen, made]))
        )
