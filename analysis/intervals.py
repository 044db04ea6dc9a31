"""The interval of a share."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

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
