"""When should training have stopped? One rule, without hindsight, for the curve over noise levels and for the signals it is compared with.

At each moment of training the rule sees that moment and those before it. A moment counts against going on where its value is worse
than the best so far by more than the interval of their difference, or where a hump that was there, in the same block, has been shown to be gone. After
`patience` such moments in a row it stops, and keeps the best moment it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student

from .errors import InvalidRequest

HUMP = "unimodal"
NO_RISE = ("decreasing", "flat")  # shown to be without a rise; "undecided" is not shown to be anything, "increasing" still rises
Paired = Callable[[int, int], tuple[float, float]]  # (images seen before, and now) -> interval of the value now less the one before


class Signal(NamedTuple):
    """What is watched: what it is called, whether high (+1) or low (-1) is better, and how it is worked out."""

    title: str
    better: int
    about: str


SIGNALS: Mapping[str, Signal] = {
    "curve": Signal("peak of the curve", 1, "accuracy of the probe at the curve's peak, and whether the hump is there"),
    "score": Signal("generalization score", 1, "share of samples that are no copies of a training image"),
    "frechet": Signal("Fréchet distance", -1, "of samples from training images, in the features of the network that is named"),
    "held_out": Signal("held-out loss", -1, "denoising loss on held-out images, geometric mean over noise levels"),
    "gap": Signal("held-out over training loss", -1, "the ratio of the two denoising losses, geometric mean over noise levels"),
}


@dataclass(frozen=True)
class Moment:
    """A value after so many training images seen, with its 95 % interval where one is known, and the verdict on the curve's shape."""

    seen: int
    value: float
    low: float | None = None
    high: float | None = None
    shape: str | None = None
    block: str | None = None  # whose curve it is: a hump is gone only where it was


@dataclass(frozen=True)
class Decision:
    """What the rule says at a moment, from it and those before it: to stop or not, and which moment is the best so far."""

    seen: int
    stop: bool
    best: int
    against: int  # moments in a row that count against going on
    reason: str


@dataclass(frozen=True)
class Stop:
    """Where the rule stopped (None: it never did), and which moment it keeps: the best up to there."""

    stopped: int | None
    kept: int
    reason: str


def decisions(moments: Sequence[Moment], better: int = 1, patience: int = 1, paired: Paired | None = None) -> list[Decision]:
    """A decision at every moment, in order; appending later moments changes none of them.

    Without `paired`, the interval of a difference is put together from the two moments' own as if they were independent: wider than
    that of values from the same test images, so the rule is slow to stop. Moments without an interval count as exact. Of equally good
    moments the later is the best. Raises InvalidRequest for moments out of order, without a value, or a patience below 1.
    """
    _check(moments, better, patience)
    found: list[Decision] = []
    best, against, humps = moments[0], 0, set[str | None]()
    for now in moments:
        humps |= {now.block} if now.shape == HUMP else set()
        hump = now.block in humps
        if better * now.value >= better * best.value and not (hump and now.shape in NO_RISE):
            best = now
        reason = _against(now, best, better, hump, paired)
        against = against + 1 if reason else 0
        found.append(Decision(now.seen, against >= patience, best.seen, against, reason))
    return found


def stop(moments: Sequence[Moment], better: int = 1, patience: int = 1, paired: Paired | None = None) -> Stop:
    """The first moment at which `decisions` says stop, and the moment it keeps. See there."""
    every = decisions(moments, better, patience, paired)
    for one in every:
        if one.stop:
            return Stop(one.seen, one.best, one.reason)
    return Stop(None, every[-1].best, "nothing spoke against going on")


def _check(moments: Sequence[Moment], better: int, patience: int) -> None:
    seen = [one.seen for one in moments]
    if better not in (1, -1) or patience < 1:
        raise InvalidRequest(f"better is {better} and patience {patience}; allowed: 1 or -1, and at least 1.")
    if not seen or any(late <= early for early, late in pairwise(seen)) or not all(math.isfinite(one.value) for one in moments):
        raise InvalidRequest(f"moments have images seen {seen}; allowed: at least one, ascending, each with a finite value.")


def _against(now: Moment, best: Moment, better: int, hump: bool, paired: Paired | None) -> str:
    """Why this moment counts against going on; empty where it doesn't."""
    if hump and now.shape in NO_RISE:
        return f"the hump was there and is gone: the curve is {now.shape}"
    if now.seen == best.seen:
        return ""
    change = better * (now.value - best.value)
    if paired is None:
        known = [(one.value if one.low is None else one.low, one.value, one.value if one.high is None else one.high) for one in (best, now)]
        (low, value, high), (under, here, over) = known
        reach = math.hypot(value - low, over - here) if better > 0 else math.hypot(high - value, here - under)
        worse = change < -reach
    else:
        low, high = paired(best.seen, now.seen)
        worse = (high if better > 0 else -low) < 0
    return "worse than the best so far by more than the interval" if worse else ""


