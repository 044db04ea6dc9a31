"""Looks after the workers from the first page that is drawn until the app ends, whether a page is open or not."""

from __future__ import annotations

import time
from threading import Thread

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.store import default_root
from analysis.workers import tend

EVERY = 3.0  # seconds


@st.cache_resource
def keep() -> dict[str, str]:
    """Start the thread, once for the whole app; gives what is wrong now under `error`, or nothing."""
    said: dict[str, str] = {}

    def watch() -> None:
        while True:
            try:
                tend(default_root())
                said.pop("error", None)
            except (NoisescopeError, OSError) as error:
                said["error"] = str(error)
            time.sleep(EVERY)

    Thread(target=watch, daemon=True).start()
    return said
