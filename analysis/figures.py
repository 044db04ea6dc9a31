"""Tidy table -> Plotly figure. No maths beyond placing, no files.

The noise axis runs from clean on the left to noisy on the right, always. Its places are log σ; only its labels change with
the axis that is asked for, so a curve looks the same under each.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .specs import Axis

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B8A800")
MARKERS = ("circle", "square", "diamond", "triangle-up")
GREY = "#808080"
TITLES = {"timestep": "timestep t of the model", "sigma": "noise level σ", "log_snr": "log-SNR"}
Levels = Sequence[Mapping[str, float]]


def look(index: int) -> tuple[str, str]:
    """Colour and marker of a class or a question, the same in every figure; 28 differ."""
    return OKABE_ITO[index % len(OKABE_ITO)], MARKERS[index % len(MARKERS)]


def label(level: Mapping[str, float], axis: Axis) -> str:
    """A noise level as the axis says it, short."""
    if axis == "timestep":
        return f"{level['timestep']:.0f}"
    if axis == "log_snr":
        return f"{round(level['log_snr'], 1) + 0:.1f}"  # 0.0, never -0.0
    return f"{level['sigma']:.0f}" if level["sigma"] >= 100 else f"{level['sigma']:.2g}"


def places(levels: Levels) -> list[float]:
    """Where each level stands on the axis: log10 σ."""
    return [math.log10(level["sigma"]) for level in levels]


def units(levels: Levels) -> str:
    """What noise is added to: pixels or latents."""
    return "latents" if levels and levels[0].get("latent") else "pixels"


def axis_title(levels: Levels, axis: Axis) -> str:
    """What the noise axis is called; that σ is in the units of latents is said."""
    return TITLES[axis] + (" of the latents" if units(levels) == "latents" else "")


def noise_axis(levels: Levels, axis: Axis) -> dict[str, Any]:
    """The layout of the noise axis."""
    x = places(levels)
    every = 2 if len(x) > 9 else 1
    margin = 0.03 * (x[-1] - x[0])
    return {
        "title": {"text": f"clean ← {axis_title(levels, axis)} → noisy", "standoff": 6},
        "tickvals": x[::every],
        "ticktext": [label(level, axis) for level in levels][::every],
        "range": [x[0] - margin, x[-1] + margin],
        "zeroline": False,
        "showgrid": False,
        "fixedrange": True,
    }


def curve_traces(rows: pd.DataFrame, levels: Levels, name: str, colour: str, dash: str, marker: str) -> list[go.Scatter]:
    """The interval as a band, then the line."""
    rows, x = rows.sort_values("sigma"), places(levels)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    band = go.Scatter(
        x=[*x, *x[::-1]],
        y=[*rows.ci_high, *rows.ci_low[::-1]],
        mode="lines",  # else Plotly marks the corners of a band of few levels
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


def level_line(figure: go.Figure, value: float, text: str, place: str, **panel: int) -> None:
    """A dotted line across, with its name; `row` and `col` of the panel where there are several."""
    figure.add_hline(
        y=value,
        line={"color": GREY, "width": 1, "dash": "dot"},
        annotation={"text": text, "font": {"size": 11}, "showarrow": False},
        annotation_position=place,
        **panel,
    )


def measured(table: pd.DataFrame) -> str:
    """What the accuracies of a table are; tables made before have no word of it."""
    return "R² on test images" if "measure" in table and (table.measure == "r2").any() else "test accuracy"


def lowest(table: pd.DataFrame) -> float:
    """Where an axis of a table's accuracies begins: at 0, or at the worst R², which may be below it."""
    return float(min(0.0, table.ci_low.min())) if measured(table) != "test accuracy" else 0.0


def pick(table: pd.DataFrame, series: str) -> pd.DataFrame:
    """The rows of one curve, by its name `source/block/pooling`, in ascending σ."""
    source, block, pooling = series.split("/")
    return table[(table.source == source) & (table.block == block) & (table.pooling == pooling)].sort_values("sigma")


