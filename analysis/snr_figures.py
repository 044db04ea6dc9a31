"""SNR of features over noise beside accuracy, clean features' distance from noisy ones, and the distance of peaks. No maths, no files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .figures import GREY, OKABE_ITO, Levels, level_line, noise_axis, places
from .specs import Axis

# Colour, dash and marker of what is read: the same in every panel.
LOOKS = {
    "noisy": ("noisy input", OKABE_ITO[0], "solid", "circle"),
    "clean": ("clean input, out of the training distribution", OKABE_ITO[1], "dash", "square"),
    "mean": ("mean over draws of ε", OKABE_ITO[2], "dot", "diamond"),
}
PROBE = ("probe", OKABE_ITO[3], "solid", "triangle-up")
SPREAD = {
    "noisy": "one noised image",
    "clean": "the clean image, out of the training distribution",
    "mean": "the mean over draws of ε",
}


def _band(x: list[float], low: list[float], high: list[float], colour: str, **more: Any) -> go.Scatter:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    known = [i for i in range(len(x)) if math.isfinite(low[i]) and math.isfinite(high[i])]
    return go.Scatter(
        x=[x[i] for i in (*known, *known[::-1])],
        y=[high[i] for i in known] + [low[i] for i in known[::-1]],
        mode="lines",
        fill="toself",
        line={"width": 0},
        hoverinfo="skip",
        **{"showlegend": False, "fillcolor": f"rgba({red},{green},{blue},.18)"} | more,
    )


def _curve(rows: pd.DataFrame, levels: Levels, what: str, look: tuple[str, str, str, str], share: bool, legend: bool) -> list[go.Scatter]:
    """The interval as a band, then the line, of the columns `what`, `what_low` and `what_high`."""
    name, colour, dash, marker = look
    x, low, high = places(levels), rows[f"{what}_low"].tolist(), rows[f"{what}_high"].tolist()
    form = ".1%" if share else ",.3~r"
    line = go.Scatter(
        x=x,
        y=rows[what],
        name=name,
        legendgroup=name,
        showlegend=legend,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2.5},
        marker={"symbol": marker, "size": 6},
        customdata=[[level["sigma"], level["timestep"], a, b] for level, a, b in zip(levels, low, high, strict=True)],
        hovertemplate=f"%{{y:{form}}} (%{{customdata[2]:{form}}} to %{{customdata[3]:{form}}})<br>"
        "σ = %{customdata[0]:.3g}, t = %{customdata[1]:.0f}<extra>%{fullData.name}</extra>",
    )
    return [_band(x, low, high, colour, legendgroup=name), line]


def over_noise(
    table: pd.DataFrame,
    probe: pd.DataFrame,
    levels: Levels,
    axis: Axis,
    peak: Mapping[str, Any] | None,
    reading: str = "noisy",
    projection: bool = False,
) -> go.Figure:
    """A block's SNR above, accuracy of the probe and of the projection classifier below, over one noise axis.

    `table` are the block's rows, `probe` those of the study's curve; `peak` is where SNR and accuracy peak, with intervals, the latter the
    projection classifier's where that is said. Both are of the `reading`.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.52, 0.48], vertical_spacing=0.08)
    parts = {name: rows.sort_values("sigma") for name, rows in table.groupby("reading")}
    x = places(levels)
    null = {"fillcolor": "rgba(128,128,128,.4)", "name": f"{reading} input, shuffled labels", "showlegend": True}
    figure.add_trace(_band(x, parts["noisy"].null_low.tolist(), parts["noisy"].null_high.tolist(), GREY, **null), row=1, col=1)
    for row, what, share in ((1, "snr", False), (2, "projection", True)):
        for name, look in LOOKS.items():
            figure.add_traces(_curve(parts[name], levels, what, look, share, row == 1), rows=[row] * 2, cols=[1] * 2)
    asked = probe.rename(columns={"ci_low": "accuracy_low", "ci_high": "accuracy_high"}).sort_values("sigma")
    label, *rest = PROBE
    figure.add_traces(_curve(asked, levels, "accuracy", (f"{label}, {reading} input", *rest), True, True), rows=[2] * 2, cols=[1] * 2)  # type: ignore[arg-type]
    if peak:
        for row, what, top in (
            (1, "snr", parts[reading].snr.max()),
            (2, "accuracy", parts[reading].projection.max() if projection else asked.accuracy.max()),
        ):
            figure.add_trace(_peak(peak, what, float(top), row == 1), row=row, col=1)
    level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left", row=2, col=1)
    figure.update_xaxes(noise_axis(levels, axis) | {"title": None}, row=1, col=1)
    figure.update_xaxes(noise_axis(levels, axis) | {"automargin": True}, row=2, col=1)
    figure.update_yaxes(type="log", dtick="D2", tickformat=",.3~r", title={"text": "SNR, held-out images"}, row=1, col=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.04], title={"text": "accuracy"}, row=2, col=1)
    figure.update_yaxes(fixedrange=True, automargin=True)
    return figure.update_layout(
        height=640,
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        legend={"orientation": "h", "y": -0.13, "yanchor": "top"},
        hovermode="closest",
    )


