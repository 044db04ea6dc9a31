"""Server time of moving the noise level or choosing a block on a finished run, over that of a page with as many plain widgets.

A view is drawn once and then sent again as it was: the ratio is of views seen before, and what a first view costs is in the
details. The plain page has an element for each of ours: a widget with the same options and help where it is one, else a line
of text.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test, local_script_runner

from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.studies import find_study

from .measure import Measured, measure

MAIN = Path(__file__).parents[1] / "app" / "main.py"
ROUNDS = 10
PATIENCE = 60


def run() -> Measured:
    """Ours over the plain page's, seconds of the clock of one rerun; both in Streamlit's own test runner."""
    with TemporaryDirectory() as folder:
        os.environ["NOISESCOPE_STORE"] = folder
        compiled = ScriptCache()  # a server compiles a page once; the test runner would at each rerun
        for module in (app_test, local_script_runner):
            module.ScriptCache = lambda: compiled  # type: ignore[misc, assignment]
        study = find_study("digits")
        for seed in range(5):  # a store that has been used
            jobs = Jobs(Path(folder))
            jobs.cancel(jobs.submit(SweepRequest(seed=seed)).id)
        page = AppTest.from_file(str(MAIN), default_timeout=PATIENCE)
        page.query_params["run"] = study.key
        page.switch_page("app_pages/curve.py").run()
        nodes = [_like(node) for node in _nodes(page._tree)]
        plain = AppTest.from_function(_plain, default_timeout=PATIENCE, kwargs={"nodes": nodes}).run()
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

        first = median([move() for _ in range(2 * 4 * 3)][:8])  # until every level has been seen with every block
        details = {
            "elements": len(nodes),
            "of them": dict(Counter(kind for kind, _, _ in nodes)),
            "unit": "seconds of the clock, Streamlit's test runner",
        }
        found = measure(other, move, ROUNDS, lambda cost: cost, details)
    sides = {side: found.details[side] for side in ("baseline", "ours") if side in found.details} | {"ours, seen for the first time": first}
    found.details["milliseconds"] = {side: round(1000 * seconds, 1) for side, seconds in sides.items()}
    return found


def _rerun(page: AppTest) -> float:
    started = time.perf_counter()
    page.run()
    seconds = time.perf_counter() - started
    assert not page.exception
    return seconds


def _nodes(block: Any) -> Iterator[Any]:
    """Every element, container and widget under a block."""
    for node in block.children.values():
        yield node
        if hasattr(node, "children"):
            yield from _nodes(node)


def _like(node: Any) -> tuple[str, list[str], str | None]:
    """An element's kind, options and help."""
    options = getattr(node, "options", None) or []
    return node.type, [str(getattr(option, "content", option)) for option in options], getattr(node, "help", None) or None


def _plain(nodes: list[tuple[str, list[str], str | None]]) -> None:
    import streamlit as st

    def page() -> None:
        for i, (kind, options, help_) in enumerate(nodes):
            name = f"{kind} {i}"
            if kind == "slider":
                st.slider(name, 0, 999, 33, key=name, help=help_)
            elif kind == "selectbox":
                st.selectbox(name, options, key=name, help=help_)
            elif kind == "toggle":
                st.toggle(name, key=name, help=help_)
            elif kind == "button_group":
                st.segmented_control(name, options, key=name, help=help_)
            elif kind == "download_button":
                st.download_button(name, "text", key=name)
            elif kind == "metric":
                st.metric(name, i, help=help_)
            elif kind == "expander":
                st.expander(name)
            elif kind == "flex_container":
                st.container(horizontal=True)
            else:
                st.markdown(name)

    st.set_page_config(layout="wide")
    st.navigation([st.Page(page, title="Plain"), st.Page(lambda: None, title="Other", url_path="other")]).run()
