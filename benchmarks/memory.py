"""Peak memory of a sweep of ten times the images over that of one time."""

from __future__ import annotations

import subprocess
import sys

from .measure import Cost, Measured, measure

IMAGES, TIMES = 1000, 10


def run() -> Measured:
    """The highest resident set of a fresh process that sweeps 10,000 images, over that of one with 1,000."""
    details = {
        "images": [IMAGES, IMAGES * TIMES],
        "sweep": "digits-ddpm, 3 levels, 2 blocks, 3 label draws, with all baselines, in one process",
        "unit": "bytes, ru_maxrss",
    }
    return measure(_sweep(IMAGES), _sweep(IMAGES * TIMES), 1, lambda cost: cost, details)


def _sweep(images: int) -> Cost:
    def peak() -> float:
        child = subprocess.run([sys.executable, "-m", "benchmarks.sweep_child", str(images)], stdout=subprocess.PIPE, text=True, check=True)
        return float(child.stdout.split()[-1])

    return peak
