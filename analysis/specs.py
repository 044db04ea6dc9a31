"""Frozen descriptions: what a model is (Card), what a result is of (identities), what a person asks for (requests).

Identity and coverage are separate: the key of a feature set is a hash of its identity alone; which noise levels, blocks,
poolings and images are there is read from the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .errors import InvalidRequest

PROTOCOL = 1  # what a stored feature or probe is: pooling, scaling, heads, ε; a change of any is another number
INTERVALS = 2  # how a study's intervals are made: 1 by a bootstrap that counted shared causes twice, 2 by resampling.py
LAYOUT = 1  # what a stored layout is: epochs, spread, how maps are laid onto each other
LATER = (
    "label_noise",
    "imbalance",
    "pca",
    "average_draws",
    "ensemble",
    "encoders",
    "fuse",
    "precision",
)  # fields of a request that came after the first studies
Input = Literal["noisy", "clean"]
Precision = Literal["float32", "bfloat16", "float16"]
Axis = Literal["timestep", "sigma", "log_snr"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: equal for equal specs, on every machine."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def key(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]


class Block(Frozen):
    """One ResNet or transformer layer with the attention behind it, or a down- or upsampler."""

    name: str
    module: str  # dotted path of the module whose output is the feature map
    stage: Literal["down", "mid", "up", "layer"]
    depth: int  # place in the order of execution, from 0
    channels: int
    stride: int  # image side over map side
    literature: str | None = None  # what papers call it, such as `ADM 24`

    def width(self, pooling: str) -> int:
        """How many numbers its pooled map has, by the pooling's name: the side of an average grid, or one a channel."""
        return self.channels * (int(pooling) ** 2 if pooling.isdecimal() else 1)


