"""Questions about a person's own image: answered from memory, and nothing of the image is kept on disk."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from safetensors.numpy import load, save
from torch import Tensor

from . import gauge, known, similarity, teaching, views
from .backends import open_backend
from .backends.base import Backend
from .datasets.base import image_ids
from .errors import InvalidRequest, NoisescopeError, UnknownName
from .lane import Answer, Question, Steps, Teller
from .planning import Bench
from .readout import Readout, of_arrays, of_study
from .specs import SweepRequest
from .steps import relay
from .store import Store
from .studies import Study, find_study

EXAMPLES, DRAWS, VIEWED = 24, 8, 3
STEP = 0.2  # seconds of teaching between two answers
AGAIN = 600.0  # seconds after which data that were not there are looked for anew


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as safetensors, which takes the bytes as they lie: each is laid out in order first."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


class Own:
    """The answers by name; `like` is the worker's open bench, whose model and data are used again."""

    def __init__(self, store: Store, device: str) -> None:
        self.store, self.device = store, device
        self.like: Bench | None = None
        self._features: dict[str, dict[str, Tensor]] = {}  # of images just viewed
        self._models = lru_cache(maxsize=2)(lambda name: open_backend(name, device=self.device))
        self._readouts = lru_cache(maxsize=8)(lambda key, version: of_study(find_study(key, store.root)))
        self._benches = lru_cache(maxsize=2)(self._open)
        self._held_out = lru_cache(maxsize=8)(lambda key, version: gauge.held_out(find_study(key, store.root)))
        self._known: dict[Hashable, known.Known] = {}  # the images that were last compared with
        self._absent: dict[str, float] = {}  # until when a request's data are not looked for
        self.answers: dict[str, Teller] = {
            "view": self.view,
            "colours": self.colours,
            "draws": self.draws,
            "neighbours": self.neighbours,
            "examples": self.examples,
            "pictures": self.pictures,
            "compose": self.compose,
            "teach": self.teach,
        }

    def study(self, question: Question) -> Study:
        return find_study(str(question.get("study", "")), self.store.root)

    def opened(self, name: str) -> Backend:
        """A model by name, the worker's own where it has that open. Raises UnknownName, DamagedFile or InvalidRequest."""
        like = self.like
        found = like.model if like and like.request.backend == name and "sources" in vars(like) else self._models(name)
        return found.at("float32")

    def model(self, study: Study) -> Backend:
        """The study's model, in the study's precision. Raises InvalidRequest where it is another now."""
        name = study.facts["request"]["backend"]
        found = self.opened(name)
        if found.card.identity != study.facts["receipt"]["revision"]:
            raise InvalidRequest(f"The model {name} has other weights than {study.name} was measured with: measure it again.")
        return found.at(study.precision)

    def readout(self, study: Study, question: Question, arrays: Mapping[str, np.ndarray]) -> Readout:
        """The probes that came with the question, else the study's."""
        own = of_arrays(arrays, question.get("classes", ()), study)
        return own or self._readouts(study.key, study.version)

    def _open(self, request: str) -> Bench:
        return Bench(SweepRequest.model_validate_json(request), self.store, self.device, like=self.like)

    def bench(self, study: Study) -> Bench | None:
        """The study's data and model, or None where the data cannot be had on this machine; looked for anew after ten minutes."""
        request = SweepRequest.model_validate(study.facts["request"]).model_copy(update={"baselines": False, "encoders": ()}).canonical()
        if time.monotonic() < self._absent.get(request, 0.0):
            return None
        try:
            return self._benches(request)
        except NoisescopeError:
            self._absent[request] = time.monotonic() + AGAIN
            return None

    def view(self, question: Question, data: bytes) -> Answer:
        """Everything of one pass over the levels (views.view), and how at home the image is."""
        study = self.study(question)
        arrays = load(data)
        model, readout, image = self.model(study), self.readout(study, question, arrays), arrays["image"]
        found = self._view(self._name(study, question, image), model, readout, image, question)
        return {"fit": self._fit(study, found["error"])}, pack(found)

    def colours(self, question: Question, data: bytes) -> Answer:
        """The features of each block at each level in colour (views.colours), of an image that has just been viewed, or is now."""
        study, image = self.study(question), load(data)["image"]
        name = self._name(study, question, image)
        if name not in self._features:
            self._view(name, self.model(study), self._readouts(study.key, study.version), image, question)
        return {}, pack({block: views.colours(value) for block, value in self._features[name].items()})

    def _view(self, name: str, model: Backend, readout: Readout, image: np.ndarray, question: Question) -> dict[str, np.ndarray]:
        """views.view, with the features kept; the oldest go first, so that their memory serves the pass: new one costs a tenth more."""
        while len(self._features) >= VIEWED:
            self._features.pop(next(iter(self._features)))
        found, self._features[name] = views.view(model, readout, image, int(question.get("seed", 0)))
        return found

    @staticmethod
    def _name(study: Study, question: Question, image: np.ndarray) -> str:
        return f"{study.version}/{int(question.get('seed', 0))}/{image_ids(image[None])[0]}"

    def _fit(self, study: Study, errors: np.ndarray) -> dict[str, Any] | None:
        held_out = self._held_out(study.key, study.version)
        return None if held_out is None else gauge.compare(errors, held_out).to_dict()

    def draws(self, question: Question, data: bytes) -> Answer:
        """Class probabilities over several draws of ε (views.read), and the seconds that a pass takes here."""
        study, arrays = self.study(question), load(data)
        readout = self.readout(study, question, arrays)
        started = time.perf_counter()
        found = views.read(self.model(study), readout, arrays["image"], int(question.get("seed", 0)), DRAWS)
        return {"pace": (time.perf_counter() - started) / (DRAWS * len(readout.sigmas))}, pack(found)

    def neighbours(self, question: Question, data: bytes) -> Steps:
        """The most similar known images at a block and level; features that are not stored are extracted step by step.

        Where more than `most` images would have to be, only how many: `lacking`.
        """
        study = self.study(question)
        level, block = int(question["level"]), str(question["block"])
        sigma, bench = study.facts["levels"][level]["sigma"], self.bench(study)
        if bench is None:
            there = known.generated(study, level, block)
        elif (read := self._known.get(known.signature(bench, sigma, block))) is not None:
            there = read
        else:
            ids, most = known.stored(bench, sigma, block), question.get("most")
            if most is not None and known.wanted(bench) - len(ids) > most:
                return {"lacking": known.wanted(bench) - len(ids)}, b""
            while len(ids := known.stored(bench, sigma, block)) < known.wanted(bench):
                yield {"done": len(ids), "of": known.wanted(bench)}, b""
                known.more(bench, sigma, ids)
            there = known.trained(bench, sigma, block, ids)
            self._known = {known.signature(bench, sigma, block): there}
        places, distances = similarity.nearest(there.features, load(data)["feature"], int(question["count"]), question["metric"])
        near = places[0]
        told = {"kind": there.kind, "of": len(there.rows), "names": [there.names[i] for i in near], "distances": distances[0].tolist()}
        return told, pack({"images": there.images[there.rows[near]]})

    def examples(self, question: Question, data: bytes) -> Answer:
        """Images to begin with: test images, classes in turn, or where the data are not there, generated ones."""
        study = self.study(question)
        bench = self.bench(study)
        if bench is None:
            images = known.pictures(study)[:EXAMPLES] if study.facts.get("generated") else np.zeros((0, 1, 1, 3), np.uint8)
            return {"kind": "generated", "names": [f"generated {i + 1}" for i in range(len(images))]}, pack({"images": images})
        values = bench.labels.values[bench.dataset.rows(bench.test)]
        turns = [np.flatnonzero(values == k) for k in range(len(bench.labels.classes))]
        chosen = [int(turn[i]) for i in range(EXAMPLES) for turn in turns if i < len(turn)][:EXAMPLES]
        images = bench.dataset.images[bench.dataset.rows(bench.test[chosen])]
        return {"kind": "test", "names": [bench.labels.classes[values[i]] for i in chosen]}, pack({"images": images})

    def pictures(self, question: Question, data: bytes) -> Answer:
        """The images of these `ids` (hexadecimal) and what each is, or `there` false where the data are not on this machine."""
        bench = self.bench(self.study(question))
        if bench is None:
            return {"there": False, "names": []}, pack({"images": np.zeros((0, 1, 1, 3), np.uint8)})
        rows = bench.dataset.rows(np.asarray([int(id, 16) for id in question["ids"]], np.uint64))
        values = bench.labels.values[rows]
        names = [bench.labels.classes[value] if value >= 0 else "no label" for value in values]
        return {"there": True, "names": names}, pack({"images": bench.dataset.images[rows]})

    def compose(self, question: Question, data: bytes) -> Answer:
        """A new image with the labels that are asked for, where the data set makes images."""
        bench = self.bench(self.study(question))
        image = bench.dataset.compose(question["labels"], int(question["seed"])) if bench else None
        if image is None:
            raise InvalidRequest("This data set makes no images; compose from 'shapes'.")
        return {}, pack({"image": image})

    def teach(self, question: Question, data: bytes) -> Steps:
        """A probe of one's own classes (teaching.teach): its curve, verdict and weights. Raises UnknownName for another block."""
        study, arrays = self.study(question), load(data)
        classes, block, like = [str(name) for name in question["classes"]], str(question["block"]), self._readouts(study.key, study.version)
        if block not in like.blocks:
            raise UnknownName("block of this run", block, like.blocks)
        steps = teaching.teach(self.model(study), arrays["images"], arrays["labels"], classes, like, block)
        taught = yield from relay(steps, lambda step: ({"done": step[0], "of": step[1]}, b""), STEP)
        told = {"curve": [part.tolist() for part in taught.curve], "verdict": taught.verdict.to_dict(), "n": len(arrays["labels"])}
        return told, pack(taught.readout.arrays())
