"""What a block's features carry that is not the image's content: position, places that stand out, channels that outweigh the rest.

Stable Diffusion's features carry all three (Loos and Linhardt, arXiv 2504.07008), vision transformers the second (Darcet et al.,
arXiv 2309.16588), diffusion transformers the third (arXiv 2510.11538). It takes one pass an image. Memory does not grow with the
images: the network's own pass of a batch, one block's map of it at a time, and for each block 24 (C + 2)² bytes, some 300 a
channel, and the norms of a batch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .backends.base import Backend
from .errors import InvalidData, InvalidRequest
from .features import Taps, capture
from .noise import add_noise, noise_like

SIDE = 16  # places: a larger map is averaged to this side before position and channels are looked at
RIDGE = 1e-3  # penalty on the weights of standardised channels, beside a mean squared error of position
HIGH = 3.0  # medians of an image's norms: an outlier lies above. Those of Darcet et al. are about ten times as long as other tokens
STILL = 1e-6  # of its mean: a channel whose standard deviation is less is constant, for float32 tells no more
FIRST = 5  # channels
SHOWN = 8  # images


@dataclass(frozen=True)
class Position:
    """R² on held-out images of a linear probe for a place's row and for its column.

    1 is exact, 0 is chance, below 0 is worse than to guess the middle. With fewer than some five places fitted on for each channel it
    comes out too low. None where there is one row or one column. Zero padding gives position to untrained convolutions too (arXiv 2001.08248).
    """

    row: float | None
    column: float | None
    side: tuple[int, int]  # of the map that was probed
    fitted: int  # places of all images fitted on


@dataclass(frozen=True)
class Norms:
    """Norms of the features of a place (h, w), over the median of the places of the same image; of so many images.

    An image whose median is 0 is left out. A map that is all corners has no `corners`.
    """

    images: int
    mean: tuple[tuple[float, ...], ...]  # (h, w)
    corners: float | None  # mean of the four
    share: float  # of places and images that lie above HIGH
    where: tuple[tuple[float, ...], ...]  # (h, w): in which share of the images
    strongest: tuple[str, ...]  # ids in 16 hexadecimal digits of the images with the highest place, the highest first


@dataclass(frozen=True)
class Channel:
    """Its share of the variance, and the ids of the images whose mean over places is highest and lowest, outermost first."""

    channel: int
    share: float
    highest: tuple[str, ...]
    lowest: tuple[str, ...]


@dataclass(frozen=True)
class Channels:
    """Each channel's share of the variance, (C,) of sum 1, or zeros where nothing varies; and those with most of it."""

    shares: tuple[float, ...]
    top: tuple[Channel, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Of one block at one σ. A map of one place has neither position nor norms, and features that are 0 have no norms."""

    images: int
    shape: tuple[int, int, int]  # (C, h, w)
    position: Position | None
    norms: Norms | None
    places: Channels  # variance over all places of all images
    pooled: Channels  # variance over images of the mean over places

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Moments:
    """Count, mean (D,) and scatter about it of rows (n, D): Σ x xᵀ (D, D), or its diagonal (D,). Parts add up.

    Chan, Golub and LeVeque, Am. Stat. 37 (1983) 242.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def none(cls, size: int, diagonal: bool = False) -> Self:
        return cls(0, np.zeros(size), np.zeros(size if diagonal else (size, size)))

    def __add__(self, other: Moments) -> Moments:
        count, gap = self.count + other.count, other.mean - self.mean
        between = gap**2 if self.scatter.ndim == 1 else np.outer(gap, gap)
        scatter = self.scatter + other.scatter + between * (self.count * other.count / count)
        return Moments(count, self.mean + gap * (other.count / count), scatter)

    @property
    def variance(self) -> np.ndarray:
        """(D,), 0 for a column that float32 cannot tell from a constant."""
        found = (self.scatter if self.scatter.ndim == 1 else np.diag(self.scatter)) / self.count
        return np.where(found > (STILL * self.mean) ** 2, found, 0)


class Leaders:
    """The images with the highest values so far, of each of D quantities; the earlier of two that are equal."""

    def __init__(self, size: int) -> None:
        self.values, self.ids = np.empty((0, size)), np.empty((0, size), np.uint64)

    def add(self, values: np.ndarray, ids: np.ndarray) -> None:
        """(B, D), (B,)."""
        values = np.concatenate([self.values, values])
        names = np.concatenate([self.ids, np.broadcast_to(ids[:, None], (len(ids), values.shape[1]))])
        order = np.argsort(-values, axis=0, kind="stable")[:SHOWN]
        self.values, self.ids = np.take_along_axis(values, order, 0), np.take_along_axis(names, order, 0)

    def names(self, quantity: int) -> tuple[str, ...]:
        return tuple(f"{int(name):016x}" for name in self.ids[:, quantity])


@dataclass(frozen=True)
class _Part:
    """What is kept of one batch of a block's map (B, C, h, w)."""

    rows: Moments  # of places: C channels, row, column
    side: tuple[int, int]
    pooled: np.ndarray  # (B, C)
    norms: np.ndarray  # (B, h, w)


def _part(value: Tensor) -> _Part:
    value = value.float()
    small = functional.adaptive_avg_pool2d(value, (min(SIDE, value.shape[-2]), min(SIDE, value.shape[-1])))
    size, _, height, width = small.shape
    at = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).to(small)
    rows = torch.cat([small, at.expand(size, -1, -1, -1)], 1).permute(0, 2, 3, 1).flatten(0, 2)
    mean = rows.mean(0)
    scatter = (rows - mean).T @ (rows - mean)
    moments = Moments(len(rows), mean.cpu().double().numpy(), scatter.cpu().double().numpy())
    return _Part(moments, (height, width), value.mean((-2, -1)).cpu().double().numpy(), value.norm(dim=1).cpu().double().numpy())


