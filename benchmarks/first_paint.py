"""Seconds until the Start page's headline and drawn curve are seen, over those until a page of one line is."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from urllib.error import URLError

from playwright.sync_api import Browser, Page, sync_playwright

from .measure import Measured, measure
from .paint_app import BARE

HEADLINE = "What does this model know, and when?"
PAIRS = 10
PATIENCE = 60.0  # seconds


def run() -> Measured:
    """Ours over the bare page, in seconds of the clock; an attempt is ten pairs, a fresh browser context every time."""
    seen: dict[str, list[float]] = {"bare": [], "start": []}
    with server() as address, sync_playwright() as driver, browser(driver.chromium) as chromium:

        def bare() -> float:
            seen["bare"].append(_seconds(chromium, f"{address}/?bare", _bare_seen))
            return seen["bare"][-1]

        def start() -> float:
            seen["start"].append(_seconds(chromium, address, _start_seen))
            return seen["start"][-1]

        details = {"unit": "seconds of the clock, in Chromium", "pairs_per_attempt": PAIRS, "first_after_server_start": {}}
        details["first_after_server_start"] = {"bare": round(bare(), 3), "start": round(start(), 3)}
        found = measure(bare, start, PAIRS, lambda cost: cost, details)
    for side, values in seen.items():
        warm = values[1:]
        found.details[f"{side}_seconds"] = {
            name: round(pick(warm), 3) for name, pick in (("median", median), ("least", min), ("most", max))
        }
    return found


@contextmanager
def server() -> Iterator[str]:
    """The address of a Streamlit server of both pages, on this machine only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "server.address": "127.0.0.1",
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    main = str(Path(__file__).with_name("paint_app.py"))
    command = [sys.executable, "-m", "streamlit", "run", main, *(f"--{name}={value}" for name, value in options.items())]
    with TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _await(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _await(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"The server of the two pages did not answer within {PATIENCE:.0f} seconds.")


@contextmanager
def browser(chromium) -> Iterator[Browser]:
    """A headless Chromium of this machine, else the one that Playwright brought."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    opened = chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-quic", "--disable-background-networking"])
    try:
        yield opened
    finally:
        opened.close()


def _seconds(chromium: Browser, address: str, seen) -> float:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        seen(page)
        return time.perf_counter() - began
    finally:
        context.close()


def _bare_seen(page: Page) -> None:
    page.get_by_text(BARE).wait_for()


def _start_seen(page: Page) -> None:
    page.get_by_role("heading", level=1, name=HEADLINE).wait_for()
    page.locator(".st-key-sketch img:visible, .js-plotly-plot .main-svg:visible").first.wait_for()  # the chart takes the drawing's place
