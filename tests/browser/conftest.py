"""A served app, a real Chromium, and pages in it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Error, Page, sync_playwright

from analysis.jobs import NETWORK, TRAINING
from analysis.workers import facts

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GRAVE = ("serious", "critical")
CHART = ".js-plotly-plot .main-svg"
needs_chromium = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: see `make chromium`")]


def sideways(page: Page) -> list[str]:
    """The parts of the page that have to be scrolled sideways: the document itself never is, Streamlit cuts it off."""
    parts = page.locator("[data-testid=stMain], [data-testid=stSidebarContent]").all()
    wider = "e => e.getBoundingClientRect().right > 50 && e.scrollWidth > e.clientWidth + 1"  # a closed sidebar stands beside the screen
    return [str(part.get_attribute("data-testid")) for part in parts if part.evaluate(wider)]


def calm(page: Page) -> Page:
    """The page when for a second from now nothing of it moved or was about to be drawn anew: what is, stands there faded."""
    page.evaluate("window.calmSince = null")
    page.wait_for_function(
        """() => {
          const ends = animation => animation.playState === 'running' && animation.effect.getComputedTiming().iterations < Infinity;
          const moves = document.querySelector('[data-stale=true], [data-testid=stStatusWidget]') || document.getAnimations().some(ends);
          if (moves || !window.calmSince) window.calmSince = performance.now();
          return !moves && performance.now() - window.calmSince > 1000;
        }""",
        timeout=60_000,
    )
    return page


def serious(page: Page, moving: bool = False) -> list[tuple[str, str, str]]:
    """What axe-core calls serious or critical on a calm page, or on one that draws itself anew again and again.

    What is being drawn anew stands there faded, so it is looked at again; on a moving page nothing fades.
    """
    if moving:
        page.add_style_tag(content="[data-stale] { opacity: 1 !important; transition: none !important }")
    for _ in range(3):
        violations = Axe().run(page if moving else calm(page), options={"resultTypes": ["violations"]}).response["violations"]
        found = [(v["id"], v["nodes"][0]["html"][:200], v["nodes"][0]["failureSummary"]) for v in violations if v["impact"] in GRAVE]
        if not found:
            break
        page.wait_for_timeout(2000)
    return found


@dataclass
class Served:
    """An app at work on a store of its own."""

    store: Path
    address: str
    process: subprocess.Popen

    def again(self) -> None:
        """End the app and start it anew at the same address."""
        self.process.kill()
        self.process.wait()
        self.process = start(self.store, int(self.address.rpartition(":")[2]))


def start(store: Path, port: int) -> subprocess.Popen:
    """The app, as soon as it answers."""
    options = {"port": port, "address": "127.0.0.1", "headless": "true"}
    words = [sys.executable, "-m", "streamlit", "run", "app/main.py"]
    words += [word for name, value in options.items() for word in (f"--server.{name}", str(value))]
    server = subprocess.Popen(words, cwd=ROOT, env=os.environ | {"NOISESCOPE_STORE": str(store)}, stdout=subprocess.DEVNULL)
    for _ in range(240):
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1)
            break
        time.sleep(0.25)
    return server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = tmp_path_factory.mktemp("store")
    app = Served(store, f"http://127.0.0.1:{port}", start(store, port))
    yield app
    app.process.kill()
    app.process.wait()
    for device in ("cpu", NETWORK, TRAINING):
        if pid := facts(store, device).get("pid"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def address(served: Served) -> str:
    return served.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What stood on the page when a test failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None:
        with suppress(Error):
            report.sections.append(("the page", page.url + "\n" + page.inner_text("body", timeout=5000)))
    return report
