"""The figure that plays one sample's way from noise: pictures and class bars, moving together over the noise levels.

Clean is on the left of the slider, noisy on the right, as everywhere: a way plays from right to left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .figures import GREY, Levels, look
from .panels import uri
from .player import buttons, slider
from .specs import Axis

SHOWN = 7  # classes with a bar of their own
BAR, HEAD = 22, 34  # pixels a bar and a question's heading take


@dataclass(frozen=True)
class Told:
    """What one question's probes say on one sample's way."""

    classes: Sequence[str]
    block: str
    values: np.ndarray  # (T, K) probabilities, σ ascending


def _bars(told: Told) -> tuple[list[int], list[str], np.ndarray]:
    """Which classes have a bar, what stands beside each, and its lengths (T, bars): the likeliest anywhere, and all others as one."""
    final = int(told.values[0].argmax())
    order = np.argsort(-told.values.max(0), kind="stable")
    shown = sorted({final, *(int(k) for k in order[: SHOWN - (final not in order[:SHOWN])])})
    rest = [k for k in range(len(told.classes)) if k not in shown]
    names = [f"<b>★ {told.classes[k]}</b>" if k == final else told.classes[k] for k in shown]
    values = told.values[:, shown]
    if rest:
        names, values = [*names, f"{len(rest)} others"], np.column_stack([values, told.values[:, rest].sum(1)])
    return shown, names, values


def way_figure(
    noisy: np.ndarray, clean: np.ndarray, told: Mapping[str, Told], levels: Levels, beyond: Sequence[bool], axis: Axis, first: int = 0
) -> go.Figure:
    """One sample on its way: what the network is shown, what it makes of it, and each question's class bars, moving together.

    Pictures are (T, h, w, 3) uint8 and all is σ ascending; the frames are in the order of the way, noisiest first, and named
    by place. `beyond` marks levels where an outermost probe stands in. The final class has a star. Moving asks no server.
    """
    bars = {name: _bars(one) for name, one in told.items()}

    def at(level: int) -> list[Any]:
        shown = [
            go.Image(source=uri(noisy[level], 1), xaxis="x", yaxis="y", hoverinfo="skip"),
            go.Image(source=uri(clean[level], 1), xaxis="x2", yaxis="y2", hoverinfo="skip"),
        ]
        for index, (_, names, values) in enumerate(bars.values()):
            colours = [GREY if name.endswith(" others") else look(index)[0] for name in names]
            shown.append(
                go.Bar(
                    x=values[level],
                    y=list(range(len(names))),
                    text=[f"{value:.0%}" for value in values[level]],
                    xaxis="x3",
                    yaxis=f"y{index + 3}",
                    orientation="h",
                    textposition="outside",
                    cliponaxis=False,
                    marker={"color": colours},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        return shown

    frames = [go.Frame(name=str(level), data=at(level), traces=list(range(2 + len(bars)))) for level in reversed(range(len(levels)))]
    figure = go.Figure(at(first), frames=frames)
    return figure.update_layout(**_way_layout(told, {name: names for name, (_, names, _) in bars.items()}, levels, beyond, axis, first))


def _way_layout(
    told: Mapping[str, Told], bars: Mapping[str, list[str]], levels: Levels, beyond: Sequence[bool], axis: Axis, first: int
) -> dict[str, Any]:
    tall = sum(HEAD + BAR * len(names) for names in bars.values())
    tall = max(tall, 330)
    hidden: dict[str, Any] = {"visible": False, "fixedrange": True}
    title: dict[str, Any] = {
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13},
    }
    layout: dict[str, Any] = {
        "height": tall + 170,
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
        "xaxis": hidden | {"domain": [0, 0.34], "anchor": "y", "constraintoward": "left"},
        "yaxis": hidden | {"domain": [0.56, 1], "anchor": "x", "constraintoward": "top"},
        "xaxis2": hidden | {"domain": [0, 0.34], "anchor": "y2", "constraintoward": "left"},
        "yaxis2": hidden | {"domain": [0, 0.44], "anchor": "x2", "constraintoward": "top"},
        "xaxis3": {"domain": [0.56, 1], "range": [0, 1.22], "visible": False, "fixedrange": True, "anchor": "y3"},
        "bargap": 0.25,
    }
    titles = [title | {"text": "shown", "x": 0, "y": 1.0}, title | {"text": "denoised, x̂₀", "x": 0, "y": 0.44}]
    top, share = 1.0, 1.0 / sum(HEAD + BAR * len(names) for names in bars.values())
    for index, (name, names) in enumerate(bars.items()):
        high = top - (HEAD * share if index else 0)
        low = max(0.0, high - BAR * len(names) * share - (0 if index else HEAD * share / 2))
        layout[f"yaxis{index + 3}"] = {
            "domain": [low, high],
            "anchor": "x3",
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "range": [len(names) - 0.5, -0.5],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
        }
        titles.append(title | {"text": f"<b>{name}</b>, block {told[name].block}", "x": 0.42, "y": high})
        top = low
    steps = slider(levels, axis, first)
    for step, outside in zip(steps["steps"], beyond, strict=True):
        step["label"] += " · beyond the probes" if outside else ""
    return layout | {
        "annotations": titles,
        "sliders": [steps],
        "updatemenus": [buttons("▶ from noise", 500, fromcurrent=False, mode="immediate")],
    }
