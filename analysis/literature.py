"""Curves that others measured and published: numbers with table and protocol, and what it takes to measure them again.

None of them was measured here; figures draw them dashed. Sources: [Li] arXiv 2502.05743, [GD] arXiv 2307.08702, [DDAE] arXiv
2303.09769. Sizes and licences are those that the checkpoints' own pages state; None where that is not known.
"""

from __future__ import annotations

from typing import Literal

from .specs import Frozen

CORE_GFLOPS = 85.0  # float32 throughput of one core of the machines this was developed on: an estimate for any other
LI_SIGMAS = (0.008, 0.023, 0.060, 0.140, 0.296, 0.585, 1.088, 1.923)


class Again(Frozen):
    """What it takes to measure a curve again; `gflop` is of one image's pass, `passes` images × levels × one draw of ε."""

    checkpoint: str
    license: str
    download_bytes: int | None
    gflop: float | None
    passes: int
    command: str | None
    note: str


class Published(Frozen):
    """One published curve: points (x, accuracy in %) in ascending x."""

    name: str
    title: str
    protocol: str
    source: str
    axis: Literal["sigma", "block"]
    points: tuple[tuple[float, float], ...]
    chance: float
    finding: str
    again: Again

    @property
    def best(self) -> tuple[float, float]:
        return max(self.points, key=lambda point: point[1])


LATER = "Models from the hub cannot be opened in this version yet; the command is for one that can."
PUBLISHED = (
    Published(
        name="edm-cifar10",
        title="EDM on CIFAR-10",
        protocol="logistic probe, decoder layer 16x16_block1, noisy input",
        source="[Li] arXiv 2502.05743, Table 9",
        axis="sigma",
        points=tuple(zip(LI_SIGMAS, (93.72, 94.94, 95.20, 94.11, 91.36, 85.25, 72.95, 56.21), strict=True)),
        chance=10.0,
        finding="Accuracy rises from 93.7 % at σ = 0.008 to 95.2 % at σ = 0.06, then falls to 56.2 % at σ = 1.9.",
        again=Again(
            checkpoint="google/ddpm-cifar10-32, a like model in an open format",
            license="Apache-2.0",
            download_bytes=143_000_000,
            gflop=12.4,
            passes=60_000 * 8,
            command="python -m analysis sweep --backend google/ddpm-cifar10-32 --dataset uoft-cs/cifar10",
            note="EDM's own checkpoints are pickles, which hold code that opening them would run: they are not opened here. " + LATER,
        ),
    ),
    Published(
        name="edm-imagenet64",
        title="EDM ImageNet-64 on TinyImageNet",
        protocol="logistic probe on TinyImageNet's classes, noisy input",
        source="[Li] arXiv 2502.05743, Table 9",
        axis="sigma",
        points=tuple(zip(LI_SIGMAS, (32.17, 34.70, 43.09, 53.58, 50.78, 42.13, 27.56, 15.10), strict=True)),
        chance=0.5,
        finding="Accuracy rises from 32.2 % at σ = 0.008 to 53.6 % at σ = 0.14, then falls to 15.1 % at σ = 1.9.",
        again=Again(
            checkpoint="EDM's ImageNet-64 network",
            license="CC BY-NC-SA 4.0",
            download_bytes=None,
            gflop=None,
            passes=110_000 * 8,
            command=None,
            note="The checkpoint is a pickle, which holds code that opening it would run: it is not opened here.",
        ),
    ),
    Published(
        name="dit-miniimagenet",
        title="DiT-XL/2 on miniImageNet",
        protocol="logistic probe, noisy latents: σ is in latent units",
        source="[Li] arXiv 2502.05743, Table 8",
        axis="sigma",
        points=(
            *((0.010, 73.53), (0.044, 75.17), (0.108, 75.83), (0.205, 76.1), (0.339, 74.85)),
            *((0.719, 66.47), (1.234, 49.31), (2.031, 29.28), (6.135, 7.81)),
        ),
        chance=1.0,
        finding="Accuracy rises from 73.5 % at σ = 0.01 to 76.1 % at σ = 0.2 of the latents, then falls to 7.8 % at σ = 6.1.",
        again=Again(
            checkpoint="facebook/DiT-XL-2-256",
            license="CC BY-NC 4.0",
            download_bytes=2_700_000_000,
            gflop=237.0,
            passes=60_000 * 9,
            command="python -m analysis sweep --backend facebook/DiT-XL-2-256 --dataset PATH/TO/miniImageNet",
            note=LATER,
        ),
    ),
    Published(
        name="adm-imagenet",
        title="ADM on ImageNet-1k, over its 37 blocks",
        protocol="linear probe, t ≈ 90 to 150; block 24 with pool 1, the others read off the paper's figure and approximate",
        source="[GD] arXiv 2307.08702",
        axis="block",
        points=((6, 11.0), (24, 61.95), (33, 30.0)),
        chance=0.1,
        finding="Block 24, in the decoder, reads 61.95 % (64.96 % with pool 2); block 6 about 11 %, block 33 about 30 %.",
        again=Again(
            checkpoint="256x256_diffusion_uncond.pt of openai/guided-diffusion",
            license="MIT",
            download_bytes=None,
            gflop=None,
            passes=1_331_000,
            command="python -m analysis sweep --backend 256x256_diffusion_uncond.pt --dataset PATH/TO/imagenet",
            note=LATER,
        ),
    ),
)


def published(name: str) -> Published | None:
    """A published curve by name, or None."""
    return next((curve for curve in PUBLISHED if curve.name == name), None)


def beside(dataset: str) -> Published | None:
    """The published curve over σ that may stand beside a study of this data set, dashed."""
    return published("edm-cifar10") if dataset.rpartition("/")[2] == "cifar10" else None


def expected_seconds(again: Again, cores: int) -> float | None:
    """About how long the passes take on so many cores, in seconds; None where the cost of a pass is not known."""
    return None if again.gflop is None else again.gflop * again.passes / (cores * CORE_GFLOPS)
