"""What features score without labels beside what a probe reads, block by noise level. No maths, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .figures import Levels, axis_title, label
from .regret import Score
from .specs import Axis

RING = "#D55E00"


def beside(
    scores: pd.DataFrame,
    accuracy: pd.DataFrame,
    levels: Levels,
    axis: Axis,
    name: str,
    score: Score,
    rings: Mapping[str, tuple[str, int]],
) -> go.Figure:
    """A score on the left and test accuracy on the right, both of one pooling; bright is better by the score's own paper.

    `rings` are the cells (block, place of the level) that the score chose and that the probe chose, by `score` and `probe`; one
    that is of another pooling is left out.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, subplot_titles=[score.title, "Probe"], horizontal_spacing=0.14)
    for column, (table, value) in enumerate(((scores, name), (accuracy, "accuracy")), start=1):
        blocks = list(table.sort_values("depth").block.unique())
        grid = table.pivot(index="block", columns="sigma", values=value).loc[blocks]
        share = value == "accuracy"
        figure.add_trace(
            go.Heatmap(
                z=grid.to_numpy(),
                x=list(range(len(levels))),
                y=blocks,
                text=[[f"{block}, σ = {level['sigma']:.3g}, t = {level['timestep']:.0f}" for level in levels] for block in blocks],
                colorscale="Viridis",
                reversescale=not share and score.better < 0,
                colorbar={"thickness": 10, "x": 0.43 if column == 1 else 1.0, "tickformat": ".0%" if share else ".3~g"},
                hovertemplate="%{text}<br>%{z:.1%}<extra></extra>" if share else "%{text}<br>%{z:.3g}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        _rings(figure, rings, column)
        figure.update_xaxes(_ticks(levels, axis), row=1, col=column)
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True)
    return figure.update_layout(
        height=430,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        legend={"orientation": "h", "y": -0.24, "yanchor": "top"},
        hovermode="closest",
    )


def _rings(figure: go.Figure, rings: Mapping[str, tuple[str, int]], column: int) -> None:
    looks = {"score": ("the score's choice", "square-open", 15), "probe": ("the probe's choice", "circle-open", 12)}
    for who, (block, level) in rings.items():
        title, symbol, size = looks[who]
        marker = {"symbol": symbol, "size": size, "color": RING, "line": {"width": 3}}
        ring = go.Scatter(
            x=[level], y=[block], mode="markers", marker=marker, name=title, legendgroup=who, showlegend=column == 1, hoverinfo="skip"
        )
        figure.add_trace(ring, row=1, col=column)


def _ticks(levels: Levels, axis: Axis) -> dict[str, object]:
    every: Sequence[int] = range(0, len(levels), 4 if len(levels) > 9 else 2)
    return {
        "title": {"text": f"clean ← {axis_title(levels, axis)} → noisy", "font": {"size": 12}},
        "tickvals": list(every),
        "ticktext": [label(levels[i], axis) for i in every],
        "fixedrange": True,
        "automargin": True,
    }
