"""Arrays of one image at every noise level -> Plotly figures and pictures. No maths beyond placing and colouring, no files.

Levels stand side by side at equal distances, from clean on the left to noisy on the right.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.colors import sample_colorscale, unlabel_rgb
from plotly.subplots import make_subplots

from .figures import GREY, MARKERS, OKABE_ITO, Levels, axis_title, label
from .specs import Axis

SIGNED, SEQUENCE = "RdBu_r", "Viridis"
TILE = 96  # pixels of a picture on the screen, before the page scales it
SHOWN = len(OKABE_ITO)  # classes with a line of their own
MARK = "#D55E00"  # around what is chosen


def png(pixels: np.ndarray, least: int = TILE) -> bytes:
    """(h, w, 3) uint8 as a PNG, enlarged without smoothing to at least `least` pixels of width."""
    scale = max(1, -(-least // pixels.shape[1]))
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels).repeat(scale, 0).repeat(scale, 1)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def uri(pixels: np.ndarray, least: int = TILE) -> str:
    """`png` as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels, least)).decode()


@cache
def _scale(name: str) -> np.ndarray:
    scale = sample_colorscale(name, np.linspace(0, 1, 255).tolist())
    return np.array([unlabel_rgb(colour) for colour in scale]).round().astype(np.uint8)


def signed(values: np.ndarray, limit: float) -> np.ndarray:
    """(...) -> (..., 3) uint8: blue below zero, white at zero, red above, full at ± limit."""
    place = 127 + 127 * np.clip(values.astype(np.float32) / max(limit, 1e-12), -1, 1)
    return np.asarray(_scale(SIGNED)[place.round().astype(int)])


def sequential(values: np.ndarray, limit: float) -> np.ndarray:
    """(...) -> (..., 3) uint8: viridis from zero to `limit`."""
    place = 254 * np.clip(values.astype(np.float32) / max(limit, 1e-12), 0, 1)
    return np.asarray(_scale(SEQUENCE)[place.round().astype(int)])


