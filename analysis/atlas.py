"""The maps of a study: its images, and one layout for each block at each noise level, each followed from the one before.

The first is of the headline's best cell. From there the blocks at that level follow each other to both ends of the network, and
in every block the levels to both ends of the noise: so maps that follow each other lie upon each other, and one map serves all that
follow it. What is lacking is extracted and laid out cell by cell, and the store keeps it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file

from .backends.base import Backend
from .errors import InvalidRequest, UnknownName
from .features import extract, load_x0
from .known import pictures
from .layout import NEIGHBOURS, Cloud, Engine, cuml_here, mirrored, principal
from .noise import add_noise, noise_like
from .planning import Bench
from .sampling import seen
from .similarity import Metric, space
from .specs import FeatureIdentity, LayoutIdentity
from .store import Store
from .studies import Study

SLAB = 4096  # images whose features of a cell are read at once
MANY = 2000  # images of a map, unless another number is asked for


class Cell(NamedTuple):
    block: str
    level: int  # place among the study's levels


@dataclass(frozen=True)
class Shown:
    """The images of a map, n of them, and what is known of each."""

    kind: str  # "test" | "generated"
    ids: np.ndarray  # (n,) uint64
    images: np.ndarray  # (n, h, w, 3) uint8
    labels: Mapping[str, tuple[tuple[str, ...], np.ndarray]]  # by label set: classes, and values (n,) with -1 for none


class Stored:
    """Features (n, D) of images in one cell, read from the store a slab at a time, in whatever process."""

    def __init__(self, root: Path, identity: FeatureIdentity, sigma: float, block: str, ids: np.ndarray) -> None:
        self.root, self.identity, self.sigma, self.block, self.ids = root, identity, sigma, block, ids
        self._slab: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows start to stop. Raises DamagedFile."""
        start, stop, _ = rows.indices(len(self))
        if self._slab is None or not self._slab[0] <= start <= stop <= self._slab[0] + len(self._slab[1]):
            ids = self.ids[start : max(stop, start + SLAB)]
            self._slab = start, Store(self.root).cell(self.identity, self.sigma, self.block, "1", ids)
        return self._slab[1][start - self._slab[0] : stop - self._slab[0]]


