"""Theory on the Why page, in a real Chromium: its sliders compute, and moving σ in the picture asks no server."""

from __future__ import annotations

import re

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
    page.wait_for_url(re.compile(r"delta=0\.4"))
    page.wait_for_selector("[role=figure][aria-label^='The SNR of the exact posterior mean peaks at']")
    picture = page.locator(".js-plotly-plot").nth(2)  # below the theory's curves and the network's
    before = picture.locator(".scatterlayer path.point").first.get_attribute("transform")
    picture.locator(".slider-rail-touch-rect").click(position={"x": 5, "y": 5}, force=True)
    page.wait_for_function(
        "before => document.querySelectorAll('.js-plotly-plot')[2].querySelector('.scatterlayer path.point').getAttribute('transform') !== before",
        arg=before,
    )
    assert page.locator(CHART).count() >= 3
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []


def test_memorization_is_read_by_size_and_moment_and_samples_stand_beside_their_nearest(page: Page, served: Served) -> None:
    page.goto(served.address + "/why?view=memorization&known=made")
    page.wait_for_selector("text=Samples beside their nearest training images")
    calm(page).get_by_text("256 images", exact=True).first.click()
    page.wait_for_url("**trainset=256**")
    page.wait_for_selector("text=samples of a network trained on 256 images")
    assert page.locator("img[alt^='Sample 1 beside its nearest training image']").count() == 1
    calm(page).get_by_text("Over noise levels", exact=True).click()
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url("**moment=65536**")
    page.wait_for_selector("[role=figure][aria-label*='after 65,536 training images']")
    assert serious(calm(page)) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
