"""`python -m benchmarks.sweep_child N`: one real sweep over N pictures in this process; prints its peak memory in bytes."""

from __future__ import annotations

import resource
import sys
from tempfile import TemporaryDirectory

import torch

from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

from .patterns import registered


def main(size: int) -> int:
    torch.set_num_threads(1)
    with registered(size) as dataset, TemporaryDirectory() as folder:
        request = SweepRequest(dataset=dataset, levels=3, blocks=("mid.res1", "up0.res0"), label_draws=3, eps_draws=1)
        sweep(request, Store(folder), processes=0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
