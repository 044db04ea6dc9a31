"""Segments from a few strokes: a linear probe on the features of painted pixels, said of every pixel; or k-means, without strokes.

D. Baranchuk et al., Label-Efficient Semantic Segmentation with Diffusion Models, arXiv 2112.03126: the maps of chosen blocks at chosen
noise levels, each brought to the image's size by bilinear interpolation, are what is known of a pixel. They read it with an ensemble
of small networks; here it is one logistic regression, for a stroke has few pixels that differ, and because a linear probe commutes with
bilinear interpolation, whose weights sum to one: the probe is applied to the maps as they are and its few scores are brought to
the image's size, which is exact, and no more is ever held. The same holds of k-means: a pixel's nearest centre c is the one of the largest
2 c·x - |c|². Channels are standardised over the places of the images that are learnt from, and divided by the root of their number, so
that one penalty serves any number of blocks and levels: PENALTY, on the mean loss, in which classes weigh the same whatever is painted
of each. It is fixed: strokes are too few to choose it by.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import image_ids
from .dense import BATCH, maps
from .errors import InvalidRequest
from .heads.base import NEVER, Scaler
from .label_images import VOID

PENALTY = 1e-3  # λ of mean loss + λ/2 ||W||²
PIXELS = 4096  # painted pixels that a probe is fitted on, at most: neighbours are all but the same
PLACES = 6_000  # places that k-means is fitted on, at most
HELD = 1 << 28  # bytes of maps of one group of images; and of those that are kept
Cell = tuple[str, float]  # a block, and a noise level
Maps = Mapping[Cell, Tensor]  # (n, C, h, w) each


class Kept:
    """Maps of the images that were last read, so that another stroke needs no pass; the oldest go first."""

    def __init__(self, most: int = HELD) -> None:
        self.most, self._held = most, 0
        self._maps: OrderedDict[tuple[object, ...], Tensor] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> Tensor | None:
        if key in self._maps:
            self._maps.move_to_end(key)
        return self._maps.get(key)

    def put(self, key: tuple[object, ...], value: Tensor) -> None:
        self._held += value.nbytes - (self._maps.pop(key).nbytes if key in self._maps else 0)
        self._maps[key] = value
        while self._held > self.most:
            self._held -= self._maps.popitem(last=False)[1].nbytes


@dataclass(frozen=True)
class Reading:
    """What pixels are read with: the maps of blocks at levels, the mean over `draws` of each image's own ε.

    Levels are the schedule's nearest. Raises InvalidRequest for none of either.
    """

    model: Backend
    blocks: tuple[str, ...]
    sigmas: tuple[float, ...]
    draws: int = 1
    seed: int = 0
    condition: str | None = None

    def __post_init__(self) -> None:
        if not self.blocks or not self.sigmas or not all(0 < sigma < np.inf for sigma in self.sigmas):
            raise InvalidRequest(f"blocks {self.blocks} at σ {self.sigmas}; allowed: at least one of each, σ finite and above 0.")
        nearest = self.model.schedule.nearest(torch.tensor(self.sigmas, dtype=torch.float64)).tolist()
        object.__setattr__(self, "sigmas", tuple(dict.fromkeys(nearest)))
        object.__setattr__(self, "blocks", tuple(self.model.block(name).name for name in dict.fromkeys(self.blocks)))

    @cached_property
    def step(self) -> int:
        """Images that are read at once: as many as fill a batch, fewer where their maps would be large."""
        side = self.model.card.resolution
        found = [self.model.block(name) for name in self.blocks]
        one = 4 * len(self.sigmas) * sum(block.channels * (side // block.stride) ** 2 for block in found)
        return max(1, min(BATCH // self.draws, HELD // one))

    def groups(self, count: int) -> list[slice]:
        """So many images, part by part."""
        return [slice(start, start + self.step) for start in range(0, count, self.step)]

    def maps(self, images: Sequence[np.ndarray], kept: Kept, between: Between = still_wanted) -> Maps:
        """The maps of some images, those that are kept without a pass."""
        names = [int(image_ids(image[None])[0]) for image in images]
        what = (self.model.card.identity, self.draws, self.seed, self.condition)
        found: dict[Cell, Tensor] = {}
        for sigma in self.sigmas:
            there = {(name, block): kept.get((*what, name, block, sigma)) for name in names for block in self.blocks}
            lacking = [row for row, name in enumerate(names) if any(there[name, block] is None for block in self.blocks)]
            if lacking:
                some = [images[row] for row in lacking]
                fresh = maps(self.model, some, self.blocks, sigma, self.draws, self.seed, self.condition, between)
                for block, values in fresh.items():
                    for row, value in zip(lacking, values, strict=True):
                        there[names[row], block] = value.clone()  # not a view, which would hold all
                        kept.put((*what, names[row], block, sigma), value.clone())
            for block in self.blocks:
                found[block, sigma] = torch.stack([value for name in names if (value := there[name, block]) is not None])
        return found


def upsample(low: Tensor, side: int) -> Tensor:
    """(n, C, h, w) -> (n, C, side, side), bilinear between the middles of places."""
    return functional.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)


def at(found: Maps, row: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What is known at points of image `row`, (m, D) of all cells side by side; x and y (m,) from 0 to 1 of the image.

    At the middle of a pixel it is what `upsample` gives there, without the rest of the image.
    """
    grid = torch.from_numpy(np.stack([2 * x - 1, 2 * y - 1], -1).astype(np.float32))[None, None]
    parts = [functional.grid_sample(value[row : row + 1], grid, "bilinear", "border", False)[0, :, 0].T for value in found.values()]
    return torch.cat(parts, 1).numpy()


