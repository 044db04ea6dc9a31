"""What a study of memorization found, drawn: curves over noise, the rise over training, signals and where they stop. No maths, no files.

Training-set sizes and moments are sequences: viridis from dark to bright, and a marker of its own each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb
from plotly.subplots import make_subplots

from .figures import GREY, OKABE_ITO, Levels, accuracy_layout, axis_title, curve_traces, level_line, noise_axis
from .memorized import ALL, FRESH
from .specs import Axis
from .stopping import SIGNALS, Stop

SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "hexagon", "pentagon", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
ENDS = (0.28, 0.88)  # of viridis: its darkest is lost on a dark page, its brightest on a white one
LEGEND = {"orientation": "h", "y": -0.22, "yanchor": "top"}


def sequence(names: Sequence[Any]) -> dict[Any, tuple[str, str]]:
    """Colour (hex) and marker of each, in order."""
    step = (ENDS[1] - ENDS[0]) / max(1, len(names) - 1)
    found = sample_colorscale("Viridis", [ENDS[0] + i * step for i in range(len(names))])
    colours = ["#" + "".join(f"{round(part):02x}" for part in unlabel_rgb(colour)) for colour in found]
    return {name: (colours[i], SHAPES[i % len(SHAPES)]) for i, name in enumerate(names)}


def said(size: str) -> str:
    """A training set, short."""
    return "new at every step" if size == FRESH else f"{int(size):,} images"


def thousands(seen: int) -> str:
    """Images seen, short: 131k."""
    return f"{seen / 1000:.0f}k" if seen >= 10_000 else f"{seen:,}"


def sizes_figure(rows: pd.DataFrame, levels: Levels, axis: Axis, sizes: Sequence[str], chosen: str | None = None) -> go.Figure:
    """Accuracy over σ for each training-set size, with bands, one drawn thick: rows of one block, moment, kind of weights and labels."""
    figure = go.Figure()
    for index, (size, (colour, marker)) in enumerate(sequence(sizes).items()):
        curve = rows[rows["size"] == size]
        if len(curve):
            band, line = curve_traces(curve, levels, said(size), colour, DASHES[index % len(DASHES)], marker)
            line.line.width, line.marker.size = (4, 10) if size == chosen else (2.5, 6)
            figure.add_traces([band, line])
    level_line(figure, float(rows.chance.iloc[0]), "chance", "bottom left")
    accuracy_layout(figure, levels, axis, "test accuracy")
    top = min(1.02, float(rows.ci_high.max()) + 0.05)
    return figure.update_layout(yaxis={"range": [0, top]}, legend=LEGEND, margin={"t": 24})


def moments_figure(rows: pd.DataFrame, levels: Levels, axis: Axis, sizes: Sequence[str]) -> go.Figure:
    """A panel a training-set size, in it accuracy over σ at every moment of training, the same scales; hovering says the intervals."""
    moments = sorted(rows.seen.unique())
    figure = make_subplots(cols=len(sizes), shared_yaxes=True, subplot_titles=[said(size) for size in sizes], horizontal_spacing=0.02)
    for column, size in enumerate(sizes, start=1):
        for seen, (colour, marker) in sequence(moments).items():
            curve = rows[(rows["size"] == size) & (rows.seen == seen)]
            if len(curve):
                line = curve_traces(curve, levels, f"{thousands(seen)} seen", colour, "solid", marker)[1]  # bands would hide each other
                line.showlegend = column == 1
                figure.add_trace(line, row=1, col=column)
        given = noise_axis(levels, axis)
        every = max(1, len(levels) // 4)
        short = {"tickvals": given["tickvals"][::every], "ticktext": given["ticktext"][::every]} if len(sizes) > 2 else {}
        figure.update_xaxes(
            given | short | {"title": {"text": axis_title(levels, axis), "font": {"size": 12}}, "automargin": True}, row=1, col=column
        )
    level_line(figure, float(rows.chance.iloc[0]), "chance", "bottom left")
    figure.update_yaxes(tickformat=".0%", range=[0, min(1.02, float(rows.ci_high.max()) + 0.05)], fixedrange=True, automargin=True)
    figure.update_yaxes(title={"text": "test accuracy"}, col=1)
    return figure.update_layout(height=400, margin={"l": 8, "r": 8, "t": 40, "b": 8}, legend=LEGEND, hovermode="closest")


def rise_figure(verdicts: pd.DataFrame, sizes: Sequence[str]) -> go.Figure:
    """The gain of each size at each moment with its 95 % interval: the rise that vanishes. Filled where the curve is unimodal."""
    figure, moments = go.Figure(), sorted(verdicts.seen.unique())
    for index, (size, (colour, marker)) in enumerate(sequence(sizes).items()):
        rows = verdicts[verdicts["size"] == size].sort_values("seen")
        if rows.empty:
            continue
        apart = 1 + 0.05 * (index - (len(sizes) - 1) / 2)  # side by side, or intervals would lie on each other
        low, high = ([bounds[i] for bounds in rows.gain_ci] for i in (0, 1))
        figure.add_scatter(
            x=[seen * apart for seen in rows.seen],
            y=rows.gain,
            name=said(size),
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": DASHES[index % len(DASHES)]},
            marker={
                "symbol": [marker if shape == "unimodal" else f"{marker}-open" for shape in rows["shape"]],
                "size": 10,
                "color": colour,
            },
            error_y=_errors(rows.gain, low, high),
            customdata=list(zip(rows.seen, low, high, rows["shape"], strict=True)),
            hovertemplate="%{y:+.1%} (%{customdata[1]:+.1%} to %{customdata[2]:+.1%}), %{customdata[3]}<br>"
            "%{customdata[0]:,} images seen<extra>%{fullData.name}</extra>",
        )
    level_line(figure, 0.0, "no rise over the lowest level", "bottom left")
    return figure.update_layout(
        height=420,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=training_axis(moments),
        yaxis={"tickformat": "+.0%", "title": {"text": "gain over least noise"}, "zeroline": False, "fixedrange": True, "automargin": True},
        legend=LEGEND,
        hovermode="closest",
    )


def training_axis(moments: Sequence[int]) -> dict[str, Any]:
    """The layout of the axis of training: images seen, logarithmic."""
    return {
        "type": "log",
        "title": {"text": "training images seen"},
        "tickvals": list(moments),
        "ticktext": [thousands(seen) for seen in moments],
        "fixedrange": True,
        "automargin": True,
        "zeroline": False,
    }


HUES = (OKABE_ITO[0], *OKABE_ITO[2:])  # without that of the marks
FORMATS = {"curve": ".0%", "score": ".0%"}
AXES = {"curve": "peak accuracy", "score": "generalization<br>score", "frechet": "Fréchet<br>distance", "held_out": "held-out<br>loss"}


def signals_figure(table: pd.DataFrame, stops: Mapping[str, Stop], real: float | None = None) -> go.Figure:
    """Every signal of one training-set size over training, a panel each: an open ring where its rule keeps, a line and a cross where it stops.

    `real` is the Fréchet distance of held-out images, drawn beside that of samples.
    """
    names = [name for name in SIGNALS if name in set(table.signal)]
    moments = sorted(table.seen.unique())
    figure = make_subplots(rows=len(names), shared_xaxes=True, vertical_spacing=0.035)
    for row, name in enumerate(names, start=1):
        rows = table[table.signal == name].sort_values("seen")
        at, colour = {"row": row, "col": 1}, HUES[row - 1]
        line = go.Scatter(
            x=rows.seen,
            y=rows.value,
            name=SIGNALS[name].title,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"symbol": SHAPES[row - 1], "size": 7},
            error_y=_errors(rows.value, rows.low.fillna(rows.value), rows.high.fillna(rows.value)),
            hovertemplate="%{y:" + FORMATS.get(name, ".3~g") + "} after %{x:,} images<extra>%{fullData.name}</extra>",
            showlegend=False,
        )
        figure.add_trace(line, **at)
        if name == "frechet" and real is not None:
            level_line(figure, real, "held-out real images", "top right", **at)
        _marks(figure, rows, stops.get(name), at)
        figure.update_yaxes(title={"text": AXES.get(name, "held-out over<br>training loss"), "font": {"size": 12}}, **at)
        figure.update_yaxes(tickformat=FORMATS.get(name, ".3~g"), nticks=5, **at)
        if name == "gap":
            figure.update_yaxes(type="log", dtick="D2", **at)  # a ratio: ticks at 1, 2, 5, 10
    figure.update_yaxes(fixedrange=True, automargin=True, zeroline=False)
    figure.update_xaxes(training_axis(moments) | {"title": None})
    figure.update_xaxes(title={"text": "training images seen"}, row=len(names), col=1)
    legend = {"orientation": "h", "y": 1.01, "yanchor": "bottom"}
    return figure.update_layout(height=100 + 125 * len(names), margin={"l": 8, "r": 8, "t": 24, "b": 8}, legend=legend, hovermode="closest")


def _marks(figure: go.Figure, rows: pd.DataFrame, stop: Stop | None, at: Mapping[str, int]) -> None:
    if stop is None:
        return
    looks = (("keeps", stop.kept, {"symbol": "circle-open", "size": 17, "color": "#D55E00", "line": {"width": 3}}),) + (
        (("stops", stop.stopped, {"symbol": "x-thin", "size": 13, "color": "#D55E00", "line": {"width": 3, "color": "#D55E00"}}),)
        if stop.stopped is not None
        else ()
    )
    for name, seen, marker in looks:
        value = float(rows.value[rows.seen == seen].iloc[0])
        mark = go.Scatter(
            x=[seen], y=[value], mode="markers", marker=marker, name=f"the rule {name}", legendgroup=name, showlegend=at["row"] == 1, hoverinfo="skip"
        )  # fmt: skip
        figure.add_trace(mark, **at)
    if stop.stopped is not None:
        figure.add_vline(x=stop.stopped, line={"color": "#D55E00", "width": 1, "dash": "dot"}, **at)


def threshold_figure(rows: pd.DataFrame, sizes: Sequence[str], chosen: float | None = None) -> go.Figure:
    """Share called copies over the threshold: a panel a size, samples and held-out real images; rows as `pooled` makes."""
    figure = make_subplots(cols=len(sizes), shared_yaxes=True, subplot_titles=[said(size) for size in sizes], horizontal_spacing=0.02)
    looks = {"copies": ("samples", OKABE_ITO[1], "square"), "held_out": ("held-out real images", OKABE_ITO[0], "circle")}
    for column, size in enumerate(sizes, start=1):
        found = rows[rows["size"] == size].sort_values("threshold")
        for name, (title, colour, marker) in looks.items():
            trace = go.Scatter(
                x=found.threshold,
                y=found[name],
                name=title,
                legendgroup=name,
                showlegend=column == 1,
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": "solid" if name == "copies" else "dash"},
                marker={"symbol": marker, "size": 7},
                error_y=_errors(found[name], found[f"{name}_low"], found[f"{name}_high"]),
                hovertemplate="%{y:.0%} at %{x}<extra>%{fullData.name}</extra>",
            )
            figure.add_trace(trace, row=1, col=column)
        if chosen is not None:
            figure.add_vline(x=chosen, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=column)
    figure.update_xaxes(title={"text": "threshold"}, fixedrange=True, automargin=True)
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.03], fixedrange=True, automargin=True, zeroline=False)
    figure.update_yaxes(title={"text": "called copies"}, col=1)
    return figure.update_layout(height=340, margin={"l": 8, "r": 8, "t": 40, "b": 8}, legend=LEGEND, hovermode="closest")


def halves_figure(rows: pd.DataFrame, sizes: Sequence[str]) -> go.Figure:
    """Mean cosine of samples with the other network's, and of them and of held-out real images with the nearest training image; a dot a pair of networks."""
    figure = go.Figure()
    looks = {
        "between": ("the other network's sample from the same noise", OKABE_ITO[0], "circle", -0.15),
        "own": ("nearest image of the own training set", OKABE_ITO[1], "square", 0.0),
        "held_out": ("the same of held-out real images", GREY, "diamond", 0.15),
    }
    for name, (title, colour, marker, off) in looks.items():
        found = rows[rows["size"].isin(sizes)]
        figure.add_scatter(
            x=[sizes.index(row.size) + off for row in found.itertuples()],
            y=found[name],
            name=title,
            mode="markers",
            marker={"color": colour, "symbol": marker, "size": 9},
            error_y=_errors(found[name], found[f"{name}_low"], found[f"{name}_high"]),
            customdata=list(zip(found.seed, found.other, found.closer, found.n, strict=True)),
            hovertemplate="%{y:.2f}; seeds %{customdata[0]} and %{customdata[1]}<br>%{customdata[2]:.0%} of %{customdata[3]} samples are closer "
            "to the other network's<extra>%{fullData.name}</extra>",
        )
    return figure.update_layout(
        height=400,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis={"tickvals": list(range(len(sizes))), "ticktext": [said(size).replace(" images", "<br>images").replace("at every", "at<br>every") for size in sizes], "title": {"text": "trained on"}, "zeroline": False}
        | {"fixedrange": True, "automargin": True, "range": [-0.5, len(sizes) - 0.5]},
        yaxis={"title": {"text": "cosine, mean over samples"}, "fixedrange": True, "automargin": True},
        legend=LEGEND,
        hovermode="closest",
    )  # fmt: skip


