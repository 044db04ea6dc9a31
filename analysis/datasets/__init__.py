"""Sources of images, one file each, and their label sets."""

from __future__ import annotations

from .. import registry
from .base import Dataset


def open_dataset(name: str) -> Dataset:
    """The data set of that name. Raises UnknownName."""
    dataset: Dataset = registry.get("datasets", name)()
    return dataset
