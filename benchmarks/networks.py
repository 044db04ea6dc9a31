"""The networks that are timed, and how much arithmetic a pass of them is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.backends.unet2d import UNet2D
from analysis.features import capture, read_features

SIGMA = 0.5


def large() -> Backend:
    """A U-Net for 32×32 colour images with random weights, 5 GFLOP an image: smaller than google/ddpm-cifar10-32, like it in shape."""
    torch.manual_seed(0)
    net = UNet2DModel(
        sample_size=32,
        block_out_channels=(128, 128, 256),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
    )
    net = net.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return UNet2D(net, DDPMScheduler())


def small() -> Backend:
    """The bundled digits model."""
    return open_backend("digits-ddpm")


def flops(backend: Backend, stop_at: str | None = None) -> float:
    """Floating-point operations of one image's pass, the whole or the part up to and with a block."""
    x, level = torch.zeros(1, *backend.card.x0_shape, device=backend.device), torch.full((1,), SIGMA, dtype=torch.float64)
    whole = nullcontext(backend.denoise)
    # The counter sees nothing of composite operations in inference mode.
    with torch.no_grad(), capture(backend, [stop_at]) if stop_at else whole as call, FlopCounterMode(display=False) as counter:
        call(x, level)
    return float(counter.get_total_flops())


Work = Callable[[], Any]


def sides(backend: Backend, blocks: Sequence[str], batch: int, batches: int) -> tuple[Work, Work]:
    """(bare, ours): the network alone on prepared input, and the product's own reading of these blocks from x_0 and ε."""
    side, channels = backend.card.resolution, backend.card.image_channels
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, batch * batches, channels, side, side, generator=generator)
    timestep = backend.schedule.timestep(torch.full((batch,), SIGMA, dtype=torch.float64)).long()
    names = [f"{block}/1" for block in blocks]

    @torch.inference_mode()
    def bare() -> list[Tensor]:
        return [backend.net(x, timestep).sample for x in x0.split(batch)]

    def ours() -> dict[str, Tensor]:
        return read_features(backend, names, x0, eps, SIGMA, batch)

    return bare, ours
