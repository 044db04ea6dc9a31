"""Theorem 1: what the SNR is about, and the two rates whose product makes its hump. arXiv 2502.05743, Theorem 1.

SNR ≈ C/(K-1) [(1 + (σ²/δ²) h(w⁺)) / (1 + (σ²/δ²) h(w⁻))]², C = (1+σ²)/(δ²+σ²), h(w) = (1-δ²) w + δ²,
w⁺ = 1/(1 + (K-1) e^-D), w⁻ = (1-w⁺)/(K-1), D = d (1-δ²)² / (2 (1+σ²)(δ²+σ²)); with clean input 1/δ² stands in place of C.
σ²/δ² is the denoising rate, which rises: more noise, and the irrelevant part goes first. h(w⁺) is the class-confidence rate, which falls.
An approximation: it puts expectations into the softmax, so its peak is later and higher than that of the posterior mean's SNR. It is never
"the SNR". It holds for orthogonal subspaces of one dimension and equal proportions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from .theory import MoLRG
from .theory_snr import input_of, levels_of


def h(w: np.ndarray, delta: float) -> np.ndarray:
    """The class-confidence rate of a weight: δ² for a class that is ruled out, 1 for one that is sure."""
    return np.asarray((1 - delta**2) * w + delta**2)


def denoising_rate(spec: MoLRG, sigmas: Sequence[float] | np.ndarray) -> np.ndarray:
    """(S,): σ²/δ²."""
    return np.asarray(levels_of(sigmas) ** 2 / spec.delta**2)


def confidence(spec: MoLRG, sigmas: Sequence[float] | np.ndarray) -> np.ndarray:
    """(S,): w⁺, the theorem's weight of the true class, of a mixture that it holds for."""
    return np.asarray(expit(_gap(spec, levels_of(sigmas)) - np.log(spec.classes - 1)))


def _gap(spec: MoLRG, levels: np.ndarray) -> np.ndarray:
    """D: by how much the true class's exponent is above the others'."""
    s2, d2 = levels**2, spec.delta**2
    return np.asarray(spec.dims[0] * (1 - d2) ** 2 / (2 * (1 + s2) * (d2 + s2)))


def theorem1(spec: MoLRG, sigmas: Sequence[float] | np.ndarray, input: str = "noisy") -> np.ndarray | None:
    """(S,): the theorem's approximation of the SNR; None where it does not apply. Raises InvalidRequest."""
    levels, clean = levels_of(sigmas), input_of(input) == "clean"
    if not spec.equal:
        return None
    d2, others, rate = spec.delta**2, spec.classes - 1, denoising_rate(spec, levels)
    front = 1 / d2 if clean else (1 + levels**2) / (d2 + levels**2)
    sure = confidence(spec, levels)
    # 1 - w⁺ loses every digit where w⁺ is nearly 1, so w⁻ is made of the same exponent
    unsure = expit(np.log(others) - _gap(spec, levels)) / others
    return np.asarray(front / others * ((1 + rate * h(sure, spec.delta)) / (1 + rate * h(unsure, spec.delta))) ** 2)