class Card(Frozen):
    """What a model is, without loading it; written when it is first loaded, shipped for bundled ones."""

    identity: str  # family + commit hash, sha256 of the weights, or `random:<seed>` of an architecture
    name: str
    family: str  # the backend plug-in that opens it
    repo_id: str | None = None
    revision: str | None = None
    license: str | None = None
    paper: str | None = None
    resolution: int
    image_channels: int
    space: Literal["pixel", "latent"] = "pixel"
    latent: tuple[int, int] | None = None  # channels of a latent, and how many pixels of an image it is wide
    sides: tuple[int, int] | None = None  # (what other sides of images are multiples of, the largest), where such are read
    noise: Literal["vp", "flow", "edm"] = "vp"
    sigmas: tuple[float, ...]  # ascending
    timesteps: tuple[float, ...]
    blocks: tuple[Block, ...]
    inside: tuple[Block, ...] = ()  # queries, keys, values, outputs and residual branches inside the blocks: read where they are named
    conditions: tuple[str, ...] = ("none",)  # `prompt:` stands for any prompt
    parameters: int
    parameter_bytes: int  # of float32, which is what is loaded
    notes: tuple[str, ...] = ()  # a sentence each: what the files do not say and was assumed, what was never trained
    pipeline: bool = False  # network and schedule are in subfolders `unet` and `scheduler`, as a diffusers pipeline is saved
    training: dict[str, Any] = Field(default_factory=dict)  # data, split, steps, images seen, seed, loss, seconds, hardware

    def at_side(self, side: int | None) -> Self:
        """The same model for images of another side, in pixels; None for its own. Raises InvalidRequest for a side that it cannot read."""
        if side is None or side == self.resolution:
            return self
        step, most = self.sides or (0, 0)
        if not step or not 0 < side <= most or side % step:
            allowed = f"multiples of {step} up to {most}" if step else f"its own, {self.resolution}"
            raise InvalidRequest(f"side is {side}; allowed for {self.name}: {allowed}.")
        return self.model_copy(update={"resolution": side, "identity": f"{self.identity}:{side}px"})

    @property
    def units(self) -> str:
        """What x_0 is of: pixels or latents."""
        return f"{self.space}s"

    @property
    def x0_shape(self) -> tuple[int, int, int]:
        """(c, h, w) of what the network denoises."""
        channels, stride = self.latent or (self.image_channels, 1)
        return channels, self.resolution // stride, self.resolution // stride

    @property
    def every(self) -> tuple[Block, ...]:
        """The blocks, then what lies inside them."""
        return self.blocks + self.inside

    def knows(self, condition: str) -> bool:
        """Whether the network can be told a condition; a prompt may be any."""
        return condition in self.conditions or ("prompt:" in self.conditions and condition.startswith("prompt:"))

    @property
    def map_bytes(self) -> int:
        """Bytes of one image's maps of all blocks in float32, as if none were let go."""
        return sum(4 * block.channels * max(1, self.resolution // block.stride) ** 2 for block in self.blocks)

    @property
    def unconditional(self) -> str:
        """The condition of a pass without a class, where the model knows that: a sampler's, and of features."""
        return "null" if "null" in self.conditions else self.conditions[0]

    @property
    def said_conditions(self) -> list[str]:
        """The conditions as a sentence lists them: of a thousand classes the first and the last."""
        classes = [name for name in self.conditions if name.startswith("class:")]
        others = ["prompt:<words>" if name == "prompt:" else name for name in self.conditions if name not in classes]
        return others + (classes if len(classes) < 4 else [f"{classes[0]} to {classes[-1]}"])


class FeatureIdentity(Frozen):
    """What a set of features is of; its key names the folder that holds them."""

    backend: str
    condition: str = "none"
    dataset: str
    input: Input = "noisy"
    seed: int = 0
    draw: int = 0  # which ε: one draw is one ε for every image
    precision: Precision = "float32"
    protocol: int = PROTOCOL


class LatentIdentity(Frozen):
    """What stored latents are of: a model's VAE and the images; they have no noise level."""

    backend: str
    dataset: str
    protocol: int = PROTOCOL


class ProbeIdentity(Frozen):
    """What a probed cell is of, apart from block, pooling and σ."""

    features: str  # key of the feature identity
    images: str  # hash over the ids of the labelled, validation and test images
    label_set: str
    labels: str  # hash over the labels themselves
    head: str
    settings: dict[str, Any]  # scaling and the penalties tried
    protocol: int = PROTOCOL


class LayoutIdentity(Frozen):
    """What the maps of a set of images are of, apart from block and σ; with `dims` 0, of their neighbours alone."""

    features: str  # key of the feature identity
    images: str  # hash over their ids, in order
    metric: Literal["cosine", "l2"] = "cosine"
    neighbours: int = 15
    dims: Literal[0, 2, 3] = 0
    engine: Literal["umap-learn", "cuml"] = "umap-learn"
    chain: str = ""  # hash over which cell follows which
    seed: int = 0
    labels: str = ""  # hash over the labels, for what is noted about them; a layout does not know them
    layout: int = LAYOUT
    protocol: int = PROTOCOL


class SweepRequest(Frozen):
    """What `sweep` is asked for; every default is the product's."""

    backend: str = "digits-ddpm"
    dataset: str = "digits"
    label_set: str | None = None  # None: the first that the data set has
    condition: str = "none"
    input: Input = "noisy"
    sigmas: tuple[float, ...] | None = None  # None: `levels` of the model's own, even in log σ
    levels: int = Field(16, ge=3)
    blocks: tuple[str, ...] | None = None  # None: all
    poolings: tuple[str, ...] = ("1",)
    head: str = "logistic"
    labels_per_class: tuple[int | Literal["all"], ...] = (10,)
    label_draws: int | None = Field(None, ge=1)  # None: 15 at 20 labels a class or fewer, 6 at 200, else as many as `eps_draws`
    eps_draws: int = Field(3, ge=1)
    seed: int = Field(0, ge=0)
    n_train: int | None = Field(None, ge=1)
    n_validation: int | None = Field(None, ge=1)  # None: all, or in proportion to `n_train`
    n_test: int | None = Field(None, ge=1)
    baselines: bool = True  # noised pixels, clean pixels, the same network with random weights
    baseline_labels: int | None = Field(None, ge=1)  # baselines are probed at up to so many labels a class; None: at all numbers
    label_noise: float = Field(0.0, ge=0, lt=1)  # share of the labelled images whose label is another class's
    imbalance: float = Field(1.0, ge=1)  # how many times as many labelled images the first class has as the last
    pca: int | None = Field(None, ge=1)  # features are projected on so many principal components of the labelled images
    average_draws: int = Field(1, ge=1)  # features are the mean over so many draws of ε
    ensemble: int = Field(0, ge=0)  # neighbouring levels whose probes' logits are averaged, each with its own ε; 0: none
    encoders: tuple[str, ...] = ()  # baseline encoders, as `transformers:PLACE`: a line on clean images, a curve on noised ones
    fuse: int = Field(0, ge=0, le=16)  # side of the maps of the ensemble's cells that one trained network reads together; 0: none
    precision: Precision = "float32"  # in which the networks compute features; probes are float32 always

    def canonical(self) -> str:
        """As of any spec; a field that came later is left out where it says nothing, so that keys stay what they were."""
        said = self.model_dump(
            mode="json", exclude={name for name in LATER if getattr(self, name) == type(self).model_fields[name].default}
        )
        return json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @field_validator("labels_per_class")
    @classmethod
    def _positive(cls, value: tuple[int | str, ...]) -> tuple[int | str, ...]:
        if not value or any(isinstance(v, int) and v < 1 for v in value):
            raise ValueError("labels per class are whole numbers from 1, or 'all'")
        return value

    def draws(self, labels_per_class: int | Literal["all"]) -> int:
        """How many choices of labelled images are probed at this number of labels a class."""
        if labels_per_class == "all":  # the labelled images are the same in every draw: only ε differs
            return self.eps_draws
        default = 15 if labels_per_class <= 20 else 6 if labels_per_class <= 200 else self.eps_draws
        return max(self.label_draws or default, self.eps_draws)


def variants(request: SweepRequest, **values: Sequence[Any]) -> list[SweepRequest]:
    """The request once for every combination of values given for its fields, the last field changing fastest; what is equal is there once.

    Of several inputs the noisy one alone has an ensemble, its fusion and averaged draws, which are of ε.
    """
    found = [request.model_copy(update=dict(zip(values, each, strict=True))) for each in product(*values.values())]
    if len(values.get("input", ())) > 1:
        found = [one.model_copy(update={"ensemble": 0, "fuse": 0, "average_draws": 1}) if one.input == "clean" else one for one in found]
    return list(dict.fromkeys(found))


def said_condition(condition: str) -> str:
    """A condition in words: the mean of the class embeddings says what it is, and that no network was trained with it."""
    return f"{condition} of the class embeddings, which was not trained" if condition == "mean" else condition


def regime(request: Mapping[str, Any]) -> list[str]:
    """What was done to the labels of the labelled images, in words; [] where they are right and as many of each class."""
    noise, ratio = request.get("label_noise", 0.0), request.get("imbalance", 1.0)
    return [*([f"{100 * noise:g} % wrong labels"] if noise else []), *([f"first class {ratio:g} times the last"] if ratio > 1 else [])]


def unusual(request: Mapping[str, Any]) -> list[str]:
    """What of a request, as JSON has it, is not as usual, in words."""
    return [
        *(["clean input"] if request["input"] == "clean" else []),
        *([request["head"]] if request["head"] != "logistic" else []),
        *regime(request),
        *([f"{request['pca']} components"] if request.get("pca") else []),
        *([f"mean of {request['average_draws']} ε"] if request.get("average_draws", 1) > 1 else []),
        *([f"ensemble of {request['ensemble']} levels"] if request.get("ensemble") else []),
        *([f"features in {request['precision']}"] if request.get("precision", "float32") != "float32" else []),
        *([f"learned fusion of {request['fuse']} × {request['fuse']} maps"] if request.get("fuse") else []),
    ]


class DownloadRequest(Frozen):
    """What a download is asked for."""

    kind: Literal["download"] = "download"
    repo_id: str
    revision: str | None = None  # None: the main branch
    repo_kind: Literal["model", "dataset", "encoder"] = "model"
    checkpoint: str | None = None  # one file of weights that is wanted by its name
    config: str | None = None  # of a data set: the one configuration that is wanted, None for all


class DataCard(Frozen):
    """What a data set holds, told without decoding its images."""

    name: str
    images: tuple[str, ...] = ()  # columns of images, first the one that is read; none where there is nothing to choose
    labels: dict[str, int | None] = {}  # columns of labels and how many classes each has, None for numbers
    chosen: tuple[str, ...] = ()  # of these, the ones that are label sets
    rows: dict[str, int]  # by split, as its source has them
    edge: int  # the short edge of its first image, pixels
    licence: str | None = None
    bytes: int | None = None  # on disk
    revision: str | None = None  # of the hub: the commit
