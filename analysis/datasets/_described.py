"""What a source holds, told without decoding its images."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ..specs import DataCard
from ._columns import Gathered, only
from ._streamed import SPLITS, Streamed, edge, files_of
from .base import Dataset


def of_source(source: Streamed, place: Path, licence: str | None) -> DataCard:
    """Of a source that is read slab by slab, made without its images; what lies at `place` is its size. Raises InvalidData."""
    opened = source.open()
    gathered, rows = Gathered(opened.kinds), Counter[str]()
    for part in opened.rows(list(gathered.kinds)):
        rows[part.split] += part.rows
        gathered.add(part.columns, np.ones(part.rows, dtype=bool))
    labels = {name: None if classes is None else len(classes) for name, (classes, _) in gathered.labels().items()}
    return DataCard(
        name=source.name,
        images=opened.pictures,
        labels=labels,
        chosen=tuple(only(labels, source.chosen.labels, source.chosen.place)),
        rows={name: rows[name] for name in SPLITS if name in rows},
        edge=edge(opened.slabs()),
        licence=licence,
        bytes=sum(size for _, size, *_ in files_of(place)),
        revision=source.revision or None,
    )


def of_dataset(data: Dataset) -> DataCard:
    """Of a data set that a plug-in makes or brings: no files of it are known."""
    return DataCard(
        name=data.name,
        labels={name: None if found.kind == "continuous" else len(found.classes) for name, found in data.label_sets.items()},
        chosen=tuple(data.label_sets),
        rows={name: int((data.split == name).sum()) for name in SPLITS},
        edge=data.images.shape[1],
        licence=data.licence,
    )
