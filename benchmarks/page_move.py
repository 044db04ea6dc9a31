"""Server time of moving the noise level or choosing a block on a finished run, over that of a page with as many plain widgets."""

from __future__ import annotations

import os
import time
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from streamlit.testing.v1 import AppTest

from analysis.studies import find_study

from .measure import Measured, measure

MAIN = Path(__file__).parents[1] / "app" / "main.py"
ROUNDS = 10
PATIENCE = 60


def run() -> Measured:
    """Ours over the plain page's, seconds of the clock of one rerun; both in Streamlit's own test runner."""
    with TemporaryDirectory() as folder:
        os.environ["NOISESCOPE_STORE"] = folder
        study = find_study("digits")
        page = AppTest.from_file(str(MAIN), default_timeout=PATIENCE)
        page.query_params["run"] = study.key
        page.switch_page("app_pages/curve.py").run()
        widgets = {
            kind: len(page.get(kind)) for kind in ("selectbox", "slider", "toggle", "button_group", "button", "download_button", "metric")
        }
        texts = len(page.markdown) + len(page.caption) + len(page.code)
        plain = AppTest.from_function(_plain, default_timeout=PATIENCE, kwargs={"widgets": widgets, "texts": texts}).run()
        levels, blocks = cycle([10, 200, 400, 33]), cycle(["mid.res0", "up1.res1", "down1.res0"])
        turn = cycle("lb")

        def move() -> float:
            if next(turn) == "l":
                page.sidebar.slider[0].set_value(next(levels))
            else:
                page.session_state["block"] = next(blocks)
            return _rerun(page)

        def other() -> float:
            plain.slider[0].set_value(next(levels))
            return _rerun(plain)

        for _ in range(6):
            move()
        details = {"widgets": widgets, "texts": texts, "unit": "seconds of the clock, Streamlit's test runner"}
        found = measure(other, move, ROUNDS, lambda cost: cost, details)
    found.details["milliseconds"] = {side: round(1000 * found.details[side], 1) for side in ("baseline", "ours") if side in found.details}
    return found


def _rerun(page: AppTest) -> float:
    started = time.perf_counter()
    page.run()
    seconds = time.perf_counter() - started
    assert not page.exception
    return seconds


def _plain(widgets: dict[str, int], texts: int) -> None:
    import streamlit as st

    for i in range(max(1, widgets["slider"])):
        st.slider(f"slider {i}", 0, 999, 33)
    for i in range(widgets["selectbox"]):
        st.selectbox(f"selectbox {i}", ["one", "two", "three"])
    for i in range(widgets["toggle"]):
        st.toggle(f"toggle {i}")
    for i in range(widgets["button_group"]):
        st.segmented_control(f"group {i}", ["one", "two", "three"])
    for i in range(widgets["button"] + widgets["download_button"]):
        st.button(f"button {i}")
    for i in range(widgets["metric"]):
        st.metric(f"metric {i}", i)
    for i in range(texts):
        st.markdown(f"text {i}")
