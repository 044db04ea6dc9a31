"""A training step of ours (drawing, flips, clipping, running mean, log) over the plain loop of the same network and batch."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import UNet2DModel

from analysis.datasets.base import Dataset
from analysis.recipes import recipe
from analysis.training import Run

from .measure import Measured, cpu, measure

STEPS, ROUNDS = 2, 3


class Noise(Dataset):
    """As many images of random pixels as a benchmark needs."""

    name = "noise"

    def load(self):
        return np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8), {}


def run() -> Measured:
    """CPU seconds of ours over plain forward, backward and step; both with channels_last, float32 and one thread."""
    torch.set_num_threads(1)
    spec = recipe("cifar10-ddpm")
    ours = Run(spec, Noise())
    net = UNet2DModel(**spec.network).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), lr=spec.learning_rate)
    noisy, eps = (torch.randn(spec.batch, 3, 32, 32).to(memory_format=torch.channels_last) for _ in range(2))
    t = torch.randint(spec.train_timesteps, (spec.batch,))

    def plain() -> None:
        for _ in range(STEPS):
            loss = (net(noisy, t).sample - eps).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def whole() -> None:
        for _ in range(STEPS):
            ours.advance()

    plain()
    whole()
    details = {
        "network": f"{spec.name} {spec.size}, {sum(p.numel() for p in net.parameters()):,} parameters",
        "batch": spec.batch,
        "steps_per_round": STEPS,
        "unit": "CPU seconds, one thread, float32, channels_last",
    }
    return measure(cpu(plain), cpu(whole), ROUNDS, lambda cost: cost, details)
