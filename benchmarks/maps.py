"""UMAPs of one block over noise levels, each from the one before, and a first one: ours over umap-learn called by hand.

Images are generated shapes, features those of the network trained on them. Twelve maps of 6,000 images by umap-learn take more than
a minute, so that an attempt is one level: ours costs a twelfth of a first map there and eleven twelfths of one that follows,
neighbours and Procrustes included. Whether the maps are as good is asked of all twelve.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count, pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from umap import UMAP

from analysis import layout
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.features import load_x0, read_features
from analysis.geometry import SAMPLE, ranks
from analysis.layout import NEIGHBOURS, Cloud, aligned, chain, cloud, follow, umap_of
from analysis.noise import noise_like

from .measure import Attempt, Cost, Measured, attempts, cpu, interleave, measure, summary

MODEL, BLOCK = "shapes-ddpm", "up0.res1"
IMAGES, FEWER, LEVELS = 6000, 2000, 12
TOGETHER, ALIGNED = 1500, (3, 4, 5, 6)  # images and levels of umap-learn's AlignedUMAP, which takes far longer
LOSS = 0.01  # of mean trustworthiness, that is allowed
EPOCHS = 500  # of a first map of so many images, by umap-learn's own choice
UNIT = "CPU seconds, one thread, compiled before"


def features(images: int = IMAGES, levels: Sequence[int] = range(LEVELS)) -> list[np.ndarray]:
    """Pooled features (n, D) of generated shapes at some of twelve noise levels, ascending."""
    model, dataset = open_backend(MODEL), open_dataset(f"shapes:{images}")
    sigmas, tensor, x0 = model.schedule.spread(LEVELS), f"{BLOCK}/1", load_x0(dataset, dataset.ids, model)
    eps = noise_like(x0, dataset.ids.tolist(), 0, 0)
    return [read_features(model, [tensor], x0, eps, sigmas[level], 64)[tensor].numpy() for level in levels]


def by_hand(points: np.ndarray) -> np.ndarray:
    """What one would write with umap-learn's manual beside one, and its own neighbours."""
    return UMAP(random_state=0, n_jobs=1).fit_transform(points)


def with_neighbours(given: Cloud) -> np.ndarray:
    """The same with the exact neighbours that ours has, found before."""
    known = given.places[:, :NEIGHBOURS], given.distances[:, :NEIGHBOURS], None
    return UMAP(random_state=0, n_jobs=1, precomputed_knn=known).fit_transform(given.points)


def trusted(given: Cloud, found: np.ndarray) -> float:
    """Trustworthiness of a map with 15 neighbours, of 2,000 images at most."""
    mine = np.random.default_rng(0).permutation(len(given))[:SAMPLE]
    return ranks(given.points[mine], found[mine], NEIGHBOURS)[0]


def mean_trust(clouds: Sequence[Cloud], maps: Sequence[np.ndarray]) -> float:
    return round(float(np.mean([trusted(given, found) for given, found in zip(clouds, maps, strict=True)])), 4)


def moved(maps: Sequence[np.ndarray]) -> float:
    """How far images go from one map to the next (root mean square), over the map's spread; the mean over pairs."""
    return round(float(np.mean([np.sqrt(((b - a) ** 2).sum(1).mean() / a.var(0).sum()) for a, b in pairwise(maps)])), 4)


def shared(first: Cost, following: Cost, levels: int = LEVELS) -> Cost:
    """The cost of one map of a chain: a first one is one of `levels`, all others follow."""
    return lambda: (first() + (levels - 1) * following()) / levels


