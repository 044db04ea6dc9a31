"""What an ensemble over noise is made of, and the filling of the store with its probes.

At each number of labels a class, validation images choose a block, its pooling and its best level; the members are that level and
its nearest neighbours (Li et al., arXiv 2502.05743). Each member's level is probed under as many draws of ε as there are members,
on the same labelled images: the means over levels, over draws and over both are then made of the same probes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from . import probing
from .crew import Between, still_wanted
from .errors import InvalidData
from .features import extract
from .planning import Bench, scaling
from .series import Point
from .specs import ProbeIdentity
from .tasks import Task

BLOCKS = 3  # whose features are put side by side, where the request has as many, and draws of ε for each


@dataclass(frozen=True)
class Plan:
    """What is averaged at one number of labels a class; no test label has a part in it."""

    per_class: int | Literal["all"]
    tensor: str  # the members' `block/pooling`
    sigmas: tuple[float, ...]  # the members' levels, ascending
    centre: float  # of these the best single level
    together: str | None  # the best blocks there, `first+second/pooling`; None where the request has one
    draws: int  # label draws; with all labels as many as there are draws of ε
    fuse: int = 0  # side of the maps that are fused; 0: none

    @property
    def members(self) -> int:
        return len(self.sigmas)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Whose features stand side by side, and whose maps are fused, in the order of the network."""
        return tuple(cell.rpartition("/")[0] for cell in probing.cells_of(self.together or self.tensor))

    @property
    def maps(self) -> tuple[str, ...]:
        """The blocks' maps, `block/side`, that are fused; none where that was not asked for."""
        return tuple(f"{block}/{self.fuse}" for block in self.blocks) if self.fuse else ()

    def eps_draws(self, draw: int) -> list[int]:
        """Which draw of ε each member has at a label draw: every one its own, the centre's taking its turn from draw to draw."""
        first = draw - self.sigmas.index(self.centre)
        return [(first + member) % self.members for member in range(self.members)]


def validations(bench: Bench, per_class: int | str) -> dict[str, np.ndarray]:
    """Validation accuracy, or R², (R, S) of each of the model's curves, {`block/pooling`: …}, but of those with a cell that cannot be probed.

    Raises DamagedFile where a probe lacks, InvalidData where no curve is left.
    """
    series = [series for series in bench.series(per_class) if series.source == "model"]
    shape = (bench.request.draws(per_class), len(bench.sigmas))  # type: ignore[arg-type]
    found = {one.tensor: np.zeros(shape) for one in series}
    for draw in range(shape[0]):
        task, identity = bench.probe_identity(per_class, draw, "model", bench.head)
        for level, sigma in enumerate(bench.sigmas):
            for name, accuracy in probing.validation(bench.store, task, identity, sigma, list(found)).items():
                found[name][draw, level] = accuracy
    whole = {name: accuracies for name, accuracies in found.items() if not np.isnan(accuracies).any()}
    if not whole:
        raise InvalidData(f"No block could be probed at every level with {per_class} labels a class; leave levels out or use other labels.")
    return whole


def nearest(best: int, count: int, levels: int) -> range:
    """The `count` places about `best` of 0…levels-1, kept within them."""
    first = min(max(best - count // 2, 0), levels - count)
    return range(first, first + count)


def choose(bench: Bench, per_class: int | Literal["all"]) -> Plan:
    """The plan at a number of labels a class; the sweep's own probes must be there. Raises DamagedFile.

    The block and its pooling are the headline's (the best mean validation accuracy over all levels); the level is its best one, by
    the same accuracy.
    """
    valid, count = validations(bench, per_class), bench.request.ensemble
    tensor = max(valid, key=lambda name: float(valid[name].mean()))
    best = int(valid[tensor].mean(0).argmax())
    pooling = tensor.rpartition("/")[2]
    alike = [name for name in valid if name.rpartition("/")[2] == pooling]
    blocks = sorted(alike, key=lambda name: -float(valid[name][:, best].mean()))[: min(BLOCKS, count)]
    side_by_side = "+".join(name.rpartition("/")[0] for name in alike if name in blocks)  # in the order of the network
    return Plan(
        per_class,
        tensor,
        tuple(bench.sigmas[level] for level in nearest(best, count, len(bench.sigmas))),
        bench.sigmas[best],
        f"{side_by_side}/{pooling}" if len(blocks) > 1 else None,
        draws(bench, per_class),
        bench.request.fuse,
    )


def draws(bench: Bench, per_class: int | Literal["all"]) -> int:
    """How many label draws an ensemble has: as the sweep, and with all labels one for each draw of ε."""
    return bench.request.ensemble if per_class == "all" else bench.request.draws(per_class)


class Member(NamedTuple):
    """A unit of work: all that the plans want at one level under one draw of ε."""

    sigma: float
    eps_draw: int
    plans: tuple[Plan, ...]

    def wanted(self, bench: Bench) -> tuple[list[str], np.ndarray]:
        """The tensors, and the ids (n,) of the images whose features are needed."""
        names = [plan.tensor for plan in self.plans]
        names += [part for plan in self.plans if plan.together and plan.centre == self.sigma for part in probing.cells_of(plan.together)]
        names += [name for plan in self.plans for name in plan.maps]
        return list(dict.fromkeys(names)), images(bench, [plan.per_class for plan in self.plans])

    def probes(self, bench: Bench) -> Iterator[tuple[Task, ProbeIdentity, list[str]]]:
        """Each label draw's task, where its probes are, and their names."""
        for plan in self.plans:
            for draw in range(plan.draws):
                task = bench.task(plan.per_class, draw)
                beside = plan.centre == self.sigma and draw % plan.members == self.eps_draw
                names = [plan.tensor, *([plan.together] if plan.together and beside else [])]
                yield task, bench.identify(task, "model", bench.head, self.eps_draw), names

    def extract(self, bench: Bench, between: Between = still_wanted) -> int:
        """Extract what the store lacks; returns passes of an image."""
        (names, ids), model, passes = self.wanted(bench), bench.model, 0
        for identity in bench.reading("model", self.eps_draw).features:
            passes += extract(
                bench.store, model, model, bench.dataset, identity, names, [self.sigma], ids, bench.settings, between, bench.noise
            )
        return passes

    def fill(self, bench: Bench, between: Between = still_wanted) -> tuple[int, list[Point]]:
        """Extract and probe what is not stored; (passes of an image, no news: an ensemble is told of when all of it is there)."""
        passes, reading = self.extract(bench, between), bench.reading("model", self.eps_draw)
        for task, _, names in self.probes(bench):
            probing.fill(bench.store, task, reading, self.sigma, names, bench.head, scaling(bench.model), between)
        return passes, []


def images(bench: Bench, numbers: Iterable[int | Literal["all"]]) -> np.ndarray:
    """Ids (n,) of all images that members are fitted or scored on, at these numbers of labels a class."""
    labelled = [bench.task(per_class, draw).train for per_class in numbers for draw in range(draws(bench, per_class))]
    return np.concatenate([bench.validation, bench.test, np.unique(np.concatenate(labelled))])


def members(plans: Sequence[Plan]) -> list[Member]:
    """The units of all plans: those at one level under one draw are one, so that no two processes extract the same."""
    wanted: dict[tuple[float, int], list[Plan]] = {}
    for plan in plans:
        for key in product(plan.sigmas, range(plan.members)):
            wanted.setdefault(key, []).append(plan)
    return [Member(sigma, eps_draw, tuple(group)) for (sigma, eps_draw), group in wanted.items()]
