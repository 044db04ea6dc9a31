"""Matches of a point as a tidy table, and what is said of them and of an image's tokens in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

HOVERED = 1024  # tokens, as tokens.MOST: of more, what each resembles is not sent with the image
NEAR = 0.1  # of the side, as correspondence.RADIUS: a way back that ends this near comes out where it began
COLUMNS = ("x", "y", "similarity", "second_x", "second_y", "second", "margin", "back")


def table(found: Sequence[Mapping[str, Any]], names: Sequence[str], point: tuple[float, float], **common: Any) -> pd.DataFrame:
    """A row for each image: `names` are of the point's own image and of the others; `found` is what the worker says of these.

    `similarity` is the cosine of the best match (x, y) with the point; `second` that of the best place further than a tenth of the
    side from it, `margin` what lies between; `back` is how many pixels from the point the match's own match ends.
    """
    import pandas as pd

    source, *others = names
    asked = {**common, "image": source, "point_x": point[0], "point_y": point[1]}
    rows = [{**asked, "other": name, **{key: one[key] for key in COLUMNS}} for name, one in zip(others, found, strict=True)]
    return pd.DataFrame(rows, columns=[*asked, "other", *COLUMNS])


def returns(one: Mapping[str, Any], side: int) -> bool:
    """Whether the match's own match ends where the point is."""
    return bool(one["back"] <= NEAR * side)


def sentence(found: Sequence[Mapping[str, Any]], names: Sequence[str], point: tuple[float, float], side: int) -> str:
    """The finding."""
    source, *others = names
    at = f"The point ({point[0]:.1f}, {point[1]:.1f}) of {source}"
    if not found:
        return f"{at} is compared with its own image alone: choose others to find its match in them."
    best = max(range(len(found)), key=lambda i: found[i]["similarity"])
    one = found[best]
    there = sum(returns(each, side) for each in found)
    among = "" if len(found) == 1 else f" most closely of {len(found)} images"
    back = (
        f"matched back, it ends {'at the point again' if there else 'elsewhere'}"
        if len(found) == 1
        else f"matched back, {there} of {len(found)} matches end at the point again"
    )
    return (
        f"{at} is matched{among} in {others[best]}, at ({one['x']:.1f}, {one['y']:.1f}): cosine {one['similarity']:.2f}, "
        f"{one['margin']:.2f} above the next place; {back} (within {NEAR:.0%} of the side)."
    )


def short(one: Mapping[str, Any], side: int) -> str:
    """A match in a few words."""
    back = "" if returns(one, side) else " The way back ends elsewhere."
    return f"Best at {one['x']:.1f}, {one['y']:.1f}: cosine {one['similarity']:.2f}, {one['margin']:.2f} above the next place.{back}"


def tokens(told: Mapping[str, Any]) -> list[str]:
    """What is said of an image's tokens: of high norms, then of the corners."""
    height, width = told["size"]
    groups = told["groups"]
    count = sum(groups)
    squares = [size for size in groups if size > 1]
    lie = f", {'in a group' if len(squares) == 1 else 'in groups'} of {_listed(squares)}" if squares else ""
    if squares and len(groups) > len(squares):
        lie += f", and {len(groups) - len(squares)} alone"
    high = (
        f"{count} of {height * width} tokens {'has' if count == 1 else 'have'} a norm far above the rest{lie}. In Stable Diffusion such "
        "tokens were found to be flaws of the network, not of the image (arXiv 2504.07008): read matches there with care."
        if count
        else f"No token of {height * width} has a norm far above the rest."
    )
    corners = told["corners"]
    if corners is None:
        return [high]
    beside = f"The four corners have a mean cosine of {corners['similarity']:.2f} with each other"
    usual = f"other tokens as far apart {corners['typical']:.2f} in the median and up to {corners['high']:.2f} in 95 % of pairs"
    why = (
        "They may carry where they are more than what is there, unless the image's corners look the same."
        if corners["alike"]
        else "They are not too alike."
    )
    return [high, f"{beside}, {usual}. {why}"]


def _listed(sizes: Sequence[int]) -> str:
    told = [str(size) for size in sizes[:4]]
    if len(sizes) > 4:
        return f"{', '.join(told)} and fewer"
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
