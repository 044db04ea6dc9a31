"""The blocks of a network as one blank pass shows them, and what lies inside each: queries, keys, values and outputs of its attention, and its residual branches, as maps of their own.

What lies inside is off by default. Tumanyan et al., arXiv 2211.12572, read queries, keys and values; arXiv 2410.03558 finds such places better
than blocks' outputs in SDXL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..specs import Block


class Layer(NamedTuple):
    """A block before it is seen."""

    name: str
    stage: Literal["down", "mid", "up", "layer"]
    path: str  # of the module whose output is its map
    literature: str | None = None  # what papers call it
    within: tuple[str, ...] = ()  # modules that what lies inside it is looked for in
    single: bool = False  # one stream, whose `proj_out` ends its residual branch, and is no projection of its whole output


# The end of a module's path inside a block -> what it is called; keys and values of attention to a text are no maps.
PARTS = (
    (re.compile(r"(.*?)(attn\d?\.)?to_([qkv])$"), "{attention}.{part}"),
    (re.compile(r"(.*?)(attn\d?\.)?to_out\.0$"), "{attention}.out"),
    (re.compile(r"(.*?)()ff$"), "{before}ff"),
    (re.compile(r"(.*?)()conv2$"), "residual"),
    (re.compile(r"()()proj_out$"), "residual"),
)
ATTENTION = {"attn1.": "self", "attn2.": "attn2", "attn.": "attn", "": "attn"}


def _inside(layer: Layer, net: nn.Module) -> Iterator[tuple[str, str]]:
    """(Name, module path) of what lies inside a block, in no order."""
    for path in layer.within:
        for inner, _ in net.get_submodule(path).named_modules():
            owner = net.get_submodule(f"{path}.{inner.rpartition('.to_')[0]}" if ".to_" in inner else path)
            of_text = bool(getattr(owner, "is_cross_attention", False))  # its keys and values are no maps
            if (of_text and inner.endswith((".to_k", ".to_v"))) or (inner == "proj_out" and not layer.single):
                continue
            for pattern, said in PARTS:
                if match := pattern.match(inner):
                    layers = "".join(f"layer{n}." for n in re.findall(r"transformer_blocks\.(\d+)\.", match[1] + "."))
                    attention = layers + ("cross" if of_text else ATTENTION[match[2] or ""])
                    part = match[3] if pattern.groups > 2 else ""
                    yield f"{layer.name}.{said.format(attention=attention, part=part, before=layers)}", f"{path}.{inner}"
                    break


def observe(
    net: nn.Module, layers: Sequence[Layer], run: Callable[[], Any], picked: Callable[[Any], Tensor], side: int, token: int
) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    """The blocks, and what lies inside them, in the order of execution, with the channels and strides of `run`, a pass of a blank image.

    `side` is the image's, in pixels; `token` how many pixels a token is wide, where blocks give tokens.
    """
    found = {layer.path: (layer.name, layer) for layer in layers}
    inner = {path: (name, layer) for layer in layers for name, path in _inside(layer, net) if path not in found}
    seen: dict[str, tuple[int, int]] = {}  # channels and stride, by module path
    hooks = []
    for path in (*found, *inner):

        def keep(_module: nn.Module, _inputs: Any, output: Any, path: str = path) -> None:
            value = picked(output)
            seen[path] = (value.shape[-1], token) if value.ndim == 3 else (value.shape[1], side // value.shape[-1])

        hooks.append(net.get_submodule(path).register_forward_hook(keep))
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    depths = {layer.name: depth for depth, layer in enumerate(layers)}

    def block(path: str) -> Block:
        name, layer = (found | inner)[path]
        return Block(
            name=name,
            module=path,
            stage=layer.stage,
            depth=depths[layer.name],
            channels=seen[path][0],
            stride=seen[layer.path][1],
            literature=layer.literature if path in found else None,
        )

    return tuple(block(path) for path in found), tuple(block(path) for path in seen if path in inner)
