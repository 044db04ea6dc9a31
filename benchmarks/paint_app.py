"""A server's two pages for `first-paint`: the Start page at /, one line of text at /bare."""

from __future__ import annotations

from importlib.resources import files

import streamlit as st

BARE = "Nothing but this line."


def bare() -> None:
    st.write(BARE)


if __name__ == "__main__":
    start = st.Page(str(files("app") / "app_pages" / "start.py"), title="Start", default=True)
    st.navigation([start, st.Page(bare, title="Bare", url_path="bare")], position="hidden").run()
