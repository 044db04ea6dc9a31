"""The ensembles of a study -> Plotly figure: a row a way of averaging, its accuracy with the interval, and what it takes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from .figures import GREY, OKABE_ITO

NAMES = {
    "single": "one level, one ε",
    "levels": "levels, each its own ε",
    "levels, shared ε": "levels, one ε for all",
    "draws": "control: draws at one level",
    "blocks": "blocks side by side",
    "blocks, own ε": "blocks side by side, each its own ε",
    "draws, as blocks": "control: as many draws as blocks",
    "fusion": "learned fusion of maps",
    "fusion, draws": "control: learned fusion of draws",
}
CONTROL = (OKABE_ITO[1], "diamond")
CONTROLS = {
    "single": (GREY, "square"),
    **dict.fromkeys(("draws", "draws, as blocks", "fusion, draws"), CONTROL),
}  # what others are measured against


def passes(count: int) -> str:
    """Forward passes of an image, in words."""
    return f"{count} pass" if count == 1 else f"{count} passes"


def ensembles_figure(rows: pd.DataFrame) -> go.Figure:
    """A study's ensembles at one number of labels a class: dots with 95 % intervals, the passes at each row, a line at the control."""
    figure, chance = go.Figure(), float(rows.chance.iloc[0])
    title = "test R²" if rows.measure.iloc[0] == "r2" else f"test accuracy (chance {100 * chance:.3g} %)"
    control = float(rows.accuracy[rows.variant == "draws"].max())
    for row in rows.itertuples():
        colour, marker = CONTROLS.get(row.variant, (OKABE_ITO[0], "circle"))
        name = NAMES.get(row.variant, row.variant)
        figure.add_scatter(
            x=[row.accuracy],
            y=[f"{name}<br>{passes(row.passes)}"],
            name=name,
            mode="markers+text",
            text=[f"{row.accuracy:.1%}"],
            textposition="top left" if row.accuracy < control else "top right",  # beside the control's line, never in it
            marker={"color": colour, "symbol": marker, "size": 12},
            error_x={"type": "data", "symmetric": False, "array": [row.ci_high - row.accuracy], "arrayminus": [row.accuracy - row.ci_low]},
            customdata=[[row.ci_low, row.ci_high, row.levels, row.blocks]],
            hovertemplate="%{x:.1%} (%{customdata[0]:.1%} to %{customdata[1]:.1%})<br>σ = %{customdata[2]}<br>%{customdata[3]}<extra></extra>",
            showlegend=False,
        )
    for row in rows[rows.variant == "draws"].itertuples():
        figure.add_vline(x=row.accuracy, line={"color": GREY, "width": 1, "dash": "dot"})
    margin = 0.1 * max(0.01, rows.ci_high.max() - rows.ci_low.min())
    return figure.update_layout(
        height=120 + 64 * len(rows),
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis={
            "title": {"text": title},
            "tickformat": ".1%",
            "range": [rows.ci_low.min() - margin, rows.ci_high.max() + margin],
            "fixedrange": True,
            "zeroline": False,
        },
        yaxis={"autorange": "reversed", "fixedrange": True, "automargin": True},
        hovermode="closest",
    )
