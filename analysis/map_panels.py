"""What is known of layouts -> Plotly figures: a map in three dimensions, trust over noise and depth, what is alike, what blocks carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .figures import GREY, MARKERS, OKABE_ITO, Levels, noise_axis, places
from .map_charts import OWN, RING
from .map_points import Points, called, looks
from .specs import Axis

SHARES = {
    "purity_space": "class purity in the full space",
    "purity_map": "class purity in the map",
    "trustworthiness": "trustworthiness",
    "continuity": "continuity",
    "silhouette": "silhouette by class",
}
DIMENSIONS = {"dimension": "two-nearest-neighbour", "participation": "participation ratio"}
Told = Sequence[Mapping[str, Any] | None]  # geometry.Trust of each cell, None where there is no map


def solid(points: Points, layout: np.ndarray, own: np.ndarray | None = None) -> go.Figure:
    """A map (n, 3), a trace a group; the selected ringed."""
    marks = {"triangle-up": "cross"}  # there are no triangles in three dimensions
    figure = go.Figure()
    for group, rows in looks(points):
        x, y, z = layout[rows].T
        marker = {"size": 3, "symbol": marks.get(group.marker, group.marker), "color": group.colour}
        if points.values is not None:
            marker |= {"color": points.values, "colorscale": "Viridis", "showscale": True, "colorbar": {"title": {"text": points.value}}}
        texts = [points.texts[int(row)] for row in rows]
        figure.add_scatter3d(
            x=x, y=y, z=z, mode="markers", name=called(group), marker=marker, text=texts, hovertemplate="%{text}<extra></extra>"
        )
    for name, there, look in (
        (RING, layout[points.selected], {"size": 7, "symbol": "circle-open", "color": "#D55E00", "line": {"width": 3}}),
        (OWN, np.zeros((0, 3)) if own is None else own[None], {"size": 9, "symbol": "diamond", "color": "#D55E00"}),
    ):
        if len(there):
            x, y, z = there.T
            figure.add_scatter3d(x=x, y=y, z=z, mode="markers", name=name, marker=look, hoverinfo="skip")
    hidden = {"visible": False}
    figure.update_layout(
        scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data"}, margin={"l": 0, "r": 0, "t": 8, "b": 0}
    )
    figure.update_layout(legend={"itemsizing": "constant"})
    return figure


def trust_over_noise(told: Told, levels: Levels, axis: Axis, level: int) -> go.Figure:
    """Shares, and dimensions, over the levels of one block."""
    figure = _trust(told, places(levels), [f"σ = {one['sigma']:.2g}" for one in levels])
    figure.update_xaxes(noise_axis(levels, axis))
    _marked(figure, places(levels)[level], 2)
    return figure


def trust_over_depth(told: Told, blocks: Sequence[str], block: str) -> go.Figure:
    """Shares, and dimensions, over the blocks at one level, in network order."""
    figure = _trust(told, list(range(len(blocks))), blocks)
    figure.update_xaxes(
        tickvals=list(range(len(blocks))), ticktext=list(blocks), tickangle=-60, showgrid=False, zeroline=False, fixedrange=True
    )
    if block in blocks:
        _marked(figure, list(blocks).index(block), 2)
    return figure


def _marked(figure: go.Figure, x: float, count: int) -> None:
    """A dotted line through each of so many panels: where one is."""
    for column in range(1, count + 1):
        figure.add_vline(x=x, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=column)


def _trust(told: Told, x: Sequence[float], names: Sequence[str]) -> go.Figure:
    figure = make_subplots(1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.09)
    for column, parts in ((1, SHARES), (2, DIMENSIONS)):
        for index, (key, name) in enumerate(parts.items()):
            values = [None if one is None else one[key] for one in told]
            if all(value is None for value in values):
                continue
            look = index + (0 if column == 1 else len(SHARES))
            figure.add_scatter(
                x=x,
                y=values,
                name=name,
                text=list(names),
                mode="lines+markers",
                line={"color": OKABE_ITO[look % 7], "dash": "dash" if key == "purity_map" else "solid"},
                marker={"symbol": MARKERS[look % 4], "size": 7},
                hovertemplate="%{text}: %{y:.3g}<extra>" + name + "</extra>",
                connectgaps=False,
                row=1,
                col=column,
            )
    figure.update_yaxes(fixedrange=True, showgrid=True, zeroline=False)
    figure.update_yaxes(title_text="share", row=1, col=1)
    figure.update_yaxes(title_text="intrinsic dimension", rangemode="tozero", row=1, col=2)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return figure


def heat(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], name: str, mark: tuple[str, str] | None = None) -> go.Figure:
    """A similarity (B, B') from 0 to 1; rows and columns in network order or from clean to noisy. A point is (column, row)."""
    figure = go.Figure(
        go.Heatmap(
            z=np.clip(matrix, 0, 1),
            customdata=matrix,
            x=list(range(len(columns))),
            y=list(range(len(rows))),
            zmin=0,
            zmax=1,
            colorscale="Viridis",
            colorbar={"thickness": 10, "title": {"text": name}},
            hoverinfo="skip",
            xgap=1,
            ygap=1,
        )
    )
    spots = [(x, y) for y in range(len(rows)) for x in range(len(columns))]
    figure.add_scatter(  # a heat map's own cells cannot be clicked on a page
        x=[x for x, _ in spots],
        y=[y for _, y in spots],
        mode="markers",
        marker={"size": 16, "symbol": "square", "color": "rgba(0,0,0,0)"},
        text=[f"{rows[y]} and {columns[x]}: {matrix[y, x]:.2f}" for x, y in spots],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
    )
    if mark and mark[0] in rows and mark[1] in columns:
        y, x = list(rows).index(mark[0]), list(columns).index(mark[1])
        figure.add_shape(type="rect", x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5, line={"color": "#D55E00", "width": 3})
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=list(columns), tickangle=-60, showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=list(rows), autorange="reversed", showgrid=False, zeroline=False, fixedrange=True
    )
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8}, clickmode="event+select")
    return figure


