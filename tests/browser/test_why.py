"""Theory on the Why page, in a real Chromium: its sliders compute, and moving σ in the picture asks no server."""

from __future__ import annotations

from playwright.sync_api import Page

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium


def test_a_slider_moves_the_hump_and_everyone_can_read_it(page: Page, served: Served) -> None:
    page.goto(served.address + "/why?delta=0.4&n=60")
    page.wait_for_selector("text=As σ → 0 it goes to 3.1")
    slider = calm(page).get_by_role("slider", name="Classes K")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("text=As σ → 0 it goes to 6.2")
    page.wait_for_url("**classes=2**")
    assert "delta=0.4" in page.url
    page.wait_for_selector("[role=figure][aria-label^='The SNR of the exact posterior mean peaks at']")
    picture = page.locator(".js-plotly-plot").nth(1)
    before = picture.locator(".scatterlayer path.point").first.get_attribute("transform")
    picture.locator(".slider-rail-touch-rect").click(position={"x": 5, "y": 5}, force=True)
    page.wait_for_function(
        "before => document.querySelectorAll('.js-plotly-plot')[1].querySelector('.scatterlayer path.point').getAttribute('transform') !== before",
        arg=before,
    )
    assert page.locator(CHART).count() >= 2
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
