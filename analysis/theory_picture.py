"""x̂_0 collapsing onto the subspaces: some samples' posterior means on two directions, a frame a noise level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from .figures import GREY, look
from .player import buttons, slider
from .specs import Axis
from .theory import Draws, MoLRG, Posterior
from .theory_figures import levels

SHOWN = 240  # points
Plane = tuple[np.ndarray, np.ndarray]


def plane(spec: MoLRG) -> Plane:
    """Two orthonormal directions (2, r) in which the first directions of all classes point apart, and where those point (2, K)."""
    turns = np.pi * np.arange(spec.classes) / spec.classes
    found = np.zeros((2, spec.span))
    for k, turn in enumerate(turns):
        found[:, spec.block(k).start] = np.sqrt(2 / spec.classes) * np.array([np.cos(turn), np.sin(turn)])
    return found, np.column_stack([found @ U[:, 0] for U in spec.bases])


def positions(spec: MoLRG, draws: Draws, sigmas: Sequence[float] | np.ndarray, input: str) -> list[list[np.ndarray]]:
    """For every level and class (2, n): the posterior means of the first samples of each class, as many as its proportion says, on the plane."""
    counts = [max(3, round(SHOWN * p)) for p in spec.weights]
    few = Draws([x[:, :n] for x, n in zip(draws.x0, counts, strict=True)], [e[:, :n] for e, n in zip(draws.eps, counts, strict=True)])
    posterior, (onto, _) = Posterior(spec), plane(spec)
    ends = np.cumsum(few.counts)[:-1]
    return [np.split(onto @ posterior.mean(few.at(0.0 if input == "clean" else sigma), sigma), ends, axis=1) for sigma in sigmas]


def picture(spec: MoLRG, draws: Draws, sigmas: Sequence[float] | np.ndarray, input: str, axis: Axis, first: int) -> go.Figure:
    """Points by class, the lines of the subspaces' first directions, and a slider over σ; moving it asks no server. Starts at `first`."""
    places, (_, lines) = positions(spec, draws, sigmas, input), plane(spec)
    reach = 1.05 * max(float(np.abs(points).max()) for points in places[0])

    def at(level: int) -> list[go.Scatter]:
        found = []
        for k, points in enumerate(places[level]):
            colour, marker = look(k)
            found.append(
                go.Scatter(
                    x=points[0].round(3),
                    y=points[1].round(3),
                    name=f"class {k + 1}",
                    mode="markers",
                    marker={"color": colour, "symbol": marker, "size": 7, "opacity": 0.75},
                    hovertemplate=f"class {k + 1}<extra></extra>",
                )
            )
        return found

    still = [
        go.Scatter(
            x=[-2 * reach * x, 2 * reach * x],
            y=[-2 * reach * y, 2 * reach * y],
            mode="lines",
            line={"color": look(k)[0], "width": 1, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )
        for k, (x, y) in enumerate((lines / np.linalg.norm(lines, axis=0)).T)
    ]
    moving = list(range(len(still), len(still) + spec.classes))
    frames = [go.Frame(name=str(level), data=at(level), traces=moving) for level in reversed(range(len(sigmas)))]
    figure = go.Figure([*still, *at(first)], frames=frames)
    side = {"range": [-reach, reach], "zeroline": False, "showgrid": False, "fixedrange": True, "showticklabels": False}
    return figure.update_layout(
        height=620,
        margin={"l": 8, "r": 8, "t": 40, "b": 8},
        xaxis=side | {"constrain": "domain", "title": {"text": "first direction of the plane", "font": {"color": GREY, "size": 12}}},
        yaxis=side | {"scaleanchor": "x", "constrain": "domain", "title": {"text": "second", "font": {"color": GREY, "size": 12}}},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
        sliders=[slider(levels(sigmas), axis, first)],
        updatemenus=[buttons("▶ from noise", 250, fromcurrent=False, mode="immediate")],
    )
