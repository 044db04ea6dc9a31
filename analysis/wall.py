"""The small figures of published curves: dashed, with open markers, so that nobody takes them for ours."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from .figures import GREY, OKABE_ITO
from .literature import Published


def published_figure(curve: Published) -> go.Figure:
    """One published curve, clean on the left; blocks are points without a line, because only some were published."""
    over_sigma = curve.axis == "sigma"
    x = [math.log10(at) if over_sigma else at for at, _ in curve.points]
    unit = "σ = " if over_sigma else "block "
    noise = "noise level σ of the latents" if curve.space == "latents" else "noise level σ"
    figure = go.Figure(
        go.Scatter(
            x=x,
            y=[value / 100 for _, value in curve.points],
            mode="lines+markers" if over_sigma else "markers",
            line={"color": OKABE_ITO[3], "dash": "dash", "width": 2},
            marker={"symbol": "circle-open", "size": 8, "line": {"width": 2}, "color": OKABE_ITO[3]},
            customdata=[f"{unit}{at:g}" for at, _ in curve.points],
            hovertemplate="%{y:.2%} at %{customdata}<extra>published</extra>",
            showlegend=False,
        )
    )
    figure.add_hline(y=curve.chance / 100, line={"color": GREY, "width": 1, "dash": "dot"})
    every = 2 if len(x) > 6 else 1
    figure.update_layout(
        height=220,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={
            "title": {"text": f"clean ← {noise} → noisy" if over_sigma else "block, input → output", "font": {"size": 12}},
            "tickvals": x[::every],
            "ticktext": [f"{at:g}" for at, _ in curve.points][::every],
            "zeroline": False,
            "showgrid": False,
            "fixedrange": True,
            "automargin": True,
        }
        | ({} if over_sigma else {"range": [0, 38]}),
        yaxis={"tickformat": ".0%", "range": [0, 1.02], "fixedrange": True, "automargin": True},
        hovermode="closest",
    )
    return figure
