"""Stopping at the middle block: the measured speed-up over the one that the operation counts say."""

from __future__ import annotations

import torch

from .measure import Measured, cpu, measure
from .networks import flops, large, sides

BATCH, BATCHES, ROUNDS = 8, 2, 5


def run() -> Measured:
    """(bare whole pass / reading the last middle block) in CPU seconds, over the same in floating-point operations."""
    torch.set_num_threads(1)
    backend = large()
    block = [block.name for block in backend.card.blocks if block.stage == "mid"][-1]
    whole, part = flops(backend), flops(backend, block)
    bare, ours = sides(backend, [block], BATCH, BATCHES)
    bare(), ours()
    details = {
        "last_block": block,
        "gflop_whole": round(whole / 1e9, 3),
        "gflop_to_block": round(part / 1e9, 3),
        "counted_speed_up": round(whole / part, 3),
        "unit": "CPU seconds, one thread, float32, channels_last, inference_mode",
    }
    found = measure(cpu(bare), cpu(ours), ROUNDS, lambda cost: 1 / cost / (whole / part), details)
    if found.ratio is not None:
        found.details["measured_speed_up"] = round(found.ratio * whole / part, 3)
    return found
