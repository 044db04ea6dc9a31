"""Files to take along that take a moment to make: one click makes the file, the next saves it.

Streamlit can make a file while it is being downloaded, but lets it go when the page, or a part that follows a job, is drawn again
in that moment. A file that is part of the page stays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import streamlit as st

from analysis.errors import NoisescopeError
from app.components.words import size

MADE = "file-made"  # one a session: its key, what it is of, and its bytes
ASKED = "file-asked"  # the key of the one to be made: a click alone is lost where the page is drawn anew before it comes to the button


def _ask(key: str) -> None:
    st.session_state[ASKED] = key


def offer(
    label: str, make: Callable[[], bytes | str], file: str, mime: str, of: Hashable, *, key: str, icon: str, help: str | None = None
) -> None:
    """Draw the button that makes a file, or, when it is made and still of what is shown (`of`), the one that saves it."""
    made = st.session_state.get(MADE)
    if made is not None and made[0] == key and made[1] != of:
        st.session_state.pop(MADE)
    if made is None or made[:2] != (key, of):
        st.button(label, key=key, icon=icon, help=help, on_click=_ask, args=(key,))
        if st.session_state.get(ASKED) != key:
            return
        try:
            with st.spinner(f"{label} …"):
                data = make()
        except NoisescopeError as error:
            st.session_state.pop(ASKED)
            st.error(str(error), icon=":material/broken_image:")
            return
        st.session_state.pop(ASKED)
        st.session_state[MADE] = (key, of, data.encode() if isinstance(data, str) else data)
        st.rerun()
    st.download_button(
        f"Save {label}, {size(len(made[2]))}",
        made[2],
        file,
        mime,
        key=f"{key}-save",
        on_click="ignore",
        icon=":material/download:",
        type="primary",
    )
