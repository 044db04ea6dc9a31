"""A map to take along: a table for other tools, a page that works offline, pictures, and the numbers behind it."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pandas as pd
import streamlit as st
from safetensors.numpy import load

from analysis import map_export, panels
from app.components import asking, atlas, chosen, link, onemap
from app.components.atlas import METHODS, Drawn, View


def table(view: View, found: Drawn) -> pd.DataFrame:
    """A row an image, and whether it is selected."""
    return atlas.table(view, found).assign(selected=np.isin(np.arange(len(view.ids)), chosen.rows(view)))


def facts(view: View, found: Drawn) -> list[tuple[str, object]]:
    """How the map came about."""
    settings, receipt = view.settings, view.study.facts["receipt"]
    told: list[tuple[str, object]] = [
        ("model", f"{receipt['model']}, {receipt['revision']}"),
        ("images", view.what),
        ("data", f"{receipt['dataset']}, {receipt['dataset_identity']}"),
        ("block", view.block),
        ("noise level", f"σ = {view.sigma:.6g}, t = {view.levels[view.level]['timestep']:g}"),
        (
            "features",
            f"global average, {receipt['input']} input, condition {receipt['condition']}, seed {receipt['seed']}, draw 0, {receipt['precision']}",
        ),
        ("layout", f"{METHODS[found.method]}, {settings['dims']} dimensions, {settings['metric']} distance"),
    ]
    if found.method == "umap":
        told.append(
            (
                "made",
                f"15 exact neighbours in the full space, each image among its own, seed {settings['seed']}; follows from block {view.root[0]} at σ = {view.levels[view.root[1]]['sigma']:.3g}",
            )
        )
    if "probabilities" in found.arrays:
        told.append(
            (
                "read by",
                f"the probe of this block and level of run {view.study.key}, {next(iter(view.study.facts['results']))} labels a class",
            )
        )
    return told


def show(view: View, found: Drawn, state: dict[str, str]) -> None:
    """Draw the receipt and, when it is opened, what may be saved."""
    with st.expander("Receipt and export", icon=":material/receipt_long:"):
        st.markdown("\n".join(f"- **{name}**: {value}" for name, value in facts(view, found)))
        st.caption("A link to this view. Your own images and what is selected are not in it.")
        st.code(link.link(state), language=None, wrap_lines=True)
        st.caption("The command line that makes this map as a table")
        words = ["python", "-m", "analysis", "study", "map", view.study.key, "--block", view.block, "--sigma", f"{view.sigma:.6g}"]
        settings = view.settings
        words += ["--method", found.method, "--dims", str(settings["dims"]), "--count", str(len(view.ids)), "--metric", settings["metric"]]
        st.code(shlex.join([*words, "--seed", str(settings["seed"])]), language="bash", wrap_lines=True)
        _save(view, found)


def _save(view: View, found: Drawn) -> None:
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"map-{view.study.card.name}-{view.block}-sigma{view.sigma:.3g}-{found.method}")
    title = f"{METHODS[found.method]} of {view.what}, block {view.block}, σ = {view.sigma:.2g}"
    by = {onemap.PREDICTION: "prediction", view.label_set: "label"}.get(
        str(st.session_state.get("colour")), "label" if view.label_set else "prediction"
    )
    classes = view.labels[view.label_set][0] if by == "label" and view.label_set else found.classes

    def parquet() -> bytes:
        asked = asking.look(view.question("near", rows=list(range(len(view.ids))), **view.cell), view.device, patience=60.0)
        near = load(asked.answer[1]) if asked.answer else None
        pictures = [panels.png(image, 1) for image in view.images]
        return map_export.parquet(table(view, found), pictures, (near["places"], near["distances"]) if near else None, facts(view, found))

    def page() -> bytes:
        thumbs = onemap.pictures(view)
        return map_export.page(table(view, found), thumbs.uris if thumbs else None, title, title, facts(view, found), classes, by).encode()

    def svg() -> bytes:
        return map_export.svg(table(view, found), classes, title=title, by=by).encode()

    st.caption(
        "Save the map: for Embedding Atlas and FiftyOne, as a page that works offline, or as a picture. PNG: the camera above the map."
    )
    with st.container(horizontal=True):
        st.download_button(
            "Parquet", parquet, f"{name}.parquet", "application/vnd.apache.parquet", on_click="ignore", icon=":material/table:"
        )
        st.download_button("Page (HTML)", page, f"{name}.html", "text/html", on_click="ignore", icon=":material/html:")
        st.download_button("Picture (SVG)", svg, f"{name}.svg", "image/svg+xml", on_click="ignore", icon=":material/image:")
