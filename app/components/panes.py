"""Many maps of the same images: every block at a level, every level of a block, and points that move over noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from safetensors.numpy import load

from analysis import figures, map_charts, map_export, map_numbers, map_points
from app.components import chosen, onemap
from app.components.atlas import METHODS, Drawn, Taken, View, made

COLUMNS, TRAILS = 5, 12
MOST = 40_000  # points of all maps of a row together
BESIDE = 8  # bytes of a point at every further level
WORDS = {"blocks": "every block", "levels": "every noise level"}


def cells(view: View, over: str) -> dict[str, tuple[str, int]]:
    """The cells of a row of maps, by what stands above them."""
    if over == "blocks":
        return {block: (block, view.level) for block in view.blocks}
    return {name: (view.block, place) for place, name in enumerate(titles(view.levels, view.axis))}


def titles(levels: Sequence[Mapping[str, float]], axis: str) -> list[str]:
    """What stands above the maps of levels, no two the same."""
    symbol = {"timestep": "t = ", "sigma": "σ = ", "log_snr": "log-SNR = "}[axis]
    names = [f"{symbol}{figures.label(level, axis)}" for level in levels]  # type: ignore[arg-type]
    return [name if names.count(name) == 1 else f"{name} ({place + 1})" for place, name in enumerate(names)]


def layouts(view: View, over: str) -> tuple[str, dict[str, np.ndarray]] | None:
    """The layouts of all cells and how they are made: PCA until all UMAPs are there."""
    wanted, flat = cells(view, over), view.question("maps", dims=2, cells=list(cells(view, over).values()))
    found = made(flat | {"method": "pca"}, view.device, f"{over}-pca", f"Images are to be read for {WORDS[over]}.", patience=1.0)
    method = "pca"
    if found is not None and view.method == "umap":
        words = f"UMAPs of {WORDS[over]} are to be made; PCA is shown until then."
        better = made(flat | {"method": "umap"}, view.device, f"{over}-umap", words, patience=1.5, quiet=True)
        if better is not None:
            found, method = better, "umap"
    if found is None:
        return None
    arrays = load(found[1])
    return method, {name: arrays[f"{block}/{level}"] for name, (block, level) in wanted.items()}


def _points(view: View, point: int | None) -> map_points.Points | None:
    """The points of the cell on the bench, which give colours, words and (with `point` bytes besides, unless it is None) pictures."""
    question = view.question("map", dims=2, method="pca", **view.cell)
    found = made(question, view.device, "pca-of", "The images are being read.", patience=2.0)
    if found is None:
        return None
    arrays = load(found[1])
    drawn = Drawn("pca", arrays["layout"], found[0]["classes"], arrays)
    return onemap.points_of(view, drawn, onemap.colour_by(view, drawn.probabilities, drawn.classes), point)


def multiples(view: View, over: str) -> Taken | None:
    """Every block at the level, or every level of the block; a click on a map opens it."""
    points = _points(view, None)
    found = layouts(view, over) if points is not None else None
    if points is None or found is None:
        return None
    method, every = found
    where, whole = cells(view, over), every
    if (some := MOST // len(every)) < len(points.layout):
        rows = np.unique(np.concatenate([np.linspace(0, len(points.layout) - 1, some).round().astype(int), points.selected]))
        points, every = points.take(rows), {name: layout[rows] for name, layout in every.items()}
    mark = next((name for name, cell in where.items() if cell == (view.block, view.level)), "")
    key, names = f"panes-{over}-{view.study.key}", list(every)

    def took() -> None:
        event: Any = st.session_state.get(key)
        for one in event.selection.selected if event is not None else ():
            place = map_charts.panel(int(one["series_index"]), points, len(names))
            if place is not None and one["data_indices"]:
                _open(view, where[names[place]])

    fixed = f"in block {view.block} at every noise level" if over == "levels" else f"in every block, first to last, at σ = {view.sigma:.2g}"
    alt = f"{METHODS[method]} of {view.what} {fixed}, with one colour key; the marked one is on the bench."
    height = 150 * -(-len(every) // COLUMNS) + 80
    st.echarts_chart(map_charts.multiples(points, every, COLUMNS, mark=mark), key=key, height=height, alt=alt, on_select=took)
    sampled = f" {len(points.layout):,} of {len(view.ids):,} images are drawn." if len(points.layout) < len(view.ids) else ""
    follow = (
        "Each follows the one beside it towards the headline's best cell"
        if method == "umap"
        else "Axes are the first two components of each"
    )
    st.caption(f"{alt} A click on a point of a map opens that map. {follow}; maps have no common unit.{sampled}")
    return _taken(view, over, method, whole, points, every)


def _taken(
    view: View, over: str, method: str, every: Mapping[str, np.ndarray], points: map_points.Points, drawn: Mapping[str, np.ndarray]
) -> Taken:
    """To take along: of `every` map all places, of those that are drawn a picture."""
    where, alt = cells(view, over), f"{METHODS[method]} of {view.what}, {WORDS[over]}"

    def picture() -> str:
        labels = np.array([*points.names, None], dtype=object)[points.group]
        tables = {name: pd.DataFrame({"x": layout[:, 0], "y": layout[:, 1], "label": labels}) for name, layout in drawn.items()}
        return map_export.sheet(tables, points.names, COLUMNS, alt)

    return Taken(
        f"{over}-{method}",
        lambda: map_numbers.layouts(view.ids, {where[name]: points for name, points in every.items()}, view.levels),
        view.laid(method, 2),
        ("--show", over, *view.words(method, 2)),
        picture=picture,
    )


def _open(view: View, cell: tuple[str, int]) -> None:
    sigmas = view.study.card.sigmas
    wanted = view.levels[cell[1]]["sigma"]
    st.session_state["block"] = cell[0]
    st.session_state["level-wanted"] = min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - wanted))
    st.session_state["maps"] = "map"


def over_noise(view: View) -> Taken | None:
    """Points that move from level to level in the browser, with the ways of selected images."""
    points = _points(view, onemap.POINT + BESIDE * len(view.levels))
    found = layouts(view, "levels") if points is not None else None
    if points is None or found is None:
        return None
    method, every = found
    rows = chosen.rows(view)
    option = map_charts.player(points, every, view.level, [int(row) for row in rows[:TRAILS]])
    alt = f"{METHODS[method]} of {view.what} in block {view.block}, moving over {len(every)} noise levels from clean to noisy."
    st.echarts_chart(option, key=f"over-noise-{view.study.key}", height=onemap.SIDE + 60, alt=alt)
    trails = (
        f"Lines: the ways of {min(len(rows), TRAILS)} selected images."
        if len(rows)
        else "Select images on one map to see their ways as lines."
    )
    pictured = "Pictures and colours are of the level on the bench."
    onemap.await_pictures(view)
    follows = (
        "Each level's map starts from the one beside it, beginning at the headline's best, and is laid onto it: what stays put has stayed; some of what moves is the layout's own."
        if method == "umap"
        else "Axes are the first two components of each level."
    )
    st.caption(f"{alt} {follows} {trails} {pictured}")
    return _taken(view, "levels", method, every, points, every)
