"""A study of memorization over its bare training and forward passes: how much probing, sampling, files and tables add.

Measured is one network between two moments: the training steps that lie between two looks, on an average, a look at it with 16 noise
levels, all blocks, probes on both kinds of labelled images and samples, and its part of the study's tables. A study of one seed, 4 sizes
and 6 moments has 28 looks: its tables are made of 28 copies of the one look, and a 28th of their time counts. The bare side trains the
same network for as many steps by the plain loop and passes as many images through it, in the same batches, as were counted in the look.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import UNet2DModel

from analysis import memorization_run as running
from analysis.backends import open_backend
from analysis.crew import still_wanted
from analysis.memorization import Look, MemorizationRequest, Run, found_path, weights_path
from analysis.memorization_report import report
from analysis.memorization_run import material_of, reference_of

from .measure import Measured, cpu, measure

SIZES, MOMENTS, LEVELS, ROUNDS = (64, 256, 1024, 4096), 6, 16, 1
Passes = Counter[tuple[int, int]]  # (parameters, images) -> how often


def request(steps: int) -> MemorizationRequest:
    """One size and one moment; else the product's own study."""
    return MemorizationRequest(sizes=(1024,), seeds=1, seen=(steps * 64,), levels=LEVELS)


def whole(steps: int) -> MemorizationRequest:
    """The study of one seed that the moment is a part of."""
    return MemorizationRequest(sizes=SIZES, seeds=1, seen=tuple(steps * 64 * moment for moment in range(1, MOMENTS + 1)), levels=LEVELS)


@contextmanager
def counted() -> Iterator[Passes]:
    """Every pass without gradients, by network and batch."""
    passes: Passes = Counter()
    real = UNet2DModel.forward

    def forward(self: UNet2DModel, sample: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            passes[sum(p.numel() for p in self.parameters()), len(sample)] += 1
        return real(self, sample, *arguments, **named)

    UNet2DModel.forward = forward  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        UNet2DModel.forward = real  # type: ignore[method-assign]


def moment(asked: MemorizationRequest, folder: Path) -> None:
    """Ours: training to the moment, its weights, and a look."""
    run, material = Run("1024", 0), material_of(asked.canonical())
    shutil.rmtree(folder / "runs", ignore_errors=True)
    home = folder / "runs" / run.name
    for seen, training in running.trained(running.spec_of(asked, run), material.training(run), home, asked.seen, "cpu", still_wanted):
        running.keep(training, weights_path(folder, run, seen))
    running.look_at(material, Look(*run, asked.seen[-1], "ema"), folder, "cpu", still_wanted)


def copied(asked: MemorizationRequest, folder: Path, study: MemorizationRequest, place: Path) -> None:
    """The runs of a study, each look the same."""
    one = Look("1024", 0, asked.seen[-1], "ema")
    for look in study.looks():
        found_path(place, look).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found_path(folder, one), found_path(place, look))
        shutil.copy(weights_path(folder, Run("1024", 0), one.seen), weights_path(place, Run(look.size, 0), look.seen))


def tables(study: MemorizationRequest, place: Path) -> None:
    """Ours: the tables of a whole study, from nothing but its looks."""
    for path in (place / "runs").glob("*.safetensors"):
        path.unlink()  # features of training images
    report(study, place)


def plain(asked: MemorizationRequest, passes: Passes) -> None:
    """Bare: as many steps of the plain loop, and as many passes in the same batches."""
    spec = asked.spec
    net = UNet2DModel(**spec.network).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=spec.learning_rate)
    shape = (spec.batch, spec.network["in_channels"], *[spec.network["sample_size"]] * 2)
    noisy, eps = (torch.randn(shape).to(memory_format=torch.channels_last) for _ in range(2))
    t = torch.randint(spec.train_timesteps, (spec.batch,))
    for _ in range(spec.steps):
        loss = (net(noisy, t).sample - eps).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    reference = reference_of(asked)
    assert reference
    nets = {sum(p.numel() for p in one.parameters()): one for one in (net.eval(), open_backend(reference).net)}
    with torch.inference_mode():
        for (parameters, images), count in passes.items():
            x = torch.randn(images, *shape[1:]).to(memory_format=torch.channels_last)
            for _ in range(count):
                nets[parameters](x, t[:1])


def run() -> Measured:
    """CPU seconds of ours over bare, one thread, float32."""
    torch.set_num_threads(1)
    product = MemorizationRequest()
    steps = round(product.spec.steps / len(product.runs[0].looks(product)))
    asked, study = request(steps), whole(steps)
    looks = len(list(study.looks()))
    with TemporaryDirectory() as temporary:
        folder, place = Path(temporary, "one"), Path(temporary, "whole")
        with counted() as passes:  # nobody pays for the first call
            moment(asked, folder)
        copied(asked, folder, study, place)
        tables(study, place)
        one, all_tables = cpu(lambda: moment(asked, folder)), cpu(lambda: tables(study, place))
        details = {
            "network": f"{asked.spec.name}, {sum(p.numel() for p in UNet2DModel(**asked.spec.network).parameters()):,} parameters",
            "steps": steps,
            "passes of an image": sum(images * count for (_, images), count in passes.items()),
            "levels": LEVELS,
            "unit": "CPU seconds of one network between two moments, one thread, float32",
        }
        found = measure(cpu(lambda: plain(asked, passes)), lambda: one() + all_tables() / looks, ROUNDS, lambda cost: cost, details)
    if "ours" in found.details:
        found.details["minutes of one seed, 4 sizes, 6 moments"] = round(found.details["ours"] * looks / 60, 1)
    return found
