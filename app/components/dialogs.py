"""Which dialog stands open: it stays so when its page is drawn again, as at the end of a job, until it is closed."""

from __future__ import annotations

import streamlit as st

from app.components import asking

OPEN = "open-dialog"  # its name, and the page it was opened on


def button(label: str, name: str, icon: str, *questions: str) -> bool:
    """A button that opens the dialog of this name, and whether that is open; of these questions, what was refused is asked anew."""
    st.button(label, key=name, type="tertiary", icon=icon, on_click=_open, args=(name, questions))
    return bool(st.session_state.get(OPEN, ("",))[0] == name)


def _open(name: str, questions: tuple[str, ...]) -> None:
    asking.anew(*questions)
    st.session_state[OPEN] = (name, _page())


def _page() -> str | None:
    return st.context.url


def leave() -> None:
    """What was opened on another page is not open any more: who goes back leaves it."""
    if OPEN in st.session_state and st.session_state[OPEN][1] != _page():
        close()


def close() -> None:
    """No dialog is open any more."""
    st.session_state.pop(OPEN, None)