def blocks_figure(table: pd.DataFrame, levels: Levels, axis: Axis, headline: str) -> go.Figure:
    """Every block's curve in network order, hue by stage of the network, marker by place in it; the headline drawn thick."""
    figure = go.Figure()
    rows = table[table.source == "model"].sort_values("depth")
    for index, block in enumerate(rows.block.unique()):
        curve = rows[rows.block == block]
        best = block == headline.split("/")[1]
        band, line = curve_traces(curve, levels, block, OKABE_ITO[index % 7], "solid", MARKERS[(index // 7) % 4])
        line.line.width = 4 if best else 1.5
        figure.add_traces([band, line] if best else [line])  # fifteen bands would hide each other: hovering says every interval
    random = table[table.source == "random"]
    if len(random):
        best_random = random.groupby("block").validation_accuracy.mean().idxmax()
        figure.add_trace(
            curve_traces(random[random.block == best_random], levels, f"random weights, best block ({best_random})", GREY, "dash", "x")[1]
        )
    pixels, clean = table[table.source == "baseline"], table[table.source == "clean"]
    if len(pixels):
        figure.add_trace(curve_traces(pixels, levels, f"best classifier on the noised {units(levels)}", GREY, "dot", "square")[1])
    if len(clean):
        level_line(figure, float(clean.accuracy.iloc[0]), f"clean {units(levels)}", "bottom right")
    level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left")
    figure.update_layout(
        height=560,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={
            "tickformat": ".0%",
            "range": [lowest(table), 1.02],
            "fixedrange": True,
            "title": {"text": measured(table)},
            "automargin": True,
        },
        legend={"orientation": "h", "y": -0.2, "yanchor": "top"},
        hovermode="closest",
    )
    return figure


def heat_map(table: pd.DataFrame, levels: Levels, axis: Axis, best: tuple[str, int], near: Collection[tuple[str, int]] = ()) -> go.Figure:
    """Accuracy of every block (down, in network order) at every level (across), the best cell ringed, those near it dotted.

    Cells are (block, place of the level).
    """
    rows = table[table.source == "model"]
    grid = rows.pivot_table(index=["depth", "block"], columns="sigma", values="accuracy").sort_index()
    blocks, x = list(grid.index.get_level_values("block")), places(levels)
    values = grid.to_numpy()
    dotted = [cell for cell in near if cell != best]
    cells = [[f"{block}, σ = {level['sigma']:.3g}, t = {level['timestep']:.0f}" for level in levels] for block in blocks]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=list(range(len(x))),
            y=blocks,
            text=cells,
            colorscale="Viridis",
            colorbar={"tickformat": ".0%", "thickness": 12, "title": {"text": measured(table), "side": "right"}},
            hovertemplate="%{text}<br>%{z:.1%}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[best[1]],
            y=[best[0]],
            mode="markers",
            marker={"symbol": "circle-open", "size": 18, "color": "#D55E00", "line": {"width": 3}},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[level for _, level in dotted],
            y=[block for block, _ in dotted],
            mode="markers",
            marker={"symbol": "circle", "size": 7, "color": "#D55E00", "line": {"width": 1, "color": "white"}},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    every = 2 if len(x) > 9 else 1
    figure.update_layout(
        height=520,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis={
            "title": {"text": f"clean ← {axis_title(levels, axis)} → noisy"},
            "tickvals": list(range(len(x)))[::every],
            "ticktext": [label(level, axis) for level in levels][::every],
            "fixedrange": True,
            "automargin": True,
        },
        yaxis={"autorange": "reversed", "fixedrange": True, "automargin": True},
    )
    return figure


def multiples(parts: Mapping[str, pd.DataFrame], levels: Levels, axis: Axis, series: Mapping[str, Mapping[str, str]]) -> go.Figure:
    """A panel for each name in `parts` (such as a number of labels a class), with the same scales: curves with their bands.

    `series` gives for each panel the names of its curves: `model`, and `random` and `baseline` where they are there.
    """
    looks = {
        "model": ("model", OKABE_ITO[0], "solid", "circle"),
        "baseline": (f"noised {units(levels)}", GREY, "dash", "square"),
        "random": ("random weights", OKABE_ITO[1], "dot", "x"),
    }
    figure = make_subplots(cols=len(parts), shared_yaxes=True, subplot_titles=list(parts), horizontal_spacing=0.03)
    for column, (name, table) in enumerate(parts.items(), start=1):
        for source, look in looks.items():
            if source in series[name] and len(rows := pick(table, series[name][source])):
                for trace in curve_traces(rows, levels, *look):
                    trace.showlegend = bool(trace.showlegend is not False and column == 1)
                    figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(noise_axis(levels, axis) | {"title": {"text": axis_title(levels, axis)}, "automargin": True}, row=1, col=column)
    level_line(figure, float(next(iter(parts.values())).chance.iloc[0]), "chance", "bottom left")
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], fixedrange=True)
    return figure.update_layout(
        height=420,
        margin={"l": 8, "r": 8, "t": 48, "b": 8},
        legend={"orientation": "h", "y": -0.25, "yanchor": "top"},
        hovermode="closest",
    )


def inputs_figure(rows: Mapping[str, pd.DataFrame], levels: Levels, axis: Axis) -> go.Figure:
    """One block's curve under noisy and under clean input, with bands."""
    figure = go.Figure()
    looks = {"noisy": (OKABE_ITO[0], "solid", "circle"), "clean": (OKABE_ITO[1], "dash", "square")}
    for name, (colour, dash, marker) in looks.items():
        figure.add_traces(curve_traces(rows[name], levels, f"{name} input", colour, dash, marker))
    level_line(figure, float(rows["noisy"].chance.iloc[0]), "chance", "bottom left")
    return accuracy_layout(figure, levels, axis, measured(rows["noisy"]))


def taught_figure(rows: pd.DataFrame, levels: Levels, axis: Axis, block: str, lines: Mapping[str, float]) -> go.Figure:
    """The curve of a taught probe with its band, and what is right without looking, a line each by its name."""
    figure = go.Figure(curve_traces(rows, levels, f"block {block}", OKABE_ITO[0], "solid", "circle"))
    for (name, share), place in zip(lines.items(), ("bottom left", "top left"), strict=False):
        level_line(figure, share, name, place)
    return accuracy_layout(figure, levels, axis, "right, of images left out").update_layout(height=400, showlegend=False)


def accuracy_layout(figure: go.Figure, levels: Levels, axis: Axis, title: str) -> go.Figure:
    """The figure with the noise axis below and shares of 1 upwards."""
    return figure.update_layout(
        height=480,
        margin={"l": 8, "r": 8, "t": 48, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={"tickformat": ".0%", "range": [0, 1.02], "fixedrange": True, "title": {"text": title}, "automargin": True},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom"},
        hovermode="closest",
    )
