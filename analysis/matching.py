"""What two runs share: test images, noise levels and draws, and in words all that they do not share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from safetensors.numpy import load_file

from . import cells, dynamics
from .errors import UnknownName
from .studies import Study

SAME = math.log(1.01)  # levels this near in log σ are the same
LETTERS = "ABCDE"


@dataclass(frozen=True)
class Side:
    """One curve of a study: `series` is `model/block/pooling`, at a number of labels a class."""

    name: str  # a letter, as sentences and figures call it
    study: Study
    labels: str
    series: str

    @property
    def block(self) -> str:
        return self.series.split("/")[1]

    @property
    def pooling(self) -> str:
        return self.series.split("/")[2]

    @cached_property
    def sigmas(self) -> np.ndarray:
        """(S,) ascending."""
        return np.asarray([level["sigma"] for level in self.study.facts["levels"]])

    @cached_property
    def test(self) -> np.ndarray:
        """Ids (n,) uint64 of the test images."""
        return np.asarray(load_file(self.study.path("logits.safetensors"))["test"])

    @cached_property
    def truth(self) -> np.ndarray | None:
        """Which class each test image is, or its number, (n,); None in a study made before that was kept."""
        return load_file(self.study.path("logits.safetensors")).get("truth")

    @cached_property
    def correct(self) -> np.ndarray:
        """Which test images each probe got right, bool (R, S, n)."""
        name = f"{self.labels}/{self.series}"
        return self.study.correct(name)[name]

    @cached_property
    def best(self) -> int:
        """Place of the level that validation images choose."""
        table = self.study.table("curve")
        _, block, pooling = self.series.split("/")
        rows = table[(table.source == "model") & (table.labels_per_class == self.labels) & (table.block == block)]
        return int(rows[rows.pooling == pooling].sort_values("sigma").validation_accuracy.to_numpy().argmax())


def sides(studies: Sequence[Study], labels: str | None = None, block: str | None = None, pooling: str | None = None) -> list[Side]:
    """A curve of each study, the first the reference, which the others are compared with.

    Of the others the number of labels a class, block and pooling are the reference's where they have them; without `block` or
    `pooling`, what validation images chose in each. Raises UnknownName for what the reference lacks.
    """
    first = studies[0]
    labels = labels or next(iter(first.facts["results"]))
    if _series(first, labels, block, pooling) not in first.result(labels)["verdicts"]:
        raise UnknownName("block and pooling of this run", f"{block}/{pooling}", first.result(labels)["verdicts"])
    found = []
    for name, study in zip(LETTERS, studies, strict=False):
        there = list(study.facts["results"])
        own = labels if labels in there else min(there, key=lambda one: abs(math.log(_size(study, one) / _size(first, labels))))
        result = study.result(own)
        wanted = [_series(study, own, block, pooling), _series(study, own, block, None), result["headline"]]
        found.append(Side(name, study, own, next(series for series in wanted if series in result["verdicts"])))
    return found


def _series(study: Study, labels: str, block: str | None, pooling: str | None) -> str:
    _, own_block, own_pooling = study.result(labels)["headline"].split("/")
    return f"model/{block or own_block}/{pooling or own_pooling}"


def _size(study: Study, labels: str) -> float:
    """Labelled images a class."""
    return float(study.result(labels)["labelled_images"] / len(study.facts["classes"]))


@dataclass(frozen=True)
class Draws:
    """The draws of two runs: of each the label draw and the ε draw, (R,) both, and whether these are the same in both."""

    reference: tuple[np.ndarray, np.ndarray]
    other: tuple[np.ndarray, np.ndarray]
    labels: bool
    eps: bool

    def resamples(self, count: int, others: int | None = None) -> tuple[dynamics.Resamples, dynamics.Resamples]:
        """The bootstrap of each run. What they share is resampled together, the rest apart.

        `count` is of the images that both saw; where they saw other images, `others` is how many the other saw. Groups of draws
        are shared where they are those of the same ε, or hold the same label draws.
        """
        first = dynamics.resamples(*self.reference, count)
        second = dynamics.resamples(*self.other, others or 2, seed=1)
        drawn = ((self.reference[1], first.member), (self.other[1], second.member))
        by_eps = self.eps and all(np.array_equal(np.unique(eps, return_inverse=True)[1], member) for eps, member in drawn)
        shared = by_eps or (self.labels and np.array_equal(first.member, second.member))
        return first, replace(
            second,
            images=second.images if others else first.images,
            groups=first.groups if shared else second.groups,
            member=first.member if shared and self.labels else second.member,
        )


@dataclass(frozen=True)
class Match:
    """What of two runs is compared; `mismatches` says in sentences what is not the same, and what became of it."""

    images: tuple[np.ndarray, np.ndarray] | None  # places of the shared test images in each run, (n,); None: none is shared
    levels: tuple[np.ndarray, np.ndarray]  # places of the shared levels in each run, (S,)
    same: np.ndarray  # (S,) bool: whether σ is the same in both, else it is only near
    draws: Draws
    mismatches: tuple[str, ...]


def matched(reference: Side, other: Side) -> Match:
    """What two curves share."""
    _, here, there = np.intersect1d(reference.test, other.test, return_indices=True)
    images = (here, there) if len(here) > 1 else None
    levels = shared_levels(reference.sigmas, other.sigmas)
    same = np.abs(np.log(reference.sigmas[levels[0]] / other.sigmas[levels[1]])) <= SAME
    draws = _draws(reference, other)
    said = [
        *_data(reference, other, 0 if images is None else len(here)),
        *_levels(reference, other, levels),
        *_labels(reference, other),
        *_drawn(reference, other, draws),
    ]
    return Match(images, levels, same, draws, tuple(said))


def shared_levels(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (S,) in two ascending lists of σ of those that stand for each other.

    Each is the other's nearest in log σ, and they are apart by half a step of the finer list at most.
    """
    x, y = np.log(first), np.log(second)
    gap = np.abs(x[:, None] - y[None, :])
    near, back = gap.argmin(1), gap.argmin(0)
    steps = [np.median(np.diff(levels)) for levels in (x, y) if len(levels) > 1]
    kept = (back[near] == np.arange(len(x))) & (gap.min(1) <= max(SAME, min(steps, default=0.0) / 2))
    return np.flatnonzero(kept), near[kept]


