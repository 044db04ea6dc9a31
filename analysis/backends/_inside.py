"""What lies inside a block: queries, keys, values and outputs of its attention, and its residual branches, as maps of their own.

They are off by default. Tumanyan et al., arXiv 2211.12572, read queries, keys and values; arXiv 2410.03558 finds such places better
than blocks' outputs in SDXL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from torch import nn

# The end of a module's path inside a block -> what it is called; keys and values of attention to a text are no maps.
PARTS = (
    (re.compile(r"(.*?)(attn\d?\.)?to_([qkv])$"), "{attention}.{part}"),
    (re.compile(r"(.*?)(attn\d?\.)?to_out\.0$"), "{attention}.out"),
    (re.compile(r"(.*?)()ff$"), "{before}ff"),
    (re.compile(r"(.*?)()conv2$"), "residual"),
    (re.compile(r"()()proj_out$"), "residual"),
)
ATTENTION = {"attn1.": "self", "attn2.": "cross", "attn.": "attn", "": "attn"}
NO_MAPS = re.compile(r"attn2\.to_[kv]$")


def inside(name: str, paths: Sequence[str], net: nn.Module, single: bool = False) -> Iterator[tuple[str, str]]:
    """(Name, module path) of what lies inside a block, whose modules are at `paths`, in no order.

    `single`: the block is one stream whose `proj_out` ends its residual branch, and not a projection of its whole output.
    """
    for path in paths:
        for inner, _ in net.get_submodule(path).named_modules():
            if NO_MAPS.search(inner) or (inner == "proj_out" and not single):
                continue
            for pattern, said in PARTS:
                if match := pattern.match(inner):
                    layers = "".join(f"layer{n}." for n in re.findall(r"transformer_blocks\.(\d+)\.", match[1] + "."))
                    attention = layers + ATTENTION.get(match[2] or "", "attn")
                    part = match[3] if pattern.groups > 2 else ""
                    yield f"{name}.{said.format(attention=attention, part=part, before=layers)}", f"{path}.{inner}"
                    break
