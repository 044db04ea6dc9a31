"""The points of a map: what is drawn of each image, which group it is in, and what a selection of them means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from .figures import GREY
from .map_classes import Group, grouped


@dataclass(frozen=True)
class Points:
    """n points and what is said of each. `group` (n,) indexes `names`, -1 is none; or `values` (n,) from 0 to 1 colour them."""

    layout: np.ndarray  # (n, 2)
    group: np.ndarray
    names: Sequence[str]
    texts: Sequence[str]  # n: what a tooltip says
    pictures: Sequence[str] = ()  # n data URIs, "" for none
    selected: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # rows
    values: np.ndarray | None = None
    value: str = ""  # what the values are

    def take(self, rows: np.ndarray) -> Points:
        """The points of these rows alone."""
        return replace(
            self,
            layout=self.layout[rows],
            group=self.group[rows],
            texts=[self.texts[int(row)] for row in rows],
            pictures=[self.pictures[int(row)] for row in rows] if len(self.pictures) else (),
            selected=np.flatnonzero(np.isin(rows, self.selected)),
            values=None if self.values is None else self.values[rows],
        )


def looks(points: Points) -> list[tuple[Group, np.ndarray]]:
    """The groups that have images, and the rows of each."""
    if points.values is not None:
        return [(Group("all", GREY, "circle", len(points.layout)), np.arange(len(points.layout)))]
    names = np.array([*points.names, None], dtype=object)
    found, place = grouped(pd.DataFrame({"group": names[points.group]}), "group", points.names)
    return [(group, np.flatnonzero(place == index)) for index, group in enumerate(found)]


def called(group: Group) -> str:
    """A group in the legend."""
    return f"{group.name} ({group.count:,})"


def groups(points: Points) -> list[np.ndarray]:
    """The rows of every series of `scatter` that stands for images, in order: what a selection is read with."""
    return [rows for _, rows in looks(points)]


def taken(selected: Sequence[Mapping[str, Any]], groups: Sequence[np.ndarray]) -> set[int]:
    """The rows that a page's selection names, by series and place in it; what is not there (any more) is left out."""
    rows: set[int] = set()
    for one in selected:
        if (series := int(one["series_index"])) < len(groups):
            rows |= {int(groups[series][place]) for place in one["data_indices"] if 0 <= place < len(groups[series])}
    return rows


def frame(layout: np.ndarray) -> dict[str, list[float]]:
    """Both axes with one scale, a little wider than the points: {x: [low, high], y: …}."""
    low, high = np.nanmin(layout, 0), np.nanmax(layout, 0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.54, 1e-6)
    return {name: [float(middle[i] - half), float(middle[i] + half)] for i, name in enumerate(("x", "y"))}
