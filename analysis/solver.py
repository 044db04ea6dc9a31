"""Multinomial logistic regression for all penalties of a cell at once, and for several cells of the same images.

The objective is scikit-learn's: Σ_i loss_i + ||W||² / (2 C), with an intercept that is not penalised; two classes have one row of
weights, as there. Divided by n it is mean loss + λ/2 ||W||² with λ = 1 / (C n).

Centred features are rotated once a cell into the eigenbasis of their Gram matrix (of images where these are fewer than features),
where the Hessian at even odds is diagonal. In variables scaled by its root L-BFGS (Nocedal and Wright, Numerical Optimization, 7.2)
needs few steps; the logits of all penalties are one product, and trying steps along a direction costs none, for logits are linear
in it. Penalties and cells that have converged leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

HISTORY = 10  # steps, with their changes of the gradient, that are kept
TRIES = 30  # lengths of a step
DROP, BEND = 1e-4, 0.9  # a step is long enough where it takes a share of what the slope promises, and leaves a share of the slope
ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-14}  # relative error of an objective: below it, slopes alone decide
ROWS = 4096  # images that are centred at a time
CHUNK = 1 << 21  # logits that are turned into probabilities at a time


@dataclass(frozen=True)
class Solution:
    """Of M cells and L penalties, with R = 1 row of weights for two classes, else one a class."""

    weight: Tensor  # (M, L, R, D)
    bias: Tensor  # (M, L, R)
    objective: Tensor  # (M, L) float64: mean loss + λ/2 ||W||²
    gradient: Tensor  # (M, L): largest absolute entry of its gradient
    converged: Tensor  # (M, L) bool: what is left to gain is below the tolerance
    steps: int


def fit(
    features: Tensor, labels: Tensor, classes: int, penalties: Sequence[float], tolerance: float = 1e-7, gap: float = 1e-6, most: int = 3000
) -> Solution:
    """Fit finite features (M, n, D), float32 or float64 on any device, to labels (n,) int64 in 0…classes-1, for penalties C > 0.

    It ends where what is left to gain, by L-BFGS's own model, is below `tolerance` of the objective, and all that
    could be left in the weights, whose curvature is λ at least, below `gap` of it; or after `most` steps: then
    `converged` says so.
    """
    points, basis, spread, mean = _rotated(features)
    rows = 1 if classes == 2 else classes
    weak = torch.tensor([1 / (penalty * len(labels)) for penalty in penalties], dtype=torch.float64).to(points)
    ridge = weak[:, None].repeat(1, points.shape[2])
    ridge[:, -1] = 0
    scale = (spread[:, None] * (classes - 1) / classes**2 + ridge).rsqrt()
    found = _Descent(points, labels, rows, ridge, scale)
    steps = found.run(tolerance, gap, most)
    weight = found.weights[..., :-1] @ basis.mT[:, None]
    bias = found.weights[..., -1] - (weight @ mean[:, None, :, None])[..., 0]
    slopes = found.gradients[..., :-1] @ basis.mT[:, None] + found.gradients[..., -1:] * mean[:, None, None]
    gradient = torch.maximum(slopes.abs().amax((2, 3)), found.gradients[..., -1].abs().amax(2))
    return Solution(weight, bias, found.objectives, gradient, found.converged, steps)


def _rotated(features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points (M, n, r + 1) in the eigenbasis, the last column 1; the basis (M, D, r); mean squares (M, r + 1); the mean (M, D)."""
    cells, count, size = features.shape
    rank, mean = min(count, size), features.mean(1)
    points, spread = features.new_ones(cells, count, rank + 1), features.new_ones(cells, rank + 1)
    basis = features.new_empty(cells, size, rank)
    parts = [slice(start, start + ROWS) for start in range(0, count, ROWS)]
    for cell in range(cells):
        if count < size:
            centred = features[cell] - mean[cell]
            squares, vectors = torch.linalg.eigh((centred @ centred.T).double())
            floor = (squares[-1] * 1e-10).clamp_min(1e-300)  # the mean took one dimension, and copies take more
            kept = torch.where(squares > floor, squares, torch.inf)
            basis[cell] = ((centred.T.double() @ vectors) / kept.sqrt()).to(features)
        else:
            gram = torch.zeros(size, size, dtype=torch.float64, device=features.device)
            for rows in parts:
                centred = features[cell, rows] - mean[cell]
                gram += (centred.T @ centred).double()
            squares, vectors = torch.linalg.eigh(gram)
            basis[cell] = vectors.to(features)
        for rows in parts:
            points[cell, rows, :-1] = (features[cell, rows] - mean[cell]) @ basis[cell]
        spread[cell, :-1] = (squares / count).clamp_min(0).to(features)
    return points, basis, spread, mean


