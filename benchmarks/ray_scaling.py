"""What two Ray workers reach over one, divided by what two plain processes of the same loop reach over one in the same run.

A unit is 64 digits through the bundled digits model, every block pooled. Plain processes are given half of the units each and go
through them in a loop; Ray's actors are given one unit after another, as in a sweep. Wall-clock seconds, all workers warm, one thread
each. One attempt times plain, Ray and plain again, each with one worker and with two. Needs `requirements-ray.txt`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from analysis.crew import Crew

from .measure import Attempt, Measured, attempts, summary

UNITS, IMAGES = 12, 64


@lru_cache(maxsize=1)
def _ready() -> tuple[Any, ...]:
    from analysis.backends import open_backend
    from analysis.datasets import open_dataset
    from analysis.features import load_x0
    from analysis.noise import noise_like

    torch.set_num_threads(1)
    model, data = open_backend("digits-ddpm"), open_dataset("digits")
    ids = data.ids[:IMAGES]
    x0 = load_x0(data, ids, model)
    return model, [f"{block.name}/1" for block in model.card.blocks], x0, noise_like(x0, ids.tolist(), 0, 0)


def unit(place: int) -> int:
    """One unit of work; which one makes no difference to what it costs."""
    from analysis.features import read_features

    model, names, x0, eps = _ready()
    read_features(model, names, x0, eps, model.card.sigmas[len(model.card.sigmas) // 2], IMAGES)
    return place


def loop(places: Sequence[int]) -> int:
    """Units one after another in one process."""
    return len([unit(place) for place in places])


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def plain(crew: Crew) -> float:
    """Seconds of all units, an equal part for each process."""
    calls = [(range(place, UNITS, crew.count),) for place in range(crew.count)]
    return _seconds(lambda: list(crew.run(loop, calls)))


def by_ray(crew: Crew) -> float:
    """Seconds of all units, one at a time for each actor."""
    return _seconds(lambda: list(crew.run(unit, ((place,) for place in range(UNITS)))))


def run() -> Measured:
    """At a ratio of 1 Ray costs nothing that plain processes do not cost."""
    if find_spec("ray") is None:
        return Measured(None, details={"note": "Ray is not installed: pip install -r requirements-ray.txt."})
    from analysis.raycrew import Actors, RayCrew

    with Crew(1) as one, Crew(2) as two, RayCrew(3) as room, Actors(1) as first, Actors(2) as second:
        room.join()
        sides = [(plain, one, two), (by_ray, first, second)]
        for side, *crews in sides:
            for crew in crews:
                side(crew)

        def reached(side: Callable[[Crew], float], alone: Crew, both: Crew) -> float:
            return side(both) / side(alone)

        def once() -> Attempt:
            before, ours, after = (reached(*sides[which]) for which in (0, 1, 0))
            return Attempt(before, after, ours)

        details = {"units": UNITS, "images": IMAGES, "unit": "seconds of two workers over those of one", "clock": "wall"}
        return summary(attempts(once), lambda cost: 1 / cost, details)
