"""`python -m benchmarks.attribution_child STEPS`: Integrated Gradients in this process; prints by how many bytes its peak rose."""

from __future__ import annotations

import resource
import sys

import psutil
import torch

from analysis.attribution import Settings, attribute

from .attribution import model
from .networks import large


def main(steps: int) -> int:
    torch.set_num_threads(1)
    probed, image = model(large(), "up2.res1")
    attribute(probed, image, "saliency")  # what is loaded and kept for good is there before the steps
    before = psutil.Process().memory_info().rss
    attribute(probed, image, "integrated_gradients", Settings(steps=steps))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) - before


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