def over_noise() -> Measured:
    """CPU seconds of ours over umap-learn's; the target is met where mean trustworthiness is at most .01 lower, too."""
    spaces = features()
    with _one_thread():
        clouds = [cloud(given) for given in spaces]
        ours, theirs = list(chain(clouds)), [by_hand(given.points) for given in clouds]
        levels = count()

        def at(level: int, baseline: Callable[[Cloud], Any]) -> Attempt:
            given, before = spaces[level], ours[level - 1]
            first, following = cpu(lambda: umap_of(cloud(given))), cpu(lambda: follow(cloud(given), before))
            return interleave(cpu(lambda: baseline(clouds[level])), shared(first, following), 1)

        def once() -> Attempt:
            return at(1 + next(levels) % (LEVELS - 1), lambda given: by_hand(given.points))

        exact = at(LEVELS // 2, with_neighbours)
        trust = {"ours": mean_trust(clouds, ours), "umap_learn": mean_trust(clouds, theirs)}
        details = {
            "model": MODEL,
            "block": BLOCK,
            "images": IMAGES,
            "levels": LEVELS,
            "attempt": "a map at one level, another level each time; ours is a twelfth of a first one and the rest of one that follows",
            "mean_trustworthiness": trust,
            "moved": {"ours": moved(ours), "umap_learn": moved(theirs)},
            "umap_learn_with_exact_neighbours": {"ratio": round(exact.cost, 4), "control": round(exact.control, 4)},
            "AlignedUMAP": _together([spaces[level][:TOGETHER] for level in ALIGNED]),
            "unit": UNIT,
        }
        found = summary(attempts(once), lambda cost: cost, details)
    return replace(found, holds=trust["umap_learn"] - trust["ours"] <= LOSS)


def _together(spaces: Sequence[np.ndarray]) -> dict[str, Any]:
    """Ours and umap-learn's AlignedUMAP of the same few images and levels, once each, compiled before."""
    clouds, maps = [cloud(given) for given in spaces], {}

    aligned([cloud(given[:100]) for given in spaces])
    seconds = {
        "AlignedUMAP": cpu(lambda: maps.update(AlignedUMAP=aligned(clouds)))(),
        "ours": cpu(lambda: maps.update(ours=list(chain(cloud(given) for given in spaces))))(),
        "umap_learn": cpu(lambda: maps.update(umap_learn=[by_hand(given.points) for given in clouds]))(),
    }
    return {"images": len(clouds[0]), "levels": len(clouds)} | {
        name: {"seconds": round(cost, 2), "mean_trustworthiness": mean_trust(clouds, maps[name]), "moved": moved(maps[name])}
        for name, cost in seconds.items()
    }


def first() -> Measured:
    """CPU seconds of neighbours and a first map over those of umap-learn; the target is met where it is as trustworthy, too."""
    [space] = features(levels=[LEVELS // 2])
    with _one_thread():
        trust = _trust(space)
        with patch.object(layout, "EPOCHS", EPOCHS):
            as_many = _once(space)
        details = {
            "model": MODEL,
            "block": BLOCK,
            "images": IMAGES,
            "neighbours": NEIGHBOURS,
            "trustworthiness": trust,
            f"{FEWER} images": _once(space[:FEWER]),
            f"{EPOCHS} epochs, as umap-learn": as_many,
            "unit": UNIT,
        }
        found = measure(*_sides(space), 1, lambda cost: cost, details)
    return replace(found, holds=trust["umap_learn"] - trust["ours"] <= LOSS)


def _sides(space: np.ndarray) -> tuple[Cost, Cost]:
    """(umap-learn by hand, ours): ours makes the space and its neighbours, umap-learn is given the space."""
    points = cloud(space).points
    return cpu(lambda: by_hand(points)), cpu(lambda: umap_of(cloud(space)))


def _trust(space: np.ndarray) -> dict[str, float]:
    given = cloud(space)
    return {"ours": mean_trust([given], [umap_of(given)]), "umap_learn": mean_trust([given], [by_hand(given.points)])}


def _once(space: np.ndarray) -> dict[str, Any]:
    """One attempt, no target; the maps that trust is of compile everything before."""
    trust, found = _trust(space), interleave(*_sides(space), 1)
    return {"ratio": round(found.cost, 4), "control": round(found.control, 4), "trustworthiness": trust}


def _one_thread() -> Any:
    """Umap-learn keeps to one thread by its seed; here everything else does."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="umap|sklearn")
    return threadpool_limits(1)
