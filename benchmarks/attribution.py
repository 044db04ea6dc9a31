"""Maps of every method over draws of ε: ours over captum called by hand on the same module; and the memory that steps take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor

from analysis.attribution import Settings, fitted, methods_for
from analysis.backends.base import Backend
from analysis.explaining import over_draws
from analysis.noise import noise_like
from analysis.probed import ProbedModel, batch_that_fits

from .measure import Cost, Measured, cpu, interleave, measure
from .networks import SIGMA, large, small

DRAWS, ROUNDS = 8, 2
STEPS, BATCH = 64, 16


def by_hand(probed: ProbedModel, image: Tensor, batch: int) -> list[Any]:
    """What one would write with captum's manual beside one."""
    side, grey, settings = image.shape[-1], torch.zeros_like(image), Settings()
    patch, stride = settings.window(side)
    return [
        IntegratedGradients(probed).attribute(
            image, grey, n_steps=settings.steps, internal_batch_size=batch, return_convergence_delta=True
        ),
        Saliency(probed).attribute(image),
        InputXGradient(probed).attribute(image),
        LayerGradCam(probed, probed.tap).attribute(image.detach()),
        LayerActivation(probed, probed.tap).attribute(image),
        Occlusion(probed).attribute(image, (3, patch, patch), (3, stride, stride), grey, perturbations_per_eval=batch),
        NoiseTunnel(Saliency(probed)).attribute(
            image, nt_samples=settings.samples, nt_samples_batch_size=batch, stdevs=settings.noise, abs=False
        ),
    ]


def model(backend: Backend, block: str) -> tuple[ProbedModel, Tensor]:
    """A block with a random head for ten classes, and an image."""
    generator = torch.Generator().manual_seed(0)
    side, channels = backend.card.resolution, backend.block(block).channels
    head = torch.randn(10, channels, generator=generator), torch.zeros(10)
    return ProbedModel(backend, block, SIGMA, *head), torch.rand(1, 3, side, side, generator=generator) * 2 - 1


def both(backend: Backend, block: str, draws: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(captum by hand, ours), called once."""
    probed, image = model(backend, block)
    batch, x0 = batch_that_fits(probed, image), backend.encode(image)
    models = [probed.changed(eps=noise_like(x0, [0], 0, draw)) for draw in range(draws)]

    def hand() -> None:
        for one in models:
            by_hand(one, image.clone().requires_grad_(), batch)

    def ours() -> None:
        settings = fitted(probed, image, "integrated_gradients", Settings())
        for method in methods_for(backend):
            list(over_draws(probed, image, method, settings, image_id=0, draws=draws))

    hand(), ours()
    return hand, ours


def run() -> Measured:
    """CPU seconds of ours over captum's; the digits network's passes are so small that every overhead shows."""
    torch.set_num_threads(1)
    details = {
        "methods": methods_for(small()),
        "draws": DRAWS,
        "unit": "CPU seconds, one thread, float32, channels_last",
        "network of 5 GFLOP": _large(),
    }
    return measure(*map(cpu, both(small(), "up1.res0", DRAWS)), ROUNDS, lambda cost: cost, details)


def _large() -> dict[str, float]:
    """The same for one draw of the network that extraction is timed with; one attempt, no target."""
    attempt = interleave(*map(cpu, both(large(), "mid.res1", 1)), 1)
    return {"ratio": round(attempt.cost, 4), "control": round(attempt.control, 4)}


def memory() -> Measured:
    """What Integrated Gradients add to a fresh process's highest resident set: 64 steps over as many as a batch has."""
    details = {"steps": [BATCH, STEPS], "batch": BATCH, "unit": "bytes above the resident set before, ru_maxrss"}
    return measure(_child(BATCH), _child(STEPS), ROUNDS, lambda cost: cost, details)


def _child(steps: int) -> Cost:
    def peak() -> float:
        command = [sys.executable, "-m", "benchmarks.attribution_child", str(steps)]
        return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])

    return peak
