"""Probes that read several cells at once: blocks side by side, each under an ε of its own, and learned fusion of maps.

A pass of the network gives every block's map at one level under one draw of ε. Blocks that are each to have an ε of their own take a
pass each; fusion takes one for every level, as the mean over levels does. Its control is the same network that reads the same blocks
at the best single level, under as many draws of ε.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import ensembling, probing, registry
from .crew import Between, still_wanted
from .ensemble_words import FUSED_DRAWS, FUSION, OWN
from .ensembling import Plan
from .errors import InvalidData
from .fusing import Fusion, Small
from .heads.base import ProbeHead
from .planning import Bench, scaling
from .series import Point
from .specs import ProbeIdentity
from .tasks import Reading, Task


@dataclass(frozen=True)
class Joined(Reading):
    """What a probe reads of several cells: (`block/pooling`, σ, under which ε) each; `features` are the first's."""

    cells: tuple[tuple[str, float, Reading], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        cells = [[name, sigma, *(features.key() for features in reading.features)] for name, sigma, reading in self.cells]
        return super().settings | {"cells": cells}


def variants(plan: Plan) -> list[str]:
    """Which of these probes a plan has."""
    return [*([OWN] if plan.together else []), *([FUSION, FUSED_DRAWS] if plan.fuse else [])]


class Joint(NamedTuple):
    """A unit of work: one probe of several cells, at one label draw."""

    plan: Plan
    draw: int
    variant: str

    @property
    def sigma(self) -> float:
        """The level under which it is kept: the plan's best."""
        return self.plan.centre

    @property
    def name(self) -> str:
        """What it is kept as."""
        return self.plan.together or "" if self.variant == OWN else f"{'+'.join(self.plan.blocks)}/{self.plan.fuse}"

    @property
    def cells(self) -> list[tuple[str, float, int]]:
        """(`block/pooling`, σ, draw of ε) of everything that it reads."""
        plan = self.plan
        if self.variant == OWN:
            parts = probing.cells_of(plan.together or "")
            return [(name, plan.centre, (self.draw + place) % plan.members) for place, name in enumerate(parts)]
        if self.variant == FUSION:
            passes = list(zip(plan.sigmas, plan.eps_draws(self.draw), strict=True))
        else:
            passes = [(plan.centre, eps) for eps in range(plan.members)]
        return [(name, sigma, eps) for sigma, eps in passes for name in plan.maps]

    @property
    def passes(self) -> int:
        """How many passes of an image its cells take, where a cell is read under one draw of ε."""
        return len({(sigma, eps) for _, sigma, eps in self.cells})

    def reading(self, bench: Bench) -> Joined:
        """Where its features are."""
        cells = tuple((name, sigma, bench.reading("model", eps)) for name, sigma, eps in self.cells)
        return Joined(cells[0][2].features, bench.request.pca, cells)

    def identity(self, bench: Bench) -> ProbeIdentity:
        """Where its results are."""
        task, linear = bench.task(self.plan.per_class, self.draw), self.variant == OWN
        name, penalties = (bench.head, registry.get("heads", bench.head).penalties) if linear else (Fusion.name, Small.penalties)
        return task.identity(self.reading(bench), name, scaling(bench.model), penalties)

    def there(self, bench: Bench) -> bool:
        """Whether the store has it."""
        return any(f"{self.name}/logits" in unit.names for unit in bench.store.units("probes", self.identity(bench), self.sigma))

    def extract(self, bench: Bench, between: Between = still_wanted) -> int:
        """Nothing: the ensemble's members have extracted what it reads."""
        return 0

    def fill(self, bench: Bench, between: Between = still_wanted) -> tuple[int, list[Point]]:
        """Fit it on the labelled images, let validation choose its penalty, and keep its logits, unless they are there; (0, no news)."""
        if self.there(bench):
            return 0, []
        between()
        task, reading, identity = bench.task(self.plan.per_class, self.draw), self.reading(bench), self.identity(bench)
        ids = np.concatenate([task.train, task.validation, task.test])
        parts = [probing.read(bench.store, one, sigma, name, ids) for name, sigma, one in reading.cells]
        kept, said = self._probe(bench, task, parts)
        bench.store.settings("probes", identity, {})
        bench.store.put(
            "probes",
            identity,
            self.sigma,
            ids[len(task.train) :],
            {f"{self.name}/{key}": value for key, value in kept.items()},
            {f"{self.name}/{key}": value for key, value in said.items()},
        )
        return 0, []

    def _probe(self, bench: Bench, task: Task, parts: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """What is kept of the probe of parts (n, D), tensors and words; where it cannot be fitted the words say why."""
        head, side = self._head(bench, parts)
        values, first, columns = np.concatenate(parts, axis=1), len(task.train), len(task.labels.classes)
        train, validation, test = np.split(values, [first, first + len(task.validation)])
        with_labels = (train, task.given), (validation, task.values(task.validation))
        try:
            found = probing.probe(head, scaling(bench.model), *with_labels, test, columns, side, bench.request.pca)
        except InvalidData as error:
            return {"logits": np.zeros((len(values) - first, 1 if task.continuous else columns), np.float16)}, {"wrong": str(error)}
        right, _ = probing.judged(task, found.logits)
        said = {"penalty": str(found.head.penalty), "converged": f"{found.converged:.4g}", "validation": repr(float(right.mean()))}
        return {"logits": found.logits, "mean": found.scaler.mean, "spread": found.scaler.spread, **found.head.tensors()}, said

    def _head(self, bench: Bench, parts: Sequence[np.ndarray]) -> tuple[ProbeHead, int]:
        """What reads the parts (n, D) side by side, and the side of the maps that it is given."""
        if self.variant == OWN:
            pooling = self.name.rpartition("/")[2]
            return registry.get("heads", bench.head)(), int(pooling) if pooling.isdecimal() else 1
        side = self.plan.fuse
        return Fusion([(part.shape[1] // side**2, side, side) for part in parts]), 1


def joints(bench: Bench, plans: Sequence[Plan], *of: str) -> list[Joint]:
    """The units of all plans, of these variants where any are given; those that come to the same probe are one."""
    every = [Joint(plan, draw, name) for plan in plans for name in variants(plan) for draw in range(plan.draws) if not of or name in of]
    return list({one.identity(bench).key() + one.name: one for one in every}.values())


def units(bench: Bench) -> int:
    """How many units of work ensembles are at most, their members and these probes."""
    request = bench.request
    each = (len(request.blocks or ()) > 1) + 2 * (request.fuse > 0)
    return sum(request.ensemble**2 + each * ensembling.draws(bench, number) for number in request.labels_per_class if request.ensemble)
