"""Which places of an image attend to which word of a prompt, over blocks, heads and noise levels, for an image that is noised, not generated.

After Tang et al., What the DAAM: Interpreting Stable Diffusion Using Cross Attention, arXiv 2210.04885. A word's map is the attention of each
place to the word's tokens, summed over these, the mean over heads and over a block's layers: a share of one, the rest of which goes to other words,
to marks of start and end, and in joint attention to the image. Over blocks it is the mean of maps brought to the largest one's grid.
We depart from the paper in that: means stand for sums, so that a value is a share; grids are bilinear, not bicubic, which would go below zero;
the image is given, so that its noise is ours and one ε serves every level.

Words that are not in the prompt: in cross-attention the block's own keys of such a word are attended to by the queries of the pass with the
prompt, and its share is as if its keys were added to the prompt's. In joint attention a text's keys depend on what the image was until then,
so the prompt with the word behind it runs in the same batch, and the word's share is that of this pass.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .attending import Attention, attending, layers, shares
from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import image_ids
from .devices import lowered
from .errors import InvalidRequest, UnknownName
from .noise import add_noise, noise_like
from .prompted import Prompted, hears
from .specs import Block
from .steps import finish
from .views import x0_of

FOCUS = 0.1  # of the places: those that a word's focus is the share of


@dataclass(frozen=True)
class Level:
    """What n images' passes at one level say; W words, first the prompt's, then the A that were asked for besides. On the CPU, float32."""

    over: Tensor  # (n, W, G, G): the mean over blocks
    logits: Tensor  # (n, A, G, G): of the others before the softmax, the mean over blocks
    maps: dict[str, Tensor]  # of the blocks that were asked for, (n, W, h, w)
    heads: Tensor | None  # of one block, (n, H, W, h, w)
    share: Tensor  # (n, B, W): the mean over places
    special: Tensor  # (n, B): to places where nothing of the prompt stands
    image: Tensor  # (n, B): to the image's own keys; 0 in cross-attention


@dataclass(frozen=True)
class Maps:
    """The same over S levels, σ ascending as asked."""

    sigmas: tuple[float, ...]
    blocks: tuple[str, ...]  # B, those whose attention reads the text
    words: tuple[str, ...]
    over: Tensor  # (n, S, W, G, G)
    logits: Tensor  # (n, S, A, G, G)
    maps: dict[str, Tensor]  # (n, S, W, h, w)
    heads: Tensor | None  # (n, S, H, W, h, w)
    share: Tensor  # (n, S, B, W)
    special: Tensor  # (n, S, B)
    image: Tensor  # (n, S, B)

    @classmethod
    def of(cls, levels: Sequence[Level], sigmas: Sequence[float], blocks: Sequence[str], words: Sequence[str]) -> Maps:
        """Levels side by side."""

        def stacked(name: str) -> Any:
            return torch.stack([getattr(level, name) for level in levels], 1)

        names = ("over", "logits", "share", "special", "image")
        maps = {block: torch.stack([level.maps[block] for level in levels], 1) for block in levels[0].maps}
        heads = None if levels[0].heads is None else stacked("heads")
        return cls(tuple(sigmas), tuple(blocks), tuple(words), maps=maps, heads=heads, **{name: stacked(name) for name in names})


def text_blocks(model: Backend) -> list[Block]:
    """The blocks whose attention reads a text, in the order of execution. Raises InvalidRequest for a model that is told none."""
    return list({block.name: block for block in layers(hears(model)).values()}.values())


def grid(model: Backend) -> int:
    """The side of maps over blocks: the largest block's."""
    return max(model.card.resolution // block.stride for block in text_blocks(model))


@torch.inference_mode()
def drawn(model: Backend, images: Sequence[np.ndarray], seed: int = 0, draw: int = 0) -> tuple[Tensor, Tensor]:
    """x_0 and each image's own ε of a draw, (n, c, h, w) both: encoded once for all levels. Raises InvalidRequest."""
    if not images:
        raise InvalidRequest("There is no image; allowed: at least one.")
    x0 = torch.cat([x0_of(model, image) for image in images])
    return x0, noise_like(x0, [int(image_ids(image[None])[0]) for image in images], seed, draw).to(x0.device)


def levels_of(
    model: Backend,
    x0: Tensor,
    eps: Tensor,
    given: Prompted,
    sigmas: Sequence[float],
    blocks: Sequence[str] = (),
    heads: str | None = None,
    between: Between = still_wanted,
) -> Generator[Level, None, None]:
    """`maps` of what is `drawn`, a level after the other; what it takes to hold is one level's maps of `blocks` and attending.BUDGET."""
    known = {block.name: block for block in text_blocks(model)}
    for name in (*blocks, *([heads] if heads else [])):
        if name not in known:
            raise UnknownName("block that reads the text", name, list(known))
    for sigma in sigmas:
        between()
        with torch.inference_mode():
            found = _Pass(model, given, len(x0), list(known), tuple(blocks), heads)
            found.run(x0, eps, model.schedule.nearest(torch.tensor([sigma], dtype=torch.float64)))
            level = found.level(grid(model))
        yield level


def maps(
    model: Backend,
    images: Sequence[np.ndarray],
    given: Prompted,
    sigmas: Sequence[float],
    blocks: Sequence[str] | None = None,
    heads: str | None = None,
    seed: int = 0,
    draw: int = 0,
    between: Between = still_wanted,
) -> Maps:
    """Maps of each word of a prompt, of images (side, side, 3) uint8 with their own ε of a draw, at the schedule's levels nearest to `sigmas`.

    `blocks` are those whose own maps are kept (None: all), `heads` one whose heads are kept apart. `between` is called before every
    pass; what it raises ends the work. Raises InvalidRequest or UnknownName.
    """
    known = [block.name for block in text_blocks(model)]
    found: list[Level] = []
    x0, eps = drawn(model, images, seed, draw)
    way = levels_of(model, x0, eps, given, sigmas, known if blocks is None else blocks, heads, between)
    finish(way, found.append)
    if not found:
        raise InvalidRequest("sigmas is empty; allowed: at least one noise level.")
    real = model.schedule.nearest(torch.tensor(list(sigmas), dtype=torch.float64)).tolist()
    return Maps.of(found, real, known, given.names)


class _Pass:
    """One pass at one level, and what its attention comes to. In joint attention each other word is a prompt of its own in the batch."""

    def __init__(self, model: Backend, given: Prompted, count: int, names: list[str], keep: Sequence[str], heads: str | None) -> None:
        self.model, self.given, self.count, self.names, self.keep, self.heads = hears(model), given, count, names, set(keep), heads
        self.apart = model.text == "apart"
        self.tolds = [given.told, *([] if self.apart else [other.told for other in given.others])]
        self.groups = self._groups().to(model.device)
        self.found: dict[str, list[tuple[Tensor, Tensor]]] = {}  # of each block, its layers' shares and logits

    def _groups(self) -> Tensor:
        """Ones where a place belongs to a word, last where nothing of the prompt stands: (rows, T, W + 1); of another prompt's row, to the asked word."""
        words, length = self.given.words, len(self.given.told.tokens)
        rows = torch.zeros(len(self.tolds), length, len(words) + 1)
        for i, places in enumerate([*(word.places for word in words), self.given.special]):
            rows[0, list(places), i] = 1.0
        for row, other in enumerate(self.given.others[: len(self.tolds) - 1], start=1):
            rows[row, list(other.word.places), 0] = 1.0
        return rows.repeat_interleave(self.count, 0) if len(rows) > 1 else rows

    def run(self, x0: Tensor, eps: Tensor, level: Tensor) -> None:
        """The network's pass; what it predicts is not wanted."""
        model, rows = self.model, len(self.tolds)
        levels = level.expand(rows * self.count)
        x = add_noise(x0, level.expand(self.count), eps).repeat(rows, 1, 1, 1)
        told = [model.given(told, self.count) for told in self.tolds]
        given = {name: torch.cat([one[name] for one in told]) for name in told[0]}
        x = x * model.schedule.input_scale(levels).to(x).reshape(-1, 1, 1, 1)
        with attending(model, len(self.given.told.tokens), self.take), lowered(model.device.type, model.precision):
            model.run(model.net, x, model.schedule.timestep(levels).to(x), given)

    def take(self, block: Block, attention: Attention) -> None:
        """Of one layer: shares (n, heads or 1, N, W + 1) with the special places last, and logits (n, N, A)."""
        each = block.name == self.heads
        if self.apart:
            extra = [_keys(attention, other.told.tensors["encoder_hidden_states"], other.word.places) for other in self.given.others]
            found = shares(attention, self.groups, extra, each)
            every = torch.cat([found.groups[..., :-1], found.extra, found.groups[..., -1:]], -1)
            text = found.groups.sum(-1, keepdim=True)
            logits = found.logits
        else:
            found = shares(attention, self.groups, (), each)
            own, *others = torch.split(found.groups, self.count)
            every = torch.cat([own[..., :-1], *(other[..., :1] for other in others), own[..., -1:]], -1)
            text = own.sum(-1, keepdim=True)
            logits = self._joint_logits(attention)
        self.found.setdefault(block.name, []).append((torch.cat([every, 1 - text], -1), logits))

    def _joint_logits(self, given: Attention) -> Tensor:
        """(n, N, A): the mean over a word's tokens of q·k is q times their mean."""
        found = []
        for row, other in enumerate(self.given.others, start=1):
            rows = slice(row * self.count, (row + 1) * self.count)
            key = given.k[rows, :, given.text][:, :, list(other.word.places)].float().mean(2)
            found.append((torch.einsum("bhnd,bhd->bhn", given.q[rows].float(), key) * given.scale).mean(1))
        return torch.stack(found, -1) if found else given.q.new_zeros(self.count, given.q.shape[2], 0).float()

    def level(self, side: int) -> Level:
        """What all layers come to."""
        over, logits, share, kept = [], [], [], {}
        heads = None
        for name in self.names:
            value = torch.stack([one for one, _ in self.found[name]]).mean(0)  # over a block's layers
            plain = torch.stack([one for _, one in self.found[name]]).mean(0)
            if name == self.heads:
                heads = _as_maps(value[..., :-2])
            value = value.mean(1)
            share.append(value.mean(1))
            own = _as_maps(value[..., :-2])
            over.append(functional.interpolate(own, (side, side), mode="bilinear"))
            logits.append(functional.interpolate(_as_maps(plain), (side, side), mode="bilinear") if plain.shape[-1] else own[:, :0])
            if name in self.keep:
                kept[name] = own.cpu()
        every = torch.stack(share, 1)
        return Level(
            torch.stack(over).mean(0).cpu(),
            torch.stack(logits).mean(0).cpu() if self.given.others else torch.zeros(self.count, 0, side, side),
            kept,
            None if heads is None else heads.cpu(),
            *(part.cpu() for part in (every[..., :-2], every[..., -2], every[..., -1].clamp(min=0))),
        )


def _keys(given: Attention, states: Tensor, places: Sequence[int]) -> Tensor:
    """(1, H, tokens, d): what the layer's own projection and norm make of a word's states (1, T, c)."""
    module: Any = given.module
    states = states[:, list(places)]
    if module.norm_cross:
        states = module.norm_encoder_hidden_states(states)
    keys: Tensor = module.to_k(states)
    keys = keys.reshape(1, len(places), given.k.shape[1], -1).transpose(1, 2)
    norm: nn.Module | None = module.norm_k
    return keys if norm is None else norm(keys)


def _as_maps(value: Tensor) -> Tensor:
    """(…, N, W) -> (…, W, h, w)."""
    side = round(value.shape[-2] ** 0.5)
    return value.transpose(-1, -2).reshape(*value.shape[:-2], value.shape[-1], side, side).float()


def focus(maps: Tensor) -> Tensor:
    """How concentrated maps (…, h, w) are, (…): the share of all that lies in the highest tenth of the places. Even ones have a tenth, give or take a place; one place has 1."""
    flat = maps.flatten(-2)
    count = max(1, round(FOCUS * flat.shape[-1]))
    return flat.topk(count, -1).values.sum(-1) / flat.sum(-1).clamp(min=1e-12)