def faded(pixels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 with mid-grey where `keep` (...) is false."""
    return np.where(keep[..., None], pixels, np.uint8(128))


def limit_of(maps: Sequence[np.ndarray]) -> float:
    """The 99th percentile of absolute values: one scale for all."""
    return float(np.percentile(np.concatenate([np.abs(part.astype(np.float32)).ravel() for part in maps]), 99))


def sheet(rows: Sequence[np.ndarray], side: int = TILE, gap: int = 2) -> np.ndarray:
    """Rows of tiles (S, h, w, 3) uint8, each enlarged to `side` without smoothing, or made smaller, with grey gaps: one picture."""
    lines = []
    for tiles in rows:
        how = Image.Resampling.NEAREST if tiles.shape[1] <= side else Image.Resampling.BOX
        large = [Image.fromarray(tile).resize((side, side), how) for tile in tiles]
        padded = np.pad(np.stack([np.asarray(tile) for tile in large]), ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=128)
        lines.append(padded.transpose(1, 0, 2, 3).reshape(side + gap, -1, 3))
    return np.concatenate(lines)


def _level_axis(levels: Levels, axis: Axis) -> dict[str, object]:
    return {
        "title": {"text": f"clean ← {axis_title(levels, axis)} → noisy", "standoff": 6},
        "tickvals": list(range(len(levels))),
        "ticktext": [label(level, axis) for level in levels],
        "range": [-0.5, len(levels) - 0.5],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }


@dataclass(frozen=True)
class Bar:
    """A colour bar: its title, and what its ends (and zero between them, where values are signed) are."""

    title: str
    ends: tuple[str, str]
    signed: bool = True


def _colour_bar(bar: Bar) -> dict[str, object]:
    low = -1 if bar.signed else 0
    place = {"thickness": 10, "lenmode": "pixels", "len": 130, "y": 1, "yanchor": "top"}
    ticks = [(-1, bar.ends[0]), (0, "0"), (1, bar.ends[1])] if bar.signed else [(0, bar.ends[0]), (1, bar.ends[1])]
    told = {"title": {"text": bar.title}, "tickvals": [at for at, _ in ticks], "ticktext": [text for _, text in ticks], **place}
    return {"colorscale": SIGNED if bar.signed else SEQUENCE, "cmin": low, "cmax": 1, "showscale": True, "colorbar": told}


def grid_figure(
    rows: Mapping[str, np.ndarray], levels: Levels, axis: Axis, chosen: tuple[str | None, int], bar: Bar | None = None, side: int = 48
) -> go.Figure:
    """Pictures {name: (S, h, w, 3) uint8}, a row each, levels across; what is chosen is framed; hover says row and level.

    A row and level are chosen by a click on the (invisible) point in the middle of a picture. `bar` adds a colour bar.
    """
    names, count = list(rows), len(levels)
    picture = sheet(list(rows.values()), side)
    figure = go.Figure()
    figure.add_layout_image(
        source=uri(picture, 1), x=-0.5, y=-0.5, sizex=count, sizey=len(names), xref="x", yref="y", sizing="stretch", layer="below"
    )
    points = [(row, level) for row in range(len(names)) for level in range(count)]
    figure.add_scatter(
        x=[level for _, level in points],
        y=[row for row, _ in points],
        mode="markers",
        marker={
            "size": 18,
            "opacity": 0,
            "color": [0.0] * len(points),
            **(_colour_bar(bar) if bar else {}),
        },
        customdata=[[names[row], levels[level]["sigma"], levels[level]["timestep"]] for row, level in points],
        hovertemplate="%{customdata[0]}<br>σ = %{customdata[1]:.3g}, t = %{customdata[2]:.0f}<extra></extra>",
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        showlegend=False,
    )
    block, level = chosen
    row = names.index(block) if block in names else None
    top, bottom = (row - 0.5, row + 0.5) if row is not None else (-0.5, len(names) - 0.5)
    figure.add_shape(type="rect", x0=level - 0.5, x1=level + 0.5, y0=top, y1=bottom, line={"color": MARK, "width": 3})
    figure.update_xaxes(**_level_axis(levels, axis))
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=names,
        range=[len(names) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        fixedrange=True,
        scaleanchor="x",
        constrain="domain",
        constraintoward="top",
    )
    figure.update_xaxes(constrain="domain", constraintoward="left")
    figure.update_layout(
        height=90 + side * len(names), margin={"l": 10, "r": 10, "t": 10, "b": 10}, dragmode=False, clickmode="event+select"
    )
    return figure


def classes_figure(
    panels: Mapping[str, np.ndarray], spread: np.ndarray, classes: Sequence[str], levels: Levels, axis: Axis, level: int
) -> go.Figure:
    """Class probabilities over noise, (S, K) a panel side by side; the first panel's `spread` (S, K) is its band.

    Seven classes have a line of their own, those that are likeliest anywhere; the rest is summed.
    """
    first = next(iter(panels.values()))
    top = np.argsort(-np.max(list(panels.values()), axis=(0, 1)), kind="stable")[:SHOWN]
    shown = sorted(int(k) for k in top)
    rest = [k for k in range(len(classes)) if k not in shown]
    figure = make_subplots(1, len(panels), shared_yaxes=True, subplot_titles=list(panels), horizontal_spacing=0.04)
    x = list(range(len(levels)))
    for column, values in enumerate(panels.values(), start=1):
        for place, k in enumerate(shown):
            colour = OKABE_ITO[place]
            if values is first:
                red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
                low, high = np.clip(values[:, k] - spread[:, k], 0, 1), np.clip(values[:, k] + spread[:, k], 0, 1)
                band = {"fill": "toself", "fillcolor": f"rgba({red},{green},{blue},.15)", "line": {"width": 0}, "mode": "lines"}
                figure.add_scatter(
                    x=[*x, *x[::-1]],
                    y=[*high, *low[::-1]],
                    hoverinfo="skip",
                    showlegend=False,
                    legendgroup=classes[k],
                    row=1,
                    col=column,
                    **band,
                )
            figure.add_scatter(
                x=x,
                y=values[:, k],
                name=classes[k],
                legendgroup=classes[k],
                showlegend=column == 1,
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"symbol": MARKERS[place % 4], "size": 6},
                hovertemplate="%{y:.0%}<extra>" + classes[k] + "</extra>",
                row=1,
                col=column,
            )
        if rest:
            figure.add_scatter(x=x, y=values[:, rest].sum(1), name=f"{len(rest)} others", showlegend=column == 1, mode="lines", line={"color": GREY, "dash": "dot"}, hovertemplate="%{y:.0%}<extra>others</extra>", row=1, col=column)  # fmt: skip
        figure.add_vline(x=level, line={"color": MARK, "width": 1.5}, row=1, col=column)  # type: ignore[arg-type]
    figure.update_xaxes(**_level_axis(levels, axis))
    if len(panels) > 1:  # one title for all, because two would meet on a small screen
        title = _level_axis(levels, axis)["title"]
        below = {"x": 0.5, "y": -0.14, "xref": "paper", "yref": "paper", "yanchor": "top", "showarrow": False, "font": {"size": 14}}
        figure.update_xaxes(title=None, tickvals=x[::2], ticktext=[label(each, axis) for each in levels][::2])
        figure.add_annotation(text=title["text"], **below)  # type: ignore[index]
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", fixedrange=True)
    figure.update_layout(height=340, margin={"l": 10, "r": 10, "t": 36, "b": 10}, legend={"orientation": "h", "y": -0.32}, hovermode="x")
    return figure


def error_figure(error: np.ndarray, fit: Mapping[str, Any], levels: Levels, axis: Axis, level: int) -> go.Figure:
    """This image's denoising error (S,) over noise, and where held-out images lie; `fit` is gauge.Fit as a dict, or empty."""
    x = list(range(len(levels)))
    figure = go.Figure()
    if fit:
        low, middle, high = fit["band"]
        figure.add_scatter(x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", fillcolor="rgba(128,128,128,.25)", line={"width": 0}, mode="lines", hoverinfo="skip", name=f"90 % of {fit['count']} held-out images")  # fmt: skip
        figure.add_scatter(x=x, y=middle, mode="lines", line={"color": GREY, "dash": "dot"}, name="their median", hovertemplate="%{y:.2g}<extra>median</extra>")  # fmt: skip
    figure.add_scatter(
        x=x,
        y=error,
        mode="lines+markers",
        line={"color": OKABE_ITO[0], "width": 2.5},
        name="this image",
        customdata=fit.get("by_level"),
        hovertemplate="%{y:.2g}" + (", above %{customdata:.0f} % of them" if fit else "") + "<extra>this image</extra>",
    )
    figure.add_vline(x=level, line={"color": MARK, "width": 1.5})
    figure.update_xaxes(**_level_axis(levels, axis))
    figure.update_xaxes(tickvals=x[::2], ticktext=[label(each, axis) for each in levels][::2])
    figure.update_yaxes(type="log", title={"text": "denoising error"}, fixedrange=True, exponentformat="power", dtick=1)
    figure.update_layout(height=340, margin={"l": 10, "r": 10, "t": 36, "b": 10}, legend={"orientation": "h", "y": -0.32}, hovermode="x")
    return figure


def deletion_figure(curves: Mapping[str, Sequence[float]]) -> go.Figure:
    """The answer while pixels are taken out or put in, in a map's order and in random ones; `curves` is trust.Curves as a dict."""
    share = [100 * part for part in curves["share"]]
    figure = go.Figure()
    middle, spread = np.asarray(curves["random"]), np.asarray(curves["random_spread"])
    band = [*(middle + spread), *(middle - spread)[::-1]]
    figure.add_scatter(x=[*share, *share[::-1]], y=band, fill="toself", fillcolor="rgba(128,128,128,.25)", line={"width": 0}, mode="lines", hoverinfo="skip", showlegend=False)  # fmt: skip
    for name, key, colour, dash in (
        ("taken out, in random orders", "random", GREY, "dot"),
        ("taken out, most important first", "deletion", OKABE_ITO[1], "solid"),
        ("put in, most important first", "insertion", OKABE_ITO[0], "dash"),
    ):
        figure.add_scatter(x=share, y=curves[key], name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2})
    figure.update_xaxes(title={"text": "pixels replaced, %"}, fixedrange=True, showgrid=False)
    figure.update_yaxes(title={"text": "the answer"}, fixedrange=True)
    figure.update_layout(height=300, margin={"l": 10, "r": 10, "t": 10, "b": 10}, legend={"orientation": "h", "y": -0.3})
    return figure


def drawing_figure(picture: np.ndarray, width: int, height: int) -> go.Figure:
    """A picture (h, w, 3) uint8 on which a box is drawn, in pixels of the image of width × height that it is of."""
    figure = go.Figure()
    figure.add_layout_image(
        source=uri(picture, 1), x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch", layer="below"
    )
    x, y = np.meshgrid(np.linspace(0, width, 40), np.linspace(0, height, 40))  # a box is told of only where it holds points
    look = {"marker": {"opacity": 0}}
    figure.add_scatter(x=x.ravel(), y=y.ravel(), mode="markers", hoverinfo="skip", showlegend=False, selected=look, unselected=look, **look)
    figure.update_xaxes(visible=False, range=[0, width], fixedrange=True, constrain="domain", constraintoward="left")
    figure.update_yaxes(visible=False, range=[height, 0], fixedrange=True, scaleanchor="x", constrain="domain", constraintoward="top")
    figure.update_layout(height=320, margin={"l": 0, "r": 0, "t": 0, "b": 0}, dragmode="select")
    return figure
