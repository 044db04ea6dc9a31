"""The ways to average and fuse by their names, and what is said of their gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .verdict import MEASURES

SINGLE, LEVELS, SHARED, DRAWS, BLOCKS = "single", "levels", "levels, shared ε", "draws", "blocks"
OWN = "blocks, own ε"
AS_BLOCKS = "draws, as blocks"  # as many as there are blocks, where that is fewer than members
FUSION, FUSED_DRAWS = "fusion", "fusion, draws"


def describe(told: Mapping[str, Any], blocks: Sequence[str] = ()) -> str:
    """What is found, the gain over the control first, then that over one pass, then what blocks and fusion add to theirs."""
    over, count, measured = told["over_single"], told["members"], MEASURES[told["measure"]]
    meaning = _meaning(
        told["over_control"],
        "the levels add to what averaging over noise gives",
        "draws at one level are the better use of as many passes",
        "nothing beyond averaging over noise is shown",
    )
    found = (
        f"In block {told['block']}, {count} neighbouring levels, each with its own ε, gain {_points(told['over_control'])} of {measured} over "
        f"{count} draws of ε at one level (σ = {told['control']:.2g}), which take as many passes: {meaning}. Over one pass at "
        f"σ = {told['centre']:.2g} the levels gain {_points(over[LEVELS])} and the draws {_points(over[DRAWS])}; levels that share one ε "
        f"gain {_points(over[SHARED])}."
    )
    if blocks:
        found += f" {len(blocks)} blocks side by side ({', '.join(blocks)}) gain {_points(over[BLOCKS])} in that one pass."
    if own := told.get("own"):
        found += (
            f" {len(own['blocks'])} blocks side by side with an ε each ({', '.join(own['blocks'])}) gain {_points(own['over_control'])} over "
            "as many draws in one block."
        )
    if fused := told.get("fusion"):
        found += _fusion(fused, told)
    if why := told.get("left_out", {}).get(FUSION) or told.get("left_out", {}).get(FUSED_DRAWS):
        found += f" Learned fusion is left out: {why}"
    return found


def _fusion(fused: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    meaning = _meaning(
        fused["over_control"],
        "the levels add to what it learns from draws",
        "draws at one level serve it better",
        "that the levels add to it is not shown",
    )
    side, blocks = fused["side"], ", ".join(fused["blocks"])
    return (
        f" Learned fusion of the {side} × {side} maps of {blocks} at those levels gains {_points(fused['over_control'])} over the same network "
        f"on {told['members']} draws at σ = {told['centre']:.2g}: {meaning}. Over the mean of {told['members']} draws' logits, which takes as "
        f"many passes, it gains {_points(fused['over_draws'])}."
    )


def _meaning(gain: Sequence[float], better: str, worse: str, neither: str) -> str:
    _, low, high = gain
    return better if low > 0 else worse if high < 0 else neither


def _points(gain: Sequence[float]) -> str:
    value, low, high = (100 * part for part in gain)
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"
