"""Multinomial logistic regression for all penalties of a cell at once, and for several cells of the same images.

The objective is scikit-learn's: Σ_i loss_i + ||W||² / (2 C), with an intercept that is not penalised; two classes have one row of
weights, as there. Divided by n it is mean loss + λ/2 ||W||² with λ = 1 / (C n).

Centred features are rotated once a cell into the eigenbasis of their Gram matrix (of images where these are fewer than features),
where the Hessian at even odds is diagonal. Started from its inverse, L-BFGS (Nocedal and Wright, Numerical Optimization, 7.2) needs
few steps; where odds become uneven, the Hessian's blocks of classes, one for each direction of that basis, take its place at a few
steps. The logits of all penalties are one product, and trying steps along a direction costs none, for logits are linear in it.
Penalties and cells that have converged leave.
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
FRESH = (16, 64, 256, 1024)  # steps at which the Hessian's blocks are taken anew
LEAST, TINY = 1e-5, 1e-30  # of a block's mean bend, and in itself: what holds a shift of all classes, where a penalty is less
FEW = 32  # rows of weights up to which blocks cost less than the steps that they save
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
    bend = spread[:, None] / (classes if rows > 1 else 4) + ridge
    found = _Descent(points, labels, rows, ridge, bend)
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

    def __init__(self, points: Tensor, labels: Tensor, rows: int, ridge: Tensor, bend: Tensor) -> None:
        cells, _, size = points.shape
        shape = (cells, len(ridge))
        self.points, self.labels, self.ridge, self.bend = points, labels.to(points.device), ridge, bend
        self.weights = points.new_zeros(*shape, rows, size)  # what is found, of all
        self.gradients = points.new_zeros(*shape, rows, size)
        self.objectives = torch.zeros(shape, dtype=torch.float64, device=points.device)
        self.converged = torch.zeros(shape, dtype=torch.bool, device=points.device)

    def run(self, tolerance: float, gap: float, most: int) -> int:
        """Descend until all have converged; how many steps that took."""
        points, ridge = self.points, self.ridge[None, :, None]
        inverse = self.bend.reciprocal()[:, :, None]  # of the Hessian's blocks, which at even odds are diagonal
        cells, penalties = (torch.arange(n, device=points.device) for n in self.converged.shape)
        weights, logits = self.weights.clone(), self._logits(points, self.weights)
        values, pulls = self._losses(logits)
        values, gradients = values + _half(ridge, weights), self._gradients(points, pulls) + ridge * weights
        history: list[tuple[Tensor, Tensor, Tensor]] = []
        done = torch.zeros_like(self.converged)  # converged, or unable to go further
        step = 0
        for step in range(most + 1):
            if step in FRESH and self.weights.shape[2] <= FEW:
                inverse = self._blocks(points, logits, ridge)
            direction = -_newton(history, gradients, inverse)
            if direction.shape[2] > 1:
                direction -= direction.mean(2, keepdim=True)  # a shift of all classes is rounding alone
            slope = (direction * gradients).sum((2, 3)).double()
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
                ridge, inverse = ridge[:, columns], pick(inverse)
                weights, gradients, values, direction = map(pick, (weights, gradients, values, direction))
                slope, done = pick(slope), pick(done)
                logits = pick(logits)
                history = [(pick(s), pick(y), pick(r)) for s, y, r in history]
            way = direction * ~done[..., None, None]
            along = self._logits(points, way)
            length, values, pulls = self._search(logits, along, weights, way, ridge, values, slope)
            done = done | (length == 0)
            moved = length[..., None, None].to(weights)
            weights = weights + moved * way
            logits += moved * along
            last, gradients = gradients, self._gradients(points, pulls) + ridge * weights
            s, y = moved * way, gradients - last
            product = (s * y).sum((2, 3))
            history = [*history[-HISTORY + 1 :], (s, y, torch.where(product > 0, 1 / product, 0))]
        return step

    def _logits(self, points: Tensor, weights: Tensor) -> Tensor:
        """(m, n, d), (m, l, R, d) -> (m, l, R, n)."""
        return (weights.flatten(1, 2) @ points.mT).reshape(*weights.shape[:3], -1)

    def _gradients(self, points: Tensor, pulls: Tensor) -> Tensor:
        """(m, n, d), (m, l, R, n) -> (m, l, R, d)."""
        return (pulls.flatten(1, 2) @ points).reshape(*pulls.shape[:3], -1)

    def _blocks(self, points: Tensor, logits: Tensor, ridge: Tensor) -> Tensor:
        """Inverses (m, l, R, R, d) of the Hessian's blocks: of all rows of weights, for one direction of the basis."""
        cells, penalties, rows, count = logits.shape
        one, other = torch.triu_indices(rows, rows, device=points.device)
        total = points.new_zeros(cells, penalties * len(one), points.shape[2])
        step = max(1, CHUNK // (cells * penalties * len(one)))
        for start in range(0, count, step):
            here = logits[..., start : start + step]
            if rows == 1:
                weights = torch.sigmoid(here) * torch.sigmoid(-here)
            else:
                odds = here.softmax(2)
                weights = -odds[:, :, one] * odds[:, :, other]
                weights[:, :, one == other] += odds
            total += weights.flatten(1, 2) @ points[:, start : start + step] ** 2
        blocks = points.new_empty(cells, penalties, rows, rows, points.shape[2])
        blocks[:, :, one, other] = blocks[:, :, other, one] = (total / count).reshape(cells, penalties, len(one), -1)
        blocks = blocks.movedim(4, 2).double()
        diagonal = blocks.diagonal(dim1=3, dim2=4)
        diagonal += torch.maximum(ridge[:, :, 0, :, None], LEAST * diagonal.mean(3, keepdim=True) + TINY)
        return torch.linalg.inv(blocks).to(points).movedim(2, 4).contiguous()

    def _losses(self, logits: Tensor, along: Tensor | None = None, length: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean losses (m, l) float64 at `logits` + `length` × `along`, and their derivatives by every logit (m, l, R, n)."""
        cells, penalties, rows, count = logits.shape
        pulls, total = torch.empty_like(logits), torch.zeros(cells, penalties, dtype=torch.float64, device=logits.device)
        step = max(1, CHUNK // (cells * penalties * rows))
        for start in range(0, count, step):
            part = slice(start, start + step)
            here, truth = logits[..., part], self.labels[part]
            if along is not None and length is not None:
                here = torch.addcmul(here, length[..., None, None].to(here), along[..., part])
            if rows == 1:
                sign = 1 - 2 * truth.to(here)  # so that small losses and slopes are exact
                total += functional.softplus(sign * here).sum((2, 3), dtype=torch.float64)
                pulls[..., part] = sign * torch.sigmoid(sign * here)
            else:
                index = truth.expand(cells, penalties, 1, -1)
                logs = functional.log_softmax(here, 2)
                right = logs.gather(2, index)
                total -= right.sum((2, 3), dtype=torch.float64)
                pulls[..., part] = logs.exp_().scatter_(2, index, right.expm1_())
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
            bend = (pulls * along).sum((2, 3)).double() + linear + length * square
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


def _newton(history: Sequence[tuple[Tensor, Tensor, Tensor]], gradients: Tensor, inverse: Tensor) -> Tensor:
    """The two loops of L-BFGS for every problem at once: the inverse Hessian's estimate times gradients (m, l, R, d)."""
    found, shares = gradients, []
    for s, y, product in reversed(history):
        share = product * (s * found).sum((2, 3))
        found = found - share[..., None, None] * y
        shares.append(share)
    found = _times(inverse, found)
    if history:
        s, y, product = history[-1]
        curvature = (s * y).sum((2, 3)) / (_times(inverse, y) * y).sum((2, 3))
        found = found * torch.where(product > 0, curvature, 1)[..., None, None]
    for (s, y, product), share in zip(history, reversed(shares), strict=True):
        found = found + (share - product * (y * found).sum((2, 3)))[..., None, None] * s
    return found


def _times(blocks: Tensor, vectors: Tensor) -> Tensor:
    """Blocks (m, l, R, R, d), or their diagonals (m, l, 1, d), times vectors (m, l, R, d)."""
    return blocks * vectors if blocks.ndim == 4 else (blocks * vectors[:, :, None]).sum(3)
