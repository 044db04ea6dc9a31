"""Images in a folder, in Parquet files or on the Hugging Face hub, all through the `datasets` library.

A name is a hub id (`uoft-cs/cifar10`), a local folder in the hub's own layout or of one folder a class, or a Parquet file.
Licence and source are each data set's own. Nothing of a repository is executed: the library reads files of data only.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import InvalidData, NoisescopeError
from .base import BINS, Dataset, Labels, fit_square

SPLITS = ("train", "validation", "test")
MOST_CLASSES = 1000


def _source(given: Mapping[str, Any], roots: Sequence[str]) -> Any:
    """What Pillow is to open: the bytes, or a file below one of these folders; never a path that a table merely mentions."""
    if given.get("bytes"):
        return io.BytesIO(given["bytes"])
    path = given.get("path") or ""
    if given.get("bytes") is None and any(os.path.realpath(path).startswith(root + os.sep) for root in roots):
        return path
    raise ValueError("no image data")


def _decode(row: Mapping[str, Any], column: str, side: int, roots: Sequence[str]) -> dict[str, Any]:
    """Pixels of one row at side × side as bytes, and whether it had another size; empty, with the reason, where it cannot be read."""
    given = row[column] or {}
    try:
        with Image.open(_source(given, roots)) as image:
            return {"pixels": fit_square(image, side).tobytes(), "resized": image.size != (side, side), "reason": ""}
    except Exception as error:  # each of Pillow's formats raises what it likes
        reason = "no image that can be read" if isinstance(error, UnidentifiedImageError) else (str(error).splitlines() or [repr(error)])[0]
        return {"pixels": b"", "resized": False, "reason": f"{Path(str(given.get('path') or 'an image')).name}: {reason}"}


class Hub(Dataset):
    """`argument` is the place; the first column of images is read, and every column that names classes is a label set."""

    name = "hub"

    def load(self) -> tuple[np.ndarray, Labels]:
        place = Path(self.argument).expanduser()
        self.name = place.resolve().name if self.argument and place.exists() else self.argument
        splits, roots = _open(self.argument)
        first = next(iter(splits.values()))
        column = next((name for name, kind in first.features.items() if _is_image(kind)), None)
        if column is None:
            raise InvalidData(
                f"{self.argument!r} has no column of images; its columns are {', '.join(first.features)}: allowed are encoded "
                "images, as bytes or as the library's Image."
            )
        side = self.side or _edge(first, column, roots)
        images, skipped, names = [], [], []
        rows: dict[str, list[np.ndarray]] = {}
        for split, part in splits.items():
            raw = part.cast_column(column, _undecoded())
            done = raw.map(_decode, fn_kwargs={"column": column, "side": side, "roots": roots}, remove_columns=list(part.features))[:]
            good = np.asarray([bool(pixels) for pixels in done["pixels"]], dtype=bool)
            skipped += [f"{split}: {reason}" for reason in done["reason"] if reason]
            self.resized += sum(done["resized"])
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
        labels = _labels({name: np.concatenate(parts) for name, parts in rows.items()}, first.features)
        known = (
            np.any([np.isfinite(values) if classes is None else values >= 0 for classes, values in labels.values()], axis=0)
            if labels
            else np.ones(len(pixels), dtype=bool)
        )
        held_back = given == "test"
        if held_back.any() and not known[held_back].any():  # a benchmark whose answers are secret
            self.skipped += (f"{int(held_back.sum())} test images, none with a label",)
            pixels, given = pixels[~held_back], given[~held_back]
            labels = {name: (classes, values[~held_back]) for name, (classes, values) in labels.items()}
        if not (given == "test").any() and (given == "validation").any():
            given = np.where(given == "validation", "test", given)
        self.given = given if {"train", "test"} <= set(given) else None
        return pixels, labels


def _undecoded() -> Any:
    from datasets import Image as Feature

    return Feature(decode=False)


def _is_image(kind: Any) -> bool:
    """Whether a column is of images: the library's own type, bytes, or bytes with a path."""
    if isinstance(kind, Mapping):
        return set(kind) == {"bytes", "path"}
    return type(kind).__name__ == "Image" or getattr(kind, "dtype", None) in ("binary", "large_binary")


def _open(place: str) -> tuple[dict[str, Any], list[str]]:
    """The splits of a place by name, those that are no `train`, `validation` or `test` left out, and where its files may be.

    Raises InvalidData.
    """
    import datasets

    datasets.disable_progress_bars()
    for name in ("datasets", "huggingface_hub"):  # what they have to say is in the error
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not place:
        raise InvalidData("No place is given; give a hub id, a folder of class folders or Parquet files, or a Parquet file.")
    roots: list[str] = []
    path = Path(place).expanduser()
    try:
        if path.is_file():
            found = datasets.load_dataset("parquet", data_files=str(path))
        elif path.is_dir():
            roots = [os.path.realpath(path)]
            found = datasets.load_dataset(roots[0])
        else:
            roots = [os.path.realpath(folder) for folder in (datasets.config.HF_CACHE_HOME, datasets.config.HF_DATASETS_CACHE)]
            found = datasets.load_dataset(place)
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
    return splits, roots


def _edge(part: Any, column: str, roots: Sequence[str]) -> int:
    """The short edge of the first image that can be read."""
    for row in part.cast_column(column, _undecoded()).select(range(min(100, len(part)))):
        try:
            with Image.open(_source(row[column] or {}, roots)) as image:
                return min(image.size)
        except Exception:  # each of Pillow's formats raises what it likes
            continue
    raise InvalidData("None of the first 100 images can be read; check the files.")


def _labels(columns: dict[str, np.ndarray], features: Mapping[str, Any]) -> Labels:
    """Label sets of the columns that name classes, -1 where a row has none; then of those of fractions, nan where a row has none."""
    found: dict[str, tuple[tuple[str, ...] | None, np.ndarray]] = {}
    numbers: dict[str, tuple[None, np.ndarray]] = {}
    for name, values in columns.items():
        named = getattr(features[name], "names", None)
        if str(getattr(features[name], "dtype", "")).startswith("float"):
            values = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
            if len(np.unique(values[np.isfinite(values)])) >= BINS:
                numbers[name] = (None, values)
            continue
        plain = all(isinstance(value, (str, bool, int, type(None))) for value in values[:1000])
        there = np.asarray([value is not None and value != -1 for value in values], dtype=bool)
        if (named is None and not plain) or not there.any():
            continue
        if named is None:
            classes = sorted({value for value, here in zip(values, there, strict=True) if here}, key=lambda v: (isinstance(v, str), v))
            if len(classes) > min(MOST_CLASSES, there.sum() / 2):
                continue  # a name, a path or a number: no class
            place = {value: index for index, value in enumerate(classes)}
            values = np.asarray([place.get(value, -1) for value in values])
            named = [str(value) for value in classes]
        found[name] = (tuple(named), np.where(there, values, -1).astype(np.int64))
    return found | numbers


plugin = Hub
