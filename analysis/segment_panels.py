"""Label images -> pictures, a curve and a table. No maths beyond placing and colouring, no files.

Each class has a colour and a pattern of lines, so that it is told without its colour too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import panels
from .figures import OKABE_ITO, Levels, accuracy_layout, curve_traces
from .label_images import CLASSES, LETTERS
from .specs import Axis, Card

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

COLOURS = OKABE_ITO[:CLASSES]
LEVELS, HIGHEST = 16, 20.0  # of a curve over noise, and its last σ
SIDE = 144  # pixels of a picture on the screen, at least
INK = 0.6  # how much of a segment's colour covers the image


def _lines(k: int, side: int) -> np.ndarray:
    """Where a class has lines on a picture, (side, side) bool: none, slanting, dots, rows, columns, crossed, checks."""
    y, x = np.mgrid[:side, :side]
    return np.asarray(
        (
            np.zeros((side, side), dtype=bool),
            (x + y) % 8 < 2,
            (x % 6 < 2) & (y % 6 < 2),
            y % 6 < 2,
            x % 6 < 2,
            ((x - y) % 8 < 2) | ((x + y) % 8 < 2),
            (x // 4 + y // 4) % 2 == 0,
        )[k]
    )


def _sized(values: np.ndarray, side: int) -> np.ndarray:
    """(h, w, …) at about `side`: enlarged without smoothing by a whole number, or every n-th pixel of a large one."""
    step = max(1, round(len(values) / side))
    scale = max(1, round(side / len(values)))
    return np.asarray(values[::step, ::step].repeat(scale, 0).repeat(scale, 1))


def overlay(image: np.ndarray, labels: np.ndarray, side: int = SIDE) -> np.ndarray:
    """An image (h, w, 3) uint8 under its label image (h, w), large, with an edge between segments; unpainted pixels as they are."""
    picture, told = _sized(image, side).astype(np.float32), _sized(labels, side)
    for k, colour in enumerate(COLOURS):
        here = told == k
        if here.any():
            rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], np.float32)
            picture[here] = (1 - INK) * picture[here] + INK * rgb
            lines = here & _lines(k, len(told))
            picture[lines] = 0.4 * picture[lines] + 0.6 * 255
    edge = np.zeros(told.shape, dtype=bool)
    edge[1:] |= told[1:] != told[:-1]
    edge[:, 1:] |= told[:, 1:] != told[:, :-1]
    picture[edge] = 20
    return picture.round().astype(np.uint8)


def certainty(values: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Probabilities in 255ths (h, w) uint8 as a picture: viridis from 0 to 1."""
    return panels.sequential(_sized(values, side), 255.0)


def shares(labels: np.ndarray, names: Sequence[str]) -> str:
    """What part of an image each class has, in words, the largest first."""
    counts = [int((labels == k).sum()) for k in range(len(names))]
    found = sorted(((100 * counts[k] / sum(counts), names[k]) for k in range(len(names)) if counts[k]), key=lambda one: -one[0])
    return ", ".join(f"{name} {share:.0f} %" if share >= 1 else f"{name} under 1 %" for share, name in found)


def legend(names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Of each class its letter and name, where it has one, and a swatch (h, w, 3) uint8 of its colour and lines."""
    ground = np.full((1, 1, 3), 255, np.uint8)
    return [
        (name if name == LETTERS[k] else f"{LETTERS[k]} {name}", overlay(ground, np.full((1, 1), k, np.uint8), 24))
        for k, name in enumerate(names)
    ]


def curve_figure(told: Mapping[str, Any], levels: Levels, axis: Axis, name: str, level: int | None = None) -> go.Figure:
    """Mean IoU over noise with its band; `told` is overlap.Overlap as a dict, `level` the place that is shown elsewhere."""
    import pandas as pd
    import plotly.graph_objects as go

    mean = told["mean"]
    rows = pd.DataFrame(
        {"sigma": [one["sigma"] for one in levels], "accuracy": mean, "ci_low": told["low"] or mean, "ci_high": told["high"] or mean}
    )
    figure = accuracy_layout(go.Figure(curve_traces(rows, levels, name, OKABE_ITO[0], "solid", "circle")), levels, axis, "mean IoU")
    if level is not None:
        figure.add_vline(x=float(np.log10(levels[level]["sigma"])), line={"color": panels.MARK, "width": 1.5})
    return figure.update_layout(height=400, showlegend=False)


def table(told: Mapping[str, Any], levels: Sequence[Mapping[str, Any]], names: Sequence[str], **common: Any) -> pd.DataFrame:
    """IoU as a tidy table: a class at a level a row, and their mean, which alone has an interval. `common` is in every row."""
    import pandas as pd

    rows = []
    for place, level in enumerate(levels):
        low, high = ((told[bound][place] if told[bound] else None) for bound in ("low", "high"))
        place_of = {**common, **level, "images": told["images"], "pixels": told["pixels"]}
        rows.append({**place_of, "class": "mean", "iou": told["mean"][place], "ci_low": low, "ci_high": high})
        rows += [
            {**place_of, "class": name, "iou": iou, "ci_low": None, "ci_high": None}
            for name, iou in zip(names, told["each"][place], strict=True)
        ]
    return pd.DataFrame(rows)


def levels(card: Card, count: int = LEVELS) -> list[dict[str, float]]:
    """`count` of a model's levels, ascending, even in log σ, up to σ = 20: those that a curve is drawn of, as a study says them."""
    sigmas = np.log(np.asarray(card.sigmas))
    wanted = np.linspace(sigmas[0], min(sigmas[-1], np.log(HIGHEST)), count)
    return [level(card, place) for place in sorted({int(np.abs(sigmas - each).argmin()) for each in wanted})]


def level(card: Card, place: int) -> dict[str, float]:
    """One of a model's levels, as a study says it."""
    sigma = card.sigmas[place]
    return {"sigma": sigma, "timestep": card.timesteps[place], "log_snr": -2 * float(np.log(sigma))}


def nearest(card: Card, sigmas: Sequence[float]) -> list[dict[str, float]]:
    """A model's levels that are nearest to these σ, as a study says them."""
    return [level(card, int(np.abs(np.log(np.asarray(card.sigmas) / sigma)).argmin())) for sigma in sigmas]


def together(card: Card, sigmas: Sequence[float]) -> list[Mapping[str, Any]]:
    """What a row of a table says of levels that are read together."""
    return [*nearest(card, sigmas)] if len(sigmas) == 1 else [{"sigma": " ".join(f"{sigma:.6g}" for sigma in sigmas)}]


def parts(labels: np.ndarray, sure: np.ndarray | None, images: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    """What part of each image every class has, and how sure that is on average, a row each: label images (n, side, side)."""
    import pandas as pd

    rows = []
    for row, image in enumerate(images):
        for k, name in enumerate(names):
            here = labels[row] == k
            mean = float(sure[row][here].mean() / 255) if sure is not None and here.any() else None
            rows.append({"image": image, "class": name, "share": float(here.mean()), "certainty": mean})
    return pd.DataFrame(rows)
