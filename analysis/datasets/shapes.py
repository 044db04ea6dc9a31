"""Procedural images, 16×16 in colour: one shape with one fine texture and one hue, on a cluttered, noisy background.

Any number of them from a seed, never the same one twice. Three label sets (shape, texture, hue) and their product, drawn
evenly and apart: no label says anything of another; and four numbers, the shape's size, turn and place. Made for this project; there is nothing to download.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import UnknownName
from .base import BINS, Dataset, Labels

SIDE = 16
SHAPES = ("disc", "square", "triangle", "cross", "ring", "crescent")
TEXTURES = ("rows", "columns", "checks", "dots")
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
SIZE = 5000
OTHERS = 1_000_000  # from this seed on are data sets of other images
BLOCK = 250  # images that share a generator: image i is the same in a set of any size
NUMBERS = ("size", "turn", "x", "y")
FINE = 2  # samples a pixel and direction, for soft edges


INSIDE: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (  # of a shape's own coordinates: unit radius, v upwards
    lambda u, v: np.hypot(u, v) < 0.9,
    lambda u, v: np.maximum(abs(u), abs(v)) < 0.8,
    lambda u, v: (v > -0.75) & (v < 1.05 - 2.0 * abs(u)),
    lambda u, v: (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 0.98),
    lambda u, v: abs(np.hypot(u, v) - 0.775) < 0.225,
    lambda u, v: (np.hypot(u, v) < 1.0) & (np.hypot(u - 0.5, v) > 0.75),
)


def _cover(kind: np.ndarray, at: np.ndarray, size: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """How much of each pixel a shape covers: kind (n,), centre (2, n, 1, 1), size and turn (n, 1, 1) -> (n, 16, 16, 1) in [0, 1]."""
    y, x = (np.mgrid[: SIDE * FINE, : SIDE * FINE].astype(np.float32) + 0.5) / FINE
    u, v = (x - at[0]) / size, (at[1] - y) / size
    u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    mask = np.empty(u.shape, dtype=np.float32)
    for k, inside in enumerate(INSIDE):
        mask[kind == k] = inside(u[kind == k], v[kind == k])
    return mask.reshape(-1, SIDE, FINE, SIDE, FINE).mean((2, 4))[..., None]


def _rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Hue, saturation and value (n,) in [0, 1] -> (n, 3). A. R. Smith, SIGGRAPH 1978, in closed form."""
    k = (np.array([5, 3, 1]) + 6 * hue[:, None]) % 6
    return value[:, None] * (1 - saturation[:, None] * np.minimum(np.minimum(k, 4 - k), 1).clip(0))