def _peak(peak: Mapping[str, Any], what: str, height: float, legend: bool) -> go.Scatter:
    """Where a curve peaks, with its interval along the noise axis."""
    at, (low, high) = peak[f"{what}_sigma"], peak[f"{what}_ci"]
    place = math.log10(at)
    bar = {
        "type": "data",
        "symmetric": False,
        "array": [math.log10(high) - place],
        "arrayminus": [place - math.log10(low)],
        "thickness": 2.5,
        "width": 7,
    }
    return go.Scatter(
        x=[place],
        y=[height],
        mode="markers",
        name="peak, 95 % interval",
        legendgroup="peak",
        showlegend=legend,
        marker={"symbol": "star", "size": 13, "color": OKABE_ITO[4], "line": {"width": 1, "color": "black"}},
        error_x=bar | {"color": OKABE_ITO[4]},
        hovertemplate=f"peak at σ = {at:.2g} ({low:.2g} to {high:.2g})<extra></extra>",
    )


def distances(table: pd.DataFrame, levels: Levels, axis: Axis) -> go.Figure:
    """How far a block's features are from the mean noisy feature of their image, in units of what that spreads over σ."""
    figure = go.Figure()
    for name, (_, *look) in LOOKS.items():
        rows = table[table.reading == name].sort_values("sigma")
        figure.add_traces(_curve(rows, levels, "distance", (SPREAD[name], *look), False, True))  # type: ignore[arg-type]
    return figure.update_layout(
        height=380,
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={"title": {"text": "distance, spreads over σ"}, "rangemode": "tozero", "fixedrange": True, "automargin": True},
        legend={"orientation": "h", "y": -0.24, "yanchor": "top"},
        hovermode="closest",
    )


def apart(peaks: pd.DataFrame, block: str) -> go.Figure:
    """How far accuracy's peak is from the SNR's in every block, in network order from above: a dot with its 95 % interval each.

    Open dots have a peak that cannot be placed (snr_words.placed); `block` is marked in the labels.
    """
    figure, looks = go.Figure(), {"snr": ("SNR", OKABE_ITO[0], "circle"), "excess": ("SNR over shuffled labels'", OKABE_ITO[2], "diamond")}
    names = list(dict.fromkeys(peaks.block))
    for index, (of, (name, colour, marker)) in enumerate(looks.items()):
        rows = peaks[peaks.of == of]
        figure.add_scatter(
            x=rows.distance,
            y=[names.index(one) + (index - 0.5) * 0.36 for one in rows.block],
            mode="markers",
            name=name,
            marker={"symbol": [marker if one else f"{marker}-open" for one in rows.placed], "size": 9, "color": colour},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": rows.distance_high - rows.distance,
                "arrayminus": rows.distance - rows.distance_low,
                "thickness": 1.5,
                "width": 4,
                "color": colour,
            },
            customdata=rows[["block", "distance_low", "distance_high", "snr_sigma", "accuracy_sigma"]],
            hovertemplate="%{customdata[0]}: %{x:+.2f} (%{customdata[1]:+.2f} to %{customdata[2]:+.2f})<br>"
            "SNR σ = %{customdata[3]:.2g}, accuracy σ = %{customdata[4]:.2g}<extra>%{fullData.name}</extra>",
        )
    figure.add_vline(x=0, line={"color": GREY, "width": 1, "dash": "dot"})
    ticks = [f"<b>{name}</b>" if name == block else name for name in names]
    return figure.update_layout(
        height=110 + 30 * len(names),
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        xaxis={"title": {"text": "accuracy's peak less the SNR's, ln σ"}, "zeroline": False, "fixedrange": True},
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": ticks,
            "range": [len(names) - 0.4, -0.6],
            "fixedrange": True,
            "automargin": True,
            "zeroline": False,
        },
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        hovermode="closest",
    )
