"""The architecture of a guided-diffusion checkpoint, told from its state dict, and that state dict as a `UNet2DModel`'s.

Paper: Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233. Blocks are counted as in arXiv 2307.08702.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor

from ..errors import InvalidRequest
from ._inside import Layer

State = Mapping[str, Tensor]
GROUPS = 32
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


@dataclass(frozen=True)
class Untold:
    """What a state dict does not tell."""

    resolution: int
    head_channels: int | None = 64
    heads: int | None = None  # in every attention, instead of `head_channels`
    heads_first: bool = True  # rows of qkv are head by head, each its q, k, v; else all q, all k, all v
    betas: str = "linear"  # as diffusers names it, of 1,000 steps

    def heads_of(self, channels: int) -> int:
        return self.heads or channels // (self.head_channels or channels)


@dataclass(frozen=True)
class Architecture:
    """What a state dict tells."""

    base: int  # channels that widths are multiples of
    widths: tuple[int, ...]  # channels, a number a level
    resnets: int  # a level of the encoder; the decoder has one more
    attends: tuple[bool, ...]  # a level
    image_channels: int
    out_channels: int
    classes: int | None
    scale_shift: bool
    resnet_sampling: bool  # down- and upsampling inside ResNets, not by convolutions

    @property
    def multipliers(self) -> tuple[float, ...]:
        return tuple(width / self.base for width in self.widths)


def read(state: State) -> Architecture:
    """The architecture. Raises InvalidRequest that says what is not that of an ADM denoiser, or has no place in a `UNet2DModel`."""
    _check_kind(state)
    sides = {name: _parts(state, name) for name in ("input_blocks", "output_blocks")}
    inputs, outputs = sides["input_blocks"], sides["output_blocks"]
    ups = [i for i, parts in enumerate(outputs) if "resnet" in parts[1:] or "conv" in parts]
    levels, resnets = len(ups) + 1, ups[0] if ups else len(outputs) - 1
    deep = [1 + level * (resnets + 1) + i for level in range(levels) for i in range(resnets)]
    downs = [1 + level * (resnets + 1) + resnets for level in range(levels - 1)]
    count = levels * (resnets + 1)
    if resnets < 1 or len(inputs) != count or len(outputs) != count or ups != [(k + 1) * (resnets + 1) - 1 for k in range(levels - 1)]:
        raise InvalidRequest(
            f"The file has {len(inputs)} input and {len(outputs)} output blocks with upsamplers in {ups}: not as many ResNets in every level, "
            "which a UNet2DModel cannot express."
        )
    widths = [state[f"input_blocks.{i}.0.out_layers.0.weight"].shape[0] for i in deep]
    attends = ["attention" in inputs[i] for i in deep]
    behind = ["attention" in parts for parts in outputs]
    for what, values in (("width", widths), ("attention", attends), ("attention", behind)):
        per = len(values) // levels
        if any(len(set(values[k * per : (k + 1) * per])) > 1 for k in range(levels)):
            raise InvalidRequest(f"The ResNets of a level differ in {what}: {values}; a UNet2DModel cannot express that.")
    if attends[::resnets] != behind[:: resnets + 1][::-1]:
        raise InvalidRequest("A level attends in the encoder or the decoder alone; a UNet2DModel can express that, this reader does not.")
    kinds = {inputs[i][0] for i in downs} | {("resnet" if "resnet" in outputs[i][1:] else "conv") for i in ups}
    if len(kinds) > 1:
        raise InvalidRequest("Some levels are sampled by convolutions and some inside ResNets; a UNet2DModel is read with one of the two.")
    first = state["input_blocks.0.0.weight"]
    return Architecture(
        base=state["time_embed.0.weight"].shape[1],
        widths=tuple(widths[::resnets]),
        resnets=resnets,
        attends=tuple(attends[::resnets]),
        image_channels=first.shape[1],
        out_channels=state["out.2.weight"].shape[0],
        classes=state["label_emb.weight"].shape[0] if "label_emb.weight" in state else None,
        scale_shift=state["input_blocks.1.0.emb_layers.1.weight"].shape[0] == 2 * widths[0],
        resnet_sampling=kinds == {"resnet"},
    )


def _check_kind(state: State) -> None:
    """Raises InvalidRequest for what is no denoiser of images, or has weights of another shape."""
    needed = ("time_embed.0.weight", "input_blocks.0.0.weight", "input_blocks.1.0.in_layers.2.weight", "middle_block.0.in_layers.2.weight")
    if not all(name in state for name in needed):
        raise InvalidRequest(
            "The file holds no guided-diffusion network (no time_embed, input_blocks and middle_block); allowed: its denoisers."
        )
    if "out.2.weight" not in state or not any(name.startswith("output_blocks.") for name in state):
        raise InvalidRequest("The file holds a network without a decoder, a classifier; allowed: guided-diffusion's denoisers.")
    first = state["input_blocks.0.0.weight"]
    if first.ndim != 4:
        raise InvalidRequest(f"The first convolution has {first.ndim - 2} dimensions; allowed: 2, of images.")
    if first.shape[1] not in (1, 3):
        raise InvalidRequest(
            f"The network reads {first.shape[1]} channels: an upsampler, shown a small image beside the noised one; allowed: 1 or 3."
        )
    if "middle_block.1.qkv.weight" not in state or "middle_block.2.in_layers.2.weight" not in state:
        raise InvalidRequest("The middle is not a ResNet, attention and a ResNet, which is what a UNet2DModel has there.")
    wide = [name for name, value in state.items() if name.endswith("skip_connection.weight") and value.shape[-1] != 1]
    if wide:
        raise InvalidRequest(f"{wide[0]} is a 3×3 convolution; a UNet2DModel has 1×1 ones beside a ResNet.")
    odd = [name for name, value in state.items() if name.endswith("layers.0.weight") and value.shape[0] % GROUPS]
    if odd:
        raise InvalidRequest(f"{odd[0]} has {state[odd[0]].shape[0]} channels; allowed: multiples of the {GROUPS} groups of its norm.")


def _parts(state: State, side: str) -> list[list[str]]:
    """Of every block of a side, what its parts are. Raises InvalidRequest for a block without weights."""
    signs = {"in_layers.2.weight": "resnet", "qkv.weight": "attention", "op.weight": "conv", "conv.weight": "conv", "weight": "first"}
    keys = [name.split(".", 3) for name in state if name.startswith(f"{side}.")]
    found: dict[int, dict[int, str]] = {}
    for _, block, part, rest in keys:
        if rest in signs:
            found.setdefault(int(block), {})[int(part)] = signs[rest]
    missing = set(range(max(found, default=0) + 1)) - set(found)
    if missing:
        raise InvalidRequest(
            f"{side}.{min(missing)} has no weights: the network is sampled by pooling alone (conv_resample off), which no UNet2DModel is."
        )
    return [[parts[j] for j in sorted(parts)] for _, parts in sorted(found.items())]


def network(found: Architecture, untold: Untold) -> UNet2DModel:
    """The same architecture as a `UNet2DModel`, with fresh weights. Raises InvalidRequest where heads do not fit."""
    sampling = "resnet" if found.resnet_sampling else "conv"
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if found.resnet_sampling else ("DownBlock2D", "UpBlock2D")
    net = UNet2DModel(
        sample_size=untold.resolution,
        in_channels=found.image_channels,
        out_channels=found.out_channels,
        time_embedding_dim=4 * found.base,
        freq_shift=0,
        flip_sin_to_cos=True,
        down_block_types=tuple("AttnDownBlock2D" if attends else plain[0] for attends in found.attends),
        up_block_types=tuple("AttnUpBlock2D" if attends else plain[1] for attends in reversed(found.attends)),
        block_out_channels=found.widths,
        layers_per_block=found.resnets,
        downsample_type=sampling,
        upsample_type=sampling,
        attention_head_dim=None,
        norm_num_groups=GROUPS,
        attn_norm_num_groups=GROUPS,
        norm_eps=1e-5,
        resnet_time_scale_shift="scale_shift" if found.scale_shift else "default",
        num_class_embeds=found.classes,
    )
    if found.base != found.widths[0]:  # the time's sines are as many as the base width, whatever the first level's
        net.time_proj = Timesteps(found.base, True, 0)
        net.time_embedding = TimestepEmbedding(found.base, 4 * found.base)
    for module in net.modules():
        if isinstance(module, Attention):
            channels, heads = module.inner_dim, untold.heads_of(module.inner_dim)
            if heads < 1 or channels % heads or not (untold.heads or untold.head_channels in (None, channels // heads)):
                size = f"{untold.heads} heads" if untold.heads else f"heads of {untold.head_channels} channels"
                raise InvalidRequest(f"An attention of {channels} channels does not divide into {size}, which is what is assumed.")
            module.heads = module.sliceable_head_dim = heads
            module.scale = (channels // heads) ** -0.5
    return net


def pairs(found: Architecture) -> Iterator[tuple[str, str, str]]:
    """(kind, module of the file, module of the `UNet2DModel`) of everything that holds weights."""
    yield from (("plain", ours, theirs) for ours, theirs in ENDS.items() if ours != "label_emb" or found.classes)
    yield from (("resnet", f"middle_block.{2 * j}", f"mid_block.resnets.{j}") for j in (0, 1))
    yield "attention", "middle_block.1", "mid_block.attentions.0"
    levels, per, last = len(found.widths), found.resnets + 1, "resnet" if found.resnet_sampling else "plain"
    for level in range(levels):
        up = levels - 1 - level
        for j in range(per):
            down, deep = f"input_blocks.{1 + level * per + j}", f"output_blocks.{level * per + j}"
            if j < found.resnets:
                yield "resnet", f"{down}.0", f"down_blocks.{level}.resnets.{j}"
                if found.attends[level]:
                    yield "attention", f"{down}.1", f"down_blocks.{level}.attentions.{j}"
            elif level < levels - 1:
                yield last, f"{down}.0{'' if found.resnet_sampling else '.op'}", _sampler("down", level, found)
            yield "resnet", f"{deep}.0", f"up_blocks.{level}.resnets.{j}"
            if found.attends[up]:
                yield "attention", f"{deep}.1", f"up_blocks.{level}.attentions.{j}"
            if j == found.resnets and level < levels - 1:
                yield last, f"{deep}.{1 + found.attends[up]}{'' if found.resnet_sampling else '.conv'}", _sampler("up", level, found)


def _sampler(side: str, level: int, found: Architecture) -> str:
    return f"{side}_blocks.{level}.{side}samplers.0{'' if found.resnet_sampling else '.conv'}"


def converted(state: State, found: Architecture, untold: Untold) -> dict[str, Tensor]:
    """The weights by the `UNet2DModel`'s names, float32. Raises InvalidRequest for weights that have no place there."""
    out, left = {}, set(state)
    for kind, ours, theirs in pairs(found):
        mine = {name.removeprefix(f"{ours}."): state[name].float() for name in state if name.startswith(f"{ours}.")}
        left -= {f"{ours}.{name}" for name in mine}
        for name, value in mine.items():
            module, _, leaf = name.rpartition(".")
            if kind == "plain":
                out[f"{theirs}.{leaf}"] = value
            elif kind == "resnet":
                out[f"{theirs}.{RESNET.get(module, module)}.{leaf}"] = value
            elif module == "qkv":
                rows = value.flatten(1) if value.ndim == 3 else value  # a convolution of length 1
                heads = untold.heads_of(len(rows) // 3) if untold.heads_first else 1
                split = rows.reshape(heads, 3, -1, *rows.shape[1:])
                out |= {f"{theirs}.to_{letter}.{leaf}": split[:, i].flatten(0, 1) for i, letter in enumerate("qkv")}
            else:
                new = {"norm": "group_norm", "proj_out": "to_out.0"}.get(module, module)
                out[f"{theirs}.{new}.{leaf}"] = value.flatten(1) if value.ndim == 3 else value
    if left:
        raise InvalidRequest(
            f"{len(left)} tensors have no place in a UNet2DModel, such as {min(left)}; allowed: guided-diffusion's denoisers."
        )
    return out


def blocks_of(found: Architecture) -> list[Layer]:
    """The blocks as the literature counts them: the first convolution, every ResNet with what stands behind it, the middle as one.

    An upsampler is behind the last ResNet of its level. The published network of 256×256 has 37: 18, the middle, 18.
    """
    levels = len(found.widths)
    layers = [Layer("conv_in", "down", "conv_in", "ADM 1")]

    def count() -> str:
        return f"ADM {len(layers) + 1}"

    def pair(name: str, stage: Literal["down", "up"], path: str, j: int, attends: bool) -> Layer:
        within = (f"{path}.resnets.{j}", *((f"{path}.attentions.{j}",) if attends else ()))
        return Layer(name, stage, within[-1], count(), within)

    for i in range(1, levels * (found.resnets + 1)):
        level, j = divmod(i - 1, found.resnets + 1)
        if j == found.resnets:
            path = f"down_blocks.{level}.downsamplers.0"
            layers.append(Layer(f"down{level}.down", "down", path, count(), (path,)))
        else:
            layers.append(pair(f"down{level}.res{j}", "down", f"down_blocks.{level}", j, found.attends[level]))
    middle = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    layers.append(Layer("mid", "mid", middle[-1], count(), middle))
    for i in range(levels * (found.resnets + 1)):
        level, j = divmod(i, found.resnets + 1)
        if j == found.resnets and level < levels - 1:
            path = f"up_blocks.{level}.upsamplers.0"
            behind = tuple(
                f"up_blocks.{level}.{part}.{j}" for part in ("resnets", *(("attentions",) if found.attends[levels - 1 - level] else ()))
            )
            layers.append(Layer(f"up{level}.up", "up", path, count(), (*behind, path)))
        else:
            layers.append(pair(f"up{level}.res{j}", "up", f"up_blocks.{level}", j, found.attends[levels - 1 - level]))
    return layers
