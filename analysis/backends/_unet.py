"""What pixel-space families over diffusers' `UNet2DModel` share: blocks, conditions, and three predictions as one denoiser in σ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InvalidRequest
from ..noise import Schedule
from ..specs import Card
from ._inside import Layer, observe
from ._predictions import PREDICTIONS, denoised
from .base import NOWHERE, Backend, picked

UNTRAINED = "The condition 'mean' is the mean of the class embeddings, which the network was never trained with; features use it, as it has no null class."


class ClassTable(nn.Embedding):
    """Class embeddings (K, D) whose index K is the mean of all."""

    def forward(self, index: Tensor) -> Tensor:
        return functional.embedding(index, torch.cat([self.weight, self.weight.mean(0, keepdim=True)]))


class PixelUNet(Backend):
    """A `UNet2DModel` that predicts ε, v or x_0 of variance-preserving noise; of 2c output channels the second c are a variance."""

    net: UNet2DModel

    def __init__(self, net: UNet2DModel, scheduler: DDPMScheduler, card: Card) -> None:
        self.net, self.card = net, card
        self.schedule = Schedule.variance_preserving(scheduler.alphas_cumprod)
        self.prediction = scheduler.config["prediction_type"]
        if isinstance(net.class_embedding, nn.Embedding):
            table = net.class_embedding.weight
            net.class_embedding = ClassTable(table.shape[0], table.shape[1], _weight=table)

    def encode(self, images: Tensor) -> Tensor:
        """Pixels are x_0; a one-channel network reads the mean of red, green and blue."""
        side = self.card.resolution
        if images.shape[-2:] != (side, side):
            raise InvalidRequest(
                f"Images are {images.shape[-1]}×{images.shape[-2]} pixels; {self.card.name} reads {side}×{side}: resize them."
            )
        return images.mean(1, keepdim=True) if self.card.image_channels == 1 else images

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        """x̂_0 of the network's F = F(u, t(σ)) at u = x_σ/√(1+σ²)."""
        labels = self._labels(condition, len(x))
        timestep = self.schedule.timestep(sigma).long().to(x.device)
        sigma = self.schedule.nearest(sigma).to(x).reshape(-1, 1, 1, 1)
        made: Tensor = self.net(x * self.schedule.input_scale(sigma), timestep, labels).sample[:, : x.shape[1]]
        return denoised(self.prediction, x, sigma, made)

    def denoise_each(self, x: Tensor, sigma: Tensor, conditions: Sequence[str]) -> Tensor:
        """D(x; σ) with a condition for each of the B rows, in one pass."""
        return self.denoise(x, sigma, list(conditions))  # type: ignore[arg-type]

    def _labels(self, condition: str | list[str] | None, count: int) -> Tensor | None:
        """What the network is told beside the timestep: (B,) indices of its class table. Raises InvalidRequest."""
        if isinstance(condition, list):
            told = [label for name in condition if (label := self._labels(name, 1)) is not None]
            return torch.cat(told) if told else None
        condition = condition or self.card.unconditional
        if not self.card.knows(condition):
            raise InvalidRequest(f"condition {condition!r}; allowed for {self.card.name}: {', '.join(self.card.said_conditions)}.")
        if condition == "none":
            return None
        classes = self.net.class_embedding.num_embeddings
        index = {"mean": classes, "null": classes - 1}.get(condition)
        return torch.full((count,), int(condition.partition(":")[2]) if index is None else index, device=self.device)


def conditions(net: UNet2DModel) -> tuple[str, ...]:
    """What a network can be told, the one for features first. Raises InvalidRequest for a condition that no number names."""
    if net.class_embedding is None:
        return ("none",)
    if not isinstance(net.class_embedding, nn.Embedding):
        raise InvalidRequest(
            f"class_embed_type is {net.config['class_embed_type']!r}: what the network is told is not in its files; "
            "allowed: none, or a table of classes (num_class_embeds alone)."
        )
    return ("mean", *(f"class:{k}" for k in range(net.class_embedding.num_embeddings)))


