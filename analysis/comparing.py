"""Is one run better than another? Differences of two curves, paired as far as the runs are, and the sentence that says the finding.

Every difference is the other run less the reference. Penalties, blocks and best levels were chosen on validation images, so test
images are only scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import binomtest, norm
from scipy.stats import t as student

from .dynamics import LEVEL
from .fairness import unlike
from .matching import Match, Side, matched, question
from .resampling import Resamples, between

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Gap:
    """A difference of two accuracies as a share of 1, with its 95 % interval."""

    reference: float
    other: float
    value: float
    low: float
    high: float
    detectable: float = 0.0  # the smallest difference that would have been seen four times in five
    freedom: float = math.inf  # degrees of freedom

    @property
    def sure(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """Differences at S levels: with pointwise intervals, and in a band that holds all of them at once in 95 of 100 runs."""

    gaps: tuple[Gap, ...]
    band: np.ndarray  # (S, 2)
    same: np.ndarray  # (S,) bool: whether σ is the same in both runs; elsewhere nothing is claimed

    @property
    def sure(self) -> np.ndarray:
        """Levels (S,) bool whose difference is shown after correction for all levels."""
        return np.asarray(self.same & ((self.band[:, 0] > 0) | (self.band[:, 1] < 0)))


@dataclass(frozen=True)
class Images:
    """At one level, the share of draws in which each image is right, (n,), and how many images are right in most draws of whom."""

    reference: np.ndarray
    other: np.ndarray

    @property
    def only_reference(self) -> np.ndarray:
        """Places of the images that the reference reads right in most draws and the other wrong, the clearest first."""
        return self._ordered((self.reference > 0.5) & (self.other < 0.5))

    @property
    def only_other(self) -> np.ndarray:
        return self._ordered((self.reference < 0.5) & (self.other > 0.5))

    def _ordered(self, which: np.ndarray) -> np.ndarray:
        places = np.flatnonzero(which)
        return places[np.argsort(-np.abs(self.other - self.reference)[places], kind="stable")]

    @property
    def counts(self) -> dict[str, int]:
        """`both`, `only_reference`, `only_other` and `neither` right in most draws; `split`: right in just half of one's draws."""
        a, b = self.reference, self.other
        found = {
            "both": int(((a > 0.5) & (b > 0.5)).sum()),
            "only_reference": len(self.only_reference),
            "only_other": len(self.only_other),
            "neither": int(((a < 0.5) & (b < 0.5)).sum()),
        }
        return found | {"split": len(a) - sum(found.values())}

    @property
    def p_value(self) -> float:
        """Two-sided, exact, that as many images are right in one alone as in the other. Q. McNemar, Psychometrika 12 (1947) 153."""
        one, other = len(self.only_reference), len(self.only_other)
        return float(binomtest(other, one + other).pvalue) if one + other else 1.0


def difference(first: np.ndarray, second: np.ndarray, resamples: tuple[Resamples, Resamples], same: np.ndarray | None = None) -> Difference:
    """Of two curves at the same levels, bool (R, S, N) and (R', S, N'); `same` (S,) where σ is only near at some.

    The band is of the greatest difference over its standard error, as for a curve's shape (dynamics.judge).
    """
    a, b = first.mean((0, 2)), second.mean((0, 2))
    spread = between(first, second, resamples)
    error, freedom = spread.error()
    gaps = tuple(_gap(*row) for row in zip(a, b, error, freedom, strict=True))
    largest = (np.abs(spread.deviations) / (spread.deviations.std(0) + 1e-9)).max(1, initial=0.0)
    # The quantile is a normal's: that of each level is as far out on its own t, and no nearer than that of one level alone.
    far = min(norm.sf(np.quantile(largest, 1 - LEVEL)), LEVEL / 2)
    reach = student.isf(far, freedom) * error
    band = np.stack([b - a - reach, b - a + reach], 1)
    return Difference(gaps, band, np.ones(len(gaps), bool) if same is None else same)


def at_one(first: np.ndarray, second: np.ndarray, resamples: tuple[Resamples, Resamples]) -> Gap:
    """The difference of two cells, bool (R, N) and (R', N')."""
    (error,), (freedom,) = between(first[:, None], second[:, None], resamples).error()
    return _gap(float(first.mean()), float(second.mean()), float(error), float(freedom))


def _gap(a: float, b: float, error: float, freedom: float) -> Gap:
    half = float(student.ppf(0.5 + (1 - LEVEL) / 2, freedom)) * error
    seen = half + float(student.ppf(0.8, freedom)) * error
    return Gap(float(a), float(b), float(b - a), float(b - a - half), float(b - a + half), seen, float(freedom))


