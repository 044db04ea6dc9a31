"""Who is drawn how on a map: classes with their colour and marker, and the rows that have a place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .errors import InvalidRequest, UnknownName
from .figures import GREY, MARKERS, OKABE_ITO, look

SHOWN = len(OKABE_ITO) * len(MARKERS)  # classes with a look of their own
UNLABELLED = "no label"
OUTLINES = {  # of markers of radius 1 around (0, 0), nearly equal in area: SVG paths of relative steps
    "circle": "m1,0a1,1 0 1 1 -2,0a1,1 0 1 1 2,0z",
    "square": "m-.89,-.89h1.78v1.78h-1.78z",
    "diamond": "m0,-1.25l1.25,1.25l-1.25,1.25l-1.25,-1.25z",
    "triangle-up": "m0,-1.3l1.2,2h-2.4z",
    "x": "m-.9,-1.2l.9,.9l.9,-.9l.3,.3l-.9,.9l.9,.9l-.3,.3l-.9,-.9l-.9,.9l-.3,-.3l.9,-.9l-.9,-.9z",
}
UNSAID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what neither XML nor HTML may hold


@dataclass(frozen=True)
class Group:
    """What shares a colour and a marker: a class, or all those after the first 28."""

    name: str
    colour: str
    marker: str
    count: int

    @property
    def outline(self) -> str:
        return OUTLINES[self.marker]


def said(value: object) -> str:
    """A value as a line of text that a page may hold."""
    return " ".join(UNSAID.sub("\N{REPLACEMENT CHARACTER}", str(value)).split())


def grouped(table: pd.DataFrame, by: str, classes: Sequence[object] | None = None) -> tuple[list[Group], np.ndarray]:
    """The groups of a table's n rows by a column that have images, and each row's place among them, (n,) int.

    `classes` in their order have the looks of `figures.look`, the first 28 of them; the rest, with values that are not among
    them, are "others". Without `classes`, they are the values in their sorted order. Rows without one are a group of their own.
    Raises UnknownName for a column that is not there.
    """
    if by not in table:
        raise UnknownName("column", by, map(str, table.columns))
    texts = table[by].astype(object).where(table[by].notna(), "").map(said)
    missing = (texts == "").to_numpy(bool)
    names = sorted(set(texts[~missing])) if classes is None else list(dict.fromkeys(map(said, classes)))
    place = {name: index for index, name in enumerate(names[:SHOWN])}
    codes = np.where(missing, SHOWN + 1, texts.map(place).fillna(SHOWN).to_numpy(int))
    looks = [(name, *look(index)) for name, index in place.items()]
    looks += [("", "", "circle")] * (SHOWN - len(looks))
    rest = texts[codes == SHOWN].nunique()
    looks += [(f"others ({rest} {'class' if rest == 1 else 'classes'})", GREY, "circle"), (UNLABELLED, GREY, "x")]
    counts = np.bincount(codes, minlength=len(looks))
    groups = [Group(name, colour, marker, int(n)) for (name, colour, marker), n in zip(looks, counts, strict=True) if n]
    return groups, (np.cumsum(counts > 0) - 1)[codes]


def placed(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which rows have a place, (n,) bool, and their places (m, 2) float64, between 0 and 1 on the longer side, y upwards.

    Raises InvalidRequest where a column x or y is missing.
    """
    if not {"x", "y"} <= set(table.columns):
        raise InvalidRequest(f"The table has the columns {', '.join(map(str, table.columns))}; allowed: those with x and y among them.")
    at = table[["x", "y"]].to_numpy(np.float64)
    kept = np.isfinite(table[[name for name in ("x", "y", "z") if name in table]].to_numpy(np.float64)).all(1)
    at = at[kept]
    if not len(at):
        return kept, at
    low, high = at.min(0), at.max(0)
    return kept, (at - low) / (float((high - low).max()) or 1.0)


def remarks(table: pd.DataFrame, kept: np.ndarray, pictured: int | None = None) -> list[str]:
    """What a reader of a picture of the map is told besides: images without place or picture, and a dimension that is not drawn."""
    n, left = len(kept), int((~kept).sum())
    found = []
    if left:
        found.append(f"{left:,} of {n:,} images without a place on this map {'is' if left == 1 else 'are'} left out.")
    if "z" in table:
        found.append("The map has three dimensions; its first two are drawn.")
    if pictured is not None and pictured < n - left:
        found.append(f"{pictured:,} of {n - left:,} images have a picture.")
    return found