def carried(found: Mapping[str, Mapping[str, Any]], untrained: Mapping[str, Mapping[str, Any]], block: str) -> go.Figure:
    """What every block carries beside content, in network order (diagnosis.Diagnosis of each); dashed: the same network with random weights."""
    names = list(found)
    titles = ["Position: R² on held-out images", "Corners' norm over the median", "Variance in five channels"]
    figure = make_subplots(1, 3, horizontal_spacing=0.07, subplot_titles=titles)
    for told, dash in ((untrained, "dash"), (found, "solid")):
        for index, (column, name, values) in enumerate(_carried([told[name] for name in names if name in told])):
            figure.add_scatter(
                x=list(range(len(names))),
                y=values,
                name=name,
                mode="lines+markers" if dash == "solid" else "lines",
                text=names,
                line={"color": OKABE_ITO[index % 7], "dash": dash, "width": 2 if dash == "solid" else 1},
                marker={"symbol": MARKERS[index % 4], "size": 7},
                hovertemplate="%{text}: %{y:.2f}<extra>" + name + (", untrained" if dash == "dash" else "") + "</extra>",
                showlegend=dash == "solid",
                row=1,
                col=column,
            )
    figure.add_hline(y=1, line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=2)
    if block in names:
        _marked(figure, names.index(block), 3)
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, tickangle=-60, showgrid=False, zeroline=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True, zeroline=False)
    figure.update_yaxes(
        range=[min([0.0, *(value for trace in figure.data if trace.xaxis == "x" for value in trace.y if value is not None)]), 1.02],
        row=1,
        col=1,
    )
    figure.update_layout(legend={"orientation": "h", "y": -0.45, "x": 0}, margin={"l": 8, "r": 8, "t": 32, "b": 8})
    return figure


def _carried(told: Sequence[Mapping[str, Any]]) -> list[tuple[int, str, list[float | None]]]:
    """(panel, name, value of every block) of what is drawn."""
    position, norms = [one["position"] or {} for one in told], [one["norms"] or {} for one in told]
    return [
        (1, "row", [one.get("row") for one in position]),
        (1, "column", [one.get("column") for one in position]),
        (2, "corners", [one.get("corners") for one in norms]),
        *(
            (3, name, [sum(channel["share"] for channel in one[key]["top"]) for one in told])
            for key, name in (("places", "over all places"), ("pooled", "of pooled features"))
        ),
    ]
