"""What decides the weights of the models that ship, one recipe each."""

from __future__ import annotations

import json
from typing import Any, Literal

from .errors import InvalidRequest, UnknownName
from .specs import Frozen


class Recipe(Frozen):
    """Everything that decides the weights, but for the images themselves."""

    name: str
    size: str = "small"
    dataset: str | None  # None: to be said when it is trained
    network: dict[str, Any]  # UNet2DModel's own arguments
    train_timesteps: int = 1000
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    ema_decay: float
    weight_decay: float = 0.0
    clip: float = 1.0
    flips: bool = False
    constant: bool = False  # the learning rate stays after its warm-up: no moment is nearer to an end than another
    log_sigma: tuple[float, float] | None = None  # mean and standard deviation of ln σ that steps are drawn by; None: timesteps evenly
    timestep: int | None = None  # the one noise level that it is trained at; None: all of them
    class_dropout: float | None = None  # share of the images whose class is withheld, so that there is a null class; None: no classes
    seed: int = 0
    weights: Literal["float32", "float16"] = "float32"  # how they leave
    license: str = "Apache-2.0"
    paper: str = "arXiv 2006.11239"

    def canonical(self) -> str:
        """As of any spec; what came later is not said where it is not used, so that runs begun before go on."""
        later = {
            name
            for name, unused in (("class_dropout", None), ("constant", False), ("log_sigma", None), ("timestep", None))
            if getattr(self, name) is unused
        }
        said = self.model_dump(mode="json", exclude=later)
        return json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def conditions(self) -> tuple[str, ...] | None:
        """What its network can be told: the last row of the class table is the null class. None where there is no table."""
        if self.class_dropout is None:
            return None
        return ("null", *(f"class:{k}" for k in range(self.network["num_class_embeds"] - 1)))


def _unet(side: int, image_channels: int, widths: list[int], attention: set[int], layers: int, groups: int, head: int) -> dict[str, Any]:
    """A `UNet2DModel` of these widths, with attention at the sides in `attention`."""
    sides = [side >> level for level in range(len(widths))]
    return {
        "sample_size": side,
        "in_channels": image_channels,
        "out_channels": image_channels,
        "block_out_channels": widths,
        "down_block_types": ["AttnDownBlock2D" if s in attention else "DownBlock2D" for s in sides],
        "up_block_types": ["AttnUpBlock2D" if s in attention else "UpBlock2D" for s in reversed(sides)],
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "attention_head_dim": head,
    }


RECIPES = (
    Recipe(
        name="digits-ddpm",
        dataset="digits",
        network=_unet(8, 1, [32, 64, 64], {2}, layers=1, groups=8, head=16),
        steps=2000,
        batch=64,
        learning_rate=2e-3,
        warmup=100,
        ema_decay=0.995,
    ),
    Recipe(
        name="digits-ddpm-classes",
        dataset="digits",
        network=_unet(8, 1, [32, 64, 64], {2}, layers=1, groups=8, head=16) | {"num_class_embeds": 11},
        steps=4000,
        batch=64,
        learning_rate=2e-3,
        warmup=100,
        ema_decay=0.998,
        class_dropout=0.15,
        weights="float16",
        paper="arXiv 2207.12598",
    ),
    Recipe(
        name="shapes-ddpm",
        dataset="shapes",
        network=_unet(16, 3, [24, 48, 80], {4}, layers=1, groups=8, head=16),
        steps=6000,
        batch=64,
        learning_rate=2e-3,
        warmup=200,
        ema_decay=0.998,
        weights="float16",
    ),
    Recipe(
        name="cifar10-ddpm",
        dataset=None,
        network=_unet(32, 3, [16, 32, 64, 128], {8}, layers=1, groups=8, head=16),
        steps=60000,
        batch=64,
        learning_rate=1e-3,
        warmup=500,
        ema_decay=0.999,
        flips=True,
        weights="float16",
    ),
    Recipe(
        name="cifar10-ddpm",
        size="base",
        dataset=None,
        network=_unet(32, 3, [128, 256, 256], {16}, layers=2, groups=32, head=64),
        steps=200000,
        batch=256,
        learning_rate=4e-4,
        warmup=1000,
        ema_decay=0.9995,
        flips=True,
        weights="float16",
    ),
    # Networks of a memorization study: trained many times over, and looked at on the way. No flips, which would double the images. Noise
    # levels as in Karras et al., arXiv 2206.00364, table 1, which arXiv 2502.05743 trains by: most steps are of middle noise.
    Recipe(
        name="digits-study",
        dataset="digits",
        network=_unet(8, 1, [32, 64, 64], {2}, layers=1, groups=8, head=16),
        steps=1000,
        batch=64,
        learning_rate=2e-3,
        warmup=100,
        ema_decay=0.995,
        constant=True,
        log_sigma=(-1.2, 1.2),
    ),
    Recipe(
        name="shapes-study",
        dataset="shapes",
        network=_unet(16, 3, [16, 32, 64], {4}, layers=1, groups=8, head=16),
        steps=2000,
        batch=64,
        learning_rate=2e-3,
        warmup=200,
        ema_decay=0.995,
        constant=True,
        log_sigma=(-1.2, 1.2),
    ),
    Recipe(
        name="cifar10-study",
        dataset=None,
        network=_unet(32, 3, [64, 128, 128], {8}, layers=1, groups=32, head=32),
        steps=8000,
        batch=64,
        learning_rate=1e-3,
        warmup=500,
        ema_decay=0.998,
        constant=True,
        log_sigma=(-1.2, 1.2),
    ),
)


def recipe(name: str, size: str | None = None, **changes: Any) -> Recipe:
    """A recipe by name and size, the smallest by default, with fields replaced. Raises UnknownName or InvalidRequest."""
    named = [one for one in RECIPES if one.name == name]
    if not named:
        raise UnknownName("recipe", name, {one.name for one in RECIPES})
    sized = [one for one in named if size in (None, one.size)]
    if not sized:
        raise InvalidRequest(f"size is {size!r}; allowed for {name}: {', '.join(one.size for one in named)}.")
    return Recipe.model_validate(sized[0].model_dump() | changes)
