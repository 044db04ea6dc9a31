"""CKA between twenty blocks, in batches, over a float32 loop over their pairs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from analysis.similarity import cka

from .measure import Measured, cpu, interleave, measure

BLOCKS, WIDTHS = 20, (64, 512)
IMAGES, BATCH, ROUNDS = 4096, 256, 3
GAP, GROWTH, TIMES = 1e-5, 1.05, 4  # what numbers may differ by, and what memory may grow by for so many times the images


def batches(images: int, blocks: int = BLOCKS) -> Iterator[list[np.ndarray]]:
    """Features (n, D_b) float32 of blocks that share more or less with each other, D from 64 to 512; made batch by batch."""
    widths = np.linspace(*WIDTHS, blocks).astype(int)
    mixes = [np.random.default_rng([0, b]).normal(size=(16, width)) / 4 for b, width in enumerate(widths)]
    for start in range(0, images, BATCH):
        rng = np.random.default_rng([1, start])
        latent = rng.normal(size=(BATCH, 16))
        yield [(np.tanh(latent @ mix) + 0.5 * rng.normal(size=(BATCH, mix.shape[1]))).astype(np.float32) for mix in mixes]


def by_pairs(given: Iterable[Sequence[np.ndarray]], keep: bool = False) -> np.ndarray:
    """CKA (B, B) as one would write it, in the features' own precision: the unbiased HSIC of each pair, each once, summed over batches.

    Self terms are kept, never made again for a pair; so are all Gram matrices of a batch, if `keep`, or else the first of a pair alone.
    """
    shared: Any = 0.0
    for batch in given:
        count = len(batch)
        found, kept = np.zeros((count, count)), [_gram(features) for features in batch] if keep else None
        for i in range(count):
            left = kept[i] if kept else _gram(batch[i])
            found[i, i] = _hsic(left, left)
            for j in range(i + 1, count):
                found[i, j] = found[j, i] = _hsic(left, kept[j] if kept else _gram(batch[j]))
        shared = shared + found
    own = np.sqrt(np.diag(shared))
    return np.asarray(shared / own / own[:, None])


def _gram(features: np.ndarray) -> np.ndarray:
    gram = features @ features.T
    np.fill_diagonal(gram, 0)
    return gram


def _hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. (2012), eq. 5, of Gram matrices (n, n) without their diagonals."""
    n, left, right = len(k), k.sum(1), m.sum(1)
    return float(((k * m).sum() + left.sum() * right.sum() / ((n - 1) * (n - 2)) - 2 * (left @ right) / (n - 2)) / (n * (n - 3)))


def peak(images: int) -> int:
    """The most bytes that CKA of so many images holds, the batch that is made for it among them."""
    tracemalloc.start()
    try:
        cka(batches(images))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def run() -> Measured:
    """How many times as fast ours is, the numbers being those of double precision and memory that of one batch."""
    torch.set_num_threads(1)
    peak(BATCH)  # what is loaded and kept for good
    peaks = {images: peak(images) for images in (IMAGES, IMAGES * TIMES)}
    growth = peaks[IMAGES * TIMES] / peaks[IMAGES]
    given = list(batches(IMAGES))
    exact = by_pairs([[features.astype(np.float64) for features in batch] for batch in given])
    gap = float(np.abs(cka(given) - exact).max())
    details = {
        "blocks": BLOCKS,
        "widths": list(WIDTHS),
        "images": IMAGES,
        "batch": BATCH,
        "peak_bytes": peaks,
        "largest_gap_to_double_precision": gap,
        "unit": "CPU seconds, one thread, float32; the loop keeps its self terms",
    }
    with threadpool_limits(1):
        ours = cpu(lambda: cka(given))
        harder = interleave(cpu(lambda: by_pairs(given, keep=True)), ours, 2 * ROUNDS)
        details["loop_that_keeps_gram_matrices_too"] = {"ratio": round(1 / harder.cost, 4), "control": round(harder.control, 4)}
        found = measure(cpu(lambda: by_pairs(given)), ours, ROUNDS, lambda cost: 1 / cost, details)
    return replace(found, holds=gap <= GAP and growth <= GROWTH)
