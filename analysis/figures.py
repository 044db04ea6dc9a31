"""Tidy table -> Plotly figure. No maths beyond placing, no files.

The noise axis runs from clean on the left to noisy on the right, always. Its places are log σ; only its labels change with
the axis that is asked for, so a curve looks the same under each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from .specs import Axis

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800")
MARKERS = ("circle", "square", "diamond", "triangle-up")
GREY = "#808080"
TITLES = {"timestep": "timestep t of the model", "sigma": "noise level σ", "log_snr": "log-SNR"}
Levels = Sequence[Mapping[str, float]]


def label(level: Mapping[str, float], axis: Axis) -> str:
    """A noise level as the axis says it, short."""
    if axis == "timestep":
        return f"{level['timestep']:.0f}"
    return f"{level['log_snr']:.1f}" if axis == "log_snr" else f"{level['sigma']:.2g}"


def places(levels: Levels) -> list[float]:
    """Where each level stands on the axis: log10 σ."""
    return [math.log10(level["sigma"]) for level in levels]


def _noise_axis(levels: Levels, axis: Axis) -> dict[str, Any]:
    x = places(levels)
    every = 2 if len(x) > 9 else 1
    margin = 0.03 * (x[-1] - x[0])
    return {
        "title": {"text": f"clean ← {TITLES[axis]} → noisy", "standoff": 6},
        "tickvals": x[::every],
        "ticktext": [label(level, axis) for level in levels][::every],
        "range": [x[0] - margin, x[-1] + margin],
        "zeroline": False,
        "showgrid": False,
        "fixedrange": True,
    }


def _curve(rows: pd.DataFrame, levels: Levels, name: str, colour: str, dash: str, marker: str) -> list[go.Scatter]:
    """The interval as a band, then the line."""
    rows, x = rows.sort_values("sigma"), places(levels)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    band = go.Scatter(
        x=[*x, *x[::-1]],
        y=[*rows.ci_high, *rows.ci_low[::-1]],
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},.18)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
    )
    line = go.Scatter(
        x=x,
        y=rows.accuracy,
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2.5},
        marker={"symbol": marker, "size": 6},
        customdata=[
            [level["sigma"], level["timestep"], low, high] for level, low, high in zip(levels, rows.ci_low, rows.ci_high, strict=True)
        ],
        hovertemplate="%{y:.1%} (%{customdata[2]:.1%} to %{customdata[3]:.1%})<br>σ = %{customdata[0]:.3g}, t = %{customdata[1]:.0f}<extra>%{fullData.name}</extra>",
    )
    return [band, line]


def _level_line(figure: go.Figure, value: float, text: str, place: str) -> None:
    figure.add_hline(
        y=value,
        line={"color": GREY, "width": 1, "dash": "dot"},
        annotation={"text": text, "font": {"size": 11}, "showarrow": False},
        annotation_position=place,
    )


def _pick(table: pd.DataFrame, series: str) -> pd.DataFrame:
    source, block, pooling = series.split("/")
    return table[(table.source == source) & (table.block == block) & (table.pooling == pooling)]


def _change(rows: Sequence[Sequence[float]], levels: Levels, colour: str, dash: str) -> list[go.Scatter]:
    """Points gained or lost against the lowest level, with the paired interval, in the lower panel."""
    mean, low, high = rows
    frame = pd.DataFrame({"sigma": [level["sigma"] for level in levels], "accuracy": mean, "ci_low": low, "ci_high": high})
    band, line = _curve(frame, levels, "change", colour, dash, "circle")
    line.update(
        showlegend=False,
        marker={"size": 4},
        hovertemplate="%{y:+.1%} (%{customdata[2]:+.1%} to %{customdata[3]:+.1%})<extra>change</extra>",
    )
    return [trace.update(yaxis="y4") for trace in (band, line)]


def _dot(x: float, y: float, text: str, colour: str, place: str, yaxis: str = "y") -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[y],
        yaxis=yaxis,
        mode="markers+text",
        text=[f"<b>{text}</b>"],
        textposition=place,
        textfont={"size": 13},
        marker={"size": 13, "color": colour, "line": {"width": 2, "color": "white"}},
        showlegend=False,
        hoverinfo="skip",
        cliponaxis=False,
    )


def start_figure(
    table: pd.DataFrame,
    levels: Levels,
    short: Mapping[str, Any],
    axis: Axis,
    images: Sequence[str],
    clean: float | None = None,
    first: int = 0,
) -> go.Figure:
    """The model's curve and the pixels', each one's change from the lowest level below, and one image at every level.

    `short` is a study's: `series` maps `model` and `baseline` to names of curves in the table, `changes` gives (mean, low,
    high) of each. `images` are data URIs, one a level; `first` is the level shown at the start. Dots, image, numbers and
    slider move together by frames that are all in the figure: moving σ asks no server.
    """
    series, x = short["series"], places(levels)
    looks = {
        "baseline": ("best classifier on the noised pixels", GREY, "dash", "square", "bottom center"),
        "model": (f"linear readout of block {series['model'].split('/')[1]}", OKABE_ITO[0], "solid", "circle", "top center"),
    }
    shown = [name for name in looks if name in series]
    rows = {name: _pick(table, series[name]).sort_values("sigma") for name in shown}
    still = [trace for name in shown for trace in _curve(rows[name], levels, *looks[name][:4])]
    still += [trace for name in shown for trace in _change(short["changes"][name], levels, *looks[name][1:3])]

    def at(level: int) -> list[Any]:
        """What moves: a dot with its number on each curve, one on the model's change, and the image."""
        dots = [_dot(x[level], value := rows[name].accuracy.iloc[level], f"{value:.1%}", looks[name][1], looks[name][4]) for name in shown]
        gained = short["changes"]["model"][0][level]
        dots.append(_dot(x[level], max(gained, -0.06), f"{100 * gained:+.1f}", OKABE_ITO[0], "top center", "y4"))
        return [*dots, go.Image(source=images[level], xaxis="x2", yaxis="y2", hoverinfo="skip")]

    moving = list(range(len(still), len(still) + len(shown) + 2))
    frames = [go.Frame(name=str(i), data=at(i), traces=moving) for i in range(len(levels))]
    figure = go.Figure([*still, *at(first)], frames=frames)
    _level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left")
    if clean is not None:
        _level_line(figure, clean, "clean pixels", "bottom right")
    peak = int(rows["model"].accuracy.argmax())
    figure.add_vline(x=x[peak], line={"color": OKABE_ITO[0], "width": 1, "dash": "dot"})
    step = (x[-1] - x[0]) / (len(x) - 1)
    for place, source in zip(x, images, strict=True):
        figure.add_layout_image(
            source=source,
            x=place,
            y=0.5,
            xref="x",
            yref="y3",
            xanchor="center",
            yanchor="middle",
            sizex=step * 0.92,
            sizey=1,
            layer="above",
        )
    return figure.update_layout(**_start_layout(levels, axis, first))


