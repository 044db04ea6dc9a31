"""What moving a slider of the Theory page computes, over its bare matrix products.

Three classes of five dimensions in 50, 20,000 samples, 40 levels. The products are those that the exact posterior mean of the mixture takes at
every level: Σ_k (Σ_k + σ² I)⁻¹ x_σ of every class, three of 15 × 15 by 15 × 20,000, in the span of the subspaces and in float64, as ours.
They are made in parts that stay in the cache, which is faster than in one. Ours begins with x_0, made of the draws that all sliders but those of
size share and all levels share, and ends with SNR, intervals, class confidence, both rates and the theorem; with orthogonal subspaces it needs fewer products than that.
Overlapping subspaces, where it needs them all, are in the details.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from analysis.theorem import denoising_rate, theorem1
from analysis.theory import MoLRG, Posterior, _normal, draw
from analysis.theory_snr import limits, snr

from .measure import Measured, cpu, measure

SPEC, OVERLAP = MoLRG(dims=(5, 5, 5)), MoLRG(dims=(5, 5, 5), angle=60)
SAMPLES, SIGMAS, PART, ROUNDS = 20_000, np.geomspace(0.005, 20, 40), 1000, 9


def ours(spec: MoLRG = SPEC) -> None:
    """All that the page's figure shows without a button."""
    snr(spec, SIGMAS, draws=draw(spec, SAMPLES))
    limits(spec), theorem1(spec, SIGMAS), denoising_rate(spec, SIGMAS)


def products(spec: MoLRG = SPEC) -> Callable[[], None]:
    """The bare products, on numbers that are there already."""
    filters = np.stack([Posterior(spec).filters(sigma).reshape(-1, spec.span) for sigma in SIGMAS])  # (S, K r, r)
    x = np.random.default_rng(0).normal(size=(spec.span, SAMPLES))
    parts = [np.ascontiguousarray(x[:, start : start + PART]) for start in range(0, SAMPLES, PART)]
    made = np.empty((spec.classes * spec.span, PART))

    def bare() -> None:
        for part in parts:
            for filter in filters:
                np.matmul(filter, part, out=made)

    return bare


def milliseconds(work: Callable[[], Any]) -> float:
    """The fastest of five, by the clock on the wall."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return round(1000 * min(found), 1)


def run() -> Measured:
    """(draws, SNR and theorem) / (bare products), CPU seconds."""
    with threadpool_limits(1):
        bare = products()
        bare(), ours()
        details = {
            "milliseconds": milliseconds(ours),
            "milliseconds_products": milliseconds(bare),
            "milliseconds_of_a_new_size": milliseconds(lambda: (_normal.cache_clear(), ours())),
            "milliseconds_overlap": milliseconds(lambda: ours(OVERLAP)),
            "goal_milliseconds": 500,
            "samples": SAMPLES,
            "levels": len(SIGMAS),
            "unit": "CPU seconds, one thread, float64",
        }
        return measure(cpu(bare), cpu(ours), ROUNDS, lambda cost: cost, details)