class _Gathered:
    """What is kept of all batches of a block."""

    def __init__(self, like: _Part) -> None:
        channels, shape = like.pooled.shape[1], like.norms.shape[1:]
        self.side, self.shape = like.side, (channels, *shape)
        self.halves = [Moments.none(channels + 2), Moments.none(channels + 2)]  # of the images for fitting, and held out
        self.pooled = Moments.none(channels, diagonal=True)
        self.highest, self.lowest, self.strongest = Leaders(channels), Leaders(channels), Leaders(1)
        self.lengths, self.high, self.measured = np.zeros(shape), np.zeros(shape), 0

    def add(self, part: _Part, half: int, ids: np.ndarray) -> None:
        self.halves[half] = self.halves[half] + part.rows
        mean = part.pooled.mean(0)
        self.pooled = self.pooled + Moments(len(ids), mean, ((part.pooled - mean) ** 2).sum(0))
        self.highest.add(part.pooled, ids)
        self.lowest.add(-part.pooled, ids)
        median = np.median(part.norms, (1, 2))
        some = median > 0
        relative = part.norms[some] / median[some, None, None]
        self.lengths += relative.sum(0)
        self.high += (relative > HIGH).sum(0)
        self.measured += len(relative)
        self.strongest.add(relative.max((1, 2))[:, None], ids[some])

    def diagnosis(self) -> Diagnosis:
        several = self.shape[1] * self.shape[2] > 1
        fitted, held_out = self.halves
        return Diagnosis(
            images=self.pooled.count,
            shape=self.shape,
            position=position(fitted, held_out, self.side) if several else None,
            norms=self._norms() if several and self.measured else None,
            places=self._channels((fitted + held_out).variance[:-2]),
            pooled=self._channels(self.pooled.variance),
        )

    def _norms(self) -> Norms:
        mean, where = self.lengths / self.measured, self.high / self.measured
        return Norms(
            images=self.measured,
            mean=tuple(map(tuple, mean.tolist())),
            corners=float(mean[[0, 0, -1, -1], [0, -1, 0, -1]].mean()) if max(mean.shape) > 2 else None,
            share=float(where.mean()),
            where=tuple(map(tuple, where.tolist())),
            strongest=self.strongest.names(0),
        )

    def _channels(self, variance: np.ndarray) -> Channels:
        shares = (variance / (variance.sum() or 1)).tolist()
        order = [channel for channel in np.argsort(-variance, kind="stable")[:FIRST].tolist() if shares[channel] > 0]
        top = (Channel(channel, shares[channel], self.highest.names(channel), self.lowest.names(channel)) for channel in order)
        return Channels(tuple(shares), tuple(top))


