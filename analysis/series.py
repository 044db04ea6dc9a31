"""What a sweep's numbers are of: curves and points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .sources import kind


@dataclass(frozen=True)
class Series:
    """One curve: a source read at one place by one kind of probe."""

    source: str  # a source's name, as in sources.py
    block: str
    pooling: str
    head: str

    @property
    def name(self) -> str:
        return f"{kind(self.source)}/{self.block}/{self.pooling}"

    @property
    def tensor(self) -> str:
        return f"{self.block}/{self.pooling}"


class Point(NamedTuple):
    """What one probe says as soon as it is there."""

    labels: str
    draw: int
    series: str
    head: str
    sigma: float
    accuracy: float
    validation: float