def _pattern(kind: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Textures `kind` (n,) of period 2 with a phase (n, 2), as (n, 16, 16) of -1 and 1; each has mean 0 but for dots."""
    y, x = np.mgrid[:SIDE, :SIDE]
    rows, columns = (y + phase[:, :1, None]) % 2, (x + phase[:, 1:, None]) % 2
    return 2.0 * np.choose(kind[:, None, None], [rows, columns, (rows + columns) % 2, rows * columns]) - 1


def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images (count, 16, 16, 3) uint8, their shape, texture and hue (count,), and size, turn and place, in radians and pixels.

    With them `body`, (count, 16, 16) bool: which pixels the shape covers by half or more.
    """
    labels = {name: rng.integers(len(classes), size=count) for name, classes in (("shape", SHAPES), ("texture", TEXTURES), ("hue", HUES))}

    def colour(hue: np.ndarray, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
        return _rgb(hue % 1, rng.uniform(*saturation, count), rng.uniform(*value, count))[:, None, None]

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, shape).astype(np.float32)

    image = np.broadcast_to(colour(rng.random(count), (0.1, 0.4), (0.3, 0.55)), (count, SIDE, SIDE, 3))
    for _ in range(3):  # clutter: smaller pieces of any shape and hue
        at, size, turn = uniform(0, SIDE, 2, count, 1, 1), uniform(1.0, 2.4, count, 1, 1), uniform(0, 2 * np.pi, count, 1, 1)
        piece = _cover(rng.integers(len(SHAPES), size=count), at, size, turn)
        image = image + piece * (colour(rng.random(count), (0.3, 0.8), (0.3, 0.8)) - image)
    at, size, turn = uniform(6, SIDE - 6, 2, count, 1, 1), uniform(4.6, 6.2, count, 1, 1), uniform(-0.35, 0.35, count, 1, 1)
    body = _cover(labels["shape"], at, size, turn)
    own = colour(labels["hue"] / len(HUES) + rng.uniform(-0.04, 0.04, count), (0.6, 0.9), (0.5, 0.65))
    relief = _pattern(labels["texture"], rng.integers(2, size=(count, 2)))
    relief = relief + np.where(labels["texture"] == 3, 0.5, 0.0)[:, None, None]  # dots too have mean 0: brightness tells nothing
    image = image + body * (own + 0.12 * relief[..., None] - image)
    image = image + 0.04 * rng.standard_normal(image.shape, dtype=np.float32)
    numbers = {"size": size, "turn": turn, "x": at[0], "y": at[1]}
    known = labels | {name: value.ravel() for name, value in numbers.items()} | {"body": body[..., 0] >= 0.5}
    return (image.clip(0, 1) * 255).round().astype(np.uint8), known


class Shapes(Dataset):
    """5,000 images, and new ones without end to train on; `shapes:20000` has 20,000 and no others, `shapes:20000:7` those of seed 7."""

    name = "shapes"

    def __init__(self, argument: str = "", side: int | None = None) -> None:
        size, _, seed = argument.partition(":")
        self.size, self.seed = self.number("size", size, SIZE), self.number("seed", seed, 0)
        super().__init__(argument, side)

    def load(self) -> tuple[np.ndarray, Mapping[str, Any]]:
        parts = [draw(np.random.default_rng([self.seed, 0, block]), BLOCK) for block in range(-(-self.size // BLOCK))]
        images = np.concatenate([part[0] for part in parts])[: self.size]
        known = {name: np.concatenate([part[1][name] for part in parts])[: self.size] for name in parts[0][1]}
        self._bodies: np.ndarray = known["body"]
        product = tuple(f"{h} {s} of {t}" for s in SHAPES for t in TEXTURES for h in HUES)
        classes = {"shape": SHAPES, "texture": TEXTURES, "hue": HUES, "product": product}
        left_out = () if self.size >= BINS else NUMBERS  # too few to be told apart by them
        return images, {name: (classes.get(name), values) for name, values in self._values(known).items() if name not in left_out}

    @staticmethod
    def _values(known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Label set -> the value of each image that was drawn."""
        product = (known["shape"] * len(TEXTURES) + known["texture"]) * len(HUES) + known["hue"]
        return {name: known[name] for name in ("shape", "texture", "hue")} | {"product": product} | {name: known[name] for name in NUMBERS}

    def _arrange(self, every: np.ndarray, labels: Labels) -> np.ndarray:
        first = super()._arrange(every, labels)
        self._bodies = self._bodies[first]
        return first

    def masks(self, ids: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
        bodies, side = self._bodies[self.rows(ids)], self.images.shape[1]
        nearest = (np.arange(side) * SIDE + SIDE // 2) // side
        return ("background", "shape"), bodies[:, nearest][:, :, nearest].astype(np.uint8)

    def fresh(self, seed: int, step: int, count: int) -> tuple[np.ndarray, Mapping[str, np.ndarray]] | None:
        if self.argument.partition(":")[0]:
            return None
        images, known = draw(np.random.default_rng([self.seed, 1 + seed, step]), count)
        return images, self._values(known)

    def another(self, count: int, seed: int) -> Dataset | None:
        return None if self.argument.partition(":")[0] else Shapes(f"{count}:{OTHERS + OTHERS * self.seed + seed}", self.side)

    def compose(self, labels: Mapping[str, str], seed: int) -> np.ndarray | None:
        known = {"shape": SHAPES, "texture": TEXTURES, "hue": HUES}
        for name, value in labels.items():
            if name not in known or value not in known[name]:
                raise UnknownName(f"{name} of an image", value, known.get(name, ()))
        rng = np.random.default_rng([self.seed, 2, seed])
        while True:  # as all others are made; one in 144 has three given labels
            images, values = draw(rng, BLOCK)
            fits = np.all([values[name] == known[name].index(value) for name, value in labels.items()], axis=0)
            if fits.any():
                return np.asarray(images[fits][0])


plugin = Shapes
