"""Layouts -> ECharts options. No maths beyond placing, no files.

Points are rows of one table a group; the picture in a tooltip is a data URI in that table.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from .map_classes import OUTLINES
from .map_points import Points, called, frame, groups, looks

SYMBOLS = {"circle": "circle", "square": "rect", "diamond": "diamond", "triangle-up": "triangle", "x": f"path://{OUTLINES['x']}"}
MANY = 20_000  # points: beyond, nothing is selected unless that is asked for
RING, OWN = "selected", "your image"
Option = dict[str, Any]


def scatter(points: Points, size: float = 7.0, own: np.ndarray | None = None, near: Sequence[int] = (), select: bool = True) -> Option:
    """One map: a series a group, the selected ringed, one's own image (2,) as a ringed point with lines to its `near` rows."""
    option = _base(points)
    edges = frame(points.layout if own is None else np.concatenate([points.layout, own[None]]))
    for name in ("x", "y"):
        option[f"{name}Axis"] = {"show": False, "type": "value", "min": edges[name][0], "max": edges[name][1]}
    option["grid"] = {"left": 8, "right": 8, "top": 40, "bottom": 8}
    option["dataZoom"] = [
        {"type": "inside", "xAxisIndex": 0, "filterMode": "none"},
        {"type": "inside", "yAxisIndex": 0, "filterMode": "none"},
    ]
    for index, series in enumerate(_series(points, size)):
        option["dataset"].append({"source": series.pop("table")})
        option["series"].append({**series, "datasetIndex": index, "encode": {"x": "x", "y": "y", "tooltip": []}})
    if len(points.selected):
        option["series"].append(_rings(points.layout[points.selected], size))
    if own is not None:
        option["series"].append(
            {
                **_rings(own[None], size * 1.4),
                "name": OWN,
                "itemStyle": {"color": "#D55E00", "borderColor": "#fff", "borderWidth": 3, "shadowBlur": 6, "shadowColor": "#000"},
            }
        )
        option["series"].append(_lines([(own.tolist(), points.layout[row].tolist()) for row in near]))
    _coloured(option, points)
    if select:
        option["brush"] = {
            "toolbox": ["polygon", "rect", "keep", "clear"],
            "xAxisIndex": 0,
            "yAxisIndex": 0,
            "seriesIndex": list(range(len(option["dataset"]))),
            "throttleType": "debounce",
            "throttleDelay": 300,
            "outOfBrush": {"colorAlpha": 0.25},
        }
        option["toolbox"] = {
            "itemSize": 18,
            "left": 0,
            "top": 12,
            "feature": {"brush": {"title": {"polygon": "Lasso", "rect": "Box", "keep": "Add to it", "clear": "Clear"}}},
        }
        for series in option["series"]:
            if "datasetIndex" in series:
                series["selectedMode"] = "multiple"
    return option


