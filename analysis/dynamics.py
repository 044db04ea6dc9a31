"""What shape a curve of accuracy over noise has, where its peak is, and how sure that is.

A curve comes as `correct`, bool (R, S, N): for each draw (one choice of labelled images, probed under one ε), each noise
level in ascending σ, and each test image, whether the probe was right. Draws, levels and images are paired over curves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from .errors import InvalidRequest
from .intervals import holm, share_interval
from .resampling import Resamples, between, resamples
from .verdict import MARGIN, Shape, Verdict, describe

__all__ = ["MARGIN", "Resamples", "Shape", "Verdict", "change", "curve", "describe", "gain_difference", "judge", "judge_all", "resamples"]
LEVEL = 0.05
SPLITS = 50


def _check(correct: np.ndarray, sigmas: np.ndarray) -> None:
    if correct.ndim == 3 and (len(sigmas) < 3 or len(sigmas) != correct.shape[1] or not (np.diff(sigmas) > 0).all()):
        raise InvalidRequest(f"sigmas has {len(sigmas)} levels for {correct.shape[1]}; allowed: as many, at least 3, ascending.")


def curve(correct: np.ndarray, resamples: Resamples, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high), each (S,): accuracy at every level with its pointwise interval, a share's; of numbers a mean's."""
    mean = correct.mean((0, 2))
    error, freedom = resamples.spread(correct).error()
    reach = student.ppf(0.5 + level / 2, np.where(error > 0, freedom, np.inf))
    if correct.dtype == bool:
        return mean, *share_interval(mean, error, reach, correct.shape[2])
    return mean, mean - reach * error, np.minimum(mean + reach * error, 1)  # R² may be below 0


