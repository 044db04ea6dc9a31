"""Click a point, and see its match: with a real worker, in a real Chromium."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .conftest import Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work


def ready(page: Page, served: Served) -> Page:
    page.goto(f"{served.address}/ask?backend=digits-ddpm&dataset=digits&by=points&draws=1")
    page.wait_for_selector("text=The point (4.0, 4.0)", timeout=LONG)
    return calm(page)


def test_a_point_is_clicked_and_its_match_is_seen(page: Page, served: Served) -> None:
    image = ready(page, served).get_by_role("application")
    box = image.bounding_box()
    assert box is not None
    image.click(position={"x": box["width"] * 0.3, "y": box["height"] * 0.8})
    page.wait_for_selector("text=/The point \\(2\\.4, 6\\.4\\)/")
    expect(page.locator(".others figcaption").first).to_have_text(
        re.compile(r"B1: test image 11, 0\. Best at [\d.]+, [\d.]+: cosine 0\.\d\d")
    )
    assert page.locator(".others .ring").count() == 4
    image.press("ArrowRight")
    page.wait_for_selector("text=The point (3.4, 6.4)")
    page.wait_for_url(re.compile(r"point=3\.4%2C6\.4"))
    image.hover(position={"x": 5, "y": 5})
    page.wait_for_selector("text=Token 1, 1 (row, column)")
    page.mouse.move(0, 0)
    assert not serious(page)


def test_on_a_small_screen_nothing_is_scrolled_sideways(page: Page, served: Served) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert not sideways(ready(page, served))
