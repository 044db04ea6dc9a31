"""What maps lack is made: images extracted step by step, neighbours and layouts in a process beside this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

import numpy as np

from . import layout
from .atlas import Atlas, Cell
from .crew import Crew
from .errors import InvalidRequest, NoisescopeError
from .features import read_features
from .lane import Answer
from .layout import Cloud

STEP, FEWEST, MOST = 0.4, 16, 512  # seconds of extraction until others are served, and how many images at once that may be
LOOK = 0.01  # seconds that an answer waits for the process beside it before others are served
FIRST, NEXT = 1.0, 0.25  # milliseconds an image that a first layout takes, and one that follows: for what is said beforehand
SAMPLE = 16  # images whose passes tell the pace
Found = TypeVar("Found")
Said = tuple[dict[str, Any], bytes]


def warm() -> None:
    """Have umap-learn compiled: the first layout of a process else takes seconds more."""
    layout.umap_of(layout.cloud(np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)))


class Laying:
    """Makes what cells of an atlas lack; its generators yield how far they are."""

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._paces: dict[str, float] = {}
        self._warm: Future[None] | None = None

    def warm(self) -> None:
        """Start the process, once."""
        if self._warm is None:
            self._warm = self.crew.start(warm)

    def cost(self, atlas: Atlas, cells: Sequence[Cell], method: str, most: float | None) -> Answer | None:
        """What cells would take, where that is more than `most` seconds."""
        if method not in ("pca", "umap"):
            raise InvalidRequest(f"method is {method!r}; allowed: 'pca' and 'umap'.")
        if most is None:
            return None
        unlaid = [] if method == "pca" else atlas.unlaid(cells)
        passes = sum(len(atlas.lacking(level)) for level in {cell.level for cell in [*cells, *unlaid]})
        layouts = sum(FIRST if cell == atlas.root else NEXT for cell in unlaid) * len(atlas.shown.ids) / 1000
        seconds = (passes * self.pace(atlas) if passes else 0.0) + layouts
        return ({"seconds": seconds, "passes": passes, "layouts": len(unlaid)}, b"") if seconds > most else None

    def pace(self, atlas: Atlas) -> float:
        """Seconds that a pass takes up to the last of the atlas's blocks, measured once."""
        if (name := f"{atlas.model.card.identity}/{atlas.blocks}") not in self._paces:
            x0 = atlas.x0(slice(SAMPLE))
            for _ in range(2):  # the first warms up
                began = time.perf_counter()
                read_features(
                    atlas.model, [f"{block}/1" for block in atlas.blocks], x0, None, atlas.sigmas[0], SAMPLE, atlas.features_of.condition
                )
                self._paces[name] = (time.perf_counter() - began) / len(x0)
        return self._paces[name]

    def fill(self, atlas: Atlas, cells: Sequence[Cell], method: str) -> Generator[Said, None, None]:
        """Extract and lay out what is lacking for cells."""
        unlaid = [] if method == "pca" else atlas.unlaid(cells)
        levels = sorted({cell.level for cell in [*cells, *unlaid]})
        lacking = {level: len(atlas.lacking(level)) for level in levels}
        of, done = sum(lacking.values()) + len(unlaid) * (each := len(atlas.shown.ids)), 0
        for level in levels:
            while len(ids := atlas.lacking(level)):
                step = max(FEWEST, min(MOST, int(STEP / self.pace(atlas))))
                yield saying(done, of, f"Reading {each:,} images at σ = {atlas.sigmas[level]:.2g}")()
                atlas.extract(level, ids[:step])
                done += min(step, len(ids))
        for cell in unlaid:
            if atlas.stored(cell):  # who asked before for another cell has laid it out meanwhile
                continue
            said = saying(done, of, f"Laying out {cell.block} at σ = {atlas.sigmas[cell.level]:.2g}")
            given = yield from self.cloud(atlas, cell, said)
            future = self.crew.start(layout.follow, given, atlas.before(cell), atlas.dims, atlas.seed, atlas.engine)
            atlas.keep(cell, (yield from self.awaited(future, said)))
            done += each

    def cloud(self, atlas: Atlas, cell: Cell, said: Callable[[], Said]) -> Generator[Said, None, Cloud]:
        """The space of a cell with its neighbours, which are kept."""
        found = atlas.cloud(cell)
        if found is None:
            future = self.crew.start(layout.cloud, atlas.features(cell), atlas.metric, layout.NEIGHBOURS)
            found = yield from self.awaited(future, said)
            atlas.keep_neighbours(cell, found)
        return found

    @staticmethod
    def awaited(future: Future[Found], said: Callable[[], Said]) -> Generator[Said, None, Found]:
        """The result of the process beside this one, serving others until it is there."""
        while not wait([future], LOOK).done:
            yield said()
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise NoisescopeError(
                "The process that lays out maps ended unexpectedly, perhaps for want of memory; ask for fewer images."
            ) from error


def saying(done: int, of: int, doing: str) -> Callable[[], Said]:
    """How far something is, to be said again and again."""
    return lambda: ({"done": done, "of": max(of, 1), "doing": doing}, b"")
