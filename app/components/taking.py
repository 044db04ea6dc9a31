"""Maps to take along: how they came about, a link, the command line that makes them, and files for other tools and for papers."""

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

from analysis import map_export, map_table, map_words, panels
from app.components import asking, atlas, chosen, files, link, onemap, receipt, trusting
from app.components.atlas import METHODS, Drawn, Taken, View

TITLE = "Receipt and export"
ICONS = {"CSV": "table", "Parquet": "table_chart", "Page (HTML)": "html", "Picture (SVG)": "image"}
KINDS = {
    "CSV": ("csv", "text/csv"),
    "Parquet": ("parquet", "application/vnd.apache.parquet"),
    "Page (HTML)": ("html", "text/html"),
    "Picture (SVG)": ("svg", "image/svg+xml"),
}


def _words(view: View, more: Sequence[str]) -> str:
    """The command line that makes a view of maps again."""
    words = ["python", "-m", "analysis", "study", "map", view.study.key, "--block", view.block, "--sigma", f"{view.sigma:.6g}", *more]
    words += ["--count", str(len(view.ids))]
    return shlex.join([*words, *(["--device", view.device] if view.device != "cpu" else [])])


def _said(told: map_words.Facts, words: str, state: Mapping[str, str], what: str) -> None:
    """The receipt in words, the link and the command line."""
    st.markdown("\n".join(f"- **{name}**: {value}" for name, value in told))
    st.caption("A link to this view. Your own images and what is selected are not in it.")
    st.code(link.link(dict(state)), language=None, wrap_lines=True)
    st.caption(f"The command line that makes {what}")
    st.code(words, language="bash", wrap_lines=True)


def _file(view: View, what: str, ending: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{view.study.card.name}-{view.study.key[:6]}-{what}.{ending}")


def many(view: View, taken: Taken, state: Mapping[str, str]) -> None:
    """The receipt of a view of many maps, and its numbers as a table."""
    with st.expander(TITLE, icon=":material/receipt_long:"):
        told = [*map_words.facts(view.study, view.what, view.block, view.level, cell=False), *taken.facts]
        words = f"{_words(view, taken.words)} --out {taken.words[1]}.csv"
        _said(told, words, {**state, **taken.link}, "these numbers")
        st.caption("The numbers behind this view. The buttons above a figure save it as a picture, too.")
        made = {"CSV": lambda: taken.table().to_csv(index=False)}
        if taken.picture:
            made["Picture (SVG)"] = taken.picture
        of = (view.study.version, words, _digest(view.ids), str(st.session_state.get("colour")), view.axis)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            for kind, make in made.items():
                ending, mime = KINDS[kind]
                file = _file(view, f"maps-{taken.name}", ending)
                files.offer(kind, make, file, mime, of, key=f"many-{ending}", icon=f":material/{ICONS[kind]}:")
            if not taken.picture:
                receipt.kind_of_picture()


def one(view: View, found: Drawn, state: Mapping[str, str]) -> None:
    """The receipt of one map, and the map as files."""
    told = [*map_words.facts(view.study, view.what, view.block, view.level), *view.laid(found.method, found.layout.shape[1], found.plain)]
    if found.probabilities is not None:
        labels = next(iter(view.study.facts["results"]))
        told.append(("read by", f"the probe of this block and level of run {view.study.key}, {labels} labels a class"))
    words = _words(view, view.words(found.method, found.layout.shape[1]))
    with st.expander(TITLE, icon=":material/receipt_long:"):
        _said(told, words, state, "this map as a table")
        st.caption(
            "Save the map: as a table, for Embedding Atlas and FiftyOne (Parquet), as a page that works offline, or as a picture. "
            "The buttons above the map save it as a picture, too."
        )
        of = (view.study.version, words, _digest(view.ids), _digest(chosen.rows(view)))
        coloured = (*of, str(st.session_state.get("colour")))
        making = _Making(view, found, told)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            for kind, make, seen in (
                ("CSV", making.csv, of),
                ("Parquet", making.parquet, of),
                ("Page (HTML)", making.page, coloured),
                ("Picture (SVG)", making.svg, coloured),
            ):
                ending, mime = KINDS[kind]
                file = _file(view, f"map-{view.block}-sigma{view.sigma:.3g}-{found.method}", ending)
                files.offer(kind, make, file, mime, seen, key=f"map-{ending}", icon=f":material/{ICONS[kind]}:")
        if found.layout.shape[1] == 3:
            receipt.kind_of_picture()


def _digest(array: np.ndarray) -> str:
    return sha256(array.tobytes()).hexdigest()


class _Making:
    """The files of one map; what they need is waited for."""

    def __init__(self, view: View, found: Drawn, told: map_words.Facts) -> None:
        self.view, self.found, self.told = view, found, told
        self.title = f"{METHODS['pca' if found.plain else found.method]} of {view.what}, block {view.block}, σ = {view.sigma:.2g}"

    def csv(self) -> str:
        return str(self._table().to_csv(index=False))

    def parquet(self) -> bytes:
        view = self.view
        near = load(self._ask(view.question("near", rows=list(range(len(view.ids))), **view.cell), "The nearest of every image")[1])
        pictures = [panels.png(image, 1) for image in view.images]
        facts = [*self.told, ("trust", " ".join(self._trust()))]
        return map_export.parquet(self._table(), pictures, (near["places"], near["distances"]), facts)

    def page(self) -> bytes:
        self._ask(onemap.seen(self.view), "The pictures")
        thumbs, (rows, by, classes) = onemap.pictures(self.view), self._coloured()
        caption = f"Coloured by {by}. {' '.join(self._trust())}"
        return map_export.page(rows, thumbs.uris if thumbs else None, self.title, caption, self.told, classes, by).encode()

    def svg(self) -> bytes:
        rows, by, classes = self._coloured()
        return map_export.svg(rows, classes, title=self.title, caption=f"Coloured by {by}. {' '.join(self._trust())}", by=by).encode()

    def _ask(self, question: dict[str, Any], what: str) -> Any:
        bar = st.empty()
        found = asking.finished(question, self.view.device, lambda share: bar.progress(share, text=f"{what} …"))
        bar.empty()
        return found

    def _trust(self) -> list[str]:
        """What may be read off the map, and how far to trust it."""
        view, found = self.view, self.found
        told = self._ask(trusting.question(view, found.method, [[view.block, view.level]]), "How far to trust it")[0]["trust"][0]
        return [trusting.caution(view, found), *map_words.trusted(told)]

    def _table(self) -> pd.DataFrame:
        """A row an image, and whether it is selected."""
        return atlas.table(self.view, self.found).assign(selected=np.isin(np.arange(len(self.view.ids)), chosen.rows(self.view)))

    def _coloured(self) -> tuple[pd.DataFrame, str, Sequence[str]]:
        """The table, the column whose classes have the colours of the screen, and these; for confidence, which has none, the first that has."""
        view, found, rows = self.view, self.found, self._table()
        known = {name: one for name, one in onemap.columns(view, found.probabilities, found.classes).items() if name != onemap.CONFIDENCE}
        if not known:
            return rows.assign(images="all"), "images", ["all"]
        colour = str(st.session_state.get("colour"))
        colour = colour if colour in known else next(iter(known))
        names, values = known[colour]
        if colour == onemap.CORRECT:
            rows[colour] = np.array([*names, None], dtype=object)[values]
        return rows, colour if colour in (onemap.PREDICTION, onemap.CORRECT) else map_table.column(colour, view.label_set), names