def _start_layout(levels: Levels, axis: Axis, first: int) -> dict[str, Any]:
    hidden = {"visible": False, "fixedrange": True}
    plain = {"fixedrange": True, "automargin": True}
    return {
        "height": 720,
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "xaxis": _noise_axis(levels, axis) | {"anchor": "y3", "automargin": True},
        "yaxis": plain | {"domain": [0.47, 1], "tickformat": ".0%", "range": [0, 1.1], "title": {"text": "test accuracy"}},
        "yaxis4": plain
        | {
            "domain": [0.22, 0.42],
            "anchor": "x",
            "tickvals": [-0.05, 0, 0.05],
            "ticktext": ["-5", "0", "+5"],
            "range": [-0.065, 0.08],
            "title": {"text": "points"},
        },
        "yaxis3": hidden | {"domain": [0.1, 0.19], "range": [0, 1], "anchor": "x"},
        "xaxis2": hidden | {"domain": [0.06, 0.26], "anchor": "y2"},
        "yaxis2": hidden | {"domain": [0.55, 0.8], "anchor": "x2"},
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False},
        "hovermode": "closest",
        "sliders": [_slider(levels, axis, first)],
        "updatemenus": [_buttons()],
    }


def _slider(levels: Levels, axis: Axis, first: int) -> dict[str, Any]:
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    symbol = {"timestep": "t = ", "sigma": "σ = ", "log_snr": "log-SNR = "}[axis]
    return {
        "active": first,
        "x": 0.0,
        "len": 1.0,
        "y": 0.0,
        "pad": {"t": 40, "b": 0, "l": 6, "r": 6},
        "currentvalue": {"prefix": symbol, "xanchor": "left", "offset": 4, "font": {"color": GREY, "size": 14}},
        "ticklen": 0,
        "minorticklen": 0,
        "font": {"color": "rgba(0,0,0,0)"},
        "steps": [{"label": label(level, axis), "method": "animate", "args": [[str(i)], now]} for i, level in enumerate(levels)],
    }


