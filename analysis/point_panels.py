"""Heat maps of a point as pictures. No maths beyond colouring and placing, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from . import panels

SHEET, LARGEST = 256, 256  # pixels of an image on a sheet, and of a heat map on the screen
FADE = 0.6  # of a heat map over its image


def ends(heats: np.ndarray) -> tuple[float, float]:
    """The lowest and highest of heat maps (n, side, side): one scale for all, the highest above the lowest.

    The first is of the point's own image, where the point is like itself: where there are others, theirs count.
    """
    counted = heats[1:] if len(heats) > 1 else heats
    low, high = float(counted.min()), float(counted.max())
    return low, max(high, low + 1e-3)


def coloured(heat: np.ndarray, low: float, high: float) -> np.ndarray:
    """A heat map (side, side) in viridis from `low` to `high`, (h, w, 3) uint8, no larger than the screen needs."""
    picture = panels.sequential(heat.astype(np.float32) - low, high - low)
    if len(picture) <= LARGEST:
        return picture
    return np.asarray(Image.fromarray(picture).resize((LARGEST, LARGEST), Image.Resampling.BOX))


def sheet(images: Sequence[np.ndarray], heats: np.ndarray, point: tuple[float, float], found: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Images (side, side, 3) uint8 above their heat maps (n, side, side): a cross at the point, a ring around each match."""
    side, (low, high) = images[0].shape[0], ends(heats)
    places = [point, *((one["x"], one["y"]) for one in found)]
    rows: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for place, (image, heat, (x, y)) in enumerate(zip(images, heats, places, strict=True)):
        plain = Image.fromarray(image).resize((SHEET, SHEET), Image.Resampling.NEAREST)
        hot = Image.fromarray(coloured(heat, low, high)).resize((SHEET, SHEET), Image.Resampling.NEAREST)
        for row, picture in zip(rows, (plain, Image.blend(plain, hot, FADE)), strict=True):
            _mark(picture, x / side * SHEET, y / side * SHEET, ring=place > 0)
            row.append(np.asarray(picture))
    return panels.sheet([np.stack(row) for row in rows], SHEET)


def _mark(picture: Image.Image, x: float, y: float, ring: bool) -> None:
    pen, size = ImageDraw.Draw(picture), SHEET / 24
    for colour, width in (("#fff", 5), (panels.MARK, 3)):
        if ring:
            pen.ellipse((x - size, y - size, x + size, y + size), outline=colour, width=width)
        else:
            pen.line((x - size, y, x + size, y), fill=colour, width=width)
            pen.line((x, y - size, x, y + size), fill=colour, width=width)