def multiples(points: Points, layouts: dict[str, np.ndarray], columns: int, size: float = 3.0, mark: str = "") -> Option:
    """Many maps of the same images, in the order given, with one colour key; the panel called `mark` stands out."""
    option = _base(points)
    option["legend"] |= {"top": 0}
    lines = -(-len(layouts) // columns)
    wide, high, gap, top = 100 / columns, 100 / lines, 1.0, 5.0
    for index, (series, rows) in enumerate(zip(_series(points, size), groups(points), strict=True)):
        table = series.pop("table")
        for place, layout in enumerate(layouts.values()):
            table[f"x{place}"], table[f"y{place}"] = layout[rows].astype(np.float32).T
        option["dataset"].append({"source": table.drop(columns=["x", "y"])})
        for place in range(len(layouts)):
            encode = {"x": f"x{place}", "y": f"y{place}", "tooltip": []}
            here = {"datasetIndex": index, "encode": encode, "xAxisIndex": place, "yAxisIndex": place, "selectedMode": "single"}
            option["series"].append({**series, **here})
    _coloured(option, points)
    option |= {"grid": [], "xAxis": [], "yAxis": [], "title": []}
    for place, (name, layout) in enumerate(layouts.items()):
        row, column = divmod(place, columns)
        left, above = column * wide + gap, top + row * high * (1 - top / 100) + 3
        width, height = wide - 2 * gap, high * (1 - top / 100) - 5
        bold = name == mark
        option["grid"].append(
            {
                "left": f"{left}%",
                "top": f"{above}%",
                "width": f"{width}%",
                "height": f"{height}%",
                "show": True,
                "borderWidth": 2 if bold else 1,
                "borderColor": "#D55E00" if bold else "#80808055",
            }
        )
        option["title"].append(
            {
                "text": name,
                "left": f"{left}%",
                "top": f"{above - 2.6}%",
                "textStyle": {"fontSize": 12, "fontWeight": "bold" if bold else "normal"},
            }
        )
        edges = frame(layout)
        for axis in ("x", "y"):
            option[f"{axis}Axis"].append({"show": False, "type": "value", "gridIndex": place, "min": edges[axis][0], "max": edges[axis][1]})
        if len(points.selected):
            option["series"].append({**_rings(layout[points.selected], size), "xAxisIndex": place, "yAxisIndex": place})
    return option


def panel(series: int, points: Points, count: int) -> int | None:
    """Which of `count` panels a series of `multiples` is in; None for rings."""
    return series % count if series < count * len(groups(points)) else None


def player(points: Points, layouts: dict[str, np.ndarray], start: int, trails: Sequence[int] = (), size: float = 6.0) -> Option:
    """One map after another, in the browser: points move from layout to layout, and trails show the ways of chosen rows."""
    option = _base(points)
    names = list(layouts)
    edges = frame(np.concatenate(list(layouts.values())))
    for axis in ("x", "y"):
        option[f"{axis}Axis"] = {"show": False, "type": "value", "min": edges[axis][0], "max": edges[axis][1]}
    option["grid"] = {"left": 8, "right": 8, "top": 40, "bottom": 64}
    series = _series(points, size)
    for index, (one, rows) in enumerate(zip(series, groups(points), strict=True)):
        table = one.pop("table")
        for place, layout in enumerate(layouts.values()):
            table[f"x{place}"], table[f"y{place}"] = layout[rows].astype(np.float32).T
        option["dataset"].append({"source": table.drop(columns=["x", "y"])})
        option["series"].append(
            {**one, "datasetIndex": index, "animationDurationUpdate": 900, "encode": {"x": f"x{start}", "y": f"y{start}", "tooltip": []}}
        )
    _coloured(option, points)
    for row in trails:
        way = [[float(v) for v in layout[row]] for layout in layouts.values()]
        option["series"].append(_lines(list(pairwise(way))))
    option["series"] += [{**_rings(layouts[names[start]][list(trails)], size), "animationDurationUpdate": 900}] if len(trails) else []
    timeline = {
        "axisType": "category",
        "data": names,
        "currentIndex": start,
        "playInterval": 1300,
        "loop": True,
        "bottom": 0,
        "left": 8,
        "right": 8,
    }
    frames = []
    for place, layout in enumerate(layouts.values()):
        moved: list[Option] = [{"encode": {"x": f"x{place}", "y": f"y{place}", "tooltip": []}} for _ in series]
        moved += [{} for _ in trails]
        moved += [{"data": layout[list(trails)].astype(float).tolist()}] if len(trails) else []
        frames.append({"series": moved})
    return {"baseOption": {**option, "timeline": timeline}, "options": frames}


def _coloured(option: Option, points: Points) -> None:
    """Where values colour the points, the scale instead of a legend."""
    if points.values is None:
        return
    low, high = float(np.nanmin(points.values)), float(np.nanmax(points.values))
    option["visualMap"] = {
        "type": "continuous",
        "dimension": "value",
        "seriesIndex": [place for place, series in enumerate(option["series"]) if "datasetIndex" in series],
        "min": low,
        "max": max(high, low + 1e-9),
        "text": [f"{points.value} {high:.2g}", f"{low:.2g}"],
        "orient": "horizontal",
        "top": 0,
        "right": 0,
        "itemHeight": 90,
        "itemWidth": 12,
        "inRange": {"color": ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"]},
    }
    option["legend"]["show"] = False


def _base(points: Points) -> Option:
    picture = '<img alt="" src="{@picture}" style="height:96px;min-width:32px;image-rendering:pixelated;display:block;margin-bottom:4px"/>'
    return {
        "animationDuration": 0,
        "animationDurationUpdate": 500,
        "dataset": [],
        "series": [],
        "legend": {
            "type": "scroll",
            "top": 12,
            "right": 0,
            "left": 150,
            "itemGap": 8,
            "itemWidth": 12,
            "itemHeight": 12,
            "data": [called(group) for group, _ in looks(points)],
        },
        "tooltip": {"trigger": "item", "confine": True, "formatter": f"{picture if len(points.pictures) else ''}{{@text}}"},
    }


def _series(points: Points, size: float) -> list[Option]:
    """A series a group, each with its `table`."""
    found = []
    for group, rows in looks(points):
        table = pd.DataFrame(points.layout[rows, :2].astype(np.float32), columns=["x", "y"])
        table["text"] = [points.texts[int(row)] for row in rows]
        if len(points.pictures):
            table["picture"] = [points.pictures[int(row)] for row in rows]
        if points.values is not None:
            table["value"] = points.values
        style = {"opacity": 0.8} | ({} if points.values is not None else {"color": group.colour})
        symbol = SYMBOLS[group.marker]
        found.append({"type": "scatter", "name": called(group), "symbol": symbol, "symbolSize": size, "itemStyle": style, "table": table})
    return found


def _rings(places: np.ndarray, size: float) -> Option:
    return {
        "type": "scatter",
        "name": RING,
        "symbol": "circle",
        "symbolSize": size + 5,
        "silent": True,
        "z": 5,
        "itemStyle": {"color": "transparent", "borderColor": "#D55E00", "borderWidth": 2, "opacity": 1},
        "data": np.asarray(places, float).tolist(),
    }


def _lines(pairs: Sequence[Sequence[Sequence[float]]]) -> Option:
    """Straight lines from place to place."""
    return {
        "type": "lines",
        "name": "lines",
        "coordinateSystem": "cartesian2d",
        "polyline": False,
        "silent": True,
        "data": [{"coords": [list(a), list(b)]} for a, b in pairs],
        "lineStyle": {"color": "#D55E00", "width": 1.5, "opacity": 0.55, "curveness": 0},
    }
