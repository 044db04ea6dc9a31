"""A server's two pages for `first-paint`: the Start page at /, one line of text at /?bare.

Both are at the root: Streamlit's browser side looks for its server under a page's own path first, which costs any other
page some tenths of a second.
"""

from __future__ import annotations

from importlib.resources import files

import streamlit as st

BARE = "Nothing but this line."


def bare() -> None:
    st.write(BARE)


if __name__ == "__main__":
    chosen = bare if "bare" in st.query_params else str(files("app") / "app_pages" / "start.py")
    st.navigation([st.Page(chosen, title="Page", default=True)], position="hidden").run()
