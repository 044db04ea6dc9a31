"""Which of several classes has the lowest denoising error, and which are surely above it. numpy and scipy alone.

An error e[k, s, r] is of class k at level s under draw r of ε; a draw is the same ε for every class, so what differs is the class.
Levels are strata: a class's error is the weighted sum over levels of the mean over draws, and a difference of two classes has the
variance of its strata, with Welch and Satterthwaite's degrees of freedom.

All classes are compared with the lowest at once, and perhaps several times: the 5 % of Student's intervals are shared evenly
(Bonferroni) over comparisons and looks, so that all of them hold together in 95 of 100 cases, whenever one stops (repeated confidence
intervals: Jennison & Turnbull, J. R. Stat. Soc. B 51, 1989).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from .classified import Race

LEVEL = 0.05  # of error, of all comparisons and looks together
FIRST = 2  # draws before the first look: fewer have no variance


def looks(draws: int) -> list[int]:
    """After how many draws one looks: 2, then each time after half as many more, and at the end."""
    found = [FIRST]
    while found[-1] < draws:
        found.append(min(draws, found[-1] + found[-1] // 2))
    return found


def judge(errors: np.ndarray, weights: np.ndarray, times: int = 1, below: np.ndarray | None = None) -> Race:
    """The race of errors (K, S, R), NaN where a class was not drawn any more; at least two classes, and two draws of each.

    The lowest is sought among those with most draws. `weights` (S,) sum to 1; `times` one looks at the race in all. `below` (K,) is the
    class that each was shown to be above when it fell out, -1 for those still in: what is above a class is above the lowest by as much
    as that one at least, however few draws it had itself.
    """
    taken = np.isfinite(errors[:, 0]).sum(1)
    total = np.where(taken == taken.max(), np.nanmean(errors, 2) @ weights, np.inf)
    best = int(total.argmin())
    mean, variance = np.zeros(errors.shape[:2]), np.zeros(errors.shape[:2])
    for n in np.unique(taken):
        rows = taken == n
        apart = errors[rows, :, :n] - errors[best, :, :n]
        mean[rows], variance[rows] = apart.mean(2), apart.var(2, ddof=1) / n
    excess = mean @ weights
    error, freedom = _spread(variance * weights**2, taken)
    reach = student.isf(LEVEL / (2 * (len(errors) - 1) * times), freedom) * error
    alone, low = student.isf(LEVEL / 2, taken - 1)[:, None] * np.sqrt(variance), excess - reach
    if below is not None:
        for _ in range(times):  # as many as can follow each other
            low = np.where(below >= 0, np.maximum(low, low[below]), low)
    return Race(
        best=best,
        taken=taken,
        error=total[best] + excess,
        excess=excess,
        low=np.minimum(low, excess),
        high=excess + reach,
        by_level=mean,
        level_low=mean - alone,
        level_high=mean + alone,
    )


def _spread(parts: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard error (K,) of a sum of strata with the variances (K, S), each of n - 1 degrees of freedom, and its own degrees."""
    total, squares = parts.sum(1), (parts**2).sum(1)
    return np.sqrt(total), (taken - 1) * np.divide(total**2, squares, out=np.ones_like(total), where=squares > 0)
