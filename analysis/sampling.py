"""Images that a model makes from noise: DDIM and Heun, by diffusers' own schedulers, from any backend.

A backend is a denoiser in σ, so any schedule stands in its variance-preserving form, ᾱ = 1/(1+σ²); pixels are clipped.
DDIM: Song et al., arXiv 2010.02502. Heun: Karras et al., arXiv 2206.00364, algorithm 1 without churn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, HeunDiscreteScheduler
from PIL import Image
from torch import Tensor

from .backends.base import Backend
from .errors import InvalidRequest
from .noise import Schedule, nearest, noise_like

DECODED = 8  # images at once: a VAE's decoder takes more memory than the network
Sampler = Literal["ddim", "heun"]
Network = Callable[[Tensor, Tensor, str], Tensor]  # (x_σ, σ, condition) -> D(x; σ)


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


def _passes(scheduler: Any, sampler: str) -> list[tuple[Tensor, float]]:
    """(σ, what the scheduler's own x is to be multiplied by to give x_σ) of every pass of the network."""
    if sampler == "heun":
        return [(sigma.double(), 1.0) for sigma in scheduler.sigmas[:-1]]
    alphas = [scheduler.alphas_cumprod[int(timestep)].double() for timestep in scheduler.timesteps]
    return [(((1 - alpha) / alpha).sqrt(), float(alpha.rsqrt())) for alpha in alphas]


def visited(schedule: Schedule, sampler: Sampler = "ddim", steps: int = 50) -> np.ndarray:
    """The noise levels that a sampler visits, as the network sees them: (steps,) descending σ. Raises InvalidRequest."""
    scheduler = _scheduler(schedule, sampler, steps, False)
    sigmas = [sigma for sigma, _ in _passes(scheduler, sampler)[:: scheduler.order]]
    return schedule.nearest(torch.stack(sigmas)).numpy()


def first_noise(backend: Backend, ids: range, seed: int) -> Tensor:
    """The ε that samples begin with, (B, c, h, w) float32 on the CPU; sample i's is a function of (seed, i) alone."""
    card = backend.card
    return noise_like(torch.empty(len(ids), *card.x0_shape), list(ids), seed, 0)


def descend(
    backend: Backend,
    x: Tensor,
    sampler: Sampler = "ddim",
    steps: int = 50,
    sigma: float | None = None,
    network: Network | None = None,
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """(σ, x_σ, D(x; σ)) at every level from noise down, and at last (0, x_0, x_0); images (B, c, h, w), x_σ unscaled.

    `x` is ε ~ N(0, I) and the way its whole length; with `sigma` it is an x_σ, and the way begins at that one of the
    `visited` levels that is nearest in log σ. `network` stands in for the backend's `denoise`. Heun's looks ahead are
    passes of it but no levels. Raises InvalidRequest for an unknown sampler or a number of steps or a σ that cannot be.
    """
    schedule, network, condition = backend.schedule, network or backend.denoise, backend.card.unconditional
    scheduler = _scheduler(schedule, sampler, steps, backend.card.space == "pixel")
    passes, first = _passes(scheduler, sampler), 0
    if sigma is None:
        x = x * float(scheduler.init_noise_sigma)
    else:
        first = scheduler.order * nearest(visited(schedule, sampler, steps), sigma)
        x = x / passes[first][1]
    if sampler == "heun":
        scheduler.set_begin_index(first)
    for index in range(first, len(passes)):
        (level, scale), timestep = passes[index], scheduler.timesteps[index]
        scheduler.scale_model_input(x, timestep)  # tells Heun where it is
        levels = schedule.nearest(level.expand(len(x)))  # the level that the network sees is the one its ε is of
        noisy = x * scale
        clean = network(noisy, levels, condition)
        if index % scheduler.order == 0:
            yield float(levels[0]), noisy, clean
        eps = (noisy - clean) / levels.to(x).reshape(-1, 1, 1, 1)
        x = scheduler.step(eps, timestep, x).prev_sample
    yield 0.0, x, x


@torch.inference_mode()
def sample(backend: Backend, count: int, seed: int = 0, sampler: Sampler = "ddim", steps: int = 50, batch: int = 64) -> Tensor:
    """`count` samples of x_0, (count, c, h, w) float32 on the CPU; sample i is a function of (seed, i) alone.

    Raises InvalidRequest for an unknown sampler, or a count or number of steps that cannot be.
    """
    if count < 1:
        raise InvalidRequest(f"count is {count}; allowed: at least 1.")
    parts = []
    for start in range(0, count, batch):
        noise = first_noise(backend, range(start, min(count, start + batch)), seed).to(backend.device)
        for _, x, _ in descend(backend, noise, sampler, steps):
            made = x
        parts.append(made.float().cpu())
    return torch.cat(parts)


@torch.inference_mode()
def seen(backend: Backend, x: Tensor) -> np.ndarray:
    """What a person sees of x_0 or of a noised one, scaled as the network has it: (n, c, h, w) -> (n, H, W, 3) uint8."""
    return np.concatenate([to_pixels(backend.decode(part).float().cpu()) for part in torch.split(x.to(backend.device), DECODED)])


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
