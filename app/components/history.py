"""The browser's history: a page is one entry of it, however often its address is written anew."""

from __future__ import annotations

import time

import streamlit as st

# Streamlit makes an entry each time that a page writes a value into its address: of five values, Back had to be pressed five times.
SCRIPT = """<script>
if (!history.pushState.once) {
  const push = history.pushState
  history.pushState = function (state, title, url) {
    const same = url && new URL(url, location.href).pathname === location.pathname
    return same ? history.replaceState(state, title, url) : push.call(history, state, title, url)
  }
  history.pushState.once = true
}
</script>"""
PAUSE = 0.12  # seconds, once in a visit, in which the browser loads what runs the script before the page's parts ask for theirs


def put(wait: bool = False) -> None:
    """Put it on the page, before anything is written into the address; it takes no room.

    With `wait`, for a page that writes its address when it is opened, the script is at work by then.
    """
    with st.container(key="history"):
        st.html(SCRIPT, unsafe_allow_javascript=True)
    if wait and "history-put" not in st.session_state:
        time.sleep(PAUSE)
    st.session_state["history-put"] = True
