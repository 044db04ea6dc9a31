"""Images that a model makes from noise: DDIM and Heun, by diffusers' own schedulers, from any backend.

A backend is a denoiser in σ, so any schedule stands in its variance-preserving form, ᾱ = 1/(1+σ²); pixels are clipped.
DDIM: Song et al., arXiv 2010.02502. Heun: Karras et al., arXiv 2206.00364, algorithm 1 without churn.
"""

from __future__ import annotations

import io
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler
from PIL import Image
from torch import Tensor

from .backends.base import Backend
from .errors import InvalidRequest
from .noise import Schedule, noise_like

Sampler = Literal["ddim", "heun"]


def _scheduler(schedule: Schedule, sampler: str, steps: int, clip: bool) -> Any:
    known = len(schedule.sigmas)
    if not 2 <= steps <= known:
        raise InvalidRequest(f"steps is {steps}; allowed: 2 to {known}.")
    sigmas = schedule.sigmas
    if sampler == "ddim":  # only the levels that are visited: its step back is a whole number of levels, which does not always divide them
        sigmas = sigmas[np.linspace(known, 0, steps, endpoint=False).round().astype(int)[::-1] - 1]
    alphas = 1 / (1 + sigmas**2)
    betas = 1 - alphas / torch.cat([torch.ones(1, dtype=alphas.dtype), alphas[:-1]])
    given: dict[str, Any] = {"num_train_timesteps": len(betas), "trained_betas": betas.tolist()}
    if sampler == "ddim":
        scheduler = DDIMScheduler(**given, clip_sample=clip, timestep_spacing="trailing")
    elif sampler == "heun":
        scheduler = HeunDiscreteScheduler(**given, use_karras_sigmas=True, clip_sample=clip, timestep_spacing="linspace")
    else:
        raise InvalidRequest(f"sampler is {sampler!r}; allowed: 'ddim' and 'heun'.")
    scheduler.set_timesteps(steps)
    return scheduler


@torch.inference_mode()
def sample(backend: Backend, count: int, seed: int = 0, sampler: Sampler = "ddim", steps: int = 50, batch: int = 64) -> Tensor:
    """`count` samples of x_0, (count, c, h, w) float32 on the CPU; sample i is a function of (seed, i) alone.

    Raises InvalidRequest for an unknown sampler, or a count or number of steps that cannot be.
    """
    if count < 1:
        raise InvalidRequest(f"count is {count}; allowed: at least 1.")
    card, schedule = backend.card, backend.schedule
    condition = "null" if "null" in card.conditions else card.conditions[0]
    shape = (card.image_channels, card.resolution, card.resolution)
    parts = []
    for start in range(0, count, batch):
        ids = range(start, min(count, start + batch))
        scheduler = _scheduler(schedule, sampler, steps, card.space == "pixel")
        x = noise_like(torch.empty(len(ids), *shape), list(ids), seed, 0).to(backend.device) * float(scheduler.init_noise_sigma)
        for timestep in scheduler.timesteps:
            scheduler.scale_model_input(x, timestep)  # tells Heun where it is
            if sampler == "heun":
                sigma, scale = scheduler.sigmas[scheduler.step_index].double(), 1.0
            else:
                alpha = scheduler.alphas_cumprod[int(timestep)].double()
                sigma, scale = ((1 - alpha) / alpha).sqrt(), float(alpha.rsqrt())
            levels = schedule.nearest(sigma.expand(len(x)))  # the level that the network sees is the one its ε is of
            clean = backend.denoise(x * scale, levels, condition)
            eps = (x * scale - clean) / levels.to(x).reshape(-1, 1, 1, 1)
            x = scheduler.step(eps, timestep, x).prev_sample
        parts.append(x.float().cpu())
    return torch.cat(parts)


def to_pixels(x0: Tensor) -> np.ndarray:
    """(n, c, h, w) in [-1, 1] -> (n, h, w, 3) uint8."""
    pixels = ((x0.clamp(-1, 1) + 1) * 127.5).round().byte().expand(-1, 3, -1, -1)
    return pixels.permute(0, 2, 3, 1).numpy()


def sheet(images: np.ndarray, columns: int) -> bytes:
    """A PNG of images (n, h, w, 3) uint8, `columns` in a row."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    page = np.full((rows * columns, height, width, 3), 255, np.uint8)
    page[:count] = images
    picture = page.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", optimize=True)
    return out.getvalue()
