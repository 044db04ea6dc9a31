"""Intervals of shares, and p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt

import numpy as np
from scipy.stats import norm


@lru_cache
def _normal(level: float) -> float:
    return float(norm.ppf(0.5 + level / 2))


def wilson(right: float, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share. E. B. Wilson, JASA 22 (1927)."""
    z, share = _normal(level), right / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of tests made together, each corrected for their number. S. Holm, Scand. J. Statist. 6 (1979) 65."""
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = running
    return corrected


def share_interval(share: np.ndarray, error: np.ndarray, reach: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each (S,), of shares with standard errors, `reach` of which a symmetric interval would have on each side.

    Wilson's, of as many independent answers as would give that error (N. Dean, M. Pagano, J. Surv. Stat. Methodol. 3 (2015) 484);
    of `count` where there is none.
    """
    spread = share * (1 - share)
    each = np.divide(error**2, spread, out=np.full(len(share), 1 / count), where=(spread > 0) & (error > 0))  # 1 / their number
    wide = reach**2 * each
    centre, half = (share + wide / 2) / (1 + wide), reach / (1 + wide) * np.sqrt(spread * each + wide * each / 4)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
