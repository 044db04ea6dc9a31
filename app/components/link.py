"""What a link may say: known values are taken, unknown ones are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import streamlit as st


def check(name: str, allowed: Iterable[str]) -> None:
    """A notice if the link gives `name` a value that is not allowed; the widget then starts at its default."""
    given, options = st.query_params.get(name), list(allowed)
    if given is not None and given not in options:
        st.warning(f"The link asks for {name} = {given!r}, which is not there; allowed: {', '.join(options)}. The default is shown.")


def link(state: Mapping[str, str]) -> str:
    """A link to the view, from its whole state, defaults too."""
    address = (st.context.url or "http://localhost:8501").split("?")[0]
    return f"{address}?{urlencode(state)}"
