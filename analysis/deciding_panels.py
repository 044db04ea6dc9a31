"""When a class is settled, as Plotly figures: over many samples, and over the forks of one. No maths beyond placing, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .figures import GREY, Levels, curve_traces, look, noise_axis
from .specs import Axis

WHAT = {"agreement": "agree with the end", "settled": "settled from here on"}
BESIDE = 0.03  # of log10 σ: intervals of one level stand beside each other
Found = Mapping[str, Any]  # decided.measure's, of one question


def _rows(found: Found, what: str) -> pd.DataFrame:
    """A question's share at every level, σ ascending, as `curve_traces` takes it."""
    levels = pd.DataFrame(found["levels"]).sort_values("sigma", ignore_index=True)
    return levels.assign(accuracy=levels[what], ci_low=levels[f"{what}_low"], ci_high=levels[f"{what}_high"])


def settled_figure(found: Mapping[str, Found], probes: Mapping[str, pd.DataFrame], axis: Axis, what: str = "agreement") -> go.Figure:
    """Each question's share of samples over σ, above the level where half are settled, with its interval.

    Thin and dashed: how often a question's probe is right on test images (`sigma`, `accuracy`). Open markers: beyond its levels.
    """
    figure, levels = go.Figure(), _rows(next(iter(found.values())), what).to_dict("records")
    for index, (name, one) in enumerate(found.items()):
        colour, marker = look(index)
        rows = _rows(one, what)
        band, line = curve_traces(rows, rows.to_dict("records"), name, colour, "solid", marker)
        line.marker.symbol = [f"{marker}-open" if outside else marker for outside in rows.outside]
        figure.add_traces([band, line, _probe(name, probes[name], colour), _median(one, index, colour, marker)])
    figure.add_scatter(
        x=[None], y=[None], mode="lines", line={"color": GREY, "width": 1.2, "dash": "dash"}, name="its probe on test images"
    )
    hidden_grid = {"fixedrange": True, "automargin": True, "zeroline": False}
    return figure.update_layout(
        height=430 + 26 * len(found),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis=noise_axis(levels, axis) | {"anchor": "y2", "automargin": True},
        yaxis=hidden_grid | {"domain": [0.34, 1], "tickformat": ".0%", "range": [0, 1.04], "title": {"text": WHAT[what]}},
        yaxis2=hidden_grid
        | {
            "domain": [0, 0.26],
            "anchor": "x",
            "tickvals": list(range(len(found))),
            "ticktext": list(found),
            "range": [len(found) - 0.5, -0.5],
        },
        annotations=[
            {"text": "half of samples settled, 95 % interval", "x": 0, "y": 0.26, "xref": "paper", "yref": "paper", "xanchor": "left"}
            | {"yanchor": "bottom", "showarrow": False, "font": {"size": 12}}
        ],
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False},
        hovermode="closest",
    )


def _probe(name: str, probe: pd.DataFrame, colour: str) -> go.Scatter:
    return go.Scatter(
        x=np.log10(probe.sigma),
        y=probe.accuracy,
        mode="lines",
        line={"color": colour, "width": 1.2, "dash": "dash"},
        showlegend=False,
        customdata=probe.sigma,
        hovertemplate="%{y:.1%} right at σ = %{customdata:.3g}<extra>probe of " + name + ", test images</extra>",
    )


def _median(one: Found, row: int, colour: str, marker: str) -> go.Scatter:
    middle, low, high = (math.log10(value) for value in (one["median"], *one["median_ci"]))
    return go.Scatter(
        x=[middle],
        y=[row],
        yaxis="y2",
        mode="markers",
        marker={"size": 11, "color": colour, "symbol": marker},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - middle],
            "arrayminus": [middle - low],
            "color": colour,
            "thickness": 2,
        },
        showlegend=False,
        hovertemplate=f"half settled at σ = {one['median']:.2g} ({one['median_ci'][0]:.2g} to {one['median_ci'][1]:.2g})<extra>{one['label_set']}</extra>",
    )


def forks_figure(rows: Levels, levels: Levels, axis: Axis) -> go.Figure:
    """By question, the share of forks that keep the class, over the level they are from; `rows` have `kept`, σ ascending.

    The axis is that of all `levels`, so that it stays while rows are still to come.
    """
    figure = go.Figure()
    names: Mapping[str, Any] = rows[0]["kept"] if rows else {}  # type: ignore[assignment]
    for index, name in enumerate(names):
        share, low, high = np.array([row["kept"][name] for row in rows]).T  # type: ignore[index]
        colour, marker = look(index)
        figure.add_scatter(
            x=[math.log10(row["sigma"]) + BESIDE * (index - (len(names) - 1) / 2) for row in rows],
            y=share,
            error_y={
                "type": "data",
                "symmetric": False,
                "array": high - share,
                "arrayminus": share - low,
                "color": colour,
                "thickness": 1.5,
            },
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"symbol": marker, "size": 8},
            customdata=[[row["sigma"], below, above] for row, below, above in zip(rows, low, high, strict=True)],
            hovertemplate="%{y:.0%} (%{customdata[1]:.0%} to %{customdata[2]:.0%})<br>σ = %{customdata[0]:.3g}<extra>%{fullData.name}</extra>",
        )
    return figure.update_layout(
        height=380,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={"tickformat": ".0%", "range": [-0.03, 1.04], "fixedrange": True, "title": {"text": "keep the class"}, "automargin": True},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
        showlegend=True,
        hovermode="closest",
    )