class _Descent:
    """L-BFGS on a rectangle of cells × penalties, from which whole rows and columns leave when they have converged."""

    def __init__(self, points: Tensor, labels: Tensor, rows: int, ridge: Tensor, scale: Tensor) -> None:
        cells, _, size = points.shape
        shape = (cells, len(ridge))
        self.points, self.labels, self.ridge, self.scale = points, labels.to(points.device), ridge, scale
        self.weights = points.new_zeros(*shape, rows, size)  # what is found, of all
        self.gradients = points.new_zeros(*shape, rows, size)
        self.objectives = torch.zeros(shape, dtype=torch.float64, device=points.device)
        self.converged = torch.zeros(shape, dtype=torch.bool, device=points.device)

    def run(self, tolerance: float, gap: float, most: int) -> int:
        """Descend until all have converged; how many steps that took."""
        points, ridge, scale = self.points, self.ridge[None, :, None], self.scale[:, :, None]
        cells, penalties = (torch.arange(n, device=points.device) for n in self.converged.shape)
        weights, logits = self.weights.clone(), self._logits(points, self.weights)
        values, pulls = self._losses(logits)
        values, gradients = values + _half(ridge, weights), self._gradients(points, pulls) + ridge * weights
        history: list[tuple[Tensor, Tensor, Tensor]] = []
        done = torch.zeros_like(self.converged)  # converged, or unable to go further
        step = 0
        for step in range(most + 1):
            direction = -_newton(history, gradients * scale)
            slope = (direction * gradients * scale).sum((2, 3)).double()
            most_left = (gradients[..., :-1] ** 2 / ridge[..., :-1]).sum((2, 3), dtype=torch.float64) / 2
            near = (-slope / 2 <= tolerance * values) & (most_left <= gap * values)
            done = done | near
            at = (cells[:, None], penalties)
            self.weights[at], self.gradients[at], self.objectives[at] = weights, gradients, values
            self.converged[at] |= near
            rows, columns = ~done.all(1), ~done.all(0)
            if step == most or not rows.any():
                break
            if not (rows.all() and columns.all()):

                def pick(found: Tensor, rows: Tensor = rows, columns: Tensor = columns) -> Tensor:
                    return found[rows][:, columns]

                cells, penalties = cells[rows], penalties[columns]
                points = points if rows.all() else points[rows]
                ridge, scale = ridge[:, columns], pick(scale)
                weights, gradients, values, direction = map(pick, (weights, gradients, values, direction))
                slope, done = pick(slope), pick(done)
                logits = logits[rows][:, :, columns]
                history = [(pick(s), pick(y), pick(r)) for s, y, r in history]
            way = direction * scale * ~done[..., None, None]
            along = self._logits(points, way)
            length, values, pulls = self._search(logits, along, weights, way, ridge, values, slope)
            done = done | (length == 0)
            moved = length[..., None, None].to(weights)
            weights = weights + moved * way
            logits += moved.permute(0, 2, 1, 3) * along
            last, gradients = gradients, self._gradients(points, pulls) + ridge * weights
            s, y = moved * way / scale, (gradients - last) * scale
            product = (s * y).sum((2, 3))
            history = [*history[-HISTORY + 1 :], (s, y, torch.where(product > 0, 1 / product, 0))]
        return step

    def _logits(self, points: Tensor, weights: Tensor) -> Tensor:
        """(m, n, d), (m, l, R, d) -> (m, n, l, R)."""
        penalties, rows = weights.shape[1:3]
        return (points @ weights.flatten(1, 2).mT).reshape(len(points), -1, penalties, rows)

    def _gradients(self, points: Tensor, pulls: Tensor) -> Tensor:
        """(m, n, d), (m, n, l, R) -> (m, l, R, d)."""
        return (pulls.flatten(2).mT @ points).reshape(len(points), *pulls.shape[2:], -1)

    def _losses(self, logits: Tensor, along: Tensor | None = None, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean losses (m, l) float64 at `logits` + `length` × `along`, and their derivatives by every logit (m, n, l, R)."""
        cells, count, penalties, rows = logits.shape
        pulls, total = torch.empty_like(logits), torch.zeros(cells, penalties, dtype=torch.float64, device=logits.device)
        step = max(1, CHUNK // (cells * penalties * rows))
        for start in range(0, count, step):
            part = slice(start, start + step)
            here, truth = logits[:, part], self.labels[part]
            if along is not None and length is not None:
                here = here + length[:, None, :, None].to(here) * along[:, part]
            if rows == 1:
                sign = 1 - 2 * truth[None, :, None, None].to(here)  # so that small losses and slopes are exact
                total += functional.softplus(sign * here).sum((1, 3), dtype=torch.float64)
                pulls[:, part] = sign * torch.sigmoid(sign * here)
            else:
                index = truth[None, :, None, None].expand(cells, -1, penalties, 1)
                logs = functional.log_softmax(here, 3)
                right = logs.gather(3, index)
                total -= right[..., 0].sum(1, dtype=torch.float64)
                pulls[:, part] = logs.exp_().scatter_(3, index, right.expm1())
        return total / count, pulls.div_(count)

    def _search(
        self, logits: Tensor, along: Tensor, weights: Tensor, way: Tensor, ridge: Tensor, start: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths (m, l) of a step that Wolfe's conditions accept, the objectives there, and the derivatives by every logit.

        Where rounding hides the decrease, slopes decide (Hager and Zhang, SIAM J. Optim. 16 (2005) 170).
        """
        rounding = ROUNDING[logits.dtype] * start.abs()
        linear, square = (ridge * weights * way).sum((2, 3)).double(), (ridge * way**2).sum((2, 3)).double()
        fixed = _half(ridge, weights)
        length, low, high = torch.ones_like(start), torch.zeros_like(start), torch.full_like(start, torch.inf)
        low_slope, high_slope = slope.clone(), torch.zeros_like(slope)
        still = square + (way**2).sum((2, 3)) == 0  # those that have converged do not move
        for _ in range(TRIES):
            losses, pulls = self._losses(logits, along, length)
            value = losses + fixed + length * linear + length**2 / 2 * square
            bend = (pulls * along).sum((1, 3)).double() + linear + length * square
            falls = (value <= start + DROP * length * slope) | ((value <= start + rounding) & (bend <= (2 * DROP - 1) * slope))
            flat = bend >= BEND * slope
            if (still | (falls & flat)).all():
                break
            short = falls & ~flat & ~still
            long = ~falls & ~still
            low, low_slope = torch.where(short, length, low), torch.where(short, bend, low_slope)
            high, high_slope = torch.where(long, length, high), torch.where(long, bend, high_slope)
            share = (low_slope / (low_slope - high_slope)).nan_to_num(0.5).clamp(0.1, 0.9)
            between = torch.where(high.isinf(), 2 * length, low + share * (high - low))
            length = torch.where(short | long, between, length)
        else:
            length = torch.where(falls | still, length, 0)  # it goes no further; what is said of its gradient stays
            losses, pulls = self._losses(logits, along, length)
            value = losses + fixed + length * linear + length**2 / 2 * square
        return length, value, pulls


def _half(ridge: Tensor, weights: Tensor) -> Tensor:
    """λ/2 ||W||², (m, l) float64."""
    return (ridge * weights**2).sum((2, 3), dtype=torch.float64) / 2


def _newton(history: Sequence[tuple[Tensor, Tensor, Tensor]], gradients: Tensor) -> Tensor:
    """The two loops of L-BFGS for every problem at once: the inverse Hessian's estimate times gradients (m, l, R, d)."""
    found, shares = gradients, []
    for s, y, inverse in reversed(history):
        share = inverse * (s * found).sum((2, 3))
        found = found - share[..., None, None] * y
        shares.append(share)
    if history:
        s, y, inverse = history[-1]
        curvature = (s * y).sum((2, 3)) / (y * y).sum((2, 3))
        found = found * torch.where(inverse > 0, curvature, 1)[..., None, None]
    for (s, y, inverse), share in zip(history, reversed(shares), strict=True):
        found = found + (share - inverse * (y * found).sum((2, 3)))[..., None, None] * s
    return found
