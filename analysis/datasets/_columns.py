"""Columns of a table of images: which are labels, gathered slab by slab, and which were chosen.

A column of classes, of few different words or whole numbers, or of fractions is a label set; other columns are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from ..errors import InvalidData, UnknownName
from .base import BINS, Labels

MOST_CLASSES = 1000
OPTIONS = ("image", "label", "config", "train", "validation", "test")


class Chosen(NamedTuple):
    """A place and what was chosen of it: `options` by name, `labels` the label columns, none for all."""

    place: str
    options: dict[str, str]
    labels: tuple[str, ...]


def choose(argument: str) -> Chosen:
    """`place?image=COLUMN&label=COLUMN,COLUMN&config=NAME&test=SPLIT` taken apart. Raises UnknownName for another option."""
    place, _, query = argument.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise UnknownName("option of the data set", name, OPTIONS)
    labels = tuple(part for part in options.pop("label", "").split(",") if part)
    return Chosen(place, options, labels)


class Named(NamedTuple):
    """The type of a column of classes, of a source that has no types of its own."""

    names: tuple[str, ...]


def names_of(kind: Any) -> tuple[str, ...] | None:
    """The class names that a column's type has, or None."""
    names = getattr(kind, "names", None)
    return None if names is None else tuple(names)


class Gathered:
    """Values of the columns that may be labels, kept as numbers; `kinds` are the columns' types as the `datasets` library has them."""

    def __init__(self, kinds: Mapping[str, Any]) -> None:
        self.kinds = {
            name: kind
            for name, kind in kinds.items()
            if type(kind).__name__ in ("ClassLabel", "Value", "Named") and "binary" not in str(getattr(kind, "dtype", ""))
        }
        self._parts: dict[str, list[np.ndarray]] = {name: [] for name in self.kinds}
        self._codes: dict[str, dict[Any, int]] = {name: {} for name in self.kinds}

    def _fraction(self, name: str) -> bool:
        return str(getattr(self.kinds[name], "dtype", "")).startswith("float")

    def add(self, table: Mapping[str, Sequence[Any]], good: np.ndarray) -> None:
        """Take a slab's columns; `good` (n,) says which of its rows have an image."""
        for name in list(self._parts):
            values = [value for value, kept in zip(table[name], good, strict=True) if kept]
            if self._fraction(name):
                self._parts[name].append(np.asarray([np.nan if value is None else value for value in values], dtype=np.float64))
            elif names_of(self.kinds[name]) is not None:
                self._parts[name].append(np.asarray([-1 if value is None else value for value in values], dtype=np.int64))
            elif (coded := self._coded(name, values)) is not None:
                self._parts[name].append(coded)
            else:  # a name, a path or a number: no class
                del self._parts[name]

    def _coded(self, name: str, values: list[Any]) -> np.ndarray | None:
        """Words and whole numbers by when they first came, -1 for none; None where they are of another kind, or too many."""
        if not all(isinstance(value, (str, bool, int, type(None))) for value in values):
            return None
        codes = self._codes[name]
        found = [-1 if value is None or value == -1 else codes.setdefault(value, len(codes)) for value in values]
        return None if len(codes) > MOST_CLASSES else np.asarray(found, dtype=np.int64)

    def labels(self) -> Labels:
        """Label sets: of classes, -1 where a row has none; then of fractions, nan where a row has none."""
        found: dict[str, tuple[tuple[str, ...] | None, np.ndarray]] = {}
        numbers: dict[str, tuple[None, np.ndarray]] = {}
        for name, parts in self._parts.items():
            values = np.concatenate(parts) if parts else np.zeros(0, np.int64)
            if self._fraction(name):
                if len(np.unique(values[np.isfinite(values)])) >= BINS:
                    numbers[name] = (None, values)
                continue
            there = values >= 0
            if not there.any():
                continue
            names = names_of(self.kinds[name])
            if names is None:
                codes = self._codes[name]
                if len(codes) > min(MOST_CLASSES, there.sum() / 2):
                    continue
                classes = sorted(codes, key=lambda value: (isinstance(value, str), value))
                place = np.zeros(len(codes), np.int64)
                place[[codes[value] for value in classes]] = np.arange(len(classes))
                names, values = tuple(str(value) for value in classes), np.where(there, place[values], -1)
            found[name] = (names, values)
        return found | numbers


def only(labels: Mapping[str, Any], chosen: Sequence[str], place: str) -> dict[str, Any]:
    """The label sets that were chosen, in that order; all where none were. Raises InvalidData for one that is not there."""
    for name in chosen:
        if name not in labels:
            there = ", ".join(labels) or "none"
            raise InvalidData(f"{place!r} has no label column {name!r}; its columns of classes or fractions are: {there}. Choose of these.")
    return {name: labels[name] for name in chosen or labels}
