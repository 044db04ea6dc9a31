"""A study of memorization: networks trained on few and on many images, each met as often in all, and looked at on the way.

After arXiv 2502.05743, section 5. Every network of a seed begins with the same weights and meets the same number of training images;
smaller training sets are part of larger ones, those of different seeds share no image. All are probed with the same labelled images,
which no network was trained on, and the same test images, under the same ε: sizes of a seed differ in nothing but the training set.

<store>/memorization/<key>/     plan.json, the request; memorization.json with its tables, when all is there (memorized.py)
    runs/<size>-<seed>/         log.parquet; weights-<seen>.safetensors, the network then; found-<seen>-<weights>.safetensors, what it showed
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from .errors import InvalidRequest
from .recipes import Recipe, recipe
from .specs import Frozen
from .store import default_root

FRESH: Literal["fresh"] = "fresh"  # a training set without end: every image is new
Size = int | Literal["fresh"]
Weights = Literal["ema", "raw"]
Labelled = Literal[
    "outside", "subset"
]  # where a probe's labelled images are: in no training set, or, as in the paper, in the network's own
HIGHEST = 5.0  # σ: above it every curve is at chance, and a study's networks have hardly been trained: samples begin here
STUDY = 2  # what a run finds; a change of it is another study


class MemorizationRequest(Frozen):
    """What a study is asked for; every default is the product's."""

    dataset: str = "shapes"
    recipe: str | None = None  # None: the one that is for the data set
    sizes: tuple[Size, ...] = (64, 256, 1024, 4096, 16384, FRESH)
    seeds: int = Field(3, ge=1)
    seen: tuple[int, ...] = (4096, 8192, 16384, 32768, 65536, 131072)  # training images met, at each moment that is looked at
    label_set: str | None = None
    labels_per_class: int = Field(10, ge=1)
    label_draws: int = Field(5, ge=1)  # of each seed
    levels: int = Field(10, ge=3)
    n_validation: int = Field(300, ge=2)
    n_test: int = Field(1000, ge=2)
    samples: int = Field(256, ge=2)  # images that each network makes
    sample_steps: int = Field(50, ge=2)  # of the whole way down; those from HIGHEST on are taken
    losses: int = Field(128, ge=2)  # training and test images each, of which the denoising error is taken
    study: int = STUDY

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        counted = [size for size in self.sizes if isinstance(size, int)]
        if not counted or counted != sorted(set(counted)) or min(counted) < 2 or self.sizes != (*counted, *self.sizes[len(counted) :]):
            raise InvalidRequest(
                f"sizes are {', '.join(map(str, self.sizes))}; allowed: numbers of training images from 2 on, ascending, then perhaps 'fresh'."
            )
        if len(self.sizes) > len(counted) + 1:
            raise InvalidRequest("sizes have 'fresh' twice; allowed: once, at the end.")
        if self.seeds * self.label_draws < 2:
            raise InvalidRequest("seeds is 1 and label_draws 1; allowed: at least two draws of labels in all, to tell how they scatter.")
        if not self.seen or list(self.seen) != sorted(set(self.seen)):
            raise InvalidRequest(f"seen is {', '.join(map(str, self.seen))}; allowed: numbers of images, ascending.")
        if wrong := [count for count in self.seen if count < 1 or count % self.spec.batch]:
            raise InvalidRequest(f"seen has {wrong[0]}; allowed: multiples of {self.spec.batch}, the images of a training step.")
        return self

    @property
    def spec(self) -> Recipe:
        """The recipe of its networks. Raises UnknownName, or InvalidRequest for data that none is for."""
        name = self.recipe or {"digits": "digits-study", "shapes": "shapes-study"}.get(self.dataset.partition(":")[0])
        if name is None and "cifar10" in self.dataset:
            name = "cifar10-study"
        if name is None:
            raise InvalidRequest(
                f"No recipe is known for {self.dataset}; give one, such as shapes-study for images of 16 pixels or cifar10-study for 32."
            )
        return recipe(name, steps=max(self.seen) // recipe(name).batch)

    @property
    def runs(self) -> list[Run]:
        """Every network that is trained; those of the first seed first, and of each the smallest and the largest set."""
        order = sorted(range(len(self.sizes)), key=lambda i: min(i, len(self.sizes) - 1 - i))
        return [Run(str(self.sizes[i]), seed) for seed in range(self.seeds) for i in order]

    @property
    def largest(self) -> int:
        """How many training images the largest set has, but for one without end."""
        return max(size for size in self.sizes if isinstance(size, int))

    @property
    def met(self) -> int:
        """How many images stand for a set without end: the first that are met, all before the first moment, no more than the largest set has."""
        return min(self.seen[0], self.largest)

    def looks(self) -> Iterator[Look]:
        """Every look at every network, a run after the other, in the order of training."""
        for run in self.runs:
            yield from run.looks(self)


class Look(NamedTuple):
    """One network at one moment, with its mean weights or those of the last step."""

    size: str
    seed: int
    seen: int
    weights: Weights


class Run(NamedTuple):
    """One network: how many images it is trained on, and its seed."""

    size: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.size}-{self.seed}"

    def looks(self, request: MemorizationRequest) -> list[Look]:
        """Its moments with mean weights, and the last also with the weights as they are."""
        last = request.seen[-1]
        return [Look(*self, seen, "ema") for seen in request.seen] + [Look(*self, last, "raw")]


def place_of(request: MemorizationRequest, root: Path | None = None) -> Path:
    """The folder of a study in the store."""
    return (root or default_root()) / "memorization" / request.key()


def found_path(folder: Path, look: Look) -> Path:
    """Where what a look found is kept."""
    return folder / "runs" / f"{look.size}-{look.seed}" / f"found-{look.seen}-{look.weights}.safetensors"


def apart_path(folder: Path, seed: int, level: int, seen: int) -> Path:
    """Where what a denoiser of one level showed after so many images is kept."""
    return folder / "runs" / f"apart-{seed}-{level}-{seen}" / "found.safetensors"


def weights_path(folder: Path, run: Run, seen: int) -> Path:
    """Where a network at one moment is kept."""
    return folder / "runs" / run.name / f"weights-{seen}.safetensors"
