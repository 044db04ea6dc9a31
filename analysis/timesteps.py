"""Which noise levels a training step is of."""

from __future__ import annotations

import torch
from torch import Tensor

from .recipes import Recipe


def draw_timesteps(spec: Recipe, alphas: Tensor, generator: torch.Generator) -> Tensor:
    """t of one step, (B,): even over the schedule's `alphas` (T,), or as the recipe says.

    With `timestep` that one alone; with `log_sigma` the nearest, in ln σ, to a σ whose logarithm is normal (Karras et al., arXiv 2206.00364,
    table 1).
    """
    size, device = (spec.batch,), alphas.device
    if spec.timestep is not None:
        return torch.full(size, spec.timestep, device=device)
    if spec.log_sigma is not None:
        mean, spread = spec.log_sigma
        levels = 0.5 * torch.log((1 - alphas) / alphas)  # ln σ, ascending
        return torch.bucketize(mean + spread * torch.randn(size, generator=generator, device=device), (levels[1:] + levels[:-1]) / 2)
    return torch.randint(len(alphas), size, generator=generator, device=device)