class Atlas:
    """All maps of one study with one metric, number of dimensions and seed; test images, or where the data are not there, generated ones."""

    def __init__(
        self,
        study: Study,
        store: Store,
        bench: Bench | None,
        model: Backend,
        count: int = MANY,
        metric: Metric = "cosine",
        dims: int = 2,
        seed: int = 0,
    ) -> None:
        """`model` is the study's, or another of the same images: then its features are meant. Raises InvalidRequest."""
        if count < 2:
            raise InvalidRequest(f"count is {count}; allowed: two images or more.")
        if dims not in (2, 3) or metric not in ("cosine", "l2"):
            raise InvalidRequest(f"dims is {dims} and metric {metric!r}; allowed: 2 or 3, and 'cosine' or 'l2'.")
        if bench is None and not study.facts.get("generated"):
            raise InvalidRequest(
                f"The data set of {study.name} is not on this machine, and no images were generated with it: there is nothing to map. "
                "Put the data there, or choose another run."
            )
        self.study, self.store, self.bench, self.model, self.count = study, store, bench, model, count
        self.metric, self.dims, self.seed = metric, dims, seed
        self.sigmas = [float(level["sigma"]) for level in study.facts["levels"]]

    @cached_property
    def shown(self) -> Shown:
        if self.bench is None:
            images = pictures(self.study)[: self.count]
            return Shown("generated", self._made["ids"][: len(images)], images, {})
        test, data = self.bench.test, self.bench.dataset
        ids = np.sort(test[np.random.default_rng(0).permutation(len(test))[: self.count]])  # fewer are some of more
        rows = data.rows(ids)
        return Shown("test", ids, data.images[rows], {name: (known.classes, known.values[rows]) for name, known in data.label_sets.items()})

    @property
    def most(self) -> int:
        """How many images there are to show."""
        return len(self._made["ids"]) if self.bench is None else len(self.bench.test)

    @cached_property
    def _made(self) -> dict[str, np.ndarray]:
        return load_file(self.study.path("generated.safetensors"))

    @property
    def _tensor(self) -> str:
        """Block and pooling of the features that generated images have."""
        return str(self.study.facts["generated"]["tensor"])

    @property
    def blocks(self) -> list[str]:
        """Those that have a map, in network order."""
        if self.bench is None:
            return [self._tensor.rpartition("/")[0]]
        return list(self.bench.request.blocks or ())

    @property
    def root(self) -> Cell:
        """The headline's block at its best level."""
        result = self.study.result()
        block, peak = result["headline"].split("/")[1], result["verdict"]["peak_sigma"]
        level = min(range(len(self.sigmas)), key=lambda i: abs(math.log(self.sigmas[i] / peak)))
        return Cell(block if block in self.blocks else self.blocks[0], level)

    def cell(self, block: str, level: int) -> Cell:
        """Raises UnknownName or InvalidRequest for one that has no map."""
        if block not in self.blocks:
            raise UnknownName("block with a map", block, self.blocks)
        if not 0 <= level < len(self.sigmas):
            raise InvalidRequest(f"level is {level}; allowed: 0 to {len(self.sigmas) - 1}.")
        return Cell(block, level)

    def path(self, cell: Cell) -> list[Cell]:
        """The cells whose maps follow each other from the root to this one."""
        start, there = self.blocks.index(self.root.block), self.blocks.index(cell.block)
        across = [Cell(self.blocks[i], self.root.level) for i in _walk(start, there)]
        return across + [Cell(cell.block, level) for level in _walk(self.root.level, cell.level)[1:]]

    @cached_property
    def engine(self) -> Engine:
        """Whose UMAP: cuML's on a GPU where that is installed."""
        return "cuml" if self.model.device.type == "cuda" and cuml_here() else "umap-learn"

    @cached_property
    def features_of(self) -> FeatureIdentity:
        """What the features are of."""
        if self.bench is None:
            request = self.study.facts["request"]
            known = {"condition": request["condition"], "input": request["input"], "seed": self.study.facts["receipt"]["seed"]}
            known["precision"] = self.study.precision
            return FeatureIdentity(backend=self.model.card.identity, dataset=f"generated:{self.study.version}", **known)
        return self.bench.features("model", 0).model_copy(update={"backend": self.model.card.identity})

    @cached_property
    def neighbours_of(self) -> LayoutIdentity:
        """What the neighbours are of."""
        images = hashlib.sha256(self.shown.ids.tobytes()).hexdigest()[:16]
        return LayoutIdentity(features=self.features_of.key(), images=images, metric=self.metric, neighbours=NEIGHBOURS)

    @cached_property
    def layouts_of(self) -> LayoutIdentity:
        """What the layouts are of: the cells that there are say which follows which."""
        chain = f"{self.root.block}@{self.sigmas[self.root.level]:.9g} of {self.blocks} at {self.sigmas}"
        known = {"dims": self.dims, "engine": self.engine, "seed": self.seed, "chain": hashlib.sha256(chain.encode()).hexdigest()[:16]}
        return self.neighbours_of.model_copy(update=known)

    def lacking(self, level: int) -> np.ndarray:
        """The ids of the images whose features are not stored at a level."""
        if self.bench is None:
            return np.zeros(0, np.uint64)
        groups = self.store.missing("features", self.features_of, self.sigmas[level], self._tensors, self.shown.ids)
        return np.unique(np.concatenate([ids for _, ids in groups])) if groups else np.zeros(0, np.uint64)

    @property
    def _tensors(self) -> list[str]:
        return [f"{block}/1" for block in self.blocks]

    def extract(self, level: int, ids: np.ndarray) -> None:
        """Extract images at a level, for all blocks."""
        assert self.bench is not None
        sigmas, settings = [self.sigmas[level]], self.bench.settings
        extract(self.store, self.model, self.model, self.bench.dataset, self.features_of, self._tensors, sigmas, ids, settings)

    def features(self, cell: Cell) -> np.ndarray:
        """(n, D) float32. Raises DamagedFile where they are not stored."""
        if self.bench is None:
            return self._made[f"{cell.level}/{self._tensor}"][: len(self.shown.ids)].astype(np.float32)
        return self.store.cell(self.features_of, self.sigmas[cell.level], cell.block, "1", self.shown.ids)

    def source(self, cell: Cell) -> Stored | np.ndarray:
        """Features (n, D) to be read elsewhere."""
        if self.bench is None:
            return self.features(cell)
        return Stored(self.store.root, self.features_of, self.sigmas[cell.level], cell.block, self.shown.ids)

    def stored(self, cell: Cell) -> bool:
        """Whether a cell's layout is stored."""
        return any(f"layout/{cell.block}" in unit.names for unit in self.store.units("layouts", self.layouts_of, self.sigmas[cell.level]))

    def unlaid(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells to be laid out for these, each after the one that it follows."""
        return [cell for cell in dict.fromkeys(step for cell in cells for step in self.path(cell)) if not self.stored(cell)]

    def layout(self, cell: Cell) -> np.ndarray:
        """The UMAP (n, dims). Raises DamagedFile where it is not stored."""
        return self.store.rows("layouts", self.layouts_of, self.sigmas[cell.level], f"layout/{cell.block}", self.shown.ids)

    def keep(self, cell: Cell, layout: np.ndarray) -> None:
        self.store.settings("layouts", self.layouts_of, {})
        self.store.put("layouts", self.layouts_of, self.sigmas[cell.level], self.shown.ids, {f"layout/{cell.block}": layout})

    def before(self, cell: Cell) -> np.ndarray | None:
        """The layout that a cell's follows; None for the root's."""
        path = self.path(cell)
        return self.layout(path[-2]) if len(path) > 1 else None

    def pca(self, cell: Cell) -> np.ndarray:
        """The PCA (n, dims), its axes pointing as the root's do."""
        points = space(features := self.features(cell), self.metric)(features)
        found = principal(points, self.dims)
        return found if cell == self.root or len(self.lacking(self.root.level)) else mirrored(found, self.pca(self.root))

    def cloud(self, cell: Cell) -> Cloud | None:
        """The space of a cell with its neighbours, where these are stored."""
        sigma, ids, names = self.sigmas[cell.level], self.shown.ids, (f"places/{cell.block}", f"distances/{cell.block}")
        if not any(names[0] in unit.names for unit in self.store.units("layouts", self.neighbours_of, sigma)):
            return None
        into = space(features := self.features(cell), self.metric)
        places, distances = (self.store.rows("layouts", self.neighbours_of, sigma, name, ids) for name in names)
        return Cloud(into, into(features), places, distances)

    def keep_neighbours(self, cell: Cell, found: Cloud) -> None:
        self.store.settings("layouts", self.neighbours_of, {})
        tensors = {f"places/{cell.block}": found.places, f"distances/{cell.block}": found.distances}
        self.store.put("layouts", self.neighbours_of, self.sigmas[cell.level], self.shown.ids, tensors)

    def x0(self, rows: slice = slice(None)) -> torch.Tensor:
        """x_0 of the images, or of some of them, (n, c, h, w)."""
        if self.bench is not None:
            return load_x0(self.bench.dataset, self.shown.ids[rows], self.model, self.store)
        pixels = torch.from_numpy(self.shown.images[rows].copy()).permute(0, 3, 1, 2)
        return self.model.encode(pixels.to(self.model.device).float() / 127.5 - 1)

    def noised(self, level: int, rows: slice = slice(None)) -> np.ndarray:
        """The images, or some of them, as the network sees them at a level, (n, h, w, 3) uint8; each is the same among any others."""
        x0, identity = self.x0(rows), self.features_of
        if identity.input == "clean":
            return seen(self.model, x0)
        levels = torch.full((len(x0),), self.sigmas[level], dtype=torch.float64)
        eps = noise_like(x0, self.shown.ids[rows].tolist(), identity.seed, identity.draw).to(x0.device)
        scale = self.model.schedule.input_scale(levels).to(x0).reshape(-1, 1, 1, 1)
        return seen(self.model, add_noise(x0, levels, eps) * scale)


def _walk(start: int, end: int) -> Sequence[int]:
    """start … end, both in."""
    return range(start, end + 1) if end >= start else range(start, end - 1, -1)
