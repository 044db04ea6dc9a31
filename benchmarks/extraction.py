"""Extraction of every block, pooled, over bare forward passes of the same network, batch, precision and memory format."""

from __future__ import annotations

import torch

from analysis.backends.base import Backend

from .measure import Measured, cpu, interleave, measure
from .networks import flops, large, sides, small

BATCH, BATCHES, ROUNDS = 8, 2, 5


def run() -> Measured:
    """Bare CPU seconds over ours, which is our throughput over theirs."""
    torch.set_num_threads(1)
    backend = large()
    bare, ours = _warm(backend, BATCH, BATCHES)
    details = {
        "gflop_per_image": round(flops(backend) / 1e9, 2),
        "blocks": len(backend.card.blocks),
        "images_per_round": BATCH * BATCHES,
        "batch": BATCH,
        "unit": "CPU seconds, one thread, float32, channels_last, inference_mode",
        "digits_ddpm": _digits(),
    }
    return measure(cpu(bare), cpu(ours), ROUNDS, lambda cost: 1 / cost, details)


def _warm(backend: Backend, batch: int, batches: int):
    """Both sides, called once, so that nobody pays for the first call."""
    both = sides(backend, [block.name for block in backend.card.blocks], batch, batches)
    for work in both:
        work()
    return both


def _digits() -> dict[str, float]:
    """The same for the digits network, whose passes are so small that the overhead shows; one attempt, no target."""
    backend = small()
    bare, ours = _warm(backend, 64, 4)
    attempt = interleave(cpu(bare), cpu(ours), 15)
    return {
        "gflop_per_image": round(flops(backend) / 1e9, 4),
        "blocks": len(backend.card.blocks),
        "batch": 64,
        "ratio": round(1 / attempt.cost, 4),
        "control": round(attempt.control, 4),
    }
