"""When a class is settled: on the way from noise to a picture, the level from which on it never changes again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InvalidRequest
from .intervals import wilson

TIMES = 2000  # bootstrap resamples of the median
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # share, low, high; each (T,)


@dataclass(frozen=True)
class Settled:
    """What n samples say of when their class is settled; T levels, descending σ."""

    sigmas: np.ndarray  # (T,)
    at: np.ndarray  # (n,) the highest level from which on a sample's class is the final one
    agreement: Curve  # share of samples whose class at a level is the final one
    share: Curve  # share of samples whose class is settled at a level
    median: float  # of `at`: a level that was visited
    median_ci: tuple[float, float]  # up to a level above, as far as the class may have been settled before it was seen


def _curve(hits: np.ndarray) -> Curve:
    """Shares of hits (T, n), each level's with Wilson's interval."""
    count = hits.shape[1]
    low, high = np.array([wilson(int(right), count) for right in hits.sum(1)]).T
    low[-1] = high[-1] = 1.0  # the last level agrees with itself by definition: nothing is estimated there
    return hits.mean(1), low, high


def settled(logits: np.ndarray, sigmas: np.ndarray, seed: int = 0) -> Settled:
    """When the class arg max of logits (T, n, K), read at descending σ (T,), is settled; the last level's is the final class.

    Shares have Wilson's interval: samples are independent, each is a hit or not, and shares come near 0 and 1, where
    resampling shows no spread. The median has a percentile bootstrap interval over samples, and its upper end is one level
    higher: a class settles between `at` and the level above, and where in between no step has seen. All are of the samples
    alone, for one set of probes.

    Disagreement is the model's undecidedness and the probes' own errors together: a probe that is right on 90 % of test
    images at a level errs there though all be decided, and at the last level too, which the final class is from. Read
    both curves beside the probes' accuracy. Raises InvalidRequest if shapes do not fit or levels do not descend.
    """
    if logits.ndim != 3 or len(logits) != len(sigmas) or 0 in logits.shape or (np.diff(sigmas) > 0).any():
        raise InvalidRequest(
            f"logits have shape {logits.shape} for {len(sigmas)} levels; allowed: (levels, samples, classes), σ descending."
        )
    classes = logits.argmax(-1)
    same = classes == classes[-1]
    ever_since = np.logical_and.accumulate(same[::-1])[::-1]
    at = np.asarray(sigmas, dtype=float)[ever_since.argmax(0)]
    drawn = at[np.random.default_rng(seed).integers(0, len(at), (TIMES, len(at)))]
    medians = _middle(drawn, 0.5)
    low, high = (float(_middle(medians, share)) for share in (0.025, 0.975))
    above = min((float(sigma) for sigma in sigmas if sigma > high), default=high)
    return Settled(np.asarray(sigmas, dtype=float), at, _curve(same), _curve(ever_since), float(_middle(at, 0.5)), (low, above))


def _middle(values: np.ndarray, share: float) -> np.ndarray:
    """A quantile that is one of the values, over the last axis."""
    return np.quantile(values, share, axis=-1, method="inverted_cdf")
