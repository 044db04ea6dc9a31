"""The figure that plays: curves, their change from the lowest level, and the image, moving together over the noise levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from .figures import GREY, OKABE_ITO, Levels, curve_traces, label, level_line, lowest, measured, noise_axis, pick, places, units
from .literature import Published
from .specs import Axis


def _change(rows: Sequence[Sequence[float]], levels: Levels, colour: str, dash: str) -> list[go.Scatter]:
    """Points gained or lost against the lowest level, with the paired interval, in the lower panel."""
    mean, low, high = rows
    frame = pd.DataFrame({"sigma": [level["sigma"] for level in levels], "accuracy": mean, "ci_low": low, "ci_high": high})
    band, line = curve_traces(frame, levels, "change", colour, dash, "circle")
    line.update(
        showlegend=False,
        marker={"size": 4},
        hovertemplate="%{y:+.1%} (%{customdata[2]:+.1%} to %{customdata[3]:+.1%})<extra>change</extra>",
    )
    return [trace.update(yaxis="y4") for trace in (band, line)]


def _published(curve: Published) -> go.Scatter:
    """A curve that was not measured here, dashed with open markers."""
    return go.Scatter(
        x=[math.log10(sigma) for sigma, _ in curve.points],
        y=[value / 100 for _, value in curve.points],
        name=f"published, not ours: {curve.title} ({curve.source})",
        mode="lines+markers",
        line={"color": OKABE_ITO[3], "dash": "dash", "width": 2},
        marker={"symbol": "circle-open", "size": 8},
        customdata=[sigma for sigma, _ in curve.points],
        hovertemplate="%{y:.2%} at σ = %{customdata:g}<extra>published</extra>",
    )


def dot(x: float, y: float, text: str, colour: str, place: str, yaxis: str = "y") -> go.Scatter:
    """A point that moves, with what it says."""
    return go.Scatter(
        x=[x],
        y=[y],
        yaxis=yaxis,
        mode="markers+text",
        text=[f"<b>{text}</b>"],
        textposition=place,
        textfont={"size": 13, "color": colour},
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
    published: Published | None = None,
    peak: Sequence[float] | None = None,
) -> go.Figure:
    """The model's curve and the pixels', each one's change from the lowest level below, and one image at every level.

    `short` is a study's: `series` maps `model` and `baseline` to names of curves in the table, `changes` gives (mean, low,
    high) of each. `images` are data URIs, one a level; `first` is the level shown at the start. Dots, image, numbers and
    slider move together by frames that are all in the figure: moving σ asks no server. A published curve is drawn dashed;
    `peak`, the interval of the best σ, is shaded.
    """
    series, x = short["series"], places(levels)
    looks = {
        "baseline": (f"best classifier on the noised {units(levels)}", GREY, "dash", "square", "bottom center"),
        "model": (f"linear readout of block {series['model'].split('/')[1]}", OKABE_ITO[0], "solid", "circle", "top center"),
    }
    shown = [name for name in looks if name in series]
    rows = {name: pick(table, series[name]) for name in shown}
    still = [trace for name in shown for trace in curve_traces(rows[name], levels, *looks[name][:4])]
    still += [trace for name in shown for trace in _change(short["changes"][name], levels, *looks[name][1:3])]

    if published:
        still.append(_published(published))

    def at(level: int) -> list[Any]:
        """What moves: a dot with its number on each curve, one on the model's change, and the image."""
        dots = [dot(x[level], value := rows[name].accuracy.iloc[level], f"{value:.1%}", looks[name][1], looks[name][4]) for name in shown]
        gained = short["changes"]["model"][0][level]
        dots.append(dot(x[level], max(gained, -0.06), f"{100 * gained:+.1f}", OKABE_ITO[0], "top center", "y4"))
        return [*dots, go.Image(source=images[level], xaxis="x2", yaxis="y2", hoverinfo="skip")]

    moving = list(range(len(still), len(still) + len(shown) + 2))
    frames = [go.Frame(name=str(i), data=at(i), traces=moving) for i in range(len(levels))]
    figure = go.Figure([*still, *at(first)], frames=frames)
    level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left")
    if clean is not None:
        level_line(figure, clean, f"clean {units(levels)}", "bottom left" if 0.3 < clean < 0.88 else "bottom right")  # not under the image
    if peak is not None:
        low, high = (math.log10(bound) for bound in peak)
        figure.add_vrect(x0=low, x1=high, fillcolor=OKABE_ITO[0], opacity=0.1, line_width=0, layer="below")
    figure.add_vline(x=x[int(rows["model"].accuracy.argmax())], line={"color": OKABE_ITO[0], "width": 1, "dash": "dot"})
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
    top = max(0.08, 1.15 * max(max(short["changes"][name][2]) for name in shown))
    return figure.update_layout(**_start_layout(levels, axis, first, top, measured(table), lowest(pd.concat(rows.values()))))


def open_at(figure: go.Figure, level: int) -> None:
    """Let a figure that plays open at another of its levels, in place: building it anew takes ten times as long."""
    frame = next(frame for frame in figure.frames if frame.name == str(level))
    for index, data in zip(frame.traces, frame.data, strict=True):
        figure.data[index].update(data.to_plotly_json(), overwrite=True)
    figure.layout.sliders[0].active = level


def _start_layout(levels: Levels, axis: Axis, first: int, top: float, title: str, bottom: float) -> dict[str, Any]:
    hidden = {"visible": False, "fixedrange": True}
    plain = {"fixedrange": True, "automargin": True}
    return {
        "height": 720,
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "xaxis": noise_axis(levels, axis) | {"anchor": "y3", "automargin": True},
        "yaxis": plain | {"domain": [0.47, 1], "tickformat": ".0%", "range": [bottom, 1.1], "title": {"text": title}},
        "yaxis4": plain
        | {
            "domain": [0.22, 0.42],
            "anchor": "x",
            "tickvals": [-0.05, 0, 0.05, 0.1, 0.2],
            "ticktext": ["-5", "0", "+5", "+10", "+20"],
            "range": [-0.065, top],
            "title": {"text": "points"},
        },
        "yaxis3": hidden | {"domain": [0.1, 0.19], "range": [0, 1], "anchor": "x"},
        "xaxis2": hidden | {"domain": [0.85, 1.0], "anchor": "y2"},  # where curves are low
        "yaxis2": hidden | {"domain": [0.64, 0.86], "anchor": "x2"},
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False},
        "hovermode": "closest",
        "sliders": [slider(levels, axis, first)],
        "updatemenus": [buttons()],
    }


def slider(levels: Levels, axis: Axis, first: int) -> dict[str, Any]:
    """The slider over the noise levels, whose steps show the frames."""
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


def buttons(name: str = "▶", duration: int = 700, **how: Any) -> dict[str, Any]:
    """Play, `duration` milliseconds a frame, and stop; from the current frame unless `how` says otherwise."""
    play = {"fromcurrent": True, "frame": {"duration": duration, "redraw": True}, "transition": {"duration": 0}, **how}
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
            {"label": name, "method": "animate", "args": [None, play]},
            {"label": "❚❚", "method": "animate", "args": [[None], stop]},
        ],
    }
