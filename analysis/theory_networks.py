"""Small denoisers trained on samples of a mixture, and the SNR that they reach: the paper's network and a multilayer perceptron.

The paper's form (arXiv 2502.05743) is x̂ = U h: h_l = g_l U_lᵀ x with g_l = ξ + (ζ - ξ) w_l and w = softmax_l(½(1/(δ²+σ²) - 1/(1+σ²)) ||U_lᵀ x||²),
one network a noise level that learns U; its gates are those of equal, orthogonal classes, so with others it does not reach the posterior mean.
Where we depart: U has local minima as all clusterings by subspace, so every level starts from the U with the lowest loss of `STARTS` random ones
trained at one level between δ and 1; U's columns are not held orthonormal; levels are trained side by side on the same x_0.
The perceptron has two hidden layers of ReLU and knows nothing of subspaces. Both see x_σ in the ambient space, in a random rotation.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .errors import InvalidRequest, UnknownName
from .theory import MoLRG, draw
from .theory_snr import SNR, input_of, levels_of, of_energies

BATCH, WIDTH = 512, 128
STARTS, FIRST = 16, 400  # random starts of U, and steps of each
RATE, STEPS = {"lowrank": 1e-2, "mlp": 2e-3}, {"lowrank": 400, "mlp": 1500}


class LowRank(nn.Module):
    """x̂ = U h at every level: (S, B, n) -> (S, B, n)."""

    def __init__(self, spec: MoLRG, sigmas: Tensor) -> None:
        super().__init__()
        self.dims = spec.dims
        self.U = nn.Parameter(torch.linalg.qr(torch.randn(len(sigmas), spec.ambient, spec.span))[0])
        self.zeta = (1 / (1 + sigmas**2))[:, None, None]
        self.xi = (spec.delta**2 / (spec.delta**2 + sigmas**2))[:, None, None]
        self.scale = 0.5 * (1 / (spec.delta**2 + sigmas**2)[:, None, None] - self.zeta)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x @ self.U, list(self.dims), -1)
        energy = torch.stack([part.square().sum(-1) for part in parts], -1)
        gate = self.xi + (self.zeta - self.xi) * (self.scale * energy).softmax(-1)
        h = torch.cat([gate[..., k : k + 1] * part for k, part in enumerate(parts)], -1)
        return h @ self.U.mT


class Perceptron(nn.Module):
    """Two hidden layers at every level: (S, B, n) -> (S, B, n)."""

    def __init__(self, spec: MoLRG, sigmas: Tensor) -> None:
        super().__init__()
        sizes, levels = (spec.ambient, WIDTH, WIDTH, spec.ambient), len(sigmas)
        self.weights = nn.ParameterList(torch.randn(levels, a, b) * (2 / a) ** 0.5 for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(torch.zeros(levels, 1, b) for b in sizes[1:])
        self.scale = (1 + sigmas**2).rsqrt()[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.scale
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            x = x.relu() if place < 2 else x
        return x


FORMS = {"lowrank": LowRank, "mlp": Perceptron}


class Step(NamedTuple):
    """How far training is."""

    done: int
    of: int


class Source:
    """x_0 (B, n) of a mixture in a rotated ambient space, and the noise for it."""

    def __init__(self, spec: MoLRG, seed: int) -> None:
        self.spec, self.generator = spec, torch.Generator().manual_seed(seed)
        self.frame = torch.linalg.qr(torch.randn(spec.ambient, spec.ambient, generator=self.generator))[0][:, : spec.span]
        both = zip(spec.bases, spec.others, strict=True)
        self.roots = [self.frame @ torch.tensor(np.hstack([U, spec.delta * V]), dtype=torch.float32) for U, V in both]
        self.means = self.frame @ torch.tensor(spec.means, dtype=torch.float32)

    def batch(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and, at every level, x_σ (S, B, n)."""
        drawn = torch.multinomial(torch.tensor(self.spec.weights), BATCH, True, generator=self.generator)
        counts = torch.bincount(drawn, minlength=self.spec.classes).tolist()
        made = [
            torch.randn(count, self.spec.span, generator=self.generator) @ root.T + self.means[:, k]
            for k, (count, root) in enumerate(zip(counts, self.roots, strict=True))
        ]
        x0 = torch.cat(made)
        return x0, x0 + at[:, None, None] * torch.randn(len(at), *x0.shape, generator=self.generator)


