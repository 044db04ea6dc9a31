"""What shape a curve of accuracy over noise has, where its peak is, and how sure that is.

A curve comes as `correct`, bool (R, S, N): for each draw (one choice of labelled images, probed under one ε), each noise
level in ascending σ, and each test image, whether the probe was right. Draws, levels and images are paired over curves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from .errors import InvalidRequest
from .intervals import holm
from .verdict import MARGIN, Shape, Verdict, describe

__all__ = ["MARGIN", "Resamples", "Shape", "Verdict", "change", "curve", "describe", "gain_difference", "judge", "judge_all", "resamples"]
LEVEL = 0.05
SPLITS = 50
EXACT = 2**24  # float32 counts to here: a sum of whole numbers is the same in any order, so with any number of threads
CHUNKS = 20  # the images' resamples are drawn and used in parts: as a whole they would be the largest array of a sweep


@dataclass(frozen=True)
class Resamples:
    """B bootstrap resamples: how often each test image was drawn, (B, N) uint8, and weights of the draws, by label draw and
    by ε draw, (B, R) of mean 1. One set serves all curves, which keeps them paired.
    """

    images: np.ndarray
    labels: np.ndarray
    eps: np.ndarray

    @property
    def freedom(self) -> int:
        """Degrees of freedom: those of the scarcer of draws and images."""
        return max(1, min(self.labels.shape[1], self.images.shape[1]) - 1)

    def curves(self, correct: np.ndarray) -> np.ndarray:
        """(R, S, N) -> B curves (B, S) that vary as the mean curve would over images, label draws and ε draws.

        The factors are resampled apart and their deviations added. That counts the residual once a factor, so it errs
        on the wide side; resampling them in one product (A. B. Owen, Ann. Appl. Stat. 1 (2007) 386) counts it oftener.
        """
        _check(correct, self)
        by_draw = correct.mean(2, dtype=np.float64)  # (R, S)
        mean, (draws, _, count) = by_draw.mean(0), correct.shape
        kind = np.float32 if draws * count < EXACT else np.float64
        right = correct.sum(0).T.astype(kind)  # (N, S)
        sums = np.concatenate([rows.astype(kind) @ right for rows in np.array_split(self.images, CHUNKS)])
        found = mean + (sums.astype(np.float64) / (draws * count) - mean) * np.sqrt(count / (count - 1))
        for weights in (self.labels, self.eps):
            found = found + weights @ (by_draw - mean) / len(by_draw)
        return np.asarray(found)


def _multinomial(groups: np.ndarray, times: int, rng: np.random.Generator) -> np.ndarray:
    """(B, R) weights of resampling the groups that draws belong to, widened for the few groups there are; mean 1."""
    names, member = np.unique(groups, return_inverse=True)
    count = len(names)
    if count == 1:
        return np.ones((times, len(groups)))
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=times)
    return np.asarray(1 + (drawn[:, member] - 1) * np.sqrt(count / (count - 1)))


def resamples(label_draw: np.ndarray, eps_draw: np.ndarray, n_test: int, times: int = 2000, seed: int = 0) -> Resamples:
    """The bootstrap of a run: draw r used labelled images `label_draw[r]` and noise `eps_draw[r]`; both (R,).

    Raises InvalidRequest for fewer than two draws or test images.
    """
    if len(label_draw) < 2 or len(label_draw) != len(eps_draw):
        raise InvalidRequest(f"label_draw has {len(label_draw)} and eps_draw {len(eps_draw)} draws; allowed: as many, at least 2.")
    if n_test < 2:
        raise InvalidRequest(f"n_test is {n_test}; allowed: at least 2 test images.")
    rng = np.random.default_rng(seed)
    even = np.full(n_test, 1 / n_test)
    images = np.concatenate(
        [rng.multinomial(n_test, even, size=len(part)).astype(np.uint8) for part in np.array_split(np.empty(times), CHUNKS)]
    )
    return Resamples(images, _multinomial(label_draw, times, rng), _multinomial(eps_draw, times, rng))


def _check(correct: np.ndarray, resamples: Resamples, sigmas: np.ndarray | None = None) -> None:
    if correct.ndim != 3 or (correct.shape[0], correct.shape[2]) != (resamples.labels.shape[1], resamples.images.shape[1]):
        raise InvalidRequest(
            f"correct has shape {correct.shape}; allowed: ({resamples.labels.shape[1]}, levels, {resamples.images.shape[1]}) as resampled."
        )
    if sigmas is not None and (len(sigmas) < 3 or len(sigmas) != correct.shape[1] or not (np.diff(sigmas) > 0).all()):
        raise InvalidRequest(f"sigmas has {len(sigmas)} levels for {correct.shape[1]}; allowed: as many, at least 3, ascending.")


def curve(correct: np.ndarray, resamples: Resamples, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high), each (S,): accuracy at every level with its pointwise interval."""
    mean = correct.mean((0, 2))
    half = student.ppf(0.5 + level / 2, resamples.freedom) * resamples.curves(correct).std(0)
    lowest = 0 if correct.dtype == bool else -np.inf  # R² may be below 0
    return mean, np.clip(mean - half, lowest, 1), np.clip(mean + half, lowest, 1)


