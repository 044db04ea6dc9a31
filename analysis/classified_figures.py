"""An image classified by denoising error -> Plotly figures. No maths beyond placing, no files."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from .classified import Classified
from .figures import GREY, OKABE_ITO, Levels, look, noise_axis, places
from .specs import Axis

LINES, BARS = len(OKABE_ITO), 12  # classes with a line, and with a bar
LONGEST = 28  # letters of a name


def hidden(found: Classified, most: int) -> int:
    """How many of the other classes a figure does not show."""
    return max(0, len(found.conditions) - 1 - most)


def _short(name: str) -> str:
    """A name without its middle, where it is long: prompts often begin alike."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 3]} … {name[-(LONGEST - LONGEST // 3 - 3) :]}"


def bars(found: Classified, names: Sequence[str]) -> go.Figure:
    """How far the error of the classes nearest to the answer is above it, with intervals; the answer's own place is the line at 0."""
    race, shown = found.race, found.race.order[1 : BARS + 1]
    figure = go.Figure(
        go.Bar(
            x=race.excess[shown],
            y=list(range(len(shown))),
            orientation="h",
            marker={"color": [look(i)[0] if i < LINES else GREY for i in range(len(shown))], "opacity": 0.75},
            error_x={
                "array": race.high[shown] - race.excess[shown],
                "arrayminus": race.excess[shown] - race.low[shown],
                "symmetric": False,
                "color": GREY,
                "thickness": 2,
            },
            customdata=[[race.low[k], race.high[k], race.error[k], race.taken[k], names[k]] for k in shown],
            hovertemplate="%{x:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<br>error %{customdata[2]:.4g}, %{customdata[3]} draws"
            "<extra>%{customdata[4]}</extra>",
        )
    )
    figure.add_vline(x=0, line={"color": GREY, "width": 2})
    answer = f"error above that of {_short(names[race.best])}, {race.error[race.best]:.3g}"
    figure.update_xaxes(title={"text": answer, "standoff": 6}, fixedrange=True, automargin=True, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[_short(names[k]) for k in shown],
        autorange="reversed",
        fixedrange=True,
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    return figure.update_layout(height=120 + 26 * max(4, len(shown)), margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0.35)


def curves(found: Classified, names: Sequence[str], levels: Levels, axis: Axis) -> go.Figure:
    """How far the error of the classes nearest to the answer is above it at every level, the next with its interval.

    Where a line is below 0 that class has the lower error. Shaded is the shortest run of levels that makes half of the lead.
    """
    race, x, figure = found.race, places(levels), go.Figure()
    _, first, last = found.made_at
    gap = (x[-1] - x[0]) / (2 * max(1, len(x) - 1))
    figure.add_vrect(x0=x[first] - gap, x1=x[last] + gap, fillcolor="rgba(128,128,128,.18)", line_width=0, layer="below")
    second = race.order[1]
    colour, _ = look(0)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*race.level_high[second], *race.level_low[second][::-1]],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},.18)",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=str(second),
    )
    for place, k in enumerate(race.order[1 : LINES + 1]):
        colour, marker = look(place)
        figure.add_scatter(
            x=x,
            y=race.by_level[k],
            name=_short(names[k]),
            legendgroup=str(k),
            mode="lines+markers",
            line={"color": colour, "width": 2.5 if place == 0 else 1.5},
            marker={"symbol": marker, "size": 6},
            customdata=[[race.level_low[k, s], race.level_high[k, s], level["sigma"], level["timestep"]] for s, level in enumerate(levels)],
            hovertemplate="%{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g})<br>σ = %{customdata[2]:.3g}, t = %{customdata[3]:.0f}"
            "<extra>%{fullData.name}</extra>",
        )
    figure.add_hline(
        y=0,
        line={"color": GREY, "width": 2},
        annotation={"text": f"answer {_short(names[race.best])}", "showarrow": False},
        annotation_position="bottom right",
    )
    return figure.update_layout(
        height=400,
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        xaxis=noise_axis(levels, axis) | {"automargin": True},
        yaxis={"title": {"text": "error above the answer's"}, "fixedrange": True, "automargin": True, "zeroline": False},
        legend={"orientation": "h", "y": -0.24, "yanchor": "top"},
        hovermode="closest",
        showlegend=True,
    )
