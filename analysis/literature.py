"""Curves that others measured and published: numbers with table and protocol, and what it takes to measure them again.

None of them was measured here; figures draw them dashed. Sources: Li et al., arXiv 2502.05743; Mukhopadhyay et al., arXiv
2307.08702; Xiang et al., arXiv 2303.09769. Licences and sizes are those that the checkpoints' own pages state, for ADM the size of
the file with the checksum a37c32ff…; None where that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .specs import Frozen

CORE_GFLOPS = 85.0  # float32 throughput of one core of the machines this was developed on: an estimate for any other
LI_SIGMAS = (0.008, 0.023, 0.060, 0.140, 0.296, 0.585, 1.088, 1.923)


class Again(Frozen):
    """What it takes to measure a curve again: `gflop` for one image's pass, `encode_gflop` once an image where there is a VAE."""

    checkpoint: str
    license: str
    download_bytes: int | None
    gflop: float | None
    encode_gflop: float = 0.0
    images: int
    levels: int
    draws: int = 2  # of ε: the least that gives an interval
    command: str | None  # needs a later version, which opens models from the hub
    today: tuple[str, ...] = ()  # what this version can do instead, in order
    note: str

    @property
    def passes(self) -> int:
        """Images × levels × draws of ε: what `command` does, its labels being all and its baselines left out."""
        return self.images * self.levels * self.draws


class Published(Frozen):
    """One published curve: points (x, accuracy in %) in ascending x."""

    name: str
    title: str
    protocol: str
    paper: str
    source: str
    axis: Literal["sigma", "block"]
    space: Literal["pixels", "latents"] = "pixels"  # what σ is of
    points: tuple[tuple[float, float], ...]
    chance: float
    finding: str
    again: Again

    @property
    def best(self) -> tuple[float, float]:
        return max(self.points, key=lambda point: point[1])


def _sweep(backend: str, dataset: str, sigmas: Sequence[float]) -> str:
    """The command for the published protocol: these levels, all labels, no baselines."""
    levels = " ".join(f"--sigma {sigma:g}" for sigma in sigmas)
    return f"python -m analysis sweep --backend {backend} --dataset {dataset} {levels} --labels-per-class all --eps-draws 2 --no-baselines"


LI, GD = "Understanding Representation Dynamics of Diffusion Models", "Diffusion Models Beat GANs on Image Classification"
DIT = (
    *((0.010, 73.53), (0.044, 75.17), (0.108, 75.83), (0.205, 76.1), (0.339, 74.85)),
    *((0.719, 66.47), (1.234, 49.31), (2.031, 29.28), (6.135, 7.81)),
)
ADM_SIGMAS = (0.31, 0.41, 0.52)  # t = 90, 120 and 150 of its linear schedule
PUBLISHED = (
    Published(
        name="edm-cifar10",
        title="EDM on CIFAR-10",
        protocol="logistic probe, decoder layer 16x16_block1, noisy input",
        paper=LI,
        source="Li et al., arXiv 2502.05743, Table 9",
        axis="sigma",
        points=tuple(zip(LI_SIGMAS, (93.72, 94.94, 95.20, 94.11, 91.36, 85.25, 72.95, 56.21), strict=True)),
        chance=10.0,
        finding="Accuracy rises from 93.7 % at σ = 0.008 to 95.2 % at σ = 0.06, then falls to 56.2 % at σ = 1.9.",
        again=Again(
            checkpoint="google/ddpm-cifar10-32, a like model in an open format",
            license="Apache-2.0",
            download_bytes=143_000_000,
            gflop=12.4,
            images=60_000,
            levels=8,
            command=_sweep("google/ddpm-cifar10-32", "uoft-cs/cifar10", LI_SIGMAS),
            today=(
                "python -m analysis train cifar10-ddpm --size base --dataset uoft-cs/cifar10 --out cifar10-base",
                _sweep("cifar10-base", "uoft-cs/cifar10", LI_SIGMAS),
            ),
            note="EDM's own checkpoints are pickles, which hold code that opening them would run: they are not opened here. For a DDPM "
            "of this size, 35.7 million parameters, 90.05 % is published at t = 11, sixth decoder block (arXiv 2303.09769). "
            "To train one takes 200,000 steps of 256 images, work for a GPU (--device cuda); without --size it is a smaller one.",
        ),
    ),
    Published(
        name="edm-imagenet64",
        title="EDM ImageNet-64 on TinyImageNet",
        protocol="logistic probe on TinyImageNet's classes, noisy input",
        paper=LI,
        source="Li et al., arXiv 2502.05743, Table 9",
        axis="sigma",
        points=tuple(zip(LI_SIGMAS, (32.17, 34.70, 43.09, 53.58, 50.78, 42.13, 27.56, 15.10), strict=True)),
        chance=0.5,
        finding="Accuracy rises from 32.2 % at σ = 0.008 to 53.6 % at σ = 0.14, then falls to 15.1 % at σ = 1.9.",
        again=Again(
            checkpoint="EDM's ImageNet-64 network",
            license="CC BY-NC-SA 4.0",
            download_bytes=None,
            gflop=None,
            images=110_000,
            levels=8,
            command=None,
            note="The checkpoint is a pickle, which holds code that opening it would run: it is not opened here.",
        ),
    ),
    Published(
        name="dit-miniimagenet",
        title="DiT-XL/2 on miniImageNet",
        protocol="logistic probe, noisy latents: σ is in latent units",
        paper=LI,
        source="Li et al., arXiv 2502.05743, Table 8",
        axis="sigma",
        space="latents",
        points=DIT,
        chance=1.0,
        finding="Accuracy rises from 73.5 % at σ = 0.01 to 76.1 % at σ = 0.2 of the latents, then falls to 7.8 % at σ = 6.1.",
        again=Again(
            checkpoint="facebook/DiT-XL-2-256",
            license="CC BY-NC 4.0",
            download_bytes=3_335_000_000,  # transformer 3.00 GB, VAE 335 MB
            gflop=237.0,
            encode_gflop=273.0,
            images=60_000,
            levels=9,
            command=_sweep("facebook/DiT-XL-2-256", "PATH/TO/miniImageNet", [sigma for sigma, _ in DIT]),
            note="Every image also goes once through the VAE's encoder, 273 GFLOP.",
        ),
    ),
    Published(
        name="adm-imagenet",
        title="ADM on ImageNet-1k, over its 37 blocks",
        protocol="linear probe, t ≈ 90 to 150; block 24 with pool 1, the other two approximate",
        paper=GD,
        source="Mukhopadhyay et al., arXiv 2307.08702",
        axis="block",
        points=((6, 11.0), (24, 61.95), (33, 30.0)),
        chance=0.1,
        finding="Block 24, in the decoder, reads 61.95 % (64.96 % with pool 2); block 6 about 11 %, block 33 about 30 %.",
        again=Again(
            checkpoint="256x256_diffusion_uncond.pt of openai/guided-diffusion",
            license="MIT",
            download_bytes=2_211_383_297,
            gflop=None,
            images=1_331_167,
            levels=3,
            command=_sweep("256x256_diffusion_uncond.pt", "PATH/TO/imagenet", ADM_SIGMAS),
            note="The levels of the command are t = 90, 120 and 150.",
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
    if again.gflop is None:
        return None
    return (again.gflop * again.passes + again.encode_gflop * again.images) / (cores * CORE_GFLOPS)
