"""A comparison class by class, and all its numbers as one tidy table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

from .comparing import Comparison, Gap, at_one
from .dynamics import LEVEL
from .intervals import holm
from .matching import question

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("reference", "other", "what", "sigma", "sigma_other", "class", "image", "n", "accuracy_reference", "accuracy_other"),
    *("difference", "ci_low", "ci_high", "band_low", "band_high", "p_holm", "shown"),
)
FEWEST = 2  # images of a class, for an interval


@dataclass(frozen=True)
class ClassGap:
    """The difference in one class: of `n` shared test images, with the p-value that Holm's correction over all classes leaves."""

    name: str
    n: int
    gap: Gap
    p_holm: float

    @property
    def shown(self) -> bool:
        return self.p_holm < LEVEL


def classes_lacking(found: Comparison) -> str | None:
    """Why there are no differences by class, in a sentence; None where there are."""
    a, b = found.reference, found.other
    if found.numbers:
        return "Differences by class need classes; numbers are read here."
    if found.match.images is None:
        return "Differences by class need shared test images; there are none."
    if question(a) != question(b) or a.study.facts["classes"] != b.study.facts["classes"]:
        return "Differences by class need the same question in both runs; these ask different ones."
    if _truth(found) is None:
        return "Differences by class need the labels of the test images, which neither study has kept: measure one of them again."
    return None


def _truth(found: Comparison) -> np.ndarray | None:
    """Labels (n,) of the shared images, from the run that has kept them: one that has not is asked the same."""
    a, b = found.reference, found.other
    if found.match.images is None:
        return None
    for side, places in zip((a, b), found.match.images, strict=True):
        if side.truth is not None:
            return np.asarray(side.truth[places])
    return None


def classes(found: Comparison, level: int) -> list[ClassGap]:
    """The difference in every class at a shared level, in the order of the classes; [] where `classes_lacking` says why.

    Images of the class alone are resampled. A standard error is that of one image in disagreement at the least, so that a few
    images that all agree are not certain. Classes with fewer than two images are left out. p-values are two-sided, with Holm's
    correction.
    """
    truth = None if classes_lacking(found) else _truth(found)
    if truth is None:
        return []
    first, second = found.cells(level)
    alone: list[ClassGap] = []
    for k, name in enumerate(found.reference.study.facts["classes"]):
        of_class = truth == k
        if (count := int(of_class.sum())) < FEWEST:
            continue
        resamples = found.match.draws.resamples(count)
        gap = at_one(first[:, of_class], second[:, of_class], resamples)
        freedom, reach = gap.freedom, float(student.ppf(1 - LEVEL / 2, gap.freedom))
        error = max((gap.high - gap.low) / 2 / reach, 1 / count if gap.value else 0.0)
        p_value = float(2 * student.sf(abs(gap.value) / error, freedom)) if error else 1.0
        low, high = max(-1.0, gap.value - reach * error), min(1.0, gap.value + reach * error)
        alone.append(ClassGap(name, count, replace(gap, low=low, high=high), p_value))
    return [replace(one, p_holm=p_holm) for one, p_holm in zip(alone, holm([one.p_holm for one in alone]), strict=True)]


def classes_sentence(found: Comparison, gaps: Sequence[ClassGap], level: int) -> str:
    """In which classes a difference is shown."""
    a, b, at = found.reference.name, found.other.name, found.at(level)
    left = len(found.reference.study.facts["classes"]) - len(gaps)
    few = f" {left} more {'has' if left == 1 else 'have'} fewer than {FEWEST} shared test images." if left else ""
    shown = sorted((one for one in gaps if one.shown), key=lambda one: -abs(one.gap.value))
    if not shown:
        return f"At {at}, in none of {len(gaps)} classes is a difference between {a} and {b} shown, after correction for their number.{few}"
    told = [f"{b if one.gap.value > 0 else a} in {one.name} ({100 * abs(one.gap.value):.0f} points)" for one in shown[:5]]
    more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    return f"At {at}, after correction for {len(gaps)} classes, one run is ahead in {len(shown)}: {', '.join(told)}{more}.{few}"


def images_sentence(found: Comparison, level: int) -> str:
    """How many images only one of the two reads right."""
    images = found.images(level)
    a, b = found.reference.name, found.other.name
    if images is None:
        return "Numbers are not right or wrong, so no image is." if found.numbers else "No test image is in both runs."
    count = images.counts
    split = f"; {_are(count['split'])} right in just half of one's draws" if count["split"] else ""
    p_value = "p < .001" if images.p_value < 0.001 else f"p = {images.p_value:.2g}"
    return (
        f"At {found.at(level)}, in most draws, both read {count['both']:,} of {len(found.ids):,} images right and {count['neither']:,} wrong; "
        f"{_are(count['only_reference'])} right in {a} alone and {count['only_other']:,} in {b} alone (exact test, {p_value})"
        f"{split}."
    )


def _are(count: int) -> str:
    return f"{count:,} {'is' if count == 1 else 'are'}"


def numbers(comparisons: Sequence[Comparison], sigma: float | None = None) -> pd.DataFrame:
    """All numbers: a row a comparison and best level, shared level, class and image that one alone reads right, the latter two at a σ."""
    import pandas as pd

    return pd.DataFrame([row for found in comparisons for row in _rows(found, sigma)], columns=list(COLUMNS))


def _rows(found: Comparison, sigma: float | None) -> Iterator[dict[str, Any]]:
    a, b, n = found.reference, found.other, found.right[0].shape[2]
    pair = {"reference": a.study.key, "other": b.study.key}
    best = {"sigma": a.sigmas[a.best], "sigma_other": b.sigmas[b.best]}
    yield {**pair, "what": "best level", **best, "n": n, **_told(found.best), "shown": found.best.sure}
    difference, (first, second) = found.levels, found.sigmas
    for place, gap in enumerate(difference.gaps):
        low, high = difference.band[place]
        band = {"band_low": low, "band_high": high, "shown": bool(difference.sure[place])}
        yield {**pair, "what": "level", "sigma": first[place], "sigma_other": second[place], "n": n, **_told(gap), **band}
    level = found.nearest(sigma)
    if level is None:
        return
    at = {**pair, "sigma": first[level], "sigma_other": second[level]}
    for one in classes(found, level):
        yield {**at, "what": "class", "class": one.name, "n": one.n, **_told(one.gap), "p_holm": one.p_holm, "shown": one.shown}
    images = found.images(level)
    for place in [] if images is None else [*images.only_other, *images.only_reference]:
        shares = {"accuracy_reference": images.reference[place], "accuracy_other": images.other[place]}  # type: ignore[union-attr]
        gap = shares["accuracy_other"] - shares["accuracy_reference"]
        yield {**at, "what": "image", "image": f"{found.ids[place]:016x}", "n": 1, **shares, "difference": gap}


def _told(gap: Gap) -> dict[str, float]:
    return {
        "accuracy_reference": gap.reference,
        "accuracy_other": gap.other,
        "difference": gap.value,
        "ci_low": gap.low,
        "ci_high": gap.high,
    }
