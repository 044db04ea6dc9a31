"""Classes on the Ask page with a real worker, in a real Chromium."""

from __future__ import annotations

from playwright.sync_api import Page

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
CLASSES = "/ask?backend=digits-ddpm-classes&dataset=digits&by=classes&classify-levels=8&classify-draws=8"


def test_an_image_is_classified_and_read_by_everyone(page: Page, served: Served) -> None:
    page.goto(served.address + CLASSES)
    page.wait_for_selector("text=at most 640 passes, about", timeout=LONG)
    button = calm(page).get_by_role("button", name="Classify by denoising error")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The answer is 0", timeout=LONG)
    page.wait_for_selector(CHART)
    assert "Half of the lead over" in page.inner_text("body")
    page.wait_for_selector("[role=figure][aria-label^='Denoising error of each class above that of 0.']")
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