class Comparison:
    """Two curves on what they share."""

    def __init__(self, reference: Side, other: Side) -> None:
        self.reference, self.other = reference, other
        self.match: Match = matched(reference, other)
        images = self.match.images or (slice(None), slice(None))
        self.right = reference.correct[..., images[0]], other.correct[..., images[1]]  # (R, S, n) of each, at its own levels
        self.ids = reference.test[images[0]]  # (n,)

    @cached_property
    def resamples(self) -> tuple[Resamples, Resamples]:
        first, second = (right.shape[2] for right in self.right)
        return self.match.draws.resamples(first, None if self.match.images else second)

    @property
    def sigmas(self) -> tuple[np.ndarray, np.ndarray]:
        """σ (S,) of the shared levels, in each run."""
        return self.reference.sigmas[self.match.levels[0]], self.other.sigmas[self.match.levels[1]]

    @property
    def numbers(self) -> bool:
        """Whether one of the runs reads numbers, scored by R²."""
        return "r2" in (self.reference.study.measure, self.other.study.measure)

    @cached_property
    def levels(self) -> Difference:
        """The difference at every shared level."""
        first, second = (right[:, places] for right, places in zip(self.right, self.match.levels, strict=True))
        return difference(first, second, self.resamples, self.match.same)

    @cached_property
    def best(self) -> Gap:
        """The difference of the two best levels, each chosen on validation images, of all the levels that a run has."""
        return at_one(self.right[0][:, self.reference.best], self.right[1][:, self.other.best], self.resamples)

    def nearest(self, sigma: float | None = None) -> int | None:
        """Place of the shared level nearest to a σ, or to the reference's best; None where no level is shared."""
        wanted, shared = sigma or self.reference.sigmas[self.reference.best], self.sigmas[0]
        return int(np.abs(np.log(shared / wanted)).argmin()) if len(shared) else None

    def at(self, level: int) -> str:
        """A shared level in words."""
        first, second = (sigmas[level] for sigmas in self.sigmas)
        return f"σ = {first:.2g}" + ("" if self.match.same[level] else f" ({second:.2g} in {self.other.name})")

    def cells(self, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Which images were right at a shared level, (R, n) of each."""
        first, second = (int(places[level]) for places in self.match.levels)
        return self.right[0][:, first], self.right[1][:, second]

    def images(self, level: int) -> Images | None:
        """What became of each image at a shared level; None where no image is shared, or numbers are read, which are not right or wrong."""
        if self.match.images is None or self.numbers:
            return None
        first, second = self.cells(level)
        return Images(first.mean(0), second.mean(0))

    def sentence(self) -> str:
        """The finding, and whether what is compared is alike."""
        a, b, gap = self.reference, self.other, self.best
        at = f"{b.name} {_value(b, gap.other)} at σ = {b.sigmas[b.best]:.2g}, {a.name} {_value(a, gap.reference)} at σ = {a.sigmas[a.best]:.2g}"
        interval = f"95 % interval {100 * gap.low:.1f} to {100 * gap.high:.1f}"
        if not (gap.value or gap.detectable or any(level.value or level.detectable for level in self.levels.gaps)):
            same = "say the same of every image" if self.numbers else "are right about the same images"
            return f"There is no difference: {a.name} and {b.name} {same} in every draw."
        if gap.sure:
            better, worse = (b, a) if gap.value > 0 else (a, b)
            low, high = sorted(abs(bound) for bound in (gap.low, gap.high))
            said = (
                f"{better.name} is {_is_better(a, b)} than {worse.name} by {100 * abs(gap.value):.1f} points (95 % interval "
                f"{100 * low:.1f} to {100 * high:.1f}), each at the level that its own validation images chose: {at}."
            )
        else:
            said = (
                f"This comparison cannot tell {a.name} and {b.name} apart at their best levels: {at}. {b.name} less {a.name} is "
                f"{100 * gap.value:+.1f} points ({interval}); a difference of {100 * gap.detectable:.1f} would have been seen four times in five."
            )
        return " ".join([said, *self._over_levels(), *self._alike()])

    def _over_levels(self) -> list[str]:
        found, sure, count = self.levels, self.levels.sure, int(self.match.same.sum())
        if not count:
            return []
        if count == 1:
            at, corrected = "At the one level that both have", ""
        else:
            at, corrected = f"Of {count} shared levels", ", after correction for their number"
        if not sure.any():
            return (
                [f"{at} no difference is shown."] if count == 1 else [f"At none of {count} shared levels is a difference shown{corrected}."]
            )
        values = np.asarray([gap.value for gap in found.gaps])
        said = []
        for side, mine in ((self.other, sure & (values > 0)), (self.reference, sure & (values < 0))):
            if mine.any():
                most = int(np.abs(np.where(mine, values, 0)).argmax())
                low, high = sorted(abs(bound) for bound in found.band[most])
                where = f" at {mine.sum()}, most" if count > 1 else ""
                said.append(
                    f"{side.name} is ahead{where} at σ = {self.sigmas[0][most]:.2g}, by {100 * abs(values[most]):.1f} points "
                    f"({100 * low:.1f} to {100 * high:.1f})"
                )
        return [f"{at}{corrected}, {' and '.join(said)}."]

    def _alike(self) -> list[str]:
        names = unlike(self.reference, self.other)
        return [f"Not the same in both, so the difference may come from it: {', '.join(names)}."] if names else []


def _value(side: Side, score: float) -> str:
    return f"{100 * score:.1f} %{' of the variance' if side.study.measure == 'r2' else ''}"


def _is_better(a: Side, b: Side) -> str:
    """A run on other data, or asked another question, is not better for being right more often."""
    same = a.study.facts["receipt"]["dataset_identity"] == b.study.facts["receipt"]["dataset_identity"] and question(a) == question(b)
    return "better" if same else "right more often" if a.study.measure == b.study.measure == "accuracy" else "read better"


def compare(sides: Sequence[Side]) -> list[Comparison]:
    """Each of the others beside the first."""
    return [Comparison(sides[0], other) for other in sides[1:]]
