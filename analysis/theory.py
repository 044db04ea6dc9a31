"""The noisy mixture of low-rank Gaussians (MoLRG): its samples, and the exact posterior mean of x_0 given x_σ at every noise level.

Li et al., Understanding Representation Dynamics of Diffusion Models via Low-Dimensional Modeling, arXiv 2502.05743: x_0 = U_k a + δ Ũ_k e
with probability π_k, x_σ = x_0 + σ ε. Everything is computed in the span of the subspaces, r = Σ d_k dimensions: outside it x_0 is 0 and
every class gives x_σ the same N(0, σ²) density, a factor that the posterior weights lose, so the posterior mean is 0 there. The ambient
dimension n therefore changes no number; it only has to hold the subspaces.
Where we depart: classes may have dimensions and proportions of their own, subspaces may overlap, and classes may have means; the
posterior mean is then no longer the paper's closed form (`closed_form`), but that of the Gaussian mixture (`Posterior`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .errors import InvalidRequest

INPUTS = ("noisy", "clean")
MOST = 1_000_000  # samples
LARGE, LEAST_ANGLE = 1e6, 0.1  # δ, 1/δ and the means at most; degrees: beyond them squares and roots are rounding errors


@dataclass(frozen=True)
class MoLRG:
    """A mixture: `dims` d_k, `weights` π_k (none: equal), `delta` δ, `angle` θ in degrees, which is every principal angle between two
    classes' subspaces (as many as the smaller has dimensions), and `separation`, the length of each class's mean, along its own first
    direction: 0 is the paper's model. Raises InvalidRequest.
    """

    ambient: int = 50
    dims: tuple[int, ...] = (5, 5)
    weights: tuple[float, ...] = ()
    delta: float = 0.2
    angle: float = 90.0
    separation: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", tuple(int(d) for d in self.dims))
        object.__setattr__(self, "weights", tuple(float(p) for p in self.weights) or (1 / max(1, len(self.dims)),) * len(self.dims))
        _check(self)

    @property
    def classes(self) -> int:
        return len(self.dims)

    @property
    def span(self) -> int:
        """r, the dimension of the subspaces' span."""
        return sum(self.dims)

    @property
    def orthogonal(self) -> bool:
        return self.angle == 90

    @property
    def equal(self) -> bool:
        """Whether this is the model of the paper's theorem: orthogonal subspaces of one dimension, equal proportions, no means."""
        return self.orthogonal and len(set(self.dims)) == 1 and np.ptp(self.weights) < 1e-9 and self.separation == 0

    def block(self, k: int) -> slice:
        """Where class k's own coordinates stand in the span's basis."""
        return slice(sum(self.dims[:k]), sum(self.dims[: k + 1]))

    @cached_property
    def bases(self) -> list[np.ndarray]:
        """U_k (r, d_k), orthonormal columns, in an orthonormal basis of the span.

        The symmetric root of the Gram matrix of all columns, so that no class is preferred. Its inner products are those of
        U_k = √c V_0 + √(1-c) V_k with c = cos θ (for two classes of U_2 = cos θ U_1 + sin θ V): the same subspaces, in other coordinates.
        """
        gram = np.eye(self.span)
        cosine = 0.0 if self.orthogonal else math.cos(math.radians(self.angle))
        for k in range(self.classes):
            for other in range(k):
                rows, columns = self.block(k), self.block(other)
                shared = np.eye(self.dims[k], self.dims[other]) * cosine
                gram[rows, columns], gram[columns, rows] = shared, shared.T
        if self.orthogonal:
            root = gram
        else:
            values, vectors = np.linalg.eigh(gram)
            root = (vectors * np.sqrt(values)) @ vectors.T
        return [root[:, self.block(k)] for k in range(self.classes)]

    @cached_property
    def others(self) -> list[np.ndarray]:
        """Ũ_k (r, D_k): an orthonormal basis of the span of all other classes' subspaces."""
        return [np.linalg.qr(np.hstack([U for other, U in enumerate(self.bases) if other != k]))[0] for k in range(self.classes)]

    @cached_property
    def means(self) -> np.ndarray:
        """(r, K): the class means; 0 in the paper's model."""
        return np.column_stack([self.separation * U[:, 0] for U in self.bases])

    @cached_property
    def covariances(self) -> np.ndarray:
        """(K, r, r): U_k U_kᵀ + δ² Ũ_k Ũ_kᵀ."""
        return np.stack([U @ U.T + self.delta**2 * V @ V.T for U, V in zip(self.bases, self.others, strict=True)])


