"""What this project promises about speed, memory and error rates, each promise measured by one name.

`python -m benchmarks list`, `python -m benchmarks run NAME --json`, `python -m benchmarks run all`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from .measure import Measured


@dataclass(frozen=True)
class Benchmark:
    """A promise: the ratio that the module's `run` measures keeps the target."""

    name: str
    module: str
    ratio: str  # what over what
    target: float
    at_least: bool
    function: str = "run"

    @property
    def promise(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.target:g}"

    def met(self, ratio: float | None) -> bool:
        if ratio is None:
            return False
        return ratio >= self.target if self.at_least else ratio <= self.target

    @property
    def run(self) -> Callable[[], Measured]:
        return getattr(import_module(f"{__package__}.{self.module}"), self.function)


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("extraction", "extraction", "throughput of extracting every block, pooled, over bare forward passes", 0.95, True),
        Benchmark(
            "families", "families", "the same, from pixels to the file in the store, of the model family where it is least", 0.95, True
        ),
        Benchmark(
            "latent",
            "latent",
            "throughput at 16 levels of a model like Stable Diffusion, from pixels to files, over its VAE once and 16 bare passes",
            0.95,
            True,
        ),
        Benchmark(
            "cost-slope",
            "cost_slope",
            "distance from 1 of the log-log slope of extraction's CPU seconds over images or levels, the larger of the two",
            0.05,
            False,
        ),
        Benchmark("stats-mode", "running_sums", "CPU seconds of extraction with running sums over those of extraction alone", 1.03, False),
        Benchmark("early-exit", "early_exit", "speed-up of stopping at the middle block over what the operation counts say", 0.9, True),
        Benchmark("training", "training", "CPU seconds of a training step over those of the plain loop", 1.03, False),
        Benchmark("memory", "memory", "peak memory of a sweep of 10 times the images over that of 1", 1.1, False),
        Benchmark(
            "first-paint", "first_paint", "seconds to the Start page's headline and curve over those to a page of one line", 1.25, False
        ),
        Benchmark(
            "page-move",
            "page_move",
            "server time of a move on a finished run, to a view seen before, over that of a page with as many plain widgets",
            1.5,
            False,
        ),
        Benchmark("two-lanes", "two_lanes", "(a question while a sweep runs, less one batch) over the question alone", 1.3, False),
        Benchmark("idle-lane", "two_lanes", "speed of a sweep as a job, nobody asking, over the plain loop", 0.97, True, "throughput"),
        Benchmark(
            "image-strip",
            "own_image",
            "seconds from a photograph to strip, class curves and neighbours, warm worker, over 16 bare forward passes",
            1.5,
            False,
            "strip",
        ),
        Benchmark(
            "cam-grid",
            "own_image",
            "CPU seconds of class activation maps of all blocks at 16 levels over 16 bare forward passes",
            1.1,
            False,
            "maps",
        ),
        Benchmark("attribution", "attribution", "CPU seconds of every map over 8 draws of ε over captum's by hand", 1.05, False),
        Benchmark(
            "attribution-memory",
            "attribution",
            "memory of Integrated Gradients with 64 steps over that of one batch",
            1.2,
            False,
            "memory",
        ),
        Benchmark(
            "aligned-umap",
            "maps",
            "CPU seconds of UMAPs of 6,000 images at 12 noise levels, each from the one before, over those of umap-learn's own",
            0.35,
            False,
            "over_noise",
        ),
        Benchmark("first-map", "maps", "CPU seconds of a first UMAP of 6,000 images over those of umap-learn's own", 0.8, False, "first"),
        Benchmark("map-payload", "payload", "megabytes that a map of 10,000 noised CIFAR points with pictures sends", 8.0, False),
        Benchmark("cka", "alike", "speed of CKA between 20 blocks in batches over a loop over their pairs", 2.0, True),
        Benchmark(
            "solver",
            "solver",
            "CPU seconds of scikit-learn's logistic regressions of a cell, 7 penalties, over those of ours",
            15.0,
            True,
        ),
        Benchmark("sweep-total", "sweep_total", "CPU seconds of passes and probes over those of the passes alone", 1.05, False),
        Benchmark(
            "sweep-vs-online",
            "online",
            "CPU seconds of linear layers trained for 15 epochs while features are recomputed, over those of a sweep",
            10.0,
            True,
        ),
        Benchmark(
            "ray-scaling",
            "ray_scaling",
            "what two Ray workers reach over one, over what two plain processes of the same loop reach over one",
            0.9,
            True,
        ),
        Benchmark(
            "diffusion-classifier",
            "diffusion_classifier",
            "passes of the diffusion classifier that leaves losers out over those of all classes under all draws, on 400 test digits",
            0.4,
            False,
        ),
        Benchmark(
            "word-maps", "word_maps", "CPU seconds of a pass with maps of every word in every block over those of the pass", 1.3, False
        ),
        Benchmark(
            "memorization-study",
            "memorization_study",
            "CPU seconds of a study of memorization (training, 16 levels, all blocks, samples, tables) over its bare training and forward passes",
            1.15,
            False,
        ),
        Benchmark(
            "theory",
            "theory",
            "CPU seconds of a mixture's SNR at 40 levels from 20,000 samples over those of its posterior means' bare matrix products",
            1.5,
            False,
        ),
        Benchmark("verdicts", "false_unimodal", "highest rate of curves without a hump that are called unimodal, over .05", 1.0, False),
    )
}