def _buttons() -> dict[str, Any]:
    play = {"fromcurrent": True, "frame": {"duration": 700, "redraw": True}, "transition": {"duration": 0}}
    stop = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    return {
        "type": "buttons",
        "direction": "left",
        "showactive": False,
        "x": 0,
        "y": 0.0,
        "xanchor": "left",
        "yanchor": "top",
        "pad": {"t": 112},
        "buttons": [
            {"label": "▶", "method": "animate", "args": [None, play]},
            {"label": "❚❚", "method": "animate", "args": [[None], stop]},
        ],
    }


def blocks_figure(table: pd.DataFrame, levels: Levels, axis: Axis, headline: str) -> go.Figure:
    """Every block's curve in network order, hue by stage of the network, marker by place in it; the headline drawn thick."""
    figure = go.Figure()
    rows = table[table.source == "model"].sort_values("depth")
    for index, block in enumerate(rows.block.unique()):
        curve = rows[rows.block == block]
        best = block == headline.split("/")[1]
        _, line = _curve(curve, levels, block, OKABE_ITO[index % 7], "solid", MARKERS[(index // 7) % 4])
        line.line.width = 4 if best else 1.5
        figure.add_trace(line)
    random = table[table.source == "random"]
    if len(random):
        best_random = random.groupby("block").validation_accuracy.mean().idxmax()
        figure.add_trace(
            _curve(random[random.block == best_random], levels, f"random weights, best block ({best_random})", GREY, "dash", "x")[1]
        )
    _level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left")
    figure.update_layout(
        height=560,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=_noise_axis(levels, axis) | {"automargin": True},
        yaxis={"tickformat": ".0%", "range": [0, 1.02], "fixedrange": True, "title": {"text": "test accuracy"}, "automargin": True},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
        hovermode="closest",
    )
    return figure


def heat_map(table: pd.DataFrame, levels: Levels, axis: Axis) -> go.Figure:
    """Accuracy of every block (down, in network order) at every level (across), the best cell ringed."""
    rows = table[table.source == "model"]
    grid = rows.pivot_table(index=["depth", "block"], columns="sigma", values="accuracy").sort_index()
    blocks, x = list(grid.index.get_level_values("block")), places(levels)
    values = grid.to_numpy()
    best = divmod(int(values.argmax()), values.shape[1])
    cells = [[f"{block}, σ = {level['sigma']:.3g}, t = {level['timestep']:.0f}" for level in levels] for block in blocks]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(range(len(x))),
            y=blocks,
            text=cells,
            colorscale="Viridis",
            colorbar={"tickformat": ".0%", "thickness": 12, "title": {"text": "accuracy", "side": "right"}},
            hovertemplate="%{text}<br>%{z:.1%}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[best[1]],
            y=[blocks[best[0]]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 18, "color": "#D55E00", "line": {"width": 3}},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    every = 2 if len(x) > 9 else 1
    figure.update_layout(
        height=520,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis={
            "title": {"text": f"clean ← {TITLES[axis]} → noisy"},
            "tickvals": list(range(len(x)))[::every],
            "ticktext": [label(level, axis) for level in levels][::every],
            "fixedrange": True,
            "automargin": True,
        },
        yaxis={"autorange": "reversed", "fixedrange": True, "automargin": True},
    )
    return figure
