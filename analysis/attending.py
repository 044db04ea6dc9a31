"""What a network attends to in a text, taken during a pass that goes on as ever: softmax of the final queries and keys of its attention,
reduced in the block where it happens.

Every `scaled_dot_product_attention` is listened to, so that rotary embeddings and norms of queries and keys are in what is read, for every family alike;
hooks say which module is at work. What is kept is words × places: all weights of a block are never held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .backends.base import Backend
from .specs import Block

BUDGET = 1 << 27  # bytes that reading takes at most beside the pass: half of it weights in float32, the rest copies of queries and keys


class Attention(NamedTuple):
    """One layer's attention of image queries to keys."""

    module: nn.Module
    q: Tensor  # (B, H, N, d), the image's
    k: Tensor  # (B, H, K, d), all
    scale: float
    text: slice  # of the keys


Take = Callable[[Block, Attention], None]


def layers(model: Backend) -> dict[str, Block]:
    """The modules whose attention reads a text, by path, in the order of execution, and the block that each is in."""
    found = {}
    for path, module in model.net.named_modules():
        if not (hasattr(module, "to_q") and hasattr(module, "to_k")):
            continue
        if model.text == "apart" and not getattr(module, "is_cross_attention", False):
            continue
        near = [block for block in model.card.blocks if f"{path}.".startswith(f"{block.module}.")]
        if near:
            found[path] = max(near, key=lambda block: len(block.module))
    return dict(sorted(found.items(), key=lambda item: item[1].depth))


class _Listening(TorchFunctionMode):
    """Hands each attention of the module at work to `take`, then carries it out as it is."""

    def __init__(self, model: Backend, length: int, take: Take) -> None:
        super().__init__()
        self.at_work: list[tuple[nn.Module, Block]] = []
        self._model, self._length, self._take = model, length, take

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.scaled_dot_product_attention and self.at_work:
            self._listen(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _listen(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, scale: float | None = None, **__: Any) -> None:
        module, block = self.at_work[-1]
        keys, length, side = key.shape[2], self._length, self._model.card.resolution // block.stride
        text = {"apart": slice(0, keys), "behind": slice(keys - length, keys), "before": slice(0, length)}[str(self._model.text)]
        if self._model.text != "apart":
            if keys != side * side + length:  # an image's attention to itself alone
                return
            query = query[:, :, : keys - length] if self._model.text == "behind" else query[:, :, length:]
        self._take(block, Attention(module, query, key, query.shape[-1] ** -0.5 if scale is None else scale, text))


@contextmanager
def attending(model: Backend, length: int, take: Take) -> Iterator[None]:
    """While it is open, every attention of the image to a text of `length` places is handed to `take`; what passes give is not changed.

    Hooks are gone afterwards, also after an exception. No family here gives its attention a mask.
    """
    mode, handles = _Listening(model, length, take), []

    def begin(block: Block) -> Callable[[nn.Module, Any], None]:
        return lambda module, _inputs: mode.at_work.append((module, block))

    def end(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        mode.at_work.pop()

    try:
        for path, block in layers(model).items():
            module = model.net.get_submodule(path)
            handles.append(module.register_forward_pre_hook(begin(block)))
            handles.append(module.register_forward_hook(end, always_call=True))
        with mode:
            yield
    finally:
        for handle in handles:
            handle.remove()


class Shares(NamedTuple):
    """How much of attention goes where."""

    groups: Tensor  # (B, H or 1, N, G): to each group of keys
    extra: Tensor  # (B, H or 1, N, A): to each word that is not among the keys, as if its own were one more
    logits: Tensor  # (B, N, A): of these words before the softmax, the mean over heads and tokens


def shares(given: Attention, groups: Tensor, extra: Sequence[Tensor] = (), each: bool = False) -> Shares:
    """The softmax shares of `given`, summed over groups of its text's keys; the mean over heads, or of `each`.

    `groups` (B or 1, T, G) are ones where a key belongs to a group; `extra` keys (1, H, tokens, d) a word. For each place the shares of all
    keys sum to one. Weights are made for one image and so many queries at a time that they keep to BUDGET.
    """
    q, k = given.q, given.k
    batch, heads, count, _ = q.shape
    step = max(1, BUDGET // (2 * 4 * heads * k.shape[2]))
    found = []
    with torch.autocast(q.device.type, enabled=False):
        for row in range(batch):  # images one by one, so that a larger batch takes no more
            keys, own = k[row : row + 1].float().transpose(-1, -2), groups[row % len(groups)]
            parts = [
                _part(q[row : row + 1, :, start : start + step].float() * given.scale, keys, given.text, own, extra, each)
                for start in range(0, count, step)
            ]
            found.append(Shares(*(torch.cat(some, -2) for some in zip(*parts, strict=True))))
    return Shares(*(torch.cat(some) for some in zip(*found, strict=True)))


def _part(q: Tensor, keys: Tensor, text: slice, groups: Tensor, extra: Sequence[Tensor], each: bool) -> Shares:
    logits = q @ keys
    top = logits.amax(-1, keepdim=True)
    weights = logits.sub_(top).exp_()
    total = weights.sum(-1, keepdim=True)
    read = weights[..., text].div_(total)
    found = (read if each else read.mean(1, keepdim=True)) @ groups
    words = [q @ key.float().transpose(-1, -2) for key in extra]
    whole = (top + total.log()).squeeze(-1)
    added = [torch.sigmoid(word.logsumexp(-1) - whole) for word in words]
    some = torch.stack(added, -1) if added else q.new_zeros(*q.shape[:3], 0)
    plain = torch.stack([word.mean((1, 3)) for word in words], -1) if words else q.new_zeros(q.shape[0], q.shape[2], 0)
    return Shares(found, some if each else some.mean(1, keepdim=True), plain)
