"""The numbers behind views of many maps, as tidy tables: where points lie, how far maps are to be trusted, what is alike, what is not content."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from .studies import Study

Place = tuple[str, int]  # a block, and a place among a study's noise levels
Levels = Sequence[Mapping[str, float]]
TRUST = ("count", "purity_space", "purity_map", "purer", "trustworthiness", "continuity", "silhouette", "dimension", "participation")


def nearest(levels: Levels, sigma: float) -> int:
    """The place of the level nearest to σ, by its logarithm."""
    return min(range(len(levels)), key=lambda i: abs(math.log(levels[i]["sigma"] / sigma)))


def beside(other: Study, over: str, block: str, sigma: float) -> list[Place]:
    """The cells of another study that stand beside those of a block and σ: its blocks at the nearest level, or the levels of its block of that name."""
    levels, blocks = other.facts["levels"], list(other.facts["request"]["blocks"])
    if over == "blocks":
        level = nearest(levels, sigma)
        return [(name, level) for name in blocks]
    name = block if block in blocks else other.result()["headline"].split("/")[1]
    return [(name, level) for level in range(len(levels))]


def layouts(ids: np.ndarray, found: Mapping[Place, np.ndarray], levels: Levels) -> pd.DataFrame:
    """A row an image and map: block, sigma, id (16 hexadecimal digits), x, y; of layouts (n, 2) by cell."""
    import pandas as pd

    names = [f"{int(id):016x}" for id in ids]
    parts = [
        pd.DataFrame({"block": block, "sigma": levels[level]["sigma"], "id": names, "x": points[:, 0], "y": points[:, 1]})
        for (block, level), points in found.items()
    ]
    return pd.concat(parts, ignore_index=True)


def trust(cells: Sequence[Place], told: Sequence[Mapping[str, Any] | None], levels: Levels) -> pd.DataFrame:
    """A row a map that there is: block, sigma, and what geometry.Trust says of it; a cell that stands there twice once."""
    import pandas as pd

    known = {cell: one for cell, one in zip(cells, told, strict=True) if one is not None}
    return pd.DataFrame(
        [
            {"block": block, "sigma": levels[level]["sigma"], **{name: one.get(name) for name in TRUST}}
            for (block, level), one in known.items()
        ]
    )


def alike(rows: Sequence[Place], columns: Sequence[Place], found: Mapping[str, np.ndarray], levels: Levels, others: Levels) -> pd.DataFrame:
    """A row a pair of cells: block, sigma, other_block, other_sigma, and every matrix (B, B') of `found` by its name, in their order."""
    import pandas as pd

    pairs = [
        {
            "block": block,
            "sigma": levels[level]["sigma"],
            "other_block": other,
            "other_sigma": others[there]["sigma"],
            **{name: float(found[name][i, j]) for name in sorted(found)},
        }
        for i, (block, level) in enumerate(rows)
        for j, (other, there) in enumerate(columns)
    ]
    return pd.DataFrame(pairs)


def content(told: Mapping[str, Mapping[str, Mapping[str, Any]]], sigma: float) -> pd.DataFrame:
    """A row a block and network ("model", or "random" weights) of what diagnosis.Diagnosis says: position, corners, norms, channels."""
    import pandas as pd

    rows = []
    for network, blocks in told.items():
        for block, one in blocks.items():
            position, norms, top = one["position"] or {}, one["norms"] or {}, one["pooled"]["top"]
            rows.append(
                {
                    "block": block,
                    "sigma": sigma,
                    "network": network,
                    "images": one["images"],
                    "channels": one["shape"][0],
                    "row_r2": position.get("row"),
                    "column_r2": position.get("column"),
                    "corners": norms.get("corners"),
                    "high_norm_share": norms.get("share"),
                    "top_channels": " ".join(str(channel["channel"]) for channel in top),
                    "top_share": sum(channel["share"] for channel in top),
                }
            )
    return pd.DataFrame(rows)