@dataclass(frozen=True)
class Scores:
    """Linear scores of K classes on the maps of cells: weights (K, C) each, bias (K,)."""

    weights: Mapping[Cell, Tensor]
    bias: Tensor

    @torch.inference_mode()
    def of(self, found: Maps, row: int, side: int) -> Tensor:
        """The scores (K, side, side) of every pixel of image `row`; maps of one size are brought to the image's together."""
        sums: dict[tuple[int, int], Tensor] = {}
        for cell, weight in self.weights.items():
            value = found[cell][row]
            low = (weight @ value.flatten(1)).reshape(len(weight), *value.shape[1:])
            size = (low.shape[1], low.shape[2])
            sums[size] = sums[size] + low if size in sums else low
        total = sum((upsample(low[None], side)[0] for low in sums.values()), torch.zeros(()))
        return total + self.bias[:, None, None]


class Spread:
    """Mean and standard deviation of every channel of every cell, over the places of images that come part by part."""

    def __init__(self) -> None:
        self._sums: dict[Cell, tuple[int, Tensor, Tensor]] = {}

    def add(self, found: Maps) -> None:
        for cell, value in found.items():
            rows = value.double().movedim(1, 0).flatten(1)
            count, one, two = self._sums.get(cell, (0, torch.zeros(()), torch.zeros(())))
            self._sums[cell] = count + rows.shape[1], one + rows.sum(1), two + (rows**2).sum(1)

    def scaler(self) -> tuple[np.ndarray, np.ndarray]:
        """(D,) each, of all cells side by side: what is subtracted, and what is divided by."""
        scalers = []
        for count, one, two in self._sums.values():
            mean = one / count
            scalers.append(Scaler.per_feature(mean.numpy(), (two / count - mean**2).clamp_min(0).sqrt().numpy()))
        size = sum(len(one.mean) for one in scalers)
        return np.concatenate([one.mean for one in scalers]), np.concatenate([one.spread for one in scalers]) * np.float32(size**0.5)

    def fold(self, weight: np.ndarray, bias: np.ndarray) -> Scores:
        """Scores of maps as they are, from those of scaled features: weight (K, D), bias (K,)."""
        mean, spread = self.scaler()
        raw = weight.astype(np.float64) / spread
        edges = np.cumsum([len(one) for _, one, _ in self._sums.values()])[:-1]
        parts = [torch.from_numpy(part.astype(np.float32)) for part in np.split(raw, edges, axis=1)]
        return Scores(dict(zip(self._sums, parts, strict=True)), torch.from_numpy((bias - raw @ mean).astype(np.float32)))


def chosen(labels: np.ndarray, most: int = PIXELS, seed: int = 0) -> np.ndarray:
    """Which painted pixels of (n, side, side) are learnt from, same shape bool: all, or of each class as many, drawn evenly, `most` in all."""
    rng, kept = np.random.default_rng(seed), np.zeros(labels.shape, dtype=bool)
    there = np.unique(labels[labels != VOID])
    for k in there:
        places = np.flatnonzero(labels == k)
        room = most // len(there)
        kept.flat[places if len(places) <= room else rng.choice(places, room, replace=False)] = True
    return kept


def points(kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middles (x, y) from 0 to 1 of the pixels of (side, side) that are true."""
    rows, columns = np.nonzero(kept)
    return (columns + 0.5) / kept.shape[1], (rows + 0.5) / kept.shape[0]


def logistic(features: np.ndarray, labels: np.ndarray, classes: int, penalty: float = PENALTY) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, D) and bias (K,) of a logistic regression on scaled features (m, D); a class without a pixel is never said."""
    there, counts = np.unique(labels, return_counts=True)
    shares = (1 / (len(there) * counts))[np.searchsorted(there, labels)]
    fitted = LogisticRegression(C=1 / penalty, max_iter=1000, tol=1e-6).fit(features, labels, sample_weight=shares)
    rows, own = np.asarray(fitted.coef_), np.asarray(fitted.intercept_)
    if len(rows) == 1:  # two classes have one row, which tells the second from the first
        rows, own = np.vstack([0 * rows, rows]), np.append(0 * own, own)
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, NEVER)
    weight[there], bias[there] = rows, own
    return weight, bias


def kmeans(features: np.ndarray, count: int, seed: int = 0) -> tuple[float, np.ndarray, np.ndarray]:
    """The sum of squared distances of features (m, D) to the nearest of k centres, and weights (k, D) and bias (k,) of whose scores
    the largest says which is nearest, the largest cluster first; from one start.

    Raises InvalidRequest where there are fewer than k different features.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different ones: said below
        found = KMeans(count, n_init=1, random_state=seed).fit(features)
    sizes = np.bincount(found.labels_, minlength=count)
    if (sizes == 0).any():
        raise InvalidRequest(
            f"k is {count}; these images have only {int((sizes > 0).sum())} different places here: ask for fewer segments."
        )
    centres = found.cluster_centers_[np.argsort(-sizes, kind="stable")].astype(np.float64)
    return float(found.inertia_), 2 * centres, -(centres**2).sum(1)