def losses_figure(rows: pd.DataFrame, levels: Levels, axis: Axis, sizes: Sequence[str]) -> go.Figure:
    """Held-out less training denoising loss over σ, as a share of the held-out loss, for each size; a band from the lowest seed to the highest."""
    figure = go.Figure()
    apart = rows.assign(share=1 - rows.train / rows.held_out).groupby(["size", "sigma"]).share.agg(["mean", "min", "max"]).reset_index()
    for index, (size, (colour, marker)) in enumerate(sequence(sizes).items()):
        found = apart[apart["size"] == size].rename(columns={"mean": "accuracy", "min": "ci_low", "max": "ci_high"})
        if len(found) == len(levels):
            traces = curve_traces(found, levels, said(size), colour, DASHES[index % len(DASHES)], marker)
            figure.add_traces(traces)
    level_line(figure, 0.0, "training images are no better known than others", "bottom right")
    return figure.update_layout(
        height=420,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={
            "tickformat": ".0%",
            "title": {"text": "held-out less training loss"},
            "fixedrange": True,
            "automargin": True,
            "zeroline": False,
        },
        legend=LEGEND,
        hovermode="closest",
    )


def sharing_figure(rows: pd.DataFrame, levels: Levels, axis: Axis) -> go.Figure:
    """Accuracy over σ of one network for all noise levels, and of networks trained at one level each."""
    figure = go.Figure()
    looks = {
        "one": ("one network for all levels", OKABE_ITO[0], "solid", "circle"),
        "later": ("the same, at the last moment", OKABE_ITO[0], "dot", "diamond"),
        "apart": ("a network a level", OKABE_ITO[1], "dash", "square"),
    }
    for model, look in looks.items():
        found = rows[rows.model == model]
        whole = found[found.seed == ALL] if (found.seed == ALL).any() else found[found.seed == found.seed.min()]
        there = [level for level in levels if any(abs(sigma / level["sigma"] - 1) < 1e-6 for sigma in whole.sigma)]
        if len(there) == len(whole) and there:
            figure.add_traces(curve_traces(whole, there, *look))
    accuracy_layout(figure, levels, axis, "test accuracy")
    return figure.update_layout(legend=LEGEND, margin={"t": 24}, height=420)


def _errors(values: Any, low: Any, high: Any) -> dict[str, Any]:
    up = [max(0.0, b - a) for a, b in zip(values, high, strict=True)]
    down = [max(0.0, a - b) for a, b in zip(values, low, strict=True)]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.2, "width": 3}