def signals(
    verdicts: pd.DataFrame, generation: pd.DataFrame, frechet: pd.DataFrame, losses: pd.DataFrame, *, threshold: tuple[str, float]
) -> pd.DataFrame:
    """Every signal of one training-set size at every moment, tidy: signal, seen, value, low, high, shape, block.

    The tables are those of a memorization study (memorized.py) for one size, kind of weights and labelled images; seeds are averaged.
    `threshold` is (measure, threshold) of the score. Intervals of the curve are its verdict's; of the score, over samples of the networks
    as they are; of Fréchet distances, theirs where they are known; else, and of losses, Student's over seeds, and none with one seed.
    """
    curve = verdicts.assign(value=verdicts.peak_accuracy, signal="curve", block=verdicts.get("of", verdicts.get("block")))
    curve[["low", "high"]] = np.array(list(verdicts.peak_accuracy_ci), float).reshape(-1, 2)
    measure, at = threshold
    chosen = generation[(generation.measure == measure) & np.isclose(generation.threshold.astype(float), at)]
    score = pd.DataFrame({"seen": chosen.seen, "value": 1 - chosen.copies, "low": 1 - chosen.copies_high, "high": 1 - chosen.copies_low})
    apart = frechet.rename(columns={"frechet": "value", "frechet_low": "low", "frechet_high": "high"})
    parts = [curve, _mean(score, "score"), _mean(apart, "frechet")]
    if len(losses):
        logs = losses.assign(held_out=np.log(losses.held_out), gap=np.log(losses.held_out / losses.train))
        by_seed = logs.groupby(["seen", "seed"])[["held_out", "gap"]].mean().reset_index()
        parts += [
            _raised(_mean(by_seed.rename(columns={name: "value"})[["seen", "value"]], name), ["value", "low", "high"])
            for name in ("held_out", "gap")
        ]
    table = pd.concat([part.reindex(columns=["signal", "seen", "value", "low", "high", "shape", "block"]) for part in parts if len(part)])
    return table.sort_values(["signal", "seen"], key=lambda column: column.map(list(SIGNALS).index) if column.name == "signal" else column)


def _raised(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return table.assign(**{name: np.exp(table[name]) for name in columns})


def _mean(rows: pd.DataFrame, signal: str) -> pd.DataFrame:
    """The mean over seeds at each moment, with the interval of a mean of independent values, else Student's over them."""
    found = []
    for seen, group in rows.groupby("seen"):
        value, count = group.value.mean(), len(group)
        if "low" in group and group.low.notna().all():
            low = value - math.hypot(*(group.value - group.low)) / count
            high = value + math.hypot(*(group.high - group.value)) / count
        else:
            half = student.ppf(0.975, count - 1) * group.value.std(ddof=1) / math.sqrt(count) if count > 1 else math.nan
            low, high = value - half, value + half
        found.append({"signal": signal, "seen": seen, "value": value, "low": low, "high": high})
    return pd.DataFrame(found)


def stops(table: pd.DataFrame, patience: int = 1, paired: Paired | None = None) -> dict[str, Stop]:
    """Signal -> where the rule stops by it, of a table as `signals` makes; each with the same patience. `paired` is the curve's."""
    found = {}
    for name, rows in table.groupby("signal", sort=False):
        moments = [_moment(row) for row in rows.sort_values("seen").itertuples() if math.isfinite(row.value)]
        if moments:
            found[str(name)] = stop(moments, SIGNALS[str(name)].better, patience, paired if name == "curve" else None)
    return found


def _moment(row: object) -> Moment:
    seen, value, low, high = (getattr(row, name) for name in ("seen", "value", "low", "high"))
    shape, block = (found if isinstance(found := getattr(row, name, None), str) else None for name in ("shape", "block"))
    moment = Moment(int(seen), float(value), shape=shape, block=block)
    return moment if not (math.isfinite(low) and math.isfinite(high)) else replace(moment, low=float(low), high=float(high))


def compare(table: pd.DataFrame, patience: int = 1, paired: Paired | None = None) -> pd.DataFrame:
    """A row a signal: where it stops, what it keeps and why, the peak accuracy and every other signal at what it keeps.

    `lost`, the best peak accuracy of all moments less that at the kept one, looks back from the end: it judges the rules, none of them
    knows it.
    """
    values = table.pivot_table(index="seen", columns="signal", values="value")
    rows = []
    for name, one in stops(table, patience, paired).items():
        kept = values.loc[one.kept]
        lost = {"lost": values.curve.max() - kept.curve} if "curve" in values else {}
        rows.append({"signal": name, "stopped": one.stopped, "kept": one.kept, "reason": one.reason, **lost, **kept.to_dict()})
    return pd.DataFrame(rows).astype({"stopped": "Int64"})
