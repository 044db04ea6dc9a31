"""A map to take along: how it came about, a link, the command line that makes it, and files for other tools and for papers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from safetensors.numpy import load

from analysis import map_export, map_words, panels
from app.components import asking, atlas, chosen, files, link, onemap, trusting
from app.components.atlas import METHODS, Drawn, Taken, View

Facts = list[tuple[str, object]]
TITLE = "Receipt and export"
PARQUET = "application/vnd.apache.parquet"


def table(view: View, found: Drawn) -> pd.DataFrame:
    """A row an image, and whether it is selected."""
    return atlas.table(view, found).assign(selected=np.isin(np.arange(len(view.ids)), chosen.rows(view)))


def facts(view: View, method: str, cell: bool = True) -> Facts:
    """How the maps of one cell, or of many, came about."""
    settings, receipt = view.settings, view.study.facts["receipt"]
    told: Facts = [
        ("model", f"{receipt['model']}, {receipt['revision']}"),
        ("images", view.what),
        ("data", f"{receipt['dataset']}, {receipt['dataset_identity']}"),
        ("block" if cell else "block on the bench", view.block),
        ("noise level" if cell else "noise level on the bench", f"σ = {view.sigma:.6g}, t = {view.levels[view.level]['timestep']:g}"),
        (
            "features",
            f"global average, {receipt['input']} input, condition {receipt['condition']}, seed {receipt['seed']}, draw 0, {receipt['precision']}",
        ),
    ]
    if method:
        told.append(("layout", f"{METHODS[method]}, {settings['dims']} dimensions, {settings['metric']} distance"))
    if method == "umap":
        root = f"block {view.root[0]} at σ = {view.levels[view.root[1]]['sigma']:.3g}"
        told.append(
            ("made", f"15 exact neighbours in the full space, each image among its own, seed {settings['seed']}; follows from {root}")
        )
    return told


def _words(view: View, method: str, more: Sequence[str] = ()) -> str:
    """The command line that makes a view of maps again."""
    settings = view.settings
    words = ["python", "-m", "analysis", "study", "map", view.study.key, "--block", view.block, "--sigma", f"{view.sigma:.6g}", *more]
    words += [] if "--method" in more else ["--method", method]
    words += [
        "--dims",
        str(settings["dims"]),
        "--count",
        str(len(view.ids)),
        "--metric",
        settings["metric"],
        "--seed",
        str(settings["seed"]),
    ]
    return shlex.join(words)


def _ways(state: Mapping[str, str], words: str, what: str) -> None:
    st.caption("A link to this view. Your own images and what is selected are not in it.")
    st.code(link.link(dict(state)), language=None, wrap_lines=True)
    st.caption(f"The command line that makes {what}")
    st.code(words, language="bash", wrap_lines=True)


def _said(told: Facts) -> None:
    st.markdown("\n".join(f"- **{name}**: {value}" for name, value in told))


def many(view: View, what: str, taken: Taken, state: Mapping[str, str]) -> None:
    """The receipt of a view of many maps, and its numbers as a table."""
    with st.expander(TITLE, icon=":material/receipt_long:"):
        _said(facts(view, "" if what in ("alike", "content") else view.method, cell=False))
        show = taken.words if "--show" in taken.words else ("--show", what, *taken.words)
        words = f"{_words(view, view.method, show)} --out {what}.csv"
        _ways({**state, **taken.link}, words, "these numbers")
        st.caption("The numbers behind this view. A figure is saved as a picture by the buttons above it.")
        name = f"maps-{view.study.card.name}-{what}"
        of = (words, tuple(taken.link.items()), sha256(view.ids.tobytes()).hexdigest())
        files.offer(
            "CSV", lambda: taken.table().to_csv(index=False), f"{name}.csv", "text/csv", of, key="many-csv", icon=":material/table:"
        )


def one(view: View, found: Drawn, trust: Mapping[str, Any] | None, state: Mapping[str, str]) -> None:
    """The receipt of one map, and the map as files."""
    told = facts(view, found.method)
    if "probabilities" in found.arrays:
        labels = next(iter(view.study.facts["results"]))
        told.append(("read by", f"the probe of this block and level of run {view.study.key}, {labels} labels a class"))
    with st.expander(TITLE, icon=":material/receipt_long:"):
        _said(told)
        _ways(state, _words(view, found.method), "this map as a table")
        _save(view, found, told, [trusting.caution(view, found), *map_words.trusted(trust)])


def _coloured(view: View, found: Drawn) -> tuple[pd.DataFrame, str, Sequence[str]]:
    """The table, its column that gives the colours on screen, and that column's classes; a column of numbers gives none."""
    rows, colour = table(view, found), str(st.session_state.get("colour"))
    known = onemap.columns(view, found.probabilities, found.classes)
    if colour not in known or colour == onemap.CONFIDENCE:
        colour = next(iter(known), "")
    if not colour:
        return rows.assign(images="all"), "images", ["all"]
    names, values = known[colour]
    if colour not in rows:
        rows[colour] = np.array([*names, None], dtype=object)[values]
    return rows, colour, names


def _save(view: View, found: Drawn, told: Facts, trust: list[str]) -> None:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"map-{view.study.card.name}-{view.block}-sigma{view.sigma:.3g}-{found.method}")
    title = f"{METHODS[found.method]} of {view.what}, block {view.block}, σ = {view.sigma:.2g}"
    says = " ".join(trust)

    def parquet() -> bytes:
        with st.empty():
            question = view.question("near", rows=list(range(len(view.ids))), **view.cell)
            near = load(asking.finished(question, view.device, lambda share: st.progress(share, text="The nearest of every image …"))[1])
        pictures = [panels.png(image, 1) for image in view.images]
        return map_export.parquet(table(view, found), pictures, (near["places"], near["distances"]), [*told, ("trust", says)])

    def page() -> bytes:
        thumbs, (rows, by, classes) = onemap.pictures(view), _coloured(view, found)
        return map_export.page(rows, thumbs.uris if thumbs else None, title, f"{title}. {says}", told, classes, by).encode()

    def svg() -> bytes:
        rows, by, classes = _coloured(view, found)
        return map_export.svg(rows, classes, title=title, caption=f"Coloured by {by}. {says}", by=by).encode()

    st.caption(
        "Save the map: for Embedding Atlas and FiftyOne, as a page that works offline, or as a picture. PNG: the arrow above the map."
    )
    of = (found.layout.tobytes(), str(st.session_state.get("colour")), chosen.rows(view).tobytes(), says)
    with st.container(horizontal=True):
        files.offer("Parquet", parquet, f"{name}.parquet", PARQUET, of, key="map-parquet", icon=":material/table:")
        files.offer("Page (HTML)", page, f"{name}.html", "text/html", of, key="map-html", icon=":material/html:")
        files.offer("Picture (SVG)", svg, f"{name}.svg", "image/svg+xml", of, key="map-svg", icon=":material/image:")
