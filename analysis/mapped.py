"""Questions about the maps of a study: the worker's answers, with layouts made in a process beside it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load

from . import diagnosis, geometry, layout, similarity
from .atlas import MANY, Atlas, Cell
from .backends import open_backend
from .backends.base import Backend
from .crew import Crew
from .datasets.base import image_ids
from .errors import InvalidRequest
from .features import reader
from .lane import Answer, Question, Steps, Teller
from .laying import LOOK, Laying, Said, saying
from .own import Own, pack
from .readout import Readout, softmax
from .similarity import space
from .steps import relay
from .views import noised

RANDOM = "random"
DIAGNOSED = 256  # images
KEPT = 8
SLAB = 1 << 22  # numbers of images that are noised until others are served


class Mapped:
    """The answers by name. Every question names a study and how many images; layouts also metric, dims and seed."""

    def __init__(self, own: Own, crew: Crew) -> None:
        self.own, self.crew, self.laying = own, crew, Laying(crew)
        self._atlases: dict[str, Atlas] = {}
        self._random = lru_cache(maxsize=1)(lambda name: open_backend(name, "random:0", own.device))
        self.answers: dict[str, Teller] = {
            "shown": self.shown,
            "noised": self.noised,
            "map": self.map,
            "maps": self.maps,
            "trust": self.trust,
            "near": self.near,
            "place": self.place,
            "alike": self.alike,
            "diagnose": self.diagnose,
        }

    def atlas(self, question: Question, model: Backend | None = None) -> Atlas:
        """The maps that a question is about, of the study's model unless another is given."""
        study = self.own.study(question)
        bench = self.own.bench(study)
        model = model or self.own.model(study)
        metric, dims, seed = question.get("metric", "cosine"), int(question.get("dims", 2)), int(question.get("seed", 0))
        count = int(question.get("count") or MANY)
        name = repr((study.version, bench is None, model.card.identity, count, metric, dims, seed))
        if name not in self._atlases or self._atlases[name].bench is not bench or self._atlases[name].model is not model:
            while len(self._atlases) >= KEPT:
                self._atlases.pop(next(iter(self._atlases)))
            self._atlases[name] = Atlas(study, self.own.store, bench, model, count, metric, dims, seed)
        if question.get("method") == "umap":
            self.laying.warm()
        return self._atlases[name]

    def shown(self, question: Question, data: bytes) -> Answer:
        """The images of the maps and their labels, the blocks that have one, and the cell that the others follow."""
        atlas = self.atlas(question)
        shown = atlas.shown
        arrays = {f"labels/{name}": values for name, (_, values) in shown.labels.items()}
        told = {
            "kind": shown.kind,
            "classes": {name: list(classes) for name, (classes, _) in shown.labels.items()},
            "blocks": atlas.blocks,
            "root": atlas.root,
            "of": atlas.most,
        }
        return told, pack({"ids": shown.ids, "images": shown.images} | arrays)

    def noised(self, question: Question, data: bytes) -> Steps:
        """The images as the network sees them at a level."""
        atlas = self.atlas(question)
        level, images, found = atlas.cell(atlas.blocks[0], int(question["level"])).level, atlas.shown.images, []
        step = max(1, SLAB // images[0].size)
        for start in range(0, len(images), step):
            if start:
                yield saying(start, len(images), "Adding noise to the images")()
            found.append(atlas.noised(level, slice(start, start + step)))
        return {}, pack({"images": np.concatenate(found)})

    def map(self, question: Question, data: bytes) -> Steps:
        """One cell: PCA or UMAP, and what the probes of that cell read. Where it would take over `most` seconds, only what it costs."""
        atlas = self.atlas(question)
        cell, method = atlas.cell(str(question["block"]), int(question["level"])), str(question["method"])
        if (cost := self.laying.cost(atlas, [cell], method, question.get("most"))) is not None:
            return cost
        yield from self.laying.fill(atlas, [cell], method)
        drawn = self._layout(atlas, cell, method)
        found = {"layout": drawn}
        features, probes = atlas.features(cell), self._probes(atlas, question)
        told: dict[str, Any] = {"classes": list(probes.classes) if probes else []}
        if probes and (cell.level, cell.block) in probes.probes:
            found["probabilities"] = softmax(probes.logits(cell.level, cell.block, features))
        given = atlas.cloud(cell)
        if method == "umap" and given is not None and given.plain(atlas.dims):
            told["plain"] = "alike" if given.spread == 0 else "few"
        if method == "pca":  # the share of the variance that it shows
            told["shows"] = float(drawn.var(0).sum() / max(float(space(features, atlas.metric)(features).var(0).sum()), 1e-30))
        return told, pack(found)

    def _probes(self, atlas: Atlas, question: Question) -> Readout | None:
        """What reads the images, where the study keeps linear probes of the global average."""
        try:
            return self.own.readout(atlas.study, question, {})
        except InvalidRequest:
            return None

    def maps(self, question: Question, data: bytes) -> Steps:
        """Many cells' layouts by `block/level`, for views of all blocks or all levels."""
        atlas, method = self.atlas(question), str(question["method"])
        cells = [atlas.cell(str(block), int(level)) for block, level in question["cells"]]
        if (cost := self.laying.cost(atlas, cells, method, question.get("most"))) is not None:
            return cost
        yield from self.laying.fill(atlas, cells, method)
        found = {}
        for place, cell in enumerate(cells):
            found[f"{cell.block}/{cell.level}"] = self._layout(atlas, cell, method)
            yield saying(place + 1, len(cells), "Putting the maps together")()
        return {}, pack(found)

    def trust(self, question: Question, data: bytes) -> Steps:
        """How far the maps of cells may be trusted, in their order (geometry.Trust); of UMAP those that are laid out, else null."""
        atlas, method = self.atlas(question), str(question["method"])
        cells = [atlas.cell(str(block), int(level)) for block, level in question["cells"]]
        known = atlas.shown.labels.get(str(question.get("label_set")))
        labels = None if known is None else known[1]
        mark = "none" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()[:16]
        identity = atlas.layouts_of.model_copy(update={"labels": mark, **({"chain": "pca"} if method == "pca" else {})})
        found: list[Any] = []
        for cell in cells:
            sigma, told = atlas.sigmas[cell.level], None
            if method == "pca" or atlas.stored(cell):
                told = atlas.store.noted("layouts", identity, sigma, cell.block)
                if told is None and not len(atlas.lacking(cell.level)):
                    said = saying(len(found), len(cells), "how far to trust it")
                    given = yield from self.laying.cloud(atlas, cell, said)
                    future = self.crew.start(geometry.trust, given, self._layout(atlas, cell, method), labels)
                    told = (yield from self.laying.awaited(future, said)).to_dict()
                    atlas.store.note("layouts", identity, sigma, cell.block, told)
            found.append(told)
        return {"trust": found}, b""

    def near(self, question: Question, data: bytes) -> Steps:
        """The nearest of the images in `rows` in a cell's full space: places and distances, both (m, k)."""
        atlas = self.atlas(question)
        cell = atlas.cell(str(question["block"]), int(question["level"]))
        rows = np.asarray(question["rows"], int)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(atlas.shown.ids):
            raise InvalidRequest(f"rows go from {rows.min()} to {rows.max()}; allowed: 0 to {len(atlas.shown.ids) - 1}.")
        given = yield from self.laying.cloud(atlas, cell, saying(0, 1, "neighbours"))
        return {}, pack({"places": given.places[rows, 1:], "distances": given.distances[rows, 1:]})

    def place(self, question: Question, data: bytes) -> Steps:
        """Where an image (h, w, 3) lies in a cell's map, approximately, and its nearest there."""
        atlas = self.atlas(question)
        cell, method = atlas.cell(str(question["block"]), int(question["level"])), str(question["method"])
        given = yield from self.laying.cloud(atlas, cell, saying(0, 1, "neighbours"))
        image = load(data)["image"]
        drawn = self._layout(atlas, cell, method)
        if len(rows := np.flatnonzero(atlas.shown.ids == image_ids(image[None])[0])):  # it is one of those that are shown
            row = int(rows[0])
            return {}, pack({"place": drawn[row], "places": given.places[row, :-1], "distances": given.distances[row, :-1]})
        x0, _, x = noised(atlas.model, image, (atlas.sigmas[cell.level],), atlas.features_of.seed, 0)
        feature = self._read(atlas, x0 if atlas.features_of.input == "clean" else x, cell)
        places, distances = layout.near(given, feature, layout.NEIGHBOURS)
        return {}, pack({"place": layout.placed(given, drawn, feature)[0], "places": places[0], "distances": distances[0]})

    @staticmethod
    def _read(atlas: Atlas, x: Any, cell: Cell) -> np.ndarray:
        """Features (1, D) of one noised image."""
        name = f"{cell.block}/1"
        with torch.inference_mode(), reader(atlas.model, [name], atlas.features_of.condition) as read:
            found = read(x, torch.tensor([atlas.sigmas[cell.level]], dtype=torch.float64))
        return np.asarray(found[name].float().cpu().numpy())

    def alike(self, question: Question, data: bytes) -> Steps:
        """CKA and mutual neighbours between two lists of cells, `cells` and `other`: matrices (B, B').

        The other cells are of the same model, of the same network with random weights (`beside` is RANDOM), or of another study of
        the same images. Raises InvalidRequest where the images are others.
        """
        atlas = self.atlas(question)
        other = self._beside(atlas, question)
        if not np.array_equal(other.shown.ids, atlas.shown.ids):
            raise InvalidRequest(f"{other.study.name} shows other images than {atlas.study.name}; allowed: runs on the same test images.")
        sides = [
            (side, [side.cell(str(block), int(level)) for block, level in question[name]])
            for side, name in ((atlas, "cells"), (other, "other"))
        ]
        if len(atlas.shown.ids) < similarity.FEWEST:
            raise InvalidRequest(f"{len(atlas.shown.ids)} images are shown; allowed: {similarity.FEWEST} or more, for CKA.")
        costs = [cost for side, cells in sides if (cost := self.laying.cost(side, cells, "pca", 0.0)) is not None]
        if (most := question.get("most")) is not None and sum(cost[0]["seconds"] for cost in costs) > most:
            return {name: sum(cost[0][name] for cost in costs) for name in ("seconds", "passes", "layouts")}, b""
        for side, cells in sides:
            yield from self.laying.fill(side, cells, "pca")
        wanted = list(dict.fromkeys((side is other and side is not atlas, cell) for side, cells in sides for cell in cells))
        places, sources = [], []
        for place, (second, cell) in enumerate(wanted):
            side, said = other if second else atlas, saying(place, len(wanted), "neighbours")
            given = yield from self.laying.cloud(side, cell, said)
            places.append(given.places[:, 1:])
            sources.append(side.source(cell))
            yield said()
        future = self.crew.start(similarity.compare, sources, places)
        cka, mutual = yield from self.laying.awaited(future, saying(len(wanted), len(wanted) + 1, "what is alike"))
        rows, columns = ([wanted.index((side is other and side is not atlas, cell)) for cell in cells] for side, cells in sides)
        return {}, pack({"cka": cka[np.ix_(rows, columns)], "mutual": mutual[np.ix_(rows, columns)]})

    def _beside(self, atlas: Atlas, question: Question) -> Atlas:
        beside = question.get("beside")
        if beside == RANDOM and atlas.bench is None:
            raise InvalidRequest(f"The data of {atlas.study.name} are not on this machine, so nothing is known of them untrained.")
        if beside == RANDOM:
            return self.atlas(question, self._random(atlas.study.facts["request"]["backend"]).at(atlas.model.precision))
        return self.atlas({**question, "study": beside}) if beside else atlas

    def diagnose(self, question: Question, data: bytes) -> Steps:
        """What every block carries beside content at a level (diagnosis.diagnose), of the model and of its network with random weights."""
        atlas = self.atlas(question)
        level = atlas.cell(atlas.blocks[0], int(question["level"])).level
        told: dict[str, Any] = {}
        passes, most = 2 * min(DIAGNOSED, len(atlas.shown.ids)), question.get("most")
        if most is not None and passes * self.laying.pace(atlas) > most:
            return {"seconds": passes * self.laying.pace(atlas), "passes": passes, "layouts": 0}, b""
        untrained = self._random(atlas.study.facts["request"]["backend"]).at(atlas.model.precision)
        for place, (name, model) in enumerate((("model", atlas.model), ("random", untrained))):
            steps = diagnosis.diagnose(
                model,
                atlas.x0(slice(DIAGNOSED)),
                atlas.shown.ids[:DIAGNOSED],
                atlas.sigmas[level],
                atlas.features_of.condition,
                [block.name for block in atlas.study.card.blocks],
                atlas.features_of.seed,
                atlas.features_of.input == "clean",
            )

            def say(step: tuple[int, int], place: int = place) -> Said:
                return {"done": step[0] + place * step[1], "of": 2 * step[1], "doing": "Looking for what is not content"}, b""

            found = yield from relay(steps, say, LOOK)
            told[name] = {block: one.to_dict() for block, one in found.items()}
        return told, b""

    def _layout(self, atlas: Atlas, cell: Cell, method: str) -> np.ndarray:
        return atlas.pca(cell) if method == "pca" else atlas.layout(cell)
