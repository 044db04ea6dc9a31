"""Figures of a study's other views: what is known when, poolings side by side, and one cell's classes. Tables in, figures out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from .figures import GREY, MARKERS, OKABE_ITO, Levels, accuracy_layout, curve_traces, level_line, look, measured, noise_axis
from .known_when import Known
from .specs import Axis

SPREAD = 0.6  # of the height of a block, for all questions


def when_figure(known: Sequence[Known], levels: Levels, axis: Axis) -> go.Figure:
    """Every block (down, in network order): a filled mark where each question is read best, an open one where half of it is gone."""
    blocks, questions = list(dict.fromkeys(one.block for one in known)), list(dict.fromkeys(one.question for one in known))
    figure, right = go.Figure(), math.log10(levels[-1]["sigma"])
    for index, question in enumerate(questions):
        colour, marker = look(index)
        rows = [one for one in known if one.question == question and one.read]
        offset = SPREAD * ((index + 0.5) / len(questions) - 0.5)
        y = [blocks.index(one.block) + offset for one in rows]
        peaks = [math.log10(one.peak) for one in rows]
        lives = [math.log10(one.half_life) if math.isfinite(one.half_life) else right for one in rows]
        lines = [value for peak, life in zip(peaks, lives, strict=True) for value in (peak, life, None)]
        figure.add_trace(
            go.Scatter(
                x=lines,
                y=[value for height in y for value in (height, height, None)],
                mode="lines",
                line={"color": colour, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=question,
            )
        )
        said = [
            f"{one.block}: {question} {one.best:.1%} near σ = {one.peak:.2g} ({one.peak_ci[0]:.2g} to {one.peak_ci[1]:.2g})<br>{_half(one)}"
            for one in rows
        ]
        for x, symbol, shown in ((peaks, marker, True), (lives, f"{marker}-open", False)):
            here = [i for i, one in enumerate(rows) if shown or math.isfinite(one.half_life)]
            figure.add_trace(
                go.Scatter(
                    x=[x[i] for i in here],
                    y=[y[i] for i in here],
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, "size": 8},
                    name=question,
                    legendgroup=question,
                    showlegend=shown,
                    text=[said[i] for i in here],
                    hovertemplate="%{text}<extra></extra>",
                )
            )
    return figure.update_layout(
        height=110 + len(blocks) * max(22, 13 * len(questions)),
        margin={"l": 8, "r": 8, "t": 48, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={
            "tickvals": list(range(len(blocks))),
            "ticktext": blocks,
            "range": [len(blocks) - 0.5, -0.5],
            "zeroline": False,
            "fixedrange": True,
            "automargin": True,
        },
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom"},
        hovermode="closest",
    )


def _half(one: Known) -> str:
    if not math.isfinite(one.half_life):
        return "over half of it is left at the noisiest level"
    low, high = (f"{bound:.2g}" if math.isfinite(bound) else "beyond" for bound in one.half_life_ci)
    return f"half of it gone by σ = {one.half_life:.2g} ({low} to {high})"


def poolings_figure(table: pd.DataFrame, names: dict[str, str], levels: Levels, axis: Axis, block: str) -> go.Figure:
    """One block's curve for every pooling, with bands; `names` says each pooling in words."""
    rows = table[(table.source == "model") & (table.block == block)]
    figure = go.Figure()
    for index, (pooling, name) in enumerate(names.items()):
        colour, marker = look(index)
        figure.add_traces(curve_traces(rows[rows.pooling == pooling], levels, name, colour, "solid", marker))
    level_line(figure, float(table.chance.iloc[0]), "chance", "bottom left")
    return accuracy_layout(figure, levels, axis, measured(table))


def classes_figure(classes: Sequence[str], low: np.ndarray, share: np.ndarray, high: np.ndarray, chance: float) -> go.Figure:
    """Each class's share of right answers with its interval (K,), the least first."""
    order = np.argsort(share)
    figure = go.Figure(
        go.Scatter(
            x=share[order],
            y=[classes[k] for k in order],
            mode="markers",
            marker={"color": OKABE_ITO[0], "symbol": MARKERS[0], "size": 9},
            error_x={"type": "data", "symmetric": False, "array": (high - share)[order], "arrayminus": (share - low)[order], "color": GREY},
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_vline(x=chance, line={"color": GREY, "width": 1, "dash": "dot"})
    return figure.update_layout(
        height=90 + 26 * len(classes),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={"tickformat": ".0%", "range": [0, 1.02], "fixedrange": True, "title": {"text": "right, of each class"}},
        yaxis={"fixedrange": True, "automargin": True, "type": "category"},
    )


def confusion_figure(classes: Sequence[str], counts: np.ndarray) -> go.Figure:
    """Counts (K, K) as shares of each true class (down), by what was said (across)."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=list(classes),
            y=list(classes),
            colorscale="Viridis",
            zmin=0,
            zmax=1,
            colorbar={"tickformat": ".0%", "thickness": 12},
            hovertemplate="%{y} is said to be %{x}: %{z:.1%}<extra></extra>",
        )
    )
    return figure.update_layout(
        height=160 + 26 * len(classes),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={"title": {"text": "what the probe says"}, "type": "category", "fixedrange": True, "automargin": True},
        yaxis={"title": {"text": "what it is"}, "type": "category", "autorange": "reversed", "fixedrange": True, "automargin": True},
    )
