"""How well a block's features find points again whose place is known: in a moved copy of the same image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .backends.base import Backend
from .correspondence import Field, match, pck
from .crew import Between, still_wanted
from .dense import maps
from .errors import InvalidRequest

LEVEL = 0.2  # of gain and offset of a colour that is changed


@dataclass(frozen=True)
class Pair:
    """Two images (side, side, 3) uint8, and points (n, 2) of the first with their places (n, 2) in the second, in pixels."""

    first: np.ndarray
    second: np.ndarray
    points: np.ndarray
    truth: np.ndarray


def pair(image: np.ndarray, seed: int, points: int = 16, colour: bool = False, flip: bool = False) -> Pair:
    """An image and its copy, moved by an eighth to a quarter of the side both ways; what comes in repeats the edge.

    With `colour` each channel of the copy gets another gain and offset, with `flip` left and right change places. Points are middles
    of pixels that are in both, of the quarter of them where the image changes most: a plain surface has no place to be found. The
    shift is more than correspondence.ALPHA allows: to stay where the point was is never right, unless flipped.
    """
    side, generator = len(image), np.random.default_rng(seed)
    if image.shape != (side, side, 3) or side < 8:
        raise InvalidRequest(f"The image is {image.shape}; allowed: (side, side, 3) with a side of 8 or more.")
    down, right = (int(step) for step in generator.integers(-(-side // 8), side // 4 + 1, 2) * generator.choice([-1, 1], 2))
    rows, columns = (np.clip(np.arange(side) - step, 0, side - 1) for step in (down, right))
    second: np.ndarray = image[rows][:, columns].astype(np.float32)
    if colour:
        gain, offset = generator.uniform(1 - LEVEL, 1 + LEVEL, 3), generator.uniform(-LEVEL, LEVEL, 3) * 255
        second = second * gain + offset
    top, left = max(0, -down), max(0, -right)
    detail = np.hypot(*np.gradient(image.astype(np.float32).mean(-1)))[top : side - max(0, down), left : side - max(0, right)]
    chosen = generator.permutation(np.argsort(-detail, axis=None)[: detail.size // 4])[:points]
    y, x = (place + least for place, least in zip(np.unravel_index(chosen, detail.shape), (top, left), strict=True))
    truth = np.stack([x + right, y + down], 1) + 0.5
    if flip:
        second, truth = second[:, ::-1], truth * [-1, 1] + [side, 0]
    return Pair(image, second.round().clip(0, 255).astype(np.uint8), np.stack([x, y], 1) + 0.5, truth)


def score(
    model: Backend, given: Sequence[Pair], blocks: Sequence[str], sigma: float, draws: int = 1, between: Between = still_wanted
) -> dict[str, np.ndarray]:
    """{block: (pairs,) share of a pair's points that are found} (correspondence.pck), at the level nearest to `sigma`.

    Raises InvalidRequest or UnknownName.
    """
    side = model.card.resolution
    found = maps(model, [image for one in given for image in (one.first, one.second)], blocks, sigma, draws, between=between)
    shares: dict[str, np.ndarray] = {}
    for block, features in found.items():
        fields = [Field.of(one, side) for one in features]
        right = []
        for one, first, second in zip(given, fields[::2], fields[1::2], strict=True):
            places = [match(first, (float(x), float(y)), second)[0] for x, y in one.points]
            right.append(pck(np.array([(place.x, place.y) for place in places]), one.truth, side))
        shares[block] = np.array(right)
    return shares
