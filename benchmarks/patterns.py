"""Pictures without end: 8×8 stripes whose direction is their class, in noise, as many as a benchmark needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

from analysis import registry
from analysis.datasets.base import Dataset

CLASSES = 10


class Patterns(Dataset):
    name = "patterns"
    size = 0

    def load(self) -> tuple[np.ndarray, dict[str, tuple[tuple[str, ...], np.ndarray]]]:
        generator = np.random.default_rng(0)
        labels = np.arange(self.size) % CLASSES
        angle = (np.pi * labels / CLASSES)[:, None, None]
        y, x = np.mgrid[:8, :8]
        stripes = np.sin(1.2 * (np.cos(angle) * x + np.sin(angle) * y))
        grey = 127.5 + 60 * stripes + generator.normal(0, 30, stripes.shape)
        images = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        return images, {"direction": (tuple(map(str, range(CLASSES))), labels)}


plugin = Patterns


@contextmanager
def registered(size: int) -> Iterator[str]:
    """The name under which a data set of `size` pictures can be opened while the context lasts."""
    here = {Patterns.name: f"{__name__}:plugin"}
    with patch.dict(registry._locations("datasets"), here), patch.object(Patterns, "size", size):
        yield Patterns.name
