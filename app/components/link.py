"""The view in the address: what a link may say, the link that says it all, and what is taken along from page to page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

TAKEN = ("run", "level", "axis", "labels", "image", "beside", "device")  # keys of widgets that several pages have
OWN = ("view",)  # of several pages too, each with values of its own
AT, DRAWN, LEFT = "page-at", "page-drawn", "pages-left"  # the page; whether it was drawn to its end; what others had of their own
LATER = "address-later"  # while a page is drawn: what its address is to say, name to value; None takes a name out


def arrive(page: str) -> None:
    """To be called before a page is drawn: until it was drawn to its end once, widgets get what those of the same key had before.

    Streamlit begins a widget anew whose key another page's widget had, also with `persist_state`, until that has left once.
    """
    st.session_state[LATER] = {}
    before = st.session_state.get(AT)
    if before != page:
        left = st.session_state.setdefault(LEFT, {})
        left[before] = {name: st.session_state.pop(name) for name in OWN if name in st.session_state}
        st.session_state.update(left.get(page, {}))
        st.session_state[AT], st.session_state[DRAWN] = page, False
    if not st.session_state[DRAWN]:
        for name in (name for name in (*TAKEN, *OWN) if name in st.session_state):
            st.session_state[name] = st.session_state[name]


def arrived() -> None:
    """To be called when a page has been drawn: its address is written now, in one step."""
    st.session_state[DRAWN] = True
    there, wanted = st.query_params.to_dict(), _known()
    st.session_state.pop(LATER, None)
    if wanted != there:
        st.query_params.from_dict(wanted)


def start(name: str, allowed: Sequence[str], say: Callable[[str], Any] = st.warning) -> None:
    """Start the widget of key `name` at what the link says, else at the first of `allowed`; an unknown value is named.

    On a page that draws itself anew, `say` keeps what is said.
    """
    given = said(name)
    if given is not None and given not in allowed and name not in st.session_state:
        say(f"The link asks for {name} = {given!r}, which is not there; allowed: {', '.join(allowed)}. The default is shown.")
    if st.session_state.get(name) not in allowed:
        st.session_state[name] = given if given in allowed else allowed[0]


def keep(name: str, allowed: Sequence[str]) -> str:
    """The value of the widget of key `name`, written into the address where it is not the default."""
    value = str(st.session_state[name])
    put(name, value if value != allowed[0] else None)
    return value


def put(name: str, value: str | None) -> None:
    """Write a value into the address, or take it out, when the whole page has been drawn."""
    st.session_state.setdefault(LATER, {})[name] = value


def said(name: str) -> str | None:
    """What the address says, or is about to say."""
    return _known().get(name)


def _known() -> dict[str, str]:
    known = {**st.query_params.to_dict(), **st.session_state.get(LATER, {})}
    return {name: value for name, value in known.items() if value is not None}


def link(state: Mapping[str, str | None]) -> str:
    """A link to the view, from its whole state, defaults too; what is None is not part of it."""
    address = (st.context.url or "http://localhost:8501").split("?")[0]
    return f"{address}?{urlencode({name: value for name, value in state.items() if value is not None})}"