def _check(spec: MoLRG) -> None:
    dims, listed = spec.dims, ",".join(str(d) for d in spec.dims)
    if len(dims) < 2:
        raise InvalidRequest(f"dims is {listed or 'empty'}; allowed: two subspace dimensions or more, one a class.")
    if min(dims) < 1:
        raise InvalidRequest(f"dims is {listed}; allowed: whole numbers from 1.")
    if not 1 / LARGE <= spec.delta <= LARGE:
        raise InvalidRequest(
            f"delta is {spec.delta:g}; allowed: a number from {1 / LARGE:g} to {LARGE:g}, the size of class-irrelevant noise δ."
        )
    if not LEAST_ANGLE <= spec.angle <= 90:
        raise InvalidRequest(f"angle is {spec.angle:g}; allowed: from {LEAST_ANGLE:g} to 90 degrees, where subspaces are orthogonal.")
    if not 0 <= spec.separation <= LARGE:
        raise InvalidRequest(f"separation is {spec.separation:g}; allowed: a number from 0 to {LARGE:g}, the length of the class means.")
    if len(spec.weights) != len(dims):
        raise InvalidRequest(f"weights has {len(spec.weights)} proportions and dims {len(dims)} classes; allowed: one a class.")
    if not all(math.isfinite(p) and p > 0 for p in spec.weights) or abs(sum(spec.weights) - 1) > 1e-6:
        raise InvalidRequest(
            f"weights is {','.join(f'{p:g}' for p in spec.weights)}, which adds up to {sum(spec.weights):g}; "
            "allowed: proportions above 0 that add up to 1."
        )
    if spec.span > spec.ambient:
        raise InvalidRequest(
            f"ambient is {spec.ambient} and the subspaces have {spec.span} dimensions together; allowed: an ambient dimension n of "
            f"at least {spec.span}, or smaller subspaces."
        )
    shared = sorted(dims)[-2]  # columns of V_0 that two classes or more have a part in
    if spec.angle < 90 and len(dims) > 2 and spec.span + shared > spec.ambient:
        raise InvalidRequest(
            f"ambient is {spec.ambient} and angle {spec.angle:g}: overlapping subspaces of {len(dims)} classes also need a common one, "
            f"{'(K+1) d' if len(set(dims)) == 1 else 'in all'} = {spec.span + shared} dimensions; allowed: an ambient dimension n of at "
            f"least {spec.span + shared}, or an angle of 90."
        )


@dataclass(frozen=True)
class Draws:
    """x_0 and ε of each class, (r, n_k) each, in the span's basis: the same at every noise level."""

    x0: list[np.ndarray]
    eps: list[np.ndarray]

    @property
    def counts(self) -> list[int]:
        return [x.shape[1] for x in self.x0]

    @property
    def labels(self) -> np.ndarray:
        """(N,): the class of every sample, classes one after the other."""
        return np.repeat(np.arange(len(self.x0)), self.counts)

    def at(self, sigma: float) -> np.ndarray:
        """x_σ (r, N) of all samples."""
        return np.hstack([x + sigma * eps for x, eps in zip(self.x0, self.eps, strict=True)])


def shares(spec: MoLRG, samples: int) -> list[int]:
    """How many of the samples each class has: in proportion, at least two. Raises InvalidRequest."""
    if samples < 10 * spec.classes:
        raise InvalidRequest(f"samples is {samples}; allowed: at least {10 * spec.classes}, ten a class.")
    if samples > MOST:
        raise InvalidRequest(f"samples is {samples}; allowed: at most {MOST:,}.")
    exact = np.array(spec.weights) * samples
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: samples - counts.sum()]] += 1
    return [max(2, int(count)) for count in counts]


