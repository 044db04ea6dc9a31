"""What to use: a study's best cell, those not shown to be worse, and the cheapest of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import cells
from .cells import Cell
from .studies import Study
from .verdict import MEASURES

NO_LINES = "There are no lines of code for this family of models yet."
FEW = 5  # degrees of freedom below which a difference must be huge to be seen


@dataclass(frozen=True)
class Choice:
    """One cell, what it reads, and what it takes: accuracies are shares of 1, intervals of 95 %, `level` its place in the study.

    `below` is how far its accuracy is below the best cell's, paired: (difference, low, high). `gflop` is of one image's pass that ends after the block; None where the study does not say.
    """

    block: str
    pooling: str
    level: int
    sigma: float
    timestep: float
    accuracy: float
    ci: tuple[float, float]
    validation: float
    below: tuple[float, float, float]
    depth: int
    dimension: int  # of what the probe reads
    gflop: float | None

    @property
    def cell(self) -> Cell:
        return f"model/{self.block}/{self.pooling}", self.level

    @property
    def cost(self) -> tuple[float, int, float]:
        """What is cheap comes first: the pass, then the number of features, and of equal ones the best on validation images."""
        return (self.depth if self.gflop is None else self.gflop, self.dimension, -self.validation)


@dataclass(frozen=True)
class Recipe:
    """The best cell of all poolings, chosen on validation images, and `near`: it and all not significantly worse, cheapest first."""

    best: Choice
    near: tuple[Choice, ...]
    every: Mapping[Cell, Choice]
    blocks: int  # of the network
    labels: str
    measure: str  # what is read, in words: accuracy, or R² where labels are numbers
    head: str
    draws: int  # of ε whose features are averaged
    freedom: int  # degrees of freedom of the comparison: one less than there are draws

    @property
    def cheapest(self) -> Choice:
        return self.near[0]

    @property
    def careful(self) -> Choice:
        """The cheapest of those near it that is not shown to be worse when tested alone either: correction for many cells forgives much."""
        return next(one for one in self.near if one.below[1] <= 0)

    @property
    def order(self) -> str:
        """By what a cell is called cheap."""
        first = "the block's place in the network (this study says no GFLOP)" if self.best.gflop is None else "GFLOP to the block's end"
        return f"{first}, then by the number of features"


def recipe(study: Study, labels: str | int | None = None) -> Recipe:
    """What to use of a study's model at a number of labels a class, the first if none is given.

    The best is chosen on validation images over all blocks, levels and poolings; those near it are not significantly worse on
    test images, Holm-corrected over all of them together (`cells.near_best`). Raises UnknownName for another number of labels.
    """
    labels = str(labels or next(iter(study.facts["results"])))
    study.result(labels)
    near = cells.near_best_of(study, labels)
    every = _choices(study, labels, near)
    freedom = min(study.result(labels)["draws"], study.facts["receipt"]["n_test"]) - 1
    return Recipe(
        best=every[near.best],
        near=tuple(sorted((every[cell] for cell in near.cells), key=lambda one: one.cost)),
        every=every,
        blocks=1 + max(block.depth for block in study.card.blocks),
        labels=labels,
        measure=MEASURES[study.measure],
        head=study.facts["receipt"]["head"],
        draws=study.facts["request"].get("average_draws", 1),
        freedom=freedom,
    )


def _choices(study: Study, labels: str, near: cells.NearBest) -> dict[Cell, Choice]:
    """Every cell of the model, by curve and place of its level."""
    blocks = {block.name: block for block in study.card.every}
    gflop = study.facts["receipt"].get("gflop") or {}
    table = study.table("curve")
    table = table[(table.source == "model") & (table.labels_per_class == labels)].sort_values("sigma")
    found: dict[Cell, Choice] = {}
    for (block, pooling), rows in table.groupby(["block", "pooling"]):
        for level, row in enumerate(rows.itertuples()):
            cell = f"model/{block}/{pooling}", level
            found[cell] = Choice(
                block=block,
                pooling=pooling,
                level=level,
                sigma=float(row.sigma),
                timestep=float(row.timestep),
                accuracy=float(row.accuracy),
                ci=(float(row.ci_low), float(row.ci_high)),
                validation=float(row.validation_accuracy),
                below=near.below[cell],
                depth=blocks[block].depth,
                dimension=min(blocks[block].width(pooling), study.facts["request"].get("pca") or sys.maxsize),
                gflop=gflop.get(block),
            )
    return found


def place(choice: Choice) -> str:
    """Where a cell is, in words."""
    return f"block {choice.block} at σ = {choice.sigma:.2g} (t = {choice.timestep:.0f})"


def reads(choice: Choice) -> str:
    """How well a cell reads, in words."""
    return f"{100 * choice.accuracy:.1f} % ({100 * choice.ci[0]:.1f} to {100 * choice.ci[1]:.1f})"


def lacks(below: tuple[float, float, float]) -> str:
    """How far below the best a cell is, in words."""
    gap, low, high = (100 * value for value in below)
    return f"{abs(gap):.1f} points {'below' if gap >= 0 else 'above'} the best (95 % interval of what it lacks {low:.1f} to {high:.1f})"


def spends(choice: Choice, blocks: int) -> str:
    """What a cell takes, in words."""
    after = f"after block {choice.depth + 1} of {blocks}"
    return f"{after}, {choice.gflop:.3g} GFLOP an image" if choice.gflop is not None else after


def sentence(found: Recipe) -> str:
    """The finding in words."""
    told, best, cheap = "all labels" if found.labels == "all" else f"{found.labels} labels a class", found.best, found.cheapest
    says = f"With {told} the best of {len(found.every)} cells on validation images is {place(best)}: {found.measure} {reads(best)} on test images."
    if len(found.near) == 1:
        return f"{says} Every other cell is shown to be worse."
    others = f"{len(found.near) - 1} others are not shown to be worse" if len(found.near) > 2 else "One other is not shown to be worse"
    if cheap == best:
        return f"{says} {others}, none of them cheaper."
    says = f"{says} {others}; the cheapest is {place(cheap)}, {lacks(cheap.below)}, whose pass may end {spends(cheap, found.blocks)}."
    if found.careful == cheap:
        return says
    if found.careful == best:
        return f"{says} Tested alone, every cheaper one is worse."
    return f"{says} The cheapest that is not worse when tested alone is {place(found.careful)}, {lacks(found.careful.below)}."


def caution(found: Recipe) -> str | None:
    """What must be said where a run can hardly tell cells apart."""
    if found.freedom >= FEW or len(found.near) == 1:
        return None
    return (
        f"This run has {found.freedom + 1} draws, too few to tell most cells apart: what is not shown to be worse may well be. "
        "Look at how far below the best a cell is, or measure with more draws."
    )


def how(study: Study, found: Recipe) -> str:
    """How the probes were made, in words."""
    receipt = study.facts["receipt"]
    mean = f"the mean over {found.draws} draws of ε" if found.draws > 1 else "one draw of ε an image"
    read = mean if receipt["input"] == "noisy" else "clean images, scaled as at σ"
    if pca := study.facts["request"].get("pca"):
        read += f", projected on {pca} principal components of the labelled images, which the lines of code leave out"
    return (
        f"Features are of {read}; the probe is {found.head}, its setting chosen on {receipt['n_validation']} validation images. "
        f"Cheap is ordered by {found.order}. Careful: the cheapest that is not worse by its own interval either, without correction for the number of cells."
    )


def rows(found: Recipe) -> list[dict[str, Any]]:
    """The best cell, the cheapest and the careful choice, then the rest of those near it, in words, a row each."""
    names = {found.best: "best"}
    names.setdefault(found.cheapest, "cheapest")
    names.setdefault(found.careful, "careful")
    told = []
    for one in [*names, *(one for one in found.near if one not in names)]:
        gap, low, high = (100 * value for value in one.below)
        told.append(
            {
                "": names.get(one, ""),
                "block": one.block,
                "σ": f"{one.sigma:.3g}",
                "t": f"{one.timestep:.0f}",
                "pooling": one.pooling,
                ("accuracy" if found.measure == "accuracy" else "R²"): reads(one),
                "below the best, points": "" if one == found.best else f"{gap:.1f} ({low:.1f} to {high:.1f})",
                "ends with block": f"{one.depth + 1} of {found.blocks}",
                **({} if one.gflop is None else {"GFLOP an image": f"{one.gflop:.3g}"}),
                "features": one.dimension,
            }
        )
    return told
