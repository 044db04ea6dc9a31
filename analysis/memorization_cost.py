"""What a study of memorization will take, from a few timed steps of its network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DModel

from . import dynamics
from . import memorization_look as looking
from .backends.unet2d import UNet2D
from .generalization import nearest_images
from .memorization import FRESH, HIGHEST, MemorizationRequest, Run, apart_path, found_path, place_of
from .memorization_curves import kinds
from .memorization_data import Material
from .memorization_run import bundled, material_of, reference_of, spec_of
from .noise import nearest
from .sampling import visited
from .steps import finish
from .training import Run as Training

STEPS = 3  # that are timed, after one that warms up
TILED = 32  # times a batch, as training images that a nearest one is looked for in
PARTS = 3  # that are timed, one after another
KEPT = 4  # bytes a parameter and moment: two sets of weights in half precision
CHECKPOINT = 16  # bytes a parameter of what training goes on from
FOUND = 1 << 20  # bytes of what a look finds, with its samples, at most


@dataclass(frozen=True)
class Foreseen:
    """Networks, looks and denoisers of one level that are lacking, seconds with so many processes, bytes on disk, and bytes that are free there."""

    networks: int
    looks: int
    seconds: float
    bytes: int
    free: int
    apart: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For a person."""
        if not self.seconds:
            return "All of it is there already."
        lacking = [f"{self.networks} networks to train, {self.looks} looks at them"] if self.looks else []
        lacking += [f"{self.apart} denoisers of one level to train"] if self.apart else []
        told = f"{', '.join(lacking)}: about {length(self.seconds)}, {self.bytes / 1e6:,.0f} MB on disk."
        return told if self.bytes < self.free else f"{told} Only {self.free / 1e6:,.0f} MB are free there: make room first."


def length(seconds: float) -> str:
    """A time for a person."""
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{max(1, round(seconds / 60))} minutes"


def foresee(
    request: MemorizationRequest,
    root: Path | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    sharing: tuple[int, int] | None = None,
) -> Foreseen:
    """`foreseeing` at once."""
    return finish(foreseeing(request, root, processes=processes, device=device, sharing=sharing))


def foreseeing(
    request: MemorizationRequest,
    root: Path | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    sharing: tuple[int, int] | None = None,
) -> Generator[tuple[int, int], None, Foreseen]:
    """What is lacking of a study and about how long it takes: steps, passes, probes and verdicts are timed here, on one thread.

    `sharing` is how many images denoisers of one level are to meet, and of how many seeds. Yields (done, of) after each part that is timed. Raises as
    `memorize` does.
    """
    material, folder = material_of(request.canonical()), place_of(request, root)
    lacking = {run: [look for look in run.looks(request) if not found_path(folder, look).exists()] for run in request.runs}
    networks, looks = sum(map(bool, lacking.values())), sum(map(len, lacking.values()))
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    met, seeds = sharing or (0, 0)
    apart = sum(not apart_path(folder, seed, level, met).exists() for seed in range(seeds) for level in range(request.levels))
    if not looks and not apart:
        return Foreseen(networks, 0, 0.0, 0, free)
    threads, parts = torch.get_num_threads(), _parts(material, device)
    timed = []
    for done in range(PARTS):
        torch.set_num_threads(1)  # as a network has it
        try:
            timed.append(next(parts))
        finally:
            torch.set_num_threads(threads)
        yield done + 1, PARTS
    step, look, tables = timed
    spec = request.spec
    with torch.device("meta"):
        parameters = sum(p.numel() for p in UNet2DModel(**spec.network).parameters())
    at_once = max(1, processes) if device == "cpu" else 1
    seconds = (networks * spec.steps * step + looks * look) / min(at_once, max(1, networks)) + (tables if looks else 0)
    seconds += apart * (met / spec.batch * step + look / request.levels) / min(at_once, max(1, apart))
    size = (networks * len(request.seen) + apart) * parameters * KEPT + at_once * parameters * CHECKPOINT + looks * FOUND
    return Foreseen(networks, looks, seconds, int(size), free, apart)


def _parts(material: Material, device: str) -> Iterator[float]:
    """Seconds of a training step, of a look, and of the tables at the end."""
    request, classes = material.request, len(material.labels.classes)
    run = Run(str(request.sizes[-1]), 0)
    data = material.dataset if run.size == FRESH else material.training(run)
    training = Training(spec_of(request, run), data, device)
    training.advance()
    began = time.perf_counter()
    for _ in range(STEPS):
        training.advance()
    yield (time.perf_counter() - began) / STEPS
    model = UNet2D(training.mean_network().to(device), training.scheduler, name="timed")
    x0 = looking.encoded(model, material.dataset.images[: looking.BATCH])
    looking.read_all(model, x0[:8], None, 0.1)
    began = time.perf_counter()
    features, _ = looking.read_all(model, x0, None, 0.1)
    one = (time.perf_counter() - began) / len(x0)
    labels, rng = np.repeat(np.arange(classes), request.labels_per_class), np.random.default_rng(0)

    def drawn(images: int, value: np.ndarray) -> np.ndarray:
        return rng.normal(size=(images, value.shape[1])).astype(np.float32)

    held, draws = rng.integers(classes, size=len(material.validation)), range(request.label_draws)
    cells = {
        (name, draw): (drawn(len(labels), value), labels, drawn(len(held), value), drawn(len(material.test), value))
        for name, value in features.items()
        for draw in draws
    }
    began = time.perf_counter()
    looking.probe_cells(cells, held, classes)
    fits = time.perf_counter() - began
    way = visited(model.schedule, "ddim", request.sample_steps)
    passes = request.levels * material.read + request.samples * len(way[nearest(way, HIGHEST) :])
    yield passes * one + request.levels * fits
    yield _tables(material, len(features), rng, device)


def _tables(material: Material, blocks: int, rng: np.random.Generator, device: str) -> float:
    """Seconds of what is made of the looks at the end: features of training images, nearest images, and verdicts with their differences."""
    request, images = material.request, material.dataset.images[: looking.BATCH]
    compared = [request.met if size == FRESH else int(size) for size in request.sizes]
    spent = 0.0
    if name := reference_of(request):
        model = bundled(name, device)
        viewed = request.seeds * (request.largest + (request.met if FRESH in request.sizes else 0)) + len(images)
        spent += viewed / len(images) * _seconds(lambda: looking.own_features(model, images))
    looks, many = request.seeds * (len(request.seen) + 1), np.tile(images, (TILED, 1, 1, 1))
    once = _seconds(lambda: nearest_images(images, many)) / len(many)
    spent += looks * sum(compared) * request.samples / len(images) * request.seeds * once
    draws = request.seeds * request.label_draws
    resamples = dynamics.resamples(np.arange(draws), np.repeat(np.arange(request.seeds), request.label_draws), len(material.test))
    sigmas = np.geomspace(0.01, HIGHEST, request.levels)
    right = {str(size): rng.random((draws, request.levels, len(material.test))) < 0.5 for size in request.sizes}
    judged = _seconds(lambda: dynamics.judge_all(right, sigmas, resamples))
    return spent + 2 * blocks * len(kinds(request)) * judged  # differences take about as long


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
