"""The Generate page with a real worker, in a real Chromium."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from analysis.studies import find_study

from .conftest import Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
GENERATE = f"/generate?backend=digits-ddpm&dataset=digits&run={find_study('digits').key}"


def ready(page: Page, served: Served) -> Page:
    page.goto(served.address + GENERATE)
    page.wait_for_selector("text=All 19 steps of sample 0", timeout=LONG)
    return calm(page)


def test_a_sample_plays_in_the_browser_and_is_forked(page: Page, served: Served) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    ready(page, served)
    play = page.locator(".updatemenu-button").first
    play.scroll_into_view_if_needed()
    page.wait_for_timeout(1500)
    sent.clear()
    play.click()
    shown = set()
    for _ in range(10):
        page.wait_for_timeout(400)
        shown.add(page.locator(".slider-label").first.text_content())
    assert len(shown) >= 3
    assert sent == []
    page.get_by_role("button", name="Generate 16 from here").click()
    page.wait_for_selector("text=/✓|✗/", timeout=LONG)
    assert page.locator(".tiles figcaption", has_text=re.compile("[✓✗]")).count() == 16


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_serves_those_who_cannot_see_it_and_phones(browser: Browser, served: Served, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    assert serious(ready(page, served)) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(ready(page, served)) == []
    page.close()
