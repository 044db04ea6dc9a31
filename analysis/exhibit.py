"""One model, several questions: each question's curve on its own scale, where it is best, and the image, moving together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from .figures import MARKERS, OKABE_ITO, Levels, curve_traces, level_line, noise_axis, places
from .player import buttons, dot, slider
from .questions import Question
from .specs import Axis

DASHES = ("solid", "dash", "dot")
TICKS = [digit * 10**power for power in range(-3, 3) for digit in (1, 2, 5)]


def _best(question: Question, row: int, colour: str) -> go.Scatter:
    """The peak with its interval, one row a question, in the lower panel."""
    verdict = question.verdict
    peak, low, high = (math.log10(value) for value in (verdict["peak_sigma"], *verdict["peak_ci"]))
    return go.Scatter(
        x=[peak],
        y=[row],
        yaxis="y4",
        mode="markers",
        marker={"size": 11, "color": colour, "symbol": MARKERS[row % 4]},
        error_x={"type": "data", "symmetric": False, "array": [high - peak], "arrayminus": [peak - low], "color": colour, "thickness": 2},
        showlegend=False,
        hovertemplate=(
            f"best near σ = {verdict['peak_sigma']:.2g} (95 % interval {verdict['peak_ci'][0]:.2g} to {verdict['peak_ci'][1]:.2g})"
            f"<extra>{question.name}</extra>"
        ),
    )


def questions_figure(questions: Sequence[Question], levels: Levels, axis: Axis, images: Sequence[str], first: int = 0) -> go.Figure:
    """Each question's curve from chance (0) to its own best (100 %), its best level with interval below, one image at every level.

    `images` are data URIs, one a level. Dots, image and slider move together by frames that are all in the figure.
    """
    x = places(levels)
    still: list[go.Scatter] = []
    for index, question in enumerate(questions):
        mean, low, high = question.relative()
        frame = pd.DataFrame({"sigma": [level["sigma"] for level in levels], "accuracy": mean, "ci_low": low, "ci_high": high})
        name = f"{question.name} (block {question.block})"
        band, line = curve_traces(frame, levels, name, OKABE_ITO[index % 7], DASHES[index % 3], MARKERS[index % 4])
        line.update(
            customdata=[[*values, level["sigma"]] for *values, level in zip(*question.curve, levels, strict=True)],
            hovertemplate="%{customdata[0]:.1%} right (%{customdata[1]:.1%} to %{customdata[2]:.1%})<br>"
            "%{y:.0%} of its best<br>σ = %{customdata[3]:.3g}<extra>" + question.name + "</extra>",
        )
        still += [band, line]
    still += [_best(question, index, OKABE_ITO[index % 7]) for index, question in enumerate(questions)]

    def at(level: int) -> list[Any]:
        shown = [(question.relative()[0][level], question, OKABE_ITO[index % 7]) for index, question in enumerate(questions)]
        ranks = sorted(range(len(shown)), key=lambda i: shown[i][0])
        places_ = ["bottom center", *["top right"] * (len(ranks) - 2), "top left"]
        sides = dict(zip(ranks, places_, strict=True))
        dots = [dot(x[level], y, f"{q.curve[0][level]:.0%}", colour, sides[i]) for i, (y, q, colour) in enumerate(shown)]
        return [*dots, go.Image(source=images[level], xaxis="x2", yaxis="y2", hoverinfo="skip")]

    moving = list(range(len(still), len(still) + len(questions) + 1))
    frames = [go.Frame(name=str(i), data=at(i), traces=moving) for i in range(len(levels))]
    figure = go.Figure([*still, *at(first)], frames=frames)
    level_line(figure, 0, "chance", "bottom left")
    step = (x[-1] - x[0]) / (len(x) - 1)
    for place, source in zip(x, images, strict=True):
        figure.add_layout_image(
            **{"source": source, "x": place, "y": 0.5, "xref": "x", "yref": "y3", "sizex": step * 0.92, "sizey": 1},
            xanchor="center",
            yanchor="middle",
            layer="above",
        )
    return figure.update_layout(**_layout(questions, levels, axis, first))


def _layout(questions: Sequence[Question], levels: Levels, axis: Axis, first: int) -> dict[str, Any]:
    hidden, plain = {"visible": False, "fixedrange": True}, {"fixedrange": True, "automargin": True}
    return {
        "height": 720,
        "margin": {"l": 8, "r": 8, "t": 48, "b": 8},
        "xaxis": noise_axis(levels, axis) | {"anchor": "y3", "automargin": True},
        "yaxis": plain | {"domain": [0.47, 1], "tickformat": ".0%", "range": [-0.12, 1.2], "title": {"text": "of its own best"}},
        "yaxis4": plain
        | {
            "domain": [0.22, 0.42],
            "anchor": "x",
            "tickvals": list(range(len(questions))),
            "ticktext": [question.name for question in questions],
            "range": [len(questions) - 0.5, -0.5],
            "title": {"text": "best level"},
            "zeroline": False,
        },
        "yaxis3": hidden | {"domain": [0.1, 0.19], "range": [0, 1], "anchor": "x"},
        "xaxis2": hidden | {"domain": [0.84, 1.0], "anchor": "y2"},
        "yaxis2": hidden | {"domain": [0.76, 0.98], "anchor": "x2"},
        "legend": {"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False},
        "hovermode": "closest",
        "sliders": [slider(levels, axis, first)],
        "updatemenus": [buttons()],
    }


def budget_figure(results: Mapping[str, Mapping[str, Any]], labelled: Mapping[str, int]) -> go.Figure:
    """Peak and gain, each with its 95 % interval, over the number of labelled images; `labelled` gives it for each result."""
    x = [labelled[name] for name in results]
    verdicts = [result["verdict"] for result in results.values()]
    text = [f"{name} a class" if name != "all" else "all" for name in results]

    def series(name: str, interval: str, yaxis: str, scale: float, colour: str) -> go.Scatter:
        y = [scale * verdict[name] for verdict in verdicts]
        return go.Scatter(
            x=x,
            y=y,
            yaxis=yaxis,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 9, "symbol": ["circle" if verdict["shape"] == "unimodal" else "circle-open" for verdict in verdicts]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [scale * verdict[interval][1] - value for verdict, value in zip(verdicts, y, strict=True)],
                "arrayminus": [value - scale * verdict[interval][0] for verdict, value in zip(verdicts, y, strict=True)],
            },
            customdata=[
                [label, verdict["shape"], result["headline"].split("/")[1]]
                for label, verdict, result in zip(text, verdicts, results.values(), strict=True)
            ],
            hovertemplate="%{y:.3g}<br>%{customdata[0]}, block %{customdata[2]}<br>%{customdata[1]}<extra></extra>",
            showlegend=False,
        )

    figure = go.Figure([series("peak_sigma", "peak_ci", "y", 1, OKABE_ITO[0]), series("gain", "gain_ci", "y2", 100, OKABE_ITO[1])])
    figure.add_hline(y=0, yref="y2", line={"color": "#808080", "width": 1, "dash": "dot"})
    plain = {"fixedrange": True, "automargin": True}
    return figure.update_layout(
        height=520,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=plain | {"type": "log", "tickvals": x, "ticktext": text, "title": {"text": "labelled images"}, "anchor": "y2"},
        yaxis=plain | {"domain": [0.55, 1], "type": "log", "tickvals": TICKS, "title": {"text": "best noise level σ"}},
        yaxis2=plain | {"domain": [0, 0.45], "title": {"text": "gain, points"}, "zeroline": False},
        hovermode="closest",
    )
