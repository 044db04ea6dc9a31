"""Networks trained by gradient descent on maps, one for each weight decay: what the heads `mlp`, `cnn` and `attention` share.

[GD] (arXiv 2311.17921, and its code) trains its heads by SGD at rate .05 in batches of 32 for 28 epochs of ImageNet, without weight
decay. We depart where a few labelled images would leave only a few steps: AdamW (arXiv 1711.05101) with a short warm-up and a cosine
to zero, no fewer than `least` steps, and validation chooses among weight decays.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .crew import still_wanted
from .heads.base import FittedHead, Foreseen, ProbeHead

SCORED = 64  # images that logits are computed of at a time
WARM = 0.1  # share of the steps in which the rate rises
TRIED = 3  # steps that are timed, to foresee a fit
CELLS = 512  # that the images of such a step have together: fewer would seem dearer than they are


@dataclass(frozen=True)
class Training:
    """How a network is trained; the first weights and the order of images follow from `seed` alone."""

    rate: float
    least: int  # steps
    epochs: int = 28
    batch: int = 32
    seed: int = 0

    def steps(self, images: int) -> int:
        return max(self.least, self.epochs * math.ceil(images / self.batch))

    def rows(self, images: int) -> Iterator[Tensor]:
        """The images of every step: each once an epoch, in an order of its own."""
        order = torch.Generator().manual_seed(self.seed)
        left = self.steps(images)
        while left:
            epoch = torch.split(torch.randperm(images, generator=order), self.batch)[:left]
            yield from epoch
            left -= len(epoch)


class Trained(FittedHead):
    """A network from maps (n, C, p, p), one or several, to logits (n, K)."""

    def __init__(self, penalty: float, network: nn.Module, converged: bool) -> None:
        self.penalty, self.converged = penalty, converged
        self.network = network.eval().requires_grad_(False)
        network.zero_grad()

    def predict_logits(self, features: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        maps = _tensors([features] if isinstance(features, np.ndarray) else features)
        with torch.inference_mode():
            parts = [self.network(*part) for part in zip(*(torch.split(one, SCORED) for one in maps), strict=True)]
        return torch.cat(parts).numpy()


def fit(
    build: Callable[[], nn.Module], maps: Sequence[np.ndarray], labels: np.ndarray, decays: Sequence[float], how: Training
) -> list[Trained]:
    """A network for each weight decay, all from the same first weights, trained on maps (n, C, p, p) and labels (n,).

    A network whose loss is not finite is trained no further, and marked as not converged. The global random state stays as it was.
    """
    inputs, truth, found = _tensors(maps), torch.from_numpy(np.asarray(labels, dtype=np.int64)), []
    for decay in decays:
        network = _first(build, how.seed)
        found.append(Trained(decay, network, _train(network, inputs, truth, decay, how)))
    return found


def _tensors(maps: Sequence[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(one, dtype=np.float32)) for one in maps]


def _first(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network with the first weights that the seed gives."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def _optimiser(network: nn.Module, decay: float, how: Training) -> torch.optim.AdamW:
    """Only weights that multiply features decay, matrices and filters: not what scales, shifts or is a token."""
    decaying = [weight for weight in network.parameters() if weight.ndim in (2, 4)]
    others = [weight for weight in network.parameters() if weight.ndim not in (2, 4)]
    return torch.optim.AdamW([{"params": decaying, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}], lr=how.rate)


def _share(step: int, steps: int) -> float:
    """Of the highest rate: a linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / (WARM * steps)) * (1 + math.cos(math.pi * step / steps)) / 2


def _train(network: nn.Module, maps: Sequence[Tensor], labels: Tensor, decay: float, how: Training) -> bool:
    """Train in place; whether every loss was finite. Raises Dropped where nobody waits for it any more."""
    optimiser = _optimiser(network, decay, how)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_share, steps=how.steps(len(labels))))
    for rows in how.rows(len(labels)):
        still_wanted()
        loss = functional.cross_entropy(network(*(one[rows] for one in maps)), labels[rows])
        if not loss.isfinite():
            return False
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        rate.step()
    return all(bool(weight.isfinite().all()) for weight in network.parameters())


def foresee(
    build: Callable[[], nn.Module], maps: Sequence[np.ndarray], labels: np.ndarray, decays: Sequence[float], how: Training
) -> Foreseen:
    """What `fit` will take, from a few steps on a few images: what is spent on an image, and what on the weights."""
    cells = sum(one.shape[-1] ** 2 for one in maps)
    few = max(2, min(how.batch, CELLS // cells))  # images
    network, inputs = _first(build, how.seed), _tensors([one[:few] for one in maps])
    truth = torch.from_numpy(np.asarray(labels[:few], dtype=np.int64))
    held = _held(network, inputs) / len(truth)
    gradient, update, score = _timed(network, inputs, truth, _optimiser(network, decays[0], how))

    def seconds(images: int) -> float:
        return len(decays) * how.steps(images) * (update + gradient * images / math.ceil(images / how.batch))

    weights = sum(weight.nbytes for weight in network.parameters())
    return Foreseen(seconds, score, round(how.batch * held) + weights * (len(decays) + 3))  # a gradient and AdamW's two means beside


def _held(network: nn.Module, maps: Sequence[Tensor]) -> int:
    """Bytes, beside the weights, that a pass holds for the gradient."""
    held: dict[int, int] = {}

    def hold(value: Tensor) -> Tensor:
        held[value.data_ptr()] = max(value.nbytes, held.get(value.data_ptr(), 0))
        return value

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda value: value):
        network(*maps)
    weights = {weight.data_ptr() for weight in network.parameters()}
    return sum(size for place, size in held.items() if place not in weights)


def _timed(network: nn.Module, maps: Sequence[Tensor], labels: Tensor, optimiser: torch.optim.Optimizer) -> tuple[float, float, float]:
    """Seconds of an image's gradient, of a step of the weights, and of an image's logits."""
    network.eval()
    spent = []
    for _ in range(TRIED + 1):
        times = [time.perf_counter()]
        optimiser.zero_grad()
        torch.autograd.backward(functional.cross_entropy(network(*maps), labels))
        times.append(time.perf_counter())
        optimiser.step()
        times.append(time.perf_counter())
        with torch.inference_mode():
            network(*maps)
        spent.append(np.diff([*times, time.perf_counter()]))
    gradient, update, score = np.mean(spent[1:], 0)  # the first loads what it needs
    return float(gradient) / len(labels), float(update), float(score) / len(labels)


class TrainedHead(ProbeHead):
    """A head that is a network on maps; settings are weight decays."""

    needs = "map"
    differentiable = True
    log_odds = True
    penalties: tuple[float, ...] = (10.0, 1.0, 0.1)
    training: Training

    @abstractmethod
    def network(self, shape: tuple[int, int, int], classes: int) -> nn.Module:
        """An untrained network from maps (B, C, p, p) to logits (B, K); `shape` is (C, p, p)."""

    def fit(self, features: np.ndarray, labels: np.ndarray, classes: int) -> list[FittedHead]:
        return list(fit(lambda: self.network(features.shape[1:], classes), [features], labels, self.penalties, self.training))

    def foresee(self, features: np.ndarray, labels: np.ndarray, classes: int) -> Foreseen:
        return foresee(lambda: self.network(features.shape[1:], classes), [features], labels, self.penalties, self.training)
