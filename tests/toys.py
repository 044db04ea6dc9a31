"""A backend whose network is given by hand, so that maps can be worked out on paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.backends.base import Backend
from analysis.crew import Crew
from analysis.datasets.base import Dataset
from analysis.noise import Schedule
from analysis.specs import Block, Card, FeatureIdentity
from analysis.store import Store

Shown = Callable[[FeatureIdentity, float, Sequence[str], np.ndarray, np.ndarray], Mapping[str, np.ndarray]]


def without_network(shown: Shown) -> Callable[..., int]:
    """In place of `features.extract`: what `shown` makes, {name: (n, D)}, of identity, σ, names, image ids (n,) and their classes (n,)."""

    def extract(
        store: Store,
        _source: Any,
        _backend: Any,
        dataset: Dataset,
        identity: FeatureIdentity,
        names: Sequence[str],
        sigmas: Sequence[float],
        ids: np.ndarray,
        *_: object,
    ) -> int:
        values = dataset.label_set().values
        for sigma in sigmas:
            for group, part in store.missing("features", identity, sigma, names, ids):
                store.put("features", identity, sigma, part, shown(identity, sigma, group, part, values[dataset.rows(part)]))
        return 0

    return extract


class AtOnce(Crew):
    """A crew that does everything where it is asked, so that nothing has to be started."""

    def __init__(self) -> None:
        super().__init__(0)

    def start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments))
        except Exception as error:
            done.set_exception(error)
        return done


class Toy(Backend):
    """Block `first` is the first module of `net`, with so many channels; D(x; σ) is what the whole of `net` gives."""

    def __init__(self, *modules: nn.Module, channels: int = 3, resolution: int = 2) -> None:
        self.net = nn.Sequential(*modules).eval().requires_grad_(False)
        self.schedule = Schedule.from_levels("edm", [1e-6, 1.0], [0, 1])
        block = Block(name="first", module="0", stage="layer", depth=0, channels=channels, stride=1)
        self.card = Card(
            identity="toy",
            name="toy",
            family="toy",
            resolution=resolution,
            image_channels=3,
            sigmas=(1e-6, 1.0),
            timesteps=(0, 1),
            blocks=(block,),
            parameters=0,
            parameter_bytes=0,
        )

    @classmethod
    def load(cls, *_: object) -> Toy:  # type: ignore[override]
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def encode(self, images: Tensor) -> Tensor:
        return images

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        return self.net(x)


class Latent(Toy):
    """x_0 is the image at half its size, doubled in value."""

    def encode(self, images: Tensor) -> Tensor:
        return 2 * nn.functional.avg_pool2d(images, 2)


def convolution(weight: Tensor) -> nn.Conv2d:
    """A 1×1 convolution with these weights (out, in) and no bias."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    layer.weight.data = weight[..., None, None]
    return layer


def edges() -> Toy:
    """Eight random 3×3 filters with a threshold, a ReLU, eight more, a ReLU: that is the block; then three colours again."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        back = convolution(torch.randn(3, 8))
    first.bias.data.fill_(-0.1)
    return Toy(nn.Sequential(first, nn.ReLU(), second, nn.ReLU()), back, channels=8, resolution=16)
