"""The SNR of the exact posterior mean over σ, with intervals, by Monte Carlo: arXiv 2502.05743, Definition 1, and its exact limits.

SNR(σ) = Σ_k π_k E[||U_k U_kᵀ x̂||² | k] / E[||x̂ - U_k U_kᵀ x̂||² | k]: a ratio of expectations per class, then their mean. Every level sees
the same draws of x_0 and ε, so a curve is smooth; with clean input x̂ is taken at x_0.
Intervals are by the delta method: the ratio of two means m/v over n samples has variance var(num - (m/v) den) / (n v²).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from .errors import InvalidRequest
from .theory import INPUTS, Draws, MoLRG, Posterior, draw

REACH = float(norm.ppf(0.975))
LEAST, MOST = 1e-9, 1e9  # noise levels: beyond them squares leave what a float holds
LARGEST = 600.0  # of an exponent
CHUNK = 512  # samples of one pass over all levels: what it holds stays in the processor's cache
Sums = np.ndarray  # (S, 6): sums over samples of num, den, num², num·den, den² and the weight of the true class


@dataclass(frozen=True)
class SNR:
    """The curve: `value`, `low`, `high` (S,), the same of each class (S, K), and `confidence` (S,), the mean posterior weight of the true class."""

    sigmas: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    per_class: np.ndarray
    class_low: np.ndarray
    class_high: np.ndarray
    confidence: np.ndarray
    input: str
    samples: int

    @property
    def peak(self) -> int:
        """Place of the highest level."""
        return int(self.value.argmax())

    @property
    def peak_range(self) -> tuple[float, float]:
        """Lowest and highest σ where the peak may be: levels whose interval reaches that of the peak, and half a step beyond, for what
        lies between levels was not seen. Levels ascend."""
        open_ = np.flatnonzero(self.high >= self.low[self.peak])
        first, last = self.sigmas[open_[0]], self.sigmas[open_[-1]]
        before, after = self.sigmas[max(open_[0] - 1, 0)], self.sigmas[min(open_[-1] + 1, len(self.sigmas) - 1)]
        return math.sqrt(first * before), math.sqrt(last * after)

    def table(self) -> pd.DataFrame:
        """One row a level."""
        columns = {"sigma": self.sigmas, "snr": self.value, "ci_low": self.low, "ci_high": self.high, "confidence": self.confidence}
        for k in range(self.per_class.shape[1]):
            columns |= {f"snr_class{k}": self.per_class[:, k]}
            columns |= {f"ci_low_class{k}": self.class_low[:, k], f"ci_high_class{k}": self.class_high[:, k]}
        return pd.DataFrame(columns)


def levels_of(sigmas: Sequence[float] | np.ndarray) -> np.ndarray:
    """(S,) float64. Raises InvalidRequest."""
    found = np.asarray(sigmas, dtype=float).ravel()
    if not len(found) or not ((found >= LEAST) & (found <= MOST)).all():
        wrong = next((f"{s:g}" for s in found if not LEAST <= s <= MOST), "empty")
        raise InvalidRequest(f"sigmas has {wrong}; allowed: noise levels σ from {LEAST:g} to {MOST:g}, one or more.")
    return found


def input_of(name: str) -> str:
    """Raises InvalidRequest."""
    if name not in INPUTS:
        raise InvalidRequest(f"input is {name!r}; allowed: {', '.join(INPUTS)}.")
    return name


def snr(
    spec: MoLRG,
    sigmas: Sequence[float] | np.ndarray,
    samples: int = 20_000,
    seed: int = 0,
    input: str = "noisy",
    draws: Draws | None = None,
) -> SNR:
    """The SNR of the posterior mean at every level; `draws` are those of the seed where none are given. Raises InvalidRequest."""
    levels, clean = levels_of(sigmas), input_of(input) == "clean"
    drawn = draw(spec, samples, seed) if draws is None else draws
    energies = spec.orthogonal and spec.separation == 0
    way = _by_energies(spec, drawn, levels, clean) if energies else _by_products(spec, drawn, levels, clean)
    return _curve(spec, levels, list(way), drawn.counts, input)


def _curve(spec: MoLRG, levels: np.ndarray, sums: list[Sums], counts: list[int], input: str) -> SNR:
    p, ratios, errors = np.array(spec.weights), [], []
    for total, count in zip(sums, counts, strict=True):
        num, den, num2, both, den2 = total[:, :5].T / count
        ratio = num / den
        ratios.append(ratio)
        errors.append(np.maximum(num2 - 2 * ratio * both + ratio**2 * den2, 0) / (count - 1) / den**2)
    per_class, variance = np.column_stack(ratios), np.column_stack(errors)
    value, wide = per_class @ p, REACH * np.sqrt(variance @ p**2)
    each = REACH * np.sqrt(variance)
    confidence = sum(pk * total[:, 5] / count for pk, total, count in zip(p, sums, counts, strict=True))
    bounds = (np.maximum(value - wide, 0), value + wide, per_class, np.maximum(per_class - each, 0), per_class + each)
    return SNR(levels, value, *bounds, np.asarray(confidence), input, sum(counts))


def _sums(num: np.ndarray, den: np.ndarray, weight: np.ndarray) -> Sums:
    """Of arrays (S, N)."""
    pairs = [np.einsum("sn,sn->s", a, b) for a, b in ((num, num), (num, den), (den, den))]
    return np.stack([num.sum(1), den.sum(1), *pairs, weight.sum(1)], 1)


def _by_energies(spec: MoLRG, draws: Draws, levels: np.ndarray, clean: bool) -> Iterator[Sums]:
    """Of each class, where subspaces are orthogonal: x̂ then is g_l U_lᵀ x in subspace l, with g_l = ξ + (ζ - ξ) w_l, and w has no other
    part than the energies ||U_lᵀ x||², which are quadratic in σ, so that all levels are one small matrix product.
    """
    s2, starts = levels**2, [spec.block(k).start for k in range(spec.classes)]
    zeta, xi = 1 / (1 + s2), spec.delta**2 / (spec.delta**2 + s2)
    half = 0.5 * (1 / (spec.delta**2 + s2) - zeta)
    powers = np.column_stack([np.ones_like(s2), np.zeros_like(s2), np.zeros_like(s2)] if clean else [np.ones_like(s2), 2 * levels, s2])
    per_dim = 0.5 * np.log((spec.delta**2 + s2) * zeta)  # of the log-determinant
    bias = [math.log(p) + d * per_dim for p, d in zip(spec.weights, spec.dims, strict=True)]
    slopes = np.stack([np.column_stack([half[:, None] * powers, b]) for b in bias])  # (K, S, 4)
    for k, (x0, eps) in enumerate(zip(draws.x0, draws.eps, strict=True)):
        parts = np.stack(
            [np.add.reduceat(a * b, starts) for a, b in ((x0, x0), (x0, eps), (eps, eps))] + [np.ones((spec.classes, x0.shape[1]))], 1
        )
        total = np.zeros((len(levels), 6))
        for start in range(0, x0.shape[1], CHUNK):
            part = np.ascontiguousarray(parts[:, :, start : start + CHUNK])  # (K, 4, n)
            w = slopes @ part  # (K, S, n): log w, up to a constant
            if w.max() > LARGEST:
                w -= w.max(0)
            np.exp(w, out=w)
            scale = 1 / w.sum(0)
            sure = w[k] * scale
            scale *= (zeta - xi)[:, None]
            w *= scale
            w += xi[:, None]  # g
            w *= w
            w *= powers @ part[:, :3]
            num = w[k].copy()
            w[k] = 0
            total += _sums(num, w.sum(0), sure)
        yield total


def _by_products(spec: MoLRG, draws: Draws, levels: np.ndarray, clean: bool) -> Iterator[Sums]:
    """Of each class, of any mixture: the weights of all levels by one product of squares, the component means by one product a level."""
    posterior, shape = Posterior(spec), (spec.classes, spec.span, -1)
    filters = np.stack([posterior.filters(sigma) for sigma in levels])  # (S, K, r, r)
    shifts = np.einsum("rk,skrq->skq", spec.means, np.eye(spec.span) - filters)[..., None]
    spread = posterior.values[:, None] + levels[:, None] ** 2  # (K, S, r)
    powers = (
        [np.ones_like(levels), np.zeros_like(levels), np.zeros_like(levels)] if clean else [np.ones_like(levels), 2 * levels, levels**2]
    )
    slopes = np.concatenate([-0.5 * power[:, None] / spread for power in powers], 2)  # (K, S, 3 r)
    bias = np.log(spec.weights)[:, None] - 0.5 * np.log(spread).sum(2)  # (K, S)
    for k, (x0, eps) in enumerate(zip(draws.x0, draws.eps, strict=True)):
        total = np.zeros((len(levels), 6))
        for start in range(0, x0.shape[1], CHUNK):
            a, b = (np.ascontiguousarray(part[:, start : start + CHUNK]) for part in (x0, eps))
            apart = posterior.vectors.transpose(0, 2, 1) @ (a - spec.means.T[..., None])  # (K, r, n)
            moved = posterior.vectors.transpose(0, 2, 1) @ b
            w = slopes @ np.concatenate([apart**2, apart * moved, moved**2], 1) + bias[..., None]
            w -= w.max(0)
            np.exp(w, out=w)
            w /= w.sum(0)
            num, den = np.empty_like(w[0]), np.empty_like(w[0])
            for place, sigma in enumerate(levels):
                x = a if clean else a + sigma * b
                each = (filters[place].reshape(-1, spec.span) @ x).reshape(shape)
                each += shifts[place]
                each *= w[:, place, None]
                made = each.sum(0)
                own = spec.bases[k].T @ made
                num[place] = np.einsum("rn,rn->n", own, own)
                den[place] = np.einsum("rn,rn->n", made, made) - num[place]
            total += _sums(num, den, w[k])
        yield total


def of_energies(spec: MoLRG, sigmas: Sequence[float] | np.ndarray, energies: Sequence[tuple[np.ndarray, np.ndarray]], input: str) -> SNR:
    """The SNR of any denoiser, of ||U_k U_kᵀ x̂||² and ||x̂ - U_k U_kᵀ x̂||² (S, n_k) of every class's samples; it has no confidence."""
    sums = [_sums(num, den, np.full(num.shape, np.nan)) for num, den in energies]
    return _curve(spec, levels_of(sigmas), sums, [num.shape[1] for num, _ in energies], input_of(input))


def limits(spec: MoLRG, input: str = "noisy") -> tuple[float, float] | None:
    """The exact SNR as σ → 0 and σ → ∞, None with class means; 1/((K-1)δ²) and 1/(K-1), with clean input the first at both ends, where
    the theorem holds.

    At 0 x̂ is x_0. At ∞ the weights are π and x̂ is Σ̄ x / σ², Σ̄ = Σ_k π_k Σ_k, x being ε (noisy) or x_0 (clean).
    """
    input_of(input)
    if spec.separation:
        return None
    mean = np.einsum("k,krs->rs", spec.weights, spec.covariances)

    def ratio(far: bool) -> float:
        found = 0.0
        for p, U, own in zip(spec.weights, spec.bases, spec.covariances, strict=True):
            spread = own if not far else mean @ (own if input == "clean" else np.eye(len(mean))) @ mean
            energy = float(np.trace(U.T @ spread @ U))
            found += p * energy / (float(np.trace(spread)) - energy)
        return found

    return ratio(far=False), ratio(far=True)