def position(fitted: Moments, held_out: Moments, side: tuple[int, int]) -> Position:
    """Ridge regression of row and column, the last two of the D columns, on the others; scored as by scikit-learn's `r2_score`.

    Channels have mean 0 and variance 1 over the places of the images fitted on; a constant one weighs nothing.
    """
    channels = len(fitted.mean) - 2
    spread = np.sqrt(fitted.variance[:-2])
    spread[spread == 0] = np.inf
    scatter = fitted.scatter[:-2] / (fitted.count * spread[:, None])
    inner = scatter[:, :-2] / spread + RIDGE * np.eye(channels)
    weights = np.linalg.solve(inner, scatter[:, -2:]) / spread[:, None]
    residual = np.concatenate([-weights, np.eye(2)])  # (D, 2): a row times this is true minus read, but for a constant
    error = ((held_out.scatter @ residual) * residual).sum(0) + held_out.count * ((held_out.mean - fitted.mean) @ residual) ** 2
    total = np.diag(held_out.scatter)[-2:]
    row, column = (float(1 - e / t) if t > 0 else None for e, t in zip(error, total, strict=True))
    return Position(row, column, side, fitted.count)


@torch.inference_mode()
def _read(taps: Taps, x0: Tensor, ids: np.ndarray, sigma: float, condition: str, seed: int, clean: bool) -> dict[str, _Part]:
    level = torch.full((len(x0),), sigma, dtype=torch.float64)
    eps = torch.zeros_like(x0) if clean else noise_like(x0, ids.tolist(), seed, 0).to(x0.device)
    return taps(add_noise(x0, level, eps), level, condition)


def diagnose(
    model: Backend,
    x0: Tensor,
    ids: np.ndarray,
    sigma: float,
    condition: str,
    blocks: Sequence[str],
    seed: int = 0,
    clean: bool = False,
    batch: int = 32,
) -> Generator[tuple[int, int], None, dict[str, Diagnosis]]:
    """Every block's Diagnosis at one σ, in the network's order; yields (done, of) images after each batch.

    Of images x_0 (n, c, h, w) with ids (n,), each with its own ε of draw 0, or none where `clean`. Every other image, from the
    second on, is held out from the probe of position; the rest is of all. Raises InvalidRequest, UnknownName, and InvalidData for
    features that are not finite.
    """
    if len(x0) < 2 or len(ids) != len(x0):
        raise InvalidRequest(f"There are {len(x0)} images and {len(ids)} ids; allowed: at least 2 images, and as many ids.")
    if batch < 1:
        raise InvalidRequest(f"batch is {batch}; allowed: 1 image or more.")
    gathered: dict[str, _Gathered] = {}
    done = 0
    read = partial(_read, sigma=sigma, condition=condition, seed=seed, clean=clean)
    with capture(model, blocks, _part) as taps:
        for half in (0, 1):  # a batch is of one half
            for start in range(half, len(x0), 2 * batch):
                these = slice(start, start + 2 * batch, 2)
                for name, part in read(taps, x0[these], ids[these]).items():
                    if not (np.isfinite(part.rows.scatter).all() and np.isfinite(part.norms).all()):
                        raise InvalidData(f"Features of {name} at σ = {sigma:.4g} are not finite; leave the block out or use float32.")
                    gathered.setdefault(name, _Gathered(part)).add(part, half, ids[these])
                done += len(ids[these])
                yield done, len(x0)
    return {name: block.diagnosis() for name, block in gathered.items()}
