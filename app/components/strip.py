"""One image at every noise level, cut from a study's strip.png and enlarged without smoothing."""

from __future__ import annotations

import base64
import io

import streamlit as st

from analysis.studies import Study


@st.cache_data(show_spinner=False, max_entries=32)
def tiles(version: str, row: int, levels: int, size: int, _study: Study) -> list[str]:
    """PNG data URIs of image `row` at each level, `size` pixels wide."""
    from PIL import Image

    sheet = Image.open(_study.path("strip.png"), formats=["PNG"])
    side = sheet.width // levels
    found = []
    for level in range(levels):
        tile = sheet.crop((level * side, row * side, (level + 1) * side, (row + 1) * side))
        out = io.BytesIO()
        tile.resize((size, size), Image.Resampling.NEAREST).save(out, "PNG", optimize=True)
        found.append("data:image/png;base64," + base64.b64encode(out.getvalue()).decode())
    return found
