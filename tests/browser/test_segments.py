"""Paint and predict: segments on the Ask page with a real worker, in a real Chromium."""

from __future__ import annotations

from playwright.sync_api import Browser, Locator, Page

from .conftest import Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
SEGMENTS = "/ask?backend=shapes-ddpm&dataset=shapes&by=segments"


def ready(page: Page, served: Served) -> Locator:
    """The board to paint on, when the page is calm."""
    page.goto(served.address + SEGMENTS)
    page.wait_for_selector("canvas[role=application]", timeout=LONG)
    return calm(page).locator("canvas[role=application]")


def stroke(page: Page, board: Locator, *path: tuple[float, float]) -> None:
    """A line through points of the board, each from 0 to 1."""
    board.scroll_into_view_if_needed()
    box = board.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in path]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def test_two_strokes_are_painted_the_rest_is_labelled_and_a_key_takes_one_back(page: Page, served: Served) -> None:
    board = ready(page, served)
    stroke(page, board, (0.1, 0.1), (0.9, 0.1))
    page.wait_for_selector("text=Only class A is painted")
    page.get_by_role("radio", name="B shape").click()
    stroke(page, board, (0.45, 0.45), (0.55, 0.55))
    page.wait_for_selector("text=/B shape: \\d+ pixels on 1 image/")
    page.get_by_role("button", name="Label the rest").click()
    page.wait_for_selector("text=Mean IoU over noise levels", timeout=LONG)
    assert page.locator(".st-key-segments figure").count() == 24
    before = page.locator(".st-key-segments img").first.get_attribute("alt")
    board.focus()
    for key in (
        "a",
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        "ArrowDown",
        " ",
        "ArrowDown",
        "ArrowDown",
        " ",
    ):  # of the first class, at the lower edge
        page.keyboard.press(key)
    page.wait_for_selector("text=/A background: 1[7-9] pixels on 1 image/")
    page.wait_for_function("alt => document.querySelector('.st-key-segments img').alt !== alt", arg=before, timeout=LONG)
    page.keyboard.press("u")
    page.wait_for_function("alt => document.querySelector('.st-key-segments img').alt === alt", arg=before, timeout=LONG)


def test_a_phone_in_the_dark_shows_it_and_nothing_serious_is_wrong_for_those_who_cannot_see_it(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 1000}, color_scheme="dark")
    board = ready(page, served)
    stroke(page, board, (0.1, 0.1), (0.9, 0.1))
    page.get_by_role("radio", name="B shape").click()
    stroke(page, board, (0.45, 0.45), (0.55, 0.55))
    page.get_by_role("button", name="Label the rest").click()
    page.wait_for_selector("text=Mean IoU over noise levels", timeout=LONG)
    assert serious(page) == []
    assert sideways(page) == []
    page.close()