def change(correct: np.ndarray, resamples: Resamples, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high), each (S,): accuracy at every level less that at the lowest, with its paired pointwise interval."""
    mean = correct.mean((0, 2))
    unit = np.eye(len(mean))
    error, freedom = resamples.spread(correct).error(unit - unit[0])
    half = student.ppf(0.5 + level / 2, freedom) * error
    return mean - mean[0], mean - mean[0] - half, mean - mean[0] + half


def _honest(correct: np.ndarray, seed: int, measured: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """(gain over the lowest level, how often each level was selected (S,)); of `measured`, at the levels `correct` selects.

    The peak is chosen on half of the draws and half of the images and measured on the other half of both, averaged over
    splits: half of the draws alone would leave the test images' luck in the choice and in the measurement.
    """
    rng = np.random.default_rng(seed)
    draws, levels, images = correct.shape
    half_d = np.stack([np.isin(np.arange(draws), rng.permutation(draws)[: draws // 2]) for _ in range(SPLITS)])
    half_i = np.stack([np.isin(np.arange(images), rng.permutation(images)[: images // 2]) for _ in range(SPLITS)])

    def accuracy(right: np.ndarray, in_d: np.ndarray, in_i: np.ndarray) -> np.ndarray:
        flat = right.reshape(-1, images).astype(np.float32)
        by_split = (flat @ in_i.T.astype(np.float32) / in_i.sum(1)).reshape(draws, levels, SPLITS)
        return np.asarray(np.einsum("rsk,kr->ks", by_split, in_d / in_d.sum(1, keepdims=True)))

    gain, selected = 0.0, np.zeros(levels)
    for one, other in (((half_d, half_i), (~half_d, ~half_i)), ((~half_d, ~half_i), (half_d, half_i))):
        best = accuracy(correct, *one).argmax(1)
        measured_on = accuracy(correct if measured is None else measured, *other)
        gain += float((measured_on[np.arange(SPLITS), best] - measured_on[:, 0]).mean()) / 2
        selected += np.bincount(best, minlength=levels) / (2 * SPLITS)
    return gain, selected


def vertices(curves: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """The peak σ of each curve (B, S) -> (B,): vertex of a parabola in ln σ through up to five levels about the highest.

    Kept within those levels; where they do not curve downwards, the highest level.
    """
    x, best = np.log(sigmas), curves.argmax(1)
    found = x[best].copy()
    for top in np.unique(best):
        near = slice(max(0, top - 2), min(len(x), top + 3))
        rows = best == top
        a, b, _ = np.polyfit(x[near] - x[top], curves[rows, near].T, 2)
        vertex = np.where(a < 0, -b / np.where(a < 0, 2 * a, 1), 0.0)
        found[rows] = np.clip(x[top] + vertex, x[near][0], x[near][-1])
    return np.asarray(np.exp(found))


def _shape(mean: np.ndarray, band: np.ndarray, once: np.ndarray, peak: int, rises: bool) -> Shape:
    """The shape, from all differences between levels: `band` (S, S) bounds all mean[j] - mean[i] at once, `once` each by itself."""
    change = mean[None, :] - mean[:, None]  # (i, j): from level i to level j
    later = np.triu(np.ones_like(change, dtype=bool), 1)
    surely_below = -change - band > 0  # level j is lower than level i
    rise_small = bool((change + once < MARGIN)[later].all())
    fall_small = bool((-change + once < MARGIN)[later].all())
    valleys = [surely_below[:v, v].any() and surely_below[v + 1 :, v].any() for v in range(len(mean))]
    if any(valleys):
        return "multimodal"
    if rises and surely_below[peak, peak + 1 :].any():
        return "unimodal"
    if rises and fall_small:
        return "increasing"
    if rise_small and fall_small:
        return "flat"
    if rise_small and (surely_below & later).any():
        return "decreasing"
    return "undecided"


def judge(correct: np.ndarray, sigmas: np.ndarray, resamples: Resamples, seed: int = 0, tests: int = 1) -> Verdict:
    """The verdict of one curve, on its own p-value; `tests` is how many are made at once, for `detectable`.

    Raises InvalidRequest if shapes do not fit or levels are not ascending.
    """
    return _judge(correct, sigmas, resamples, seed, tests, None)


def _judge(correct: np.ndarray, sigmas: np.ndarray, resamples: Resamples, seed: int, tests: int, p_holm: float | None) -> Verdict:
    sigmas = np.asarray(sigmas, dtype=float)
    _check(correct, sigmas)
    spread, mean, unit = resamples.spread(correct), correct.mean((0, 2)), np.eye(correct.shape[1])
    gain, selected = _honest(correct, seed)
    first, second = np.triu_indices(len(mean), 1)
    error, freedom = (_square(values, len(mean)) for values in spread.error(unit[second] - unit[first]))
    apart = spread.deviations[:, second] - spread.deviations[:, first]
    largest = float(np.quantile((np.abs(apart) / (apart.std(0) + 1e-9)).max(1), 1 - LEVEL))
    peak = int(mean.argmax())
    # The quantile is a normal's: that of each difference is as far out on its own t.
    band = student.isf(norm.sf(largest), freedom) * error
    (missed,), (known,) = spread.error((selected - unit[0])[None])
    if selected[0] >= 0.5 and error[0, 1] > missed:  # the lowest level against itself has no error: that of its neighbour stands in
        missed, known = error[0, 1], freedom[0, 1]
    missed = math.hypot(missed, 1 / correct.shape[2])  # as if one more image disagreed: few that do tell little of how many could
    p_value = float(student.sf(gain / missed, known))
    decided = p_value if p_holm is None else p_holm
    reach = float(student.ppf(0.975, known)) * missed
    place = float(vertices(mean[None], sigmas)[0])
    low, high = np.quantile(vertices(mean + spread.deviations, sigmas), [0.025, 0.975])
    return Verdict(
        shape=_shape(mean, band + 1e-9, student.ppf(1 - LEVEL, freedom) * error + 1e-9, peak, decided < LEVEL),
        peak_sigma=place,
        peak_ci=(min(float(low), place), max(float(high), place)),
        peak_accuracy=float(mean[peak]),
        gain=gain,
        gain_ci=(gain - reach, gain + reach),
        p_value=p_value,
        p_holm=decided,
        detectable=float(student.ppf(1 - LEVEL / tests, known) + student.ppf(0.8, known)) * missed,
        lowest_sigma=float(sigmas[0]),
        draws=correct.shape[0],
        n_test=correct.shape[2],
    )


def _square(values: np.ndarray, levels: int) -> np.ndarray:
    """Of each pair of levels, as a symmetric (S, S); 1 on the diagonal."""
    found = np.eye(levels)
    first, second = np.triu_indices(levels, 1)
    found[first, second] = found[second, first] = values
    return found


def judge_all(correct: Mapping[str, np.ndarray], sigmas: np.ndarray, resamples: Resamples, seed: int = 0) -> dict[str, Verdict]:
    """The verdicts of several curves, their p-values corrected together (`intervals.holm`)."""
    alone = {name: judge(right, sigmas, resamples, seed, len(correct)) for name, right in correct.items()}
    found = {}
    for (name, before), p_holm in zip(alone.items(), holm([one.p_value for one in alone.values()]), strict=True):
        same = (p_holm < LEVEL) == (before.p_value < LEVEL)
        found[name] = replace(before, p_holm=p_holm) if same else _judge(correct[name], sigmas, resamples, seed, len(alone), p_holm)
    return found


def gain_difference(model: np.ndarray, baseline: np.ndarray, resamples: Resamples, seed: int = 0) -> tuple[float, float, float]:
    """(difference, low, high): the model's honest gain less the baseline's at the levels that the model selects, paired."""
    gain, selected = _honest(model, seed)
    difference = gain - _honest(model, seed, baseline)[0]
    contrast = selected - np.eye(len(selected))[0]
    (error,), (freedom,) = between(baseline, model, (resamples, resamples)).error(contrast[None])
    half = float(student.ppf(0.975, freedom) * error)
    return difference, difference - half, difference + half