def describe(net: UNet2DModel, scheduler: DDPMScheduler, layers: Iterable[Layer], **facts: Any) -> Card:
    """The Card of a network, of real weights or on the `meta` device. Raises InvalidRequest for what no pixel model is."""
    side, channels, out = (net.config[name] for name in ("sample_size", "in_channels", "out_channels"))
    if isinstance(side, (list, tuple)) and len(set(side)) == 1:
        side = side[0]
    if not isinstance(side, int):
        raise InvalidRequest(f"sample_size is {side}; allowed: one number, the side of the square images that the network was trained on.")
    if channels not in (1, 3) or out not in (channels, 2 * channels):
        raise InvalidRequest(
            f"The network has {channels} input and {out} output channels; allowed: 1 or 3 of an image, and as many out, or twice as many with a variance."
        )
    if scheduler.config["prediction_type"] not in PREDICTIONS:
        raise InvalidRequest(f"prediction_type is {scheduler.config['prediction_type']!r}; allowed: {', '.join(PREDICTIONS)}.")
    schedule = Schedule.variance_preserving(scheduler.alphas_cumprod)
    told = facts.pop("conditions", None) or conditions(net)
    blank = next(net.parameters()).new_zeros(1, channels, side, side)
    label = None if net.class_embedding is None else blank.new_zeros(1, dtype=torch.long)
    blocks, inner = observe(net, list(layers), lambda: net(blank, 0, label), picked, side, 1)
    return Card(
        **facts | {"notes": (*facts.get("notes", ()), *((UNTRAINED,) if told[0] == "mean" else ()))},
        resolution=side,
        image_channels=channels,
        sigmas=tuple(schedule.sigmas.tolist()),
        timesteps=tuple(schedule.timesteps.tolist()),
        blocks=blocks,
        inside=inner,
        conditions=told,
        parameters=sum(p.numel() for p in net.parameters()),
        parameter_bytes=sum(p.numel() * 4 for p in net.parameters()),
    )


def layers_of(net: Any) -> Iterator[Layer]:
    """Every block of a U-Net in the order of execution. A ResNet with attention behind it is one block, whose output is the attention's."""

    def pair(name: str, stage: Literal["down", "mid", "up"], path: str, j: int, behind: Any) -> Layer:
        within = [f"{path}.resnets.{j}"]
        if j < len(behind) and behind[j] is not None:
            within.append(f"{path}.attentions.{j}")
        return Layer(name, stage, within[-1], within=tuple(within))

    def side(stage: Literal["down", "up"], parts: Any, sampler: str) -> Iterator[Layer]:
        for i, part in enumerate(parts):
            behind: Any = getattr(part, "attentions", None) or ()
            for j in range(len(part.resnets)):
                yield pair(f"{stage}{i}.res{j}", stage, f"{stage}_blocks.{i}", j, behind)
            for j in range(len(getattr(part, sampler, None) or ())):
                yield Layer(f"{stage}{i}.{stage}", stage, f"{stage}_blocks.{i}.{sampler}.{j}")

    yield from side("down", net.down_blocks, "downsamplers")
    if net.mid_block is not None:
        behind = list(getattr(net.mid_block, "attentions", None) or ())
        for j in range(len(net.mid_block.resnets)):
            yield pair(f"mid.res{j}", "mid", "mid_block", j, behind)
    yield from side("up", net.up_blocks, "upsamplers")


def to_device(net: UNet2DModel, device: str) -> UNet2DModel:
    """Ready to be read: on the device, in the memory format that convolutions are fast in, fixed."""
    return net.to(device=device, memory_format=torch.channels_last).eval().requires_grad_(False)


def placed(device: str) -> AbstractContextManager[Any]:
    """Where a network is made: on the CPU, of numbers, or without any."""
    return torch.device(NOWHERE) if device == NOWHERE else nullcontext()


def seed_of(weights: str) -> int | None:
    """The seed of `random:<seed>`; None for `trained`. Raises InvalidRequest."""
    if weights == "trained":
        return None
    kind, _, seed = weights.partition(":")
    if kind != "random" or not seed.isdecimal():
        raise InvalidRequest(f"weights {weights!r}; allowed: 'trained' or 'random:<seed>'.")
    return int(seed)
