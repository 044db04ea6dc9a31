"""What two Ray workers reach over one, divided by what two plain processes of the same loop reach over one in the same run.

A unit is 64 digits through the bundled digits model, every block pooled, and written to the store, under a draw of ε of its own. Plain processes are given half of the units each and go
through them in a loop; Ray's actors are given one unit after another, as in a sweep. Wall-clock seconds, all workers warm, one thread
each. One attempt times plain, Ray and plain again, each with one worker and with two. Needs `requirements-ray.txt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from analysis.crew import Crew

from .measure import Attempt, Measured, attempts, summary

UNITS, IMAGES = 12, 64


@lru_cache(maxsize=1)
def _ready() -> tuple[Any, ...]:
    from analysis.backends import open_backend
    from analysis.datasets import open_dataset

    torch.set_num_threads(1)
    model, data = open_backend("digits-ddpm"), open_dataset("digits")
    return model, data, [f"{block.name}/1" for block in model.card.blocks], model.card.sigmas[len(model.card.sigmas) // 2]


def unit(root: str, draw: int) -> int:
    """One unit of work, from pixels to the file in a store; which draw makes no difference to what it costs."""
    from analysis.features import extract
    from analysis.specs import FeatureIdentity
    from analysis.store import Store

    model, data, names, sigma = _ready()
    identity = FeatureIdentity(backend=model.card.identity, dataset=data.identity, draw=draw)
    settings = {"batch_size": IMAGES, "device": "cpu", "threads": 1, "memory_format": "channels_last"}
    return extract(Store(Path(root)), model, model, data, identity, names, [sigma], data.ids[:IMAGES], settings)


def loop(root: str, draws: Sequence[int]) -> int:
    """Units one after another in one process."""
    return sum(unit(root, draw) for draw in draws)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain(crew: Crew, root: str, draws: Sequence[int]) -> float:
    """Seconds of all units, an equal part for each process."""
    calls = [(root, draws[place :: crew.count]) for place in range(crew.count)]
    return _seconds(lambda: list(crew.run(loop, calls)))


def by_ray(crew: Crew, root: str, draws: Sequence[int]) -> float:
    """Seconds of all units, one at a time for each actor."""
    return _seconds(lambda: list(crew.run(unit, ((root, draw) for draw in draws))))


def run() -> Measured:
    """At a ratio of 1 Ray costs nothing that plain processes do not cost."""
    if find_spec("ray") is None:
        return Measured(None, details={"note": "Ray is not installed: pip install -r requirements-ray.txt."})
    from analysis.raycrew import Actors, RayCrew

    with (
        TemporaryDirectory() as root,
        Crew(1) as one,
        Crew(2) as two,
        RayCrew(3) as room,
        Actors(1) as first,
        Actors(2) as second,
    ):
        room.join()
        sides = [(plain, one, two), (by_ray, first, second)]
        fresh = count()

        def timed(side: Callable[[Crew, str, Sequence[int]], float], crew: Crew) -> float:
            return side(crew, root, [next(fresh) for _ in range(UNITS)])

        for side, *crews in sides:
            for crew in crews:
                timed(side, crew)

        def reached(side: Callable[[Crew, str, Sequence[int]], float], alone: Crew, both: Crew) -> float:
            return timed(side, both) / timed(side, alone)

        def once() -> Attempt:
            before, ours, after = (reached(*sides[which]) for which in (0, 1, 0))
            return Attempt(before, after, ours)

        details = {"units": UNITS, "images": IMAGES, "unit": "seconds of two workers over those of one", "clock": "wall"}
        return summary(attempts(once), lambda cost: 1 / cost, details)
