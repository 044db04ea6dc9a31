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
from ..specs import Block, Card
from .base import NOWHERE, Backend

Layer = tuple[str, Literal["down", "mid", "up", "layer"], str, str | None]  # name, stage, module path, the literature's name
PREDICTIONS = ("epsilon", "v_prediction", "sample")
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
        """x̂_0 of the network's F = F(u, t(σ)) at u = x_σ/√(1+σ²).

        ε: x_σ - σ F; v = (ε - σ x_0)/√(1+σ²): (x_σ - σ √(1+σ²) F)/(1+σ²) (Salimans & Ho, arXiv 2202.00512, appendix D); x_0: F.
        """
        labels = self._labels(condition, len(x))
        at = (-1, 1, 1, 1)
        timestep = self.schedule.timestep(sigma).long().to(x.device)
        sigma = self.schedule.nearest(sigma).to(x)
        scale = self.schedule.input_scale(sigma).reshape(at)
        made: Tensor = self.net(x * scale, timestep, labels).sample[:, : x.shape[1]]
        if self.prediction == "epsilon":
            return x - sigma.reshape(at) * made
        if self.prediction == "v_prediction":
            return scale * (scale * x - sigma.reshape(at) * made)
        return made

    def denoise_each(self, x: Tensor, sigma: Tensor, conditions: Sequence[str]) -> Tensor:
        """D(x; σ) with a condition for each of the B rows, in one pass."""
        return self.denoise(x, sigma, list(conditions))  # type: ignore[arg-type]

    def _labels(self, condition: str | list[str] | None, count: int) -> Tensor | None:
        """What the network is told beside the timestep: (B,) indices of its class table. Raises InvalidRequest."""
        if isinstance(condition, list):
            told = [label for name in condition if (label := self._labels(name, 1)) is not None]
            return torch.cat(told) if told else None
        condition = condition or self.card.unconditional
        if condition not in self.card.conditions:
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
    return Card(
        **facts | {"notes": (*facts.get("notes", ()), *((UNTRAINED,) if told[0] == "mean" else ()))},
        resolution=side,
        image_channels=channels,
        sigmas=tuple(schedule.sigmas.tolist()),
        timesteps=tuple(schedule.timesteps.tolist()),
        blocks=observed(net, side, list(layers)),
        conditions=told,
        parameters=sum(p.numel() for p in net.parameters()),
        parameter_bytes=sum(p.numel() * 4 for p in net.parameters()),
    )


def observed(net: UNet2DModel, side: int, layers: list[Layer]) -> tuple[Block, ...]:
    """The blocks with the channels and strides seen in one forward pass of a blank image."""
    seen: dict[str, torch.Size] = {}
    hooks = []
    for name, _, path, _ in layers:

        def keep(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            seen[name] = (output[0] if isinstance(output, tuple) else output).shape

        hooks.append(net.get_submodule(path).register_forward_hook(keep))
    blank = next(net.parameters()).new_zeros(1, net.config["in_channels"], side, side)
    try:
        with torch.no_grad():
            net(blank, 0, None if net.class_embedding is None else blank.new_zeros(1, dtype=torch.long))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(
        Block(
            name=name,
            module=path,
            stage=stage,
            depth=depth,
            channels=seen[name][1],
            stride=side // seen[name][-1],
            literature=known,
        )
        for depth, (name, stage, path, known) in enumerate(layers)
    )


def layers_of(net: UNet2DModel) -> Iterator[Layer]:
    """Every block in the order of execution. A ResNet with attention behind it is one block, whose output is the attention's."""

    def side(stage: Literal["down", "up"], parts: Any, sampler: str) -> Iterator[Layer]:
        for i, part in enumerate(parts):
            behind: Any = getattr(part, "attentions", None) or ()
            for j in range(len(part.resnets)):
                last = "attentions" if j < len(behind) and behind[j] is not None else "resnets"
                yield f"{stage}{i}.res{j}", stage, f"{stage}_blocks.{i}.{last}.{j}", None
            for j in range(len(getattr(part, sampler, None) or ())):
                yield f"{stage}{i}.{stage}", stage, f"{stage}_blocks.{i}.{sampler}.{j}", None

    yield from side("down", net.down_blocks, "downsamplers")
    if net.mid_block is not None:
        behind = list(net.mid_block.attentions)
        for j in range(len(net.mid_block.resnets)):
            last = "attentions" if j < len(behind) and behind[j] is not None else "resnets"
            yield f"mid.res{j}", "mid", f"mid_block.{last}.{j}", None
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