def one_schedule(found: Sequence[Side]) -> bool:
    """Whether a timestep is the same noise level in all runs."""
    return len({(side.study.card.noise, side.study.card.sigmas, side.study.card.timesteps) for side in found}) == 1


def _draws(a: Side, b: Side) -> Draws:
    first, second = cells.draws(a.study, a.labels), cells.draws(b.study, b.labels)
    ours, theirs = a.study.facts, b.study.facts

    def same(kind: str, *names: str, default: object = None) -> bool:
        return all(ours[kind].get(name, default) == theirs[kind].get(name, default) for name in names)

    data = same("receipt", "dataset_identity", "seed")
    labels = data and same("receipt", "label_set", "n_train_pool") and a.labels == b.labels
    eps = data and same("request", "input") and same("request", "average_draws", default=1)
    eps = eps and same("card", "resolution", "image_channels", "space")  # ε has the shape of x0
    if ours["card"]["space"] == "latent":
        eps = eps and same("receipt", "revision")
    return Draws(first, second, labels and np.array_equal(first[0], second[0]), eps and set(first[1]) == set(second[1]))


def _data(a: Side, b: Side, shared: int) -> list[str]:
    ours, theirs = a.study.facts["receipt"], b.study.facts["receipt"]
    said = []
    if ours["dataset_identity"] != theirs["dataset_identity"]:
        said.append(
            f"The data differ: {a.name} was measured on {ours['dataset']} ({ours['dataset_identity']}), {b.name} on {theirs['dataset']} "
            f"({theirs['dataset_identity']})."
        )
    if not shared:
        said.append(
            f"They share no test image: {a.name} is scored on its {len(a.test):,} and {b.name} on its {len(b.test):,}, so images are not "
            "paired, and part of a difference may be that of the images."
        )
    elif shared < max(len(a.test), len(b.test)):
        said.append(f"{a.name} has {len(a.test):,} test images, {b.name} {len(b.test):,}: the {shared:,} that are in both are compared.")
    return said


def _levels(a: Side, b: Side, levels: tuple[np.ndarray, np.ndarray]) -> list[str]:
    first, second = a.sigmas[levels[0]], b.sigmas[levels[1]]
    count = len(first)
    if not count:
        return ["No noise level of one is near one of the other: only their best levels are compared."]
    said = []
    if count < max(len(a.sigmas), len(b.sigmas)):
        said.append(
            f"{a.name} has {len(a.sigmas)} noise levels, {b.name} {len(b.sigmas)}: {count} of them have a counterpart, σ = {first[0]:.2g} to "
            f"{first[-1]:.2g}, and are compared."
        )
    spaces = [side.study.card.space for side in (a, b)]
    if spaces[0] != spaces[1]:
        said.append(f"σ is not the same noise in both: {a.name} is in the units of {spaces[0]}s, {b.name} in those of {spaces[1]}s.")
    off = np.abs(np.log(first / second))
    if (off > SAME).any():
        said.append(
            f"At {(off > SAME).sum()} of {count} levels σ is not the same: each is drawn with its nearest, at most "
            f"{100 * (math.exp(off.max()) - 1):.0f} % away, and no difference is claimed there."
        )
    return said


def _labels(a: Side, b: Side) -> list[str]:
    ours, theirs = a.study.facts, b.study.facts
    said = []
    if question(a) != question(b):
        said.append(
            f"The questions differ: {a.name} asks for {question(a)}, {b.name} for {question(b)}. A difference says which is read "
            "more often, not which run is better."
        )
    if a.study.measure != b.study.measure:
        names = {"accuracy": "accuracy", "r2": "R²"}
        said.append(
            f"{a.name} is scored by {names[a.study.measure]}, {b.name} by {names[b.study.measure]}: a difference of the two says little."
        )
    if a.labels != b.labels:
        said.append(f"{a.name} was fitted on {_count(a)}, {b.name} on {_count(b)}.")
    for name, even, words in (("label_noise", 0.0, "shares of wrong labels"), ("imbalance", 1.0, "imbalances of the labelled images")):
        first, second = (facts["request"].get(name, even) for facts in (ours, theirs))
        if first != second:
            said.append(f"The {words} differ: {first:g} in {a.name}, {second:g} in {b.name}.")
    return said


def question(side: Side) -> str:
    """Label set, and what it is of."""
    kind = f"{len(side.study.facts['classes'])} classes" if side.study.measure == "accuracy" else "numbers"
    return f"{side.study.facts['receipt']['label_set']} ({kind})"


def _count(side: Side) -> str:
    return "all labels" if side.labels == "all" else f"{side.labels} labels a class"


def _drawn(a: Side, b: Side, draws: Draws) -> list[str]:
    apart = [
        *([] if draws.labels or a.labels == b.labels == "all" else ["labelled images"]),
        *([] if draws.eps else ["the noise ε"]),
    ]
    if not apart:
        return []
    return [
        f"The draws of {' and of '.join(apart)} are not the same in both: they vary apart, which makes the interval as wide as it has to be."
    ]
