"""Images at every noise level, as the network sees them."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .backends.base import Backend
from .noise import add_noise, noise_like

LARGEST = 128  # pixels a side of an image on a strip


def noise_strip(model: Backend, x0: Tensor, ids: Sequence[int], sigmas: Sequence[float], seed: int, clean: bool = False) -> bytes:
    """A PNG of images x_0 (n, c, h, w) as rows and noise levels as columns, with each image's own ε of draw 0, or without any."""
    eps = torch.zeros_like(x0) if clean else noise_like(x0, ids, seed, 0)
    columns = []
    for sigma in sigmas:
        level = torch.full((len(x0),), sigma, dtype=torch.float64)
        scale = model.schedule.input_scale(level).to(x0).reshape(-1, 1, 1, 1)
        columns.append(add_noise(x0, level, eps) * scale)
    return sheet(decoded(model, torch.stack(columns, 1)))


@torch.inference_mode()
def decoded(model: Backend, x: Tensor) -> Tensor:
    """What a person sees of x (rows, columns, c, h, w), on the CPU; large images are made smaller."""
    parts = []
    for part in torch.split(x.flatten(0, 1).to(model.device), model.card.together):
        made = model.decode(part).float()
        parts.append((made if made.shape[-1] <= LARGEST else functional.adaptive_avg_pool2d(made, LARGEST)).cpu())
    made = torch.cat(parts)
    return made.reshape(*x.shape[:2], *made.shape[1:])


def sheet(images: Tensor) -> bytes:
    """A PNG of images (rows, columns, c, h, w) in [-1, 1], side by side."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().expand(-1, -1, 3, -1, -1)
    grid = pixels.permute(0, 3, 1, 4, 2).reshape(images.shape[0] * images.shape[-2], -1, 3).numpy()
    out = io.BytesIO()
    Image.fromarray(grid).save(out, "PNG", optimize=True)
    return out.getvalue()
