"""Label images: the class of each pixel as a number from 0, 255 where none is given, as Pascal VOC's masks have it.

M. Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 88 (2010) 303. Strokes are such an image, nearly all 255; so
are a true mask and what a probe says.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from .containers import form_of, strip
from .errors import InvalidData, InvalidRequest, StoreUnavailable
from .uploads import MAX_BYTES, MAX_PIXELS, square

VOID = 255  # of a pixel without a class
LETTERS = "ABCDEFG"  # of the classes: seven have a colour that all can tell apart
CLASSES = len(LETTERS)
MODES = ("1", "L", "P", "I;16")


def read(data: bytes, side: int, complete: bool = False) -> np.ndarray:
    """The label image (side, side) uint8 of a PNG: its middle square, as photos are cut, by nearest neighbour.

    A `complete` one of 0 and 255 alone is black and white: the classes 0 and 1. Raises InvalidData, whatever the bytes.
    """
    try:
        values = _decode(data)
    except InvalidData:
        raise
    except Exception:  # over a damaged file a decoder may raise anything; its words would be of no use to people
        raise InvalidData("The mask is damaged or cut short: it cannot be decoded; save it anew and give it again.") from None
    there = np.unique(values)
    if complete and len(there) == 2 and there.tolist() == [0, VOID]:
        values, there = values // VOID, np.array([0, 1])
    known = there[there != VOID]
    if not len(known) or known[-1] >= CLASSES:
        given = f"values up to {known[-1]}" if len(known) else f"no value but {VOID}"
        raise InvalidData(
            f"The mask has {given}; allowed: the class of each pixel, 0 to {CLASSES - 1} for {LETTERS[0]} to {LETTERS[-1]}, and {VOID} for none."
        )
    left, top, edge = square(values)
    part = Image.fromarray(np.ascontiguousarray(values[top : top + edge, left : left + edge]).astype(np.uint8))
    return np.asarray(part.resize((side, side), Image.Resampling.NEAREST))


def _decode(data: bytes) -> np.ndarray:
    if form_of(data) != "PNG" or len(data) > MAX_BYTES:
        raise InvalidData(f"The mask is no PNG of at most {MAX_BYTES // 1_000_000} MB; save it as a grey or palette PNG.")
    bare = strip(data)
    if bare.size[0] * bare.size[1] > MAX_PIXELS:
        raise InvalidData(f"The mask has {bare.size[0] * bare.size[1]:,} pixels; allowed: at most {MAX_PIXELS:,}. Give a smaller one.")
    with Image.open(io.BytesIO(bare.data), formats=("PNG",)) as image:
        if image.mode == "RGB":
            colours = np.asarray(image)
            if (colours == colours[..., :1]).all():
                return np.asarray(colours[..., 0], dtype=np.int64)
        if image.mode not in MODES:
            raise InvalidData(
                f"The mask's mode is {image.mode}; allowed: grey or palette, whose numbers are classes. Save it as one of them."
            )
        return np.asarray(image).astype(np.int64) * (VOID if image.mode == "1" else 1)


def read_file(path: Path, side: int, complete: bool = False) -> np.ndarray:
    """`read` of a file. Raises StoreUnavailable for one that cannot be opened, and InvalidData, with its name."""
    try:
        return read(path.read_bytes(), side, complete)
    except OSError as error:
        raise StoreUnavailable(f"Cannot read {path} ({error.strerror or error}); choose another file.") from error
    except InvalidData as error:
        raise InvalidData(f"{path.name}: {error}") from error


def png(labels: np.ndarray) -> bytes:
    """A label image (h, w) uint8 as a grey PNG of the same numbers."""
    out = io.BytesIO()
    Image.fromarray(labels).save(out, "PNG")
    return out.getvalue()


def check(labels: np.ndarray, shape: tuple[int, ...], classes: int) -> None:
    """Whether strokes fit the images (n, side, side) and two classes are painted. Raises InvalidRequest with a sentence."""
    if not 2 <= classes <= CLASSES:
        raise InvalidRequest(f"{classes} classes; allowed: 2 to {CLASSES}.")
    if labels.shape != shape or labels.dtype != np.uint8:
        raise InvalidRequest(f"The strokes are {labels.shape} {labels.dtype}; allowed for these images: {shape} uint8.")
    painted = np.unique(labels[labels != VOID])
    if not len(painted):
        raise InvalidRequest("Nothing is painted yet: paint a stroke of each of two classes, on one image or on several.")
    if painted[-1] >= classes:
        raise InvalidRequest(
            f"A stroke is of class {painted[-1]}; allowed: 0 to {classes - 1}, and {VOID} for a pixel that is not painted."
        )
    if len(painted) == 1:
        raise InvalidRequest(
            f"Only class {LETTERS[painted[0]]} is painted: paint a stroke of another, so that there is something to tell apart."
        )


def unpainted(labels: np.ndarray, classes: int) -> list[int]:
    """The classes of which there is no stroke."""
    return [k for k in range(classes) if not (labels == k).any()]


def archive(files: Mapping[str, bytes]) -> bytes:
    """Files by their paths, as one zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:  # PNGs do not get smaller
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()
