"""Two and more runs in one figure: curves over their differences, and differences class by class. Tidy in, Plotly out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .compared import ClassGap
from .comparing import Difference
from .figures import GREY, Levels, curve_traces, level_line, look, noise_axis, places
from .specs import Axis

DASHES = ("dash", "dot", "dashdot", "longdash")
CLASSES = 40  # at most: those with the greatest differences


@dataclass(frozen=True)
class Drawn:
    """A run as it is drawn: name, curve (rows of one series), and levels; whether it is unlike the reference, the first of all."""

    name: str
    rows: pd.DataFrame
    levels: Levels
    unlike: bool = False
    measure: str = "accuracy"  # or r2

    @property
    def legend(self) -> str:
        return f"{self.name}, unlike ≠" if self.unlike else self.name


def compared_figure(runs: Sequence[Drawn], differences: Sequence[tuple[np.ndarray, Difference]], axis: Axis) -> go.Figure:
    """The runs' curves above; below, of each but the first, σ (S,) and its difference from the first, in points.

    A run that is unlike the first is dashed, its band hatched. In the lower panel the band is pointwise, thin lines hold all levels
    at once, and a filled marker is a level whose difference is shown after correction.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.07)
    for index, run in enumerate(runs):
        colour, marker = look(index)
        dash = DASHES[(index - 1) % len(DASHES)] if run.unlike else "solid"
        band, line = curve_traces(run.rows, run.levels, run.legend, colour, dash, marker)
        if run.unlike:
            band.fillpattern = {"shape": "/", "fgcolor": colour, "fgopacity": 0.45, "bgcolor": "rgba(0,0,0,0)", "size": 6}
        figure.add_traces([band, line], rows=[1, 1], cols=[1, 1])
    for index, (sigmas, found) in enumerate(differences, start=1):
        if len(sigmas):
            figure.add_traces(_difference(runs[index], sigmas, found, index), rows=[2] * 4, cols=[1] * 4)
    chances = {float(run.rows.chance.iloc[0]) for run in runs}
    for chance in sorted(chances):
        level_line(figure, chance, "chance" if len(chances) == 1 else f"chance, {chance:.0%}", "bottom left", row=1, col=1)
    figure.add_hline(y=0, line={"color": GREY, "width": 1.5}, row=2, col=1)
    widest = max(runs, key=lambda run: run.levels[-1]["sigma"] / run.levels[0]["sigma"])
    every = [place for run in runs for place in places(run.levels)]
    margin = 0.03 * (max(every) - min(every))
    across = noise_axis(widest.levels, axis) | {"range": [min(every) - margin, max(every) + margin]}
    figure.update_xaxes(across | {"title": None}, row=1, col=1)
    figure.update_xaxes(across | {"automargin": True}, row=2, col=1)
    lowest = min(0.0, *(float(run.rows.ci_low.min()) for run in runs))
    named = " and ".join(
        name for measure, name in (("accuracy", "test accuracy"), ("r2", "R²")) if measure in {run.measure for run in runs}
    )
    figure.update_yaxes(tickformat=".0%", range=[1.05 * lowest, 1.02], title={"text": named}, row=1, col=1)
    figure.update_yaxes(title={"text": f"less {runs[0].name.split(':')[0]}, points"}, zeroline=False, row=2, col=1)
    figure.update_yaxes(fixedrange=True, automargin=True)
    return figure.update_layout(
        height=640,
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom"},
        hovermode="closest",
    )


