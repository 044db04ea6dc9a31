"""What stands on the page, noted while it is drawn, to be taken along as one HTML file or as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import streamlit as st

from analysis import panels
from analysis.leaflet import Part, compose
from analysis.uploads import encode
from app.components import files
from app.components.curve import toolbar
from app.components.looked import fingerprint

SIDE = 96  # pixels of a tile


def begin() -> None:
    """Nothing is noted yet."""
    st.session_state["leaflet"], st.session_state["sheets"] = [], {}


def note(kind: str, content: Any, caption: str = "") -> None:
    """Take a part of the page along."""
    st.session_state["leaflet"].append(Part(kind, content, caption))


def chart(figure: Any, key: str, alt: str, caption: str, wide: bool = False, **options: Any) -> Any:
    """Draw a figure with its caption, and take it along; a wide one is scrolled by itself on a small screen."""
    with st.container(key=f"wide-{key}") if wide else nullcontext():
        event = st.plotly_chart(figure, key=key, alt=alt, config=toolbar(), **options)
    st.caption(caption)
    note("figure", figure, caption)
    return event


def pictures(markup: str, caption: str = "") -> None:
    """Draw pictures side by side, and take them along."""
    st.html(markup)
    note("html", markup, caption)


def sheet(name: str, rows: Mapping[str, np.ndarray]) -> None:
    """Offer rows of pictures (S, h, w, 3) as one PNG."""
    st.session_state["sheets"][name] = list(rows.values())


def buttons(title: str, facts: list[tuple[str, Any]]) -> None:
    """What can be taken along."""
    parts = [Part("table", facts), *st.session_state["leaflet"]]
    name = "".join(letter if letter.isalnum() else "-" for letter in title.lower()).strip("-") or "image"
    sheets = {what: (rows, fingerprint(b"".join(map(np.ndarray.tobytes, rows)))) for what, rows in st.session_state["sheets"].items()}
    said = repr([(part.caption, part.content if isinstance(part.content, str) else "") for part in parts])
    with st.container(horizontal=True, key="taking"):
        files.offer(
            "Report (HTML)",
            lambda: compose(title, parts),
            f"{name}.html",
            "text/html",
            (title, repr(facts), fingerprint(said.encode()), st.session_state.get("axis"), *(mark for _, mark in sheets.values())),
            key="report",
            icon=":material/description:",
            help="All of the above in one file that works offline, five megabytes. It holds the image.",
        )
        for what, (rows, mark) in sheets.items():
            files.offer(
                f"{what} (PNG)",
                lambda rows=rows: encode(panels.sheet(rows, SIDE)),  # type: ignore[misc]
                f"{name}-{what.lower().replace(' ', '-')}.png",
                "image/png",
                mark,
                key=f"png-{what}",
                icon=":material/image:",
            )
