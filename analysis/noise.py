"""The one file that knows how noise works: σ, timesteps, input scales, and which ε an image gets.

Throughout, x_σ = x_0 + σ ε with ε ~ N(0, I) and images in [-1, 1]; log-SNR = -2 ln σ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .errors import InvalidRequest

NoiseKind = Literal["vp", "flow", "edm"]


class Schedule:
    """The noise levels that a checkpoint was trained on, infinite ones dropped.

    sigmas (T,) ascending float64; timesteps (T,) the backend's own index of each.
    """

    def __init__(self, kind: NoiseKind, sigmas: Tensor, timesteps: Tensor) -> None:
        known = torch.isfinite(sigmas) & (sigmas > 0)
        order = torch.argsort(sigmas[known])
        self.kind = kind
        self.sigmas = sigmas[known].double()[order]
        self.timesteps = timesteps[known].double()[order]
        if len(self.sigmas) == 0:
            raise InvalidRequest("The schedule has no noise level above 0 and below infinity; allowed: at least one.")

    @classmethod
    def variance_preserving(cls, alphas_cumprod: Tensor) -> Schedule:
        """DDPM: σ = √((1-ᾱ)/ᾱ) of the scheduler's own array; timestep = index in it."""
        alphas = alphas_cumprod.double().cpu()
        return cls("vp", torch.sqrt((1 - alphas) / alphas), torch.arange(len(alphas)))

    @classmethod
    def flow_matching(cls, times: Tensor, timesteps: Tensor | None = None) -> Schedule:
        """Flow matching: x_t = (1-t) x_0 + t ε, so σ = t/(1-t); what diffusers' flow schedulers call sigma is t."""
        times = times.double().cpu()
        return cls("flow", times / (1 - times), times if timesteps is None else timesteps)

    @classmethod
    def from_levels(cls, kind: NoiseKind, sigmas: Sequence[float], timesteps: Sequence[float]) -> Schedule:
        """The schedule that a Card lists."""
        return cls(kind, torch.tensor(sigmas, dtype=torch.float64), torch.tensor(timesteps, dtype=torch.float64))

    def _index(self, sigma: Tensor) -> Tensor:
        sigma = sigma.cpu().double()
        if not bool((torch.isfinite(sigma) & (sigma > 0)).all()):
            raise InvalidRequest(f"Noise level σ must be finite and above 0; given {sigma.tolist()}.")
        return (sigma.log()[..., None] - self.sigmas.log()).abs().argmin(-1)

    def timestep(self, sigma: Tensor) -> Tensor:
        """(B,) σ -> (B,) timestep of the nearest level in log σ."""
        return self.timesteps[self._index(sigma)]

    def nearest(self, sigma: Tensor) -> Tensor:
        """(B,) σ -> (B,) the level that the network will really see: this one is stored and plotted."""
        return self.sigmas[self._index(sigma)]

    def input_scale(self, sigma: Tensor) -> Tensor:
        """(B,) σ -> (B,) the factor on x_σ that gives what the network was trained on.

        1/√(1+σ²) variance preserving, 1/(1+σ) flow matching, 1 for EDM, whose own c_in belongs to its network.
        """
        if self.kind == "vp":
            return (1 + sigma**2).rsqrt()
        return 1 / (1 + sigma) if self.kind == "flow" else torch.ones_like(sigma)

    def spread(self, count: int, highest: float = 20.0) -> list[float]:
        """`count` of this schedule's levels, ascending, even in log σ from the lowest to `highest` or the last."""
        top = min(highest, float(self.sigmas[-1]))
        wanted = np.geomspace(float(self.sigmas[0]), top, count)
        return sorted(set(self.nearest(torch.from_numpy(wanted)).tolist()))


def nearest(levels: Sequence[float] | np.ndarray, sigma: float) -> int:
    """Which of some noise levels is nearest to σ in log σ. Raises InvalidRequest for a σ that is none."""
    if not 0 < sigma < np.inf:
        raise InvalidRequest(f"sigma is {sigma}; allowed: finite and above 0.")
    return int(np.abs(np.log(np.asarray(levels) / sigma)).argmin())


def log_snr(sigma: Tensor) -> Tensor:
    """-2 ln σ, any shape."""
    return -2 * sigma.log()


def noise_like(x0: Tensor, image_ids: Sequence[int], seed: int, draw: int) -> Tensor:
    """ε for each image, (B, c, h, w) float32 on the CPU, a function of (seed, draw, image id) alone.

    The same at every σ of a draw, whatever the batch, device or order: curves are paired.
    """
    eps = torch.empty(x0.shape, dtype=torch.float32)
    generator = torch.Generator(device="cpu")
    for row, image_id in zip(eps, image_ids, strict=True):
        digest = hashlib.blake2b(f"{seed}/{draw}/{int(image_id)}".encode(), digest_size=8).digest()
        generator.manual_seed(int.from_bytes(digest, "little") >> 1)
        row.normal_(generator=generator)
    return eps


class Drawn:
    """`noise_like` that keeps what it drew, up to so many bytes: noise levels share a draw's ε, which then is drawn once an image."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._known: dict[tuple[bytes, tuple[int, ...], int, int], Tensor] = {}

    def __call__(self, x0: Tensor, image_ids: Sequence[int], seed: int, draw: int) -> Tensor:
        """As `noise_like`; what is given is not to be changed."""
        name = (np.asarray(image_ids, np.uint64).tobytes(), tuple(x0.shape[1:]), seed, draw)
        if (found := self._known.get(name)) is not None:
            return found
        eps = noise_like(x0, image_ids, seed, draw)
        if eps.nbytes <= self._room:
            self._room -= eps.nbytes
            self._known[name] = eps
        return eps


def add_noise(x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """x_σ = x_0 + σ ε; (B, c, h, w), (B,) on any device, (B, c, h, w) -> (B, c, h, w).

    Device and type of σ are changed in one step: not every device has float64.
    """
    return x0 + sigma.to(x0).reshape(-1, *[1] * (x0.ndim - 1)) * eps