def training(
    spec: MoLRG,
    sigmas: Sequence[float] | np.ndarray,
    form: str = "lowrank",
    input: str = "noisy",
    *,
    steps: int | None = None,
    samples: int = 10_000,
    seed: int = 0,
) -> Generator[Step, None, SNR]:
    """Trains a denoiser a level, told every 10 steps, and returns the SNR of what it makes of fresh samples. Raises InvalidRequest, UnknownName."""
    if form not in FORMS:
        raise UnknownName("form", form, FORMS)
    steps = STEPS[form] if steps is None else steps
    if steps < 1:
        raise InvalidRequest(f"steps is {steps}; allowed: a whole number from 1.")
    levels, clean = levels_of(sigmas), input_of(input) == "clean"
    at, source, first = torch.tensor(levels, dtype=torch.float32), Source(spec, seed), FIRST if form == "lowrank" else 0
    middle = torch.full((STARTS,), min(spec.delta, 1.0) ** 0.5)
    with torch.random.fork_rng(devices=[]):  # no longer than this: between two steps others use the generator too
        torch.manual_seed(seed)
        net, start = FORMS[form](spec, at), LowRank(spec, middle)
    if isinstance(net, LowRank):
        losses = yield from _descend(start, source, middle, RATE[form], first, 0, first + steps)
        net.U.data[:] = start.U.data[int(losses.argmin())]
    yield from _descend(net, source, at, RATE[form], steps, first, first + steps)
    return _score(spec, levels, net, source.frame, input, clean, samples, seed)


def _descend(net: nn.Module, source: Source, at: Tensor, rate: float, steps: int, done: int, of: int) -> Generator[Step, None, Tensor]:
    """Adam with a cosine schedule; the mean loss of the last tenth of the steps at every level (S,)."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    late = torch.zeros(len(at))
    for step in range(steps):
        x0, x = source.batch(at)
        loss = (net(x) - x0).square().sum(-1).mean(1)
        optimizer.zero_grad()
        (loss / loss.detach()).sum().backward()  # each level at its own scale
        optimizer.step()
        schedule.step()
        late += loss.detach() * (step >= 0.9 * steps)
        if step % 10 == 9 or step == steps - 1:
            yield Step(done + step + 1, of)
    return late


@torch.no_grad()
def _score(spec: MoLRG, levels: np.ndarray, net: nn.Module, frame: Tensor, input: str, clean: bool, samples: int, seed: int) -> SNR:
    drawn, energies = draw(spec, samples, seed + 1), []
    generator = torch.Generator().manual_seed(seed + 1)
    at = torch.tensor(levels, dtype=torch.float32)
    for U, x0, eps in zip(spec.bases, drawn.x0, drawn.eps, strict=True):
        inside = frame @ torch.tensor(eps, dtype=torch.float32)  # the span's part of ε is that of every other curve
        free = torch.randn(spec.ambient, eps.shape[1], generator=generator)
        noise = inside + free - frame @ (frame.T @ free)
        x = (frame @ torch.tensor(x0, dtype=torch.float32)).T + (0 if clean else at[:, None, None]) * noise.T
        made = net(x.expand(len(levels), *x.shape[-2:]))
        num = (made @ (frame @ torch.tensor(U, dtype=torch.float32))).square().sum(-1).double().numpy()
        energies.append((num, made.square().sum(-1).double().numpy() - num))
    return of_energies(spec, levels, energies, input)
