"""Questions about points and tokens of images: a point's match in others, and what the tokens of one resemble."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from . import tokens
from .backends.base import Backend
from .correspondence import Field, check_point, match
from .datasets.base import image_ids
from .dense import steps
from .errors import InvalidRequest
from .lane import Answer, Question, Steps, Teller
from .own import pack
from .scene import Scene
from .steps import relay

MOST_IMAGES, MOST_DRAWS = 24, 32
HELD = 1 << 28  # bytes of maps that are kept for another click; those that nobody asked for longest go first
PAUSE = 0.2  # seconds of work between two answers


class Pointing:
    """The answers by name; the fields of the last few images are kept, so that another click takes no pass."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._fields: dict[tuple[Any, ...], Field] = {}
        self.answers: dict[str, Teller] = {"match": self.match, "tokens": self.tokens}

    def match(self, question: Question, data: bytes) -> Steps:
        """The matches of `point` (x, y) of the first image in each of the others, and heat (n, side, side) float16, its own first."""
        point = _point(question)
        check_point(*point, self.scene.model(question).card.resolution)
        source, *others = yield from relay(self._steps(question, self.scene.given(data)), _said, PAUSE)
        own = source.heat(source.at(torch.tensor([point]))[0])
        found = [match(source, point, target) for target in others]
        heats = torch.stack([own, *(heat for _, heat in found)]).half().numpy()
        size = list(source.map.shape[1:])
        return {"matches": [one.to_dict() for one, _ in found], "size": size}, pack({"heat": heats})

    def tokens(self, question: Question, data: bytes) -> Steps:
        """Of one image: norm (h, w) float32 of its tokens, over their median; high (h, w) uint8 for outliers, and how alike the corners are.

        Of at most tokens.MOST tokens, `similarity` (h·w, h·w) uint8 too: cosines from `lowest` at 0 to 1 at 255.
        """
        field, *_ = yield from relay(self._steps(question, self.scene.given(data)[:1]), _said, PAUSE)
        lengths = tokens.norms(field.map)
        high, corners = tokens.outliers(lengths), tokens.corners(field.map)
        found: dict[str, np.ndarray] = {"norm": lengths / max(float(np.median(lengths)), 1e-12), "high": high.astype(np.uint8)}
        said: dict[str, Any] = {"size": list(lengths.shape), "groups": tokens.groups(high), "corners": None}
        if corners is not None:
            said["corners"] = {**asdict(corners), "alike": corners.alike}
        if lengths.size <= tokens.MOST:
            cosines = tokens.similarities(field.map)
            said["lowest"] = lowest = min(float(cosines.min()), 1 - 1e-6)
            found["similarity"] = ((cosines - lowest) / (1 - lowest) * 255).round().byte().numpy()
        return said, pack(found)

    def _steps(self, question: Question, images: Any) -> Generator[tuple[int, int], None, list[Field]]:
        """The fields of images, in their order, a pass a step for those that are not there; yields how many passes are done, and of how many."""
        if len(images) > MOST_IMAGES:
            raise InvalidRequest(f"{len(images)} images are given; allowed: at most {MOST_IMAGES}.")
        model, draws = self.scene.model(question), _draws(question)
        block, sigma, seed = model.block(str(question.get("block", ""))).name, _sigma(question), int(question.get("seed", 0))
        names = [(model.card.identity, model.precision, block, sigma, draws, seed, int(image_ids(image[None])[0])) for image in images]
        found = {name: self._fields[name] for name in names if name in self._fields}
        lacking = {name: image for name, image in zip(names, images, strict=True) if name not in found}
        for done, (name, image) in enumerate(lacking.items()):
            found[name] = yield from self._made(model, image, block, sigma, draws, seed, (done * draws, len(lacking) * draws))
        self._fields = {name: field for name, field in self._fields.items() if name not in found} | found
        while sum(field.nbytes for field in self._fields.values()) > HELD and len(self._fields) > len(found):
            self._fields.pop(next(iter(self._fields)))
        return [found[name] for name in names]

    @staticmethod
    def _made(
        model: Backend, image: np.ndarray, block: str, sigma: float, draws: int, seed: int, so_far: tuple[int, int]
    ) -> Generator[tuple[int, int], None, Field]:
        done, of = so_far
        made = yield from relay(steps(model, [image], [block], sigma, draws, seed, batch=1), lambda step: (done + step[0], of))
        return Field.of(made[block][0], model.card.resolution)


def _said(done: tuple[int, int]) -> Answer:
    return {"done": done[0], "of": done[1]}, b""


def _draws(question: Question) -> int:
    draws = question.get("draws", 1)
    if not isinstance(draws, int) or not 1 <= draws <= MOST_DRAWS:
        raise InvalidRequest(f"draws is {draws!r}; allowed: a whole number from 1 to {MOST_DRAWS}.")
    return draws


def _sigma(question: Question) -> float:
    sigma = question.get("sigma")
    if not isinstance(sigma, int | float) or not (math.isfinite(sigma) and sigma > 0):
        raise InvalidRequest(f"sigma is {sigma!r}; allowed: a number above 0.")
    return float(sigma)


def _point(question: Question) -> tuple[float, float]:
    point = question.get("point")
    if not isinstance(point, list | tuple) or len(point) != 2 or not all(isinstance(part, int | float) for part in point):
        raise InvalidRequest(f"point is {point!r}; allowed: two numbers, X and Y in pixels of the image.")
    return float(point[0]), float(point[1])
