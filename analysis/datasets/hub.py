"""Images in a folder, in Parquet files or on the Hugging Face hub, all through the `datasets` library.

A name is a hub id (`uoft-cs/cifar10`), a local folder in the hub's own layout or of one folder a class, or a Parquet file.
Licence and source are each data set's own. Nothing of a repository is executed: the library reads files of data only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InvalidData, NoisescopeError
from .base import Dataset, fit_square

SPLITS = ("train", "validation", "test")
MOST_CLASSES = 1000


def _source(given: Mapping[str, Any]) -> Any:
    """What Pillow is to open: the bytes, or the file of a local folder; never a path that a table merely mentions."""
    if given.get("bytes"):
        return io.BytesIO(given["bytes"])
    if given.get("bytes") is None and given.get("path") and Path(given["path"]).is_absolute():
        return given["path"]
    raise ValueError("no image data")


def _decode(row: Mapping[str, Any], column: str, side: int) -> dict[str, Any]:
    """Pixels of one row at side × side as bytes; empty, with the reason, where they cannot be read."""
    given = row[column] or {}
    try:
        source = _source(given)
        with Image.open(source) as image:
            pixels = fit_square(image, side)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, KeyError, TypeError, ValueError, SyntaxError) as error:
        reason = "no image that can be read" if isinstance(error, UnidentifiedImageError) else str(error).splitlines()[0]
        return {"pixels": b"", "reason": f"{Path(str(given.get('path') or 'an image')).name}: {reason}"}
    return {"pixels": pixels.tobytes(), "reason": ""}


class Hub(Dataset):
    """`argument` is the place; the first column of images is read, and every column that names classes is a label set."""

    name = "hub"

    def load(self) -> tuple[np.ndarray, dict[str, tuple[tuple[str, ...], np.ndarray]]]:
        self.name = Path(self.argument).name if Path(self.argument).exists() else self.argument
        splits = _open(self.argument)
        first = next(iter(splits.values()))
        column = next((name for name, kind in first.features.items() if type(kind).__name__ == "Image"), None)
        if column is None:
            raise InvalidData(f"{self.argument!r} has no column of images; its columns are {', '.join(first.features)}.")
        side = self.side or _edge(first, column)
        images, skipped, names = [], [], []
        rows: dict[str, list[np.ndarray]] = {}
        for split, part in splits.items():
            raw = part.cast_column(column, _undecoded())
            done = raw.map(_decode, fn_kwargs={"column": column, "side": side}, remove_columns=list(part.features))[:]
            good = np.asarray([bool(pixels) for pixels in done["pixels"]], dtype=bool)
            skipped += [f"{split}: {reason}" for reason in done["reason"] if reason]
            images.append(np.frombuffer(b"".join(done["pixels"]), np.uint8).reshape(-1, side, side, 3))
            names.append(np.full(int(good.sum()), split))
            others = [name for name, kind in part.features.items() if type(kind).__name__ in ("ClassLabel", "Value")]
            table = part.select_columns(others)[:] if others else {}
            for name in others:
                rows.setdefault(name, []).append(np.asarray(table[name], dtype=object)[good])
        self.skipped = tuple(skipped)
        pixels, given = np.concatenate(images), np.concatenate(names)
        if not len(pixels):
            raise InvalidData(f"None of the {len(skipped)} images of {self.argument!r} can be read; the first: {skipped[0]}.")
        labels, kept = _labels({name: np.concatenate(parts) for name, parts in rows.items()}, first.features)
        if labels and not kept.all():
            self.skipped += (f"{int((~kept).sum())} images without a label",)
            pixels, given = pixels[kept], given[kept]
            labels = {name: (classes, values[kept]) for name, (classes, values) in labels.items()}
        if not (given == "test").any() and (given == "validation").any():
            given = np.where(given == "validation", "test", given)
        self.given = given if {"train", "test"} <= set(given) else None
        return pixels, labels


def _undecoded() -> Any:
    from datasets import Image as Feature

    return Feature(decode=False)


def _open(place: str) -> dict[str, Any]:
    """The splits of a place by name, those that are no `train`, `validation` or `test` left out. Raises InvalidData."""
    import datasets

    datasets.disable_progress_bars()
    path = Path(place).expanduser()
    try:
        if path.is_file():
            found = datasets.load_dataset("parquet", data_files=str(path))
        else:
            found = datasets.load_dataset(str(path) if path.exists() else place)
    except Exception as error:  # the library and what it stands on raise a dozen unrelated types
        if isinstance(error, NoisescopeError):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidData(
            f"The data set {place!r} cannot be opened ({reason}); give a hub id, a folder of class folders or Parquet files, or a Parquet file."
        ) from error
    splits = {name: found[name] for name in SPLITS if name in found and len(found[name])}
    if not splits:
        raise InvalidData(f"{place!r} has the splits {', '.join(found)}; allowed: at least one of {', '.join(SPLITS)}, with images in it.")
    return splits


def _edge(part: Any, column: str) -> int:
    """The short edge of the first image that can be read."""
    for row in part.cast_column(column, _undecoded()).select(range(min(100, len(part)))):
        try:
            with Image.open(_source(row[column] or {})) as image:
                return min(image.size)
        except (UnidentifiedImageError, OSError, ValueError):
            continue
    raise InvalidData("None of the first 100 images can be read; check the files.")


def _labels(
    columns: dict[str, np.ndarray], features: Mapping[str, Any]
) -> tuple[dict[str, tuple[tuple[str, ...], np.ndarray]], np.ndarray]:
    """Label sets of the columns that name classes, and which rows have a label in all of them."""
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    kept = np.ones(len(next(iter(columns.values()))) if columns else 0, dtype=bool)
    for name, values in columns.items():
        named = getattr(features[name], "names", None)
        plain = all(isinstance(value, (str, bool, int, type(None))) for value in values[:1000])
        if named is None and not plain:
            continue
        there = np.asarray([value is not None and value != -1 for value in values])
        if 2 * there.sum() < len(there):
            continue  # mostly without: no label of these images
        if named is None:
            classes = sorted({value for value, here in zip(values, there, strict=True) if here}, key=lambda v: (isinstance(v, str), v))
            if not classes or len(classes) > min(MOST_CLASSES, len(values) / 2):
                continue  # a name, a path or a number: no class
            place = {value: index for index, value in enumerate(classes)}
            values = np.asarray([place.get(value, -1) for value in values])
            named = [str(value) for value in classes]
        found[name] = (tuple(named), np.where(there, values, -1).astype(np.int64))
        kept &= there
    return found, kept


plugin = Hub
