"""The Start page as a person sees it, in a real Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page

from analysis.studies import find_study

from .conftest import CHART, needs_chromium, sideways

pytestmark = needs_chromium


def test_headline_sketch_and_chart_appear_and_the_console_is_quiet(page: Page, address: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(address)
    page.wait_for_selector("h1:has-text('What does this model know, and when?')")
    page.wait_for_selector(".st-key-sketch img", state="attached")
    page.wait_for_selector(CHART)
    page.wait_for_function("getComputedStyle(document.querySelector('.st-key-sketch')).visibility === 'hidden'")
    assert said == []


def test_nothing_is_asked_of_other_machines(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(CHART)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_the_finding_is_the_alternative_text_of_sketch_and_chart(page: Page, address: str) -> None:
    study = find_study("digits")
    page.goto(f"{address}/?study={study.key}")
    page.wait_for_selector(CHART)
    sentence = study.result()["sentence"]
    assert page.locator(".st-key-sketch img").get_attribute("alt") == sentence
    assert page.get_by_label(sentence).count() == 1


def test_it_opens_on_three_curves_and_the_other_studies_are_one_click_away(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(CHART)
    page.wait_for_selector(".legendtext")
    named = {text.partition(" (block ")[0] for text in page.locator(".legendtext").all_text_contents()}
    assert named == {"texture", "shape", "hue"}
    page.get_by_role("radio", name="digits").click()
    page.wait_for_selector(f"text={find_study('digits').result()['sentence'][:60]}")
    page.wait_for_url("**study=**")


def moved(page: Page) -> tuple[str, str, list[str]]:
    """The slider's value, the big image and the numbers at the dots."""
    value = page.locator(".slider-label").first.text_content() or ""
    image = page.evaluate(
        "[...document.querySelectorAll('.im image')].map(i => i.getAttribute('href') || i.getAttribute('xlink:href')).at(-1)"
    )
    return value, str(image), page.locator(".scatterlayer .textpoint").all_text_contents()


def test_moving_sigma_moves_image_dot_and_numbers_without_the_server(page: Page, address: str) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.goto(address)
    page.wait_for_selector(".slider-grip-rect")
    page.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView()")
    page.wait_for_timeout(1500)
    assert sent  # the page did talk to the server until now
    before = moved(page)
    sent.clear()
    box = page.locator(".slider-rail-touch-rect").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    page.wait_for_timeout(800)
    after = moved(page)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert before[2] != after[2]
    assert sent == []


def test_play_runs_through_the_levels(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".updatemenu-button")
    page.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView()")
    page.locator(".updatemenu-button").first.click()
    shown = set()
    for _ in range(10):
        page.wait_for_timeout(400)
        shown.add(moved(page)[0])
    assert len(shown) >= 3


def test_the_axis_switch_relabels_and_is_kept_in_the_address(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(CHART)
    page.get_by_text("log-SNR", exact=True).first.click()
    page.wait_for_selector(".xtitle:has-text('log-SNR')")
    page.wait_for_url("**axis=log_snr**")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
@pytest.mark.parametrize("view", ["questions", "curve", "blocks", "map", "budget"])
def test_a_phone_shows_every_view_without_scrolling_sideways(browser: Browser, address: str, scheme: str, view: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{address}/?view={view}")
    page.wait_for_selector(CHART, timeout=60_000)
    assert sideways(page) == []
    assert page.locator(CHART).first.bounding_box()["width"] <= 390  # type: ignore[index]
    page.close()