def _difference(run: Drawn, sigmas: np.ndarray, found: Difference, index: int) -> list[go.Scatter]:
    """The pointwise band, the two lines of the band of all levels, and the points."""
    colour, marker = look(index)
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    x = np.log10(sigmas).tolist()
    mean, low, high = (100 * np.asarray([getattr(gap, name) for gap in found.gaps]) for name in ("value", "low", "high"))
    common: dict[str, Any] = {"legendgroup": run.legend, "showlegend": False, "hoverinfo": "skip"}
    thin = {"color": colour, "width": 1, "dash": "dot"}
    return [
        go.Scatter(
            x=[*x, *x[::-1]],
            y=[*high, *low[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=f"rgba({red},{green},{blue},.18)",
            line={"width": 0},
            **common,
        ),
        *(go.Scatter(x=x, y=100 * found.band[:, side], mode="lines", line=thin, **common) for side in (0, 1)),
        go.Scatter(
            x=x,
            y=mean,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": DASHES[(index - 1) % len(DASHES)] if run.unlike else "solid"},
            marker=_filled(found.sure, colour, marker),
            customdata=np.stack([sigmas, low, high, *(100 * found.band.T)], 1),
            hovertemplate="%{y:+.1f} points (%{customdata[1]:+.1f} to %{customdata[2]:+.1f}; of all levels at once %{customdata[3]:+.1f} to "
            "%{customdata[4]:+.1f})<br>σ = %{customdata[0]:.3g}<extra>%{fullData.name}</extra>",
            name=run.legend,
            legendgroup=run.legend,
            showlegend=False,
        ),
    ]


def _filled(shown: Sequence[bool] | np.ndarray, colour: str, marker: str) -> dict[str, Any]:
    """Markers that are filled where a difference is shown, open where not."""
    return {
        "symbol": [marker if one else f"{marker}-open" for one in shown],
        "size": 8,
        "color": colour,
        "line": {"width": 1.5, "color": colour},
    }


def classes_figure(runs: Sequence[tuple[str, int, Sequence[ClassGap]]]) -> go.Figure:
    """Differences by class in points, a dot with its interval, filled where it is shown after correction.

    `runs` gives of each run its name, its place among all runs, and its classes; of many classes the 40 with the greatest differences.
    """
    largest: dict[str, float] = {}
    for _, _, gaps in runs:
        for one in gaps:
            largest[one.name] = max(largest.get(one.name, 0.0), abs(one.gap.value))
    kept = sorted(largest, key=lambda name: -largest[name])[:CLASSES]
    names = [name for name in largest if name in kept]  # in the order of the classes
    figure = go.Figure()
    for row, (legend, index, gaps) in enumerate(runs):
        colour, marker = look(index)
        shown = [one for one in gaps if one.name in kept]
        value, low, high = (np.asarray([100 * getattr(one.gap, part) for one in shown]) for part in ("value", "low", "high"))
        offset = 0.16 * (row - (len(runs) - 1) / 2)
        figure.add_trace(
            go.Scatter(
                x=value,
                y=[names.index(one.name) + offset for one in shown],
                mode="markers",
                name=legend,
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": high - value,
                    "arrayminus": value - low,
                    "color": colour,
                    "thickness": 1.5,
                },
                marker=_filled([one.shown for one in shown], colour, marker),
                customdata=[[one.name, low_, high_, one.n, one.p_holm] for one, low_, high_ in zip(shown, low, high, strict=True)],
                hovertemplate="%{customdata[0]}: %{x:+.1f} points (%{customdata[1]:+.1f} to %{customdata[2]:+.1f})<br>"
                "%{customdata[3]} images, p = %{customdata[4]:.2g} after correction<extra>%{fullData.name}</extra>",
            )
        )
    figure.add_vline(x=0, line={"color": GREY, "width": 1.5})
    return figure.update_layout(
        height=110 + max(22, 12 * len(runs)) * len(names),
        margin={"l": 8, "r": 8, "t": 16, "b": 8},
        xaxis={"title": {"text": "difference, points"}, "fixedrange": True, "zeroline": False, "automargin": True},
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "range": [len(names) - 0.4, -0.6],
            "fixedrange": True,
            "automargin": True,
            "showgrid": True,
        },
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        showlegend=len(runs) > 1,
        hovermode="closest",
    )