@lru_cache(maxsize=4)
def _normal(seed: int, rows: int, columns: int) -> np.ndarray:
    """(2, rows, columns): what x_0 and ε are made of. δ, θ, π and σ change what is made of them, not the draws."""
    found = np.random.default_rng(seed).standard_normal((2, rows, columns))
    found.flags.writeable = False
    return found


def draw(spec: MoLRG, samples: int, seed: int = 0) -> Draws:
    """So many samples in all, as many of each class as its proportion says. Raises InvalidRequest."""
    counts = shares(spec, samples)
    normal = _normal(seed, spec.span, sum(counts))
    x0, eps, ends = [], [], np.cumsum([0, *counts])
    for k, (U, V) in enumerate(zip(spec.bases, spec.others, strict=True)):
        here = normal[:, :, ends[k] : ends[k + 1]]
        own, rest = here[0][: spec.dims[k]], here[0][spec.dims[k] :]
        x0.append(U @ own + spec.delta * (V @ rest) + spec.means[:, k : k + 1])
        eps.append(here[1])
    return Draws(x0, eps)


class Posterior:
    """The exact posterior of a mixture at any noise level; points are columns (r, N) in the span's basis.

    Class k given x_σ has weight w_k ∝ π_k N(x_σ; μ_k, Σ_k + σ² I), with the log-determinant, and mean
    μ_k + Σ_k (Σ_k + σ² I)⁻¹ (x_σ - μ_k); one eigenbasis of Σ_k serves all levels.
    """

    def __init__(self, spec: MoLRG) -> None:
        self.spec = spec
        self.values, self.vectors = np.linalg.eigh(spec.covariances)  # (K, r), (K, r, r)

    def log_weights(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """(K, N): log w, each column's largest 0 before it is normalised."""
        rows = []
        for k, p in enumerate(self.spec.weights):
            spread = self.values[k] + sigma**2
            apart = self.vectors[k].T @ (x - self.spec.means[:, k : k + 1])
            rows.append(math.log(p) - 0.5 * np.log(spread).sum() - 0.5 * (1 / spread) @ apart**2)
        found = np.stack(rows)
        return np.asarray(found - found.max(0))

    def weights(self, x: np.ndarray, sigma: float) -> np.ndarray:
        """(K, N): the posterior probability of every class."""
        w = np.exp(self.log_weights(x, sigma))
        return np.asarray(w / w.sum(0))

    def filters(self, sigma: float) -> np.ndarray:
        """(K, r, r): Σ_k (Σ_k + σ² I)⁻¹."""
        kept = self.values / (self.values + sigma**2)
        return np.asarray((self.vectors * kept[:, None]) @ self.vectors.transpose(0, 2, 1))

    def mean(self, x: np.ndarray, sigma: float, weights: np.ndarray | None = None) -> np.ndarray:
        """x̂ (r, N), the posterior mean of x_0."""
        w = self.weights(x, sigma) if weights is None else weights
        found = np.zeros_like(x)
        for k, filter in enumerate(self.filters(sigma)):
            mu = self.spec.means[:, k : k + 1]
            found += w[k] * (filter @ x + (mu - filter @ mu))
        return found


def closed_form(x: np.ndarray, bases: Sequence[np.ndarray], delta: float, sigma: float) -> np.ndarray:
    """x̂ (n, N) by the paper's formula: exact for orthogonal subspaces (n, d) of one dimension and equal proportions. arXiv 2502.05743.

    x̂ = Σ_l w_l (ζ U_l U_lᵀ + ξ Ũ_l Ũ_lᵀ) x, w = softmax_l(φ ||U_lᵀ x||² + ψ ||Ũ_lᵀ x||²).
    """
    zeta, xi = 1 / (1 + sigma**2), delta**2 / (delta**2 + sigma**2)
    phi, psi = 1 / (2 * sigma**2 * (1 + sigma**2)), delta**2 / (2 * sigma**2 * (delta**2 + sigma**2))
    parts = np.stack([U.T @ x for U in bases])  # (K, d, N)
    energy = (parts**2).sum(1)
    score = phi * energy + psi * (energy.sum(0) - energy)
    w = np.exp(score - score.max(0))
    w /= w.sum(0)
    return np.asarray(sum(U @ ((zeta * w[k] + xi * (1 - w[k])) * parts[k]) for k, U in enumerate(bases)))
