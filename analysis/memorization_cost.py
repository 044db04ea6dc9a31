"""What a study of memorization will take, from a few timed steps of its network."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import memorization_look as looking
from .backends.unet2d import UNet2D
from .memorization import FRESH, MemorizationRequest, Run, found_path, place_of
from .memorization_data import Material
from .memorization_run import material_of, spec_of
from .training import Run as Training

STEPS = 3  # that are timed, after one that warms up
KEPT = 4  # bytes a parameter and moment: two sets of weights in half precision
CHECKPOINT = 16  # bytes a parameter of what training goes on from
FOUND = 1 << 20  # bytes of what a look finds, with its samples, at most


@dataclass(frozen=True)
class Foreseen:
    """Networks and looks that are lacking, seconds with so many processes, bytes on disk, and bytes that are free there."""

    networks: int
    looks: int
    seconds: float
    bytes: int
    free: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For a person."""
        if not self.seconds:
            return "All of it is there already."
        length = f"{self.seconds / 3600:.1f} hours" if self.seconds > 5400 else f"{max(1, round(self.seconds / 60))} minutes"
        told = f"{self.networks} networks to train, {self.looks} looks at them: about {length}, {self.bytes / 1e6:,.0f} MB on disk."
        return told if self.bytes < self.free else f"{told} Only {self.free / 1e6:,.0f} MB are free there: make room first."


def foresee(request: MemorizationRequest, root: Path | None = None, *, processes: int = 0, device: str = "cpu", apart: int = 0) -> Foreseen:
    """What is lacking of a study and about how long it takes: steps, passes and probes are timed here, on one thread.

    `apart` is how many images denoisers of one level are to meet in all. Tables at the end are not in it. Raises as `memorize` does.
    """
    material, folder = material_of(request.canonical()), place_of(request, root)
    lacking = {run: [look for look in run.looks(request) if not found_path(folder, look).exists()] for run in request.runs}
    networks, looks = sum(map(bool, lacking.values())), sum(map(len, lacking.values()))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a network has it
    try:
        step, look, parameters = _timed(material, device)
    finally:
        torch.set_num_threads(threads)
    spec = request.spec
    at_once = max(1, processes) if device == "cpu" else 1
    seconds = (networks * spec.steps * step + looks * look + apart / spec.batch * step) / min(
        at_once, max(1, networks) if not apart else at_once
    )
    size = networks * parameters * (KEPT * len(request.seen)) + at_once * parameters * CHECKPOINT + looks * FOUND
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return Foreseen(networks, looks, seconds if looks or apart else 0.0, size if looks else 0, shutil.disk_usage(place).free)


def _timed(material: Material, device: str) -> tuple[float, float, int]:
    """Seconds of a training step and of a look, and parameters."""
    request = material.request
    run = Run(str(request.sizes[-1]), 0)
    data = material.dataset if run.size == FRESH else material.training(run)
    training = Training(spec_of(request, run), data, device)
    training.advance()
    began = time.perf_counter()
    for _ in range(STEPS):
        training.advance()
    step = (time.perf_counter() - began) / STEPS
    model = UNet2D(training.mean_network().to(device), training.scheduler, name="timed")
    x0 = looking.encoded(model, material.dataset.images[: looking.BATCH])
    looking.read_all(model, x0[:8], None, 0.1)
    began = time.perf_counter()
    features, _ = looking.read_all(model, x0, None, 0.1)
    one = (time.perf_counter() - began) / len(x0)
    per_class, classes = request.labels_per_class, len(material.labels.classes)
    labels = np.repeat(np.arange(classes), per_class)
    rng = np.random.default_rng(0)
    cells = {
        name: tuple(rng.normal(size=(n, value.shape[1])).astype(np.float32) for n in (len(labels), len(labels), 10))
        for name, value in features.items()
    }
    began = time.perf_counter()
    looking.probe_cells(cells, labels, labels, classes)  # type: ignore[arg-type]
    fits = time.perf_counter() - began
    labelled = min(len(material.pool), request.label_draws * len(labels))
    images = labelled + len(material.validation) + len(material.test) + request.losses
    passes = request.levels * images + request.samples * request.sample_steps
    return step, passes * one + request.levels * request.label_draws * fits, sum(p.numel() for p in training.net.parameters())