def change(correct: np.ndarray, resamples: Resamples, level: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean, low, high), each (S,): accuracy at every level less that at the lowest, with its paired pointwise interval."""
    mean, curves = correct.mean((0, 2)), resamples.curves(correct)
    half = student.ppf(0.5 + level / 2, resamples.freedom) * (curves - curves[:, :1]).std(0)
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


def _vertices(curves: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
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


def _shape(mean: np.ndarray, spread: np.ndarray, band: float, once: float, peak: int, rises: bool) -> Shape:
    """The shape, from all differences between levels.

    `spread` (S, S) is the standard error of mean[j] - mean[i]; `band` times it bounds all differences at once, `once`
    times it one of them.
    """
    change = mean[None, :] - mean[:, None]  # (i, j): from level i to level j
    later = np.triu(np.ones_like(change, dtype=bool), 1)
    surely_below = -change - band * spread > 0  # level j is lower than level i
    rise_small = bool((change + once * spread < MARGIN)[later].all())
    fall_small = bool((-change + once * spread < MARGIN)[later].all())
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
    _check(correct, resamples, sigmas)
    mean, curves, freedom = correct.mean((0, 2)), resamples.curves(correct), resamples.freedom
    centred = curves - mean
    gain, selected = _honest(correct, seed)
    covariance = np.cov(centred.T)
    variance = np.diag(covariance)
    spread = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * covariance, 0)) + 1e-9
    first, second = np.triu_indices(len(mean), 1)
    largest = (np.abs(centred[:, second] - centred[:, first]) / spread[first, second]).max(1)
    peak = int(mean.argmax())
    # The quantile is of a bootstrap: widened as a t is against a normal.
    band = float(np.quantile(largest, 1 - LEVEL) * student.ppf(0.975, freedom) / norm.ppf(0.975))
    error = float((centred @ selected - centred[:, 0]).std())
    if selected[0] >= 0.5:  # the lowest level against itself has no error: that of its neighbour stands in
        error = max(error, float(spread[0, 1]))
    p_value = float(student.sf(gain / error, freedom))
    decided = p_value if p_holm is None else p_holm
    reach = float(student.ppf(0.975, freedom)) * error
    place = float(_vertices(mean[None], sigmas)[0])
    low, high = np.quantile(_vertices(curves, sigmas), [0.025, 0.975])
    return Verdict(
        shape=_shape(mean, spread, band, student.ppf(1 - LEVEL, freedom), peak, decided < LEVEL),
        peak_sigma=place,
        peak_ci=(min(float(low), place), max(float(high), place)),
        peak_accuracy=float(mean[peak]),
        gain=gain,
        gain_ci=(gain - reach, gain + reach),
        p_value=p_value,
        p_holm=decided,
        detectable=float(student.ppf(1 - LEVEL / tests, freedom) + student.ppf(0.8, freedom)) * error,
        lowest_sigma=float(sigmas[0]),
        draws=correct.shape[0],
        n_test=correct.shape[2],
    )


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
    curves = resamples.curves(model) - resamples.curves(baseline)
    half = float(student.ppf(0.975, resamples.freedom) * (curves @ selected - curves[:, 0]).std())
    return difference, difference - half, difference + half
