"""Upload, choose, see, explain, take along: the Image page with a real worker, in a real Chromium."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from analysis.datasets.base import Dataset
from analysis.studies import find_study
from analysis.uploads import encode

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
DIGITS = find_study("digits").key
IMAGE = f"/image?backend=digits-ddpm&dataset=digits&run={DIGITS}"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)).save(path)
    return path


def ready(page: Page, served: Served, address: str = IMAGE) -> Page:
    page.goto(served.address + address)
    page.wait_for_selector("text=The nearest of", timeout=LONG)
    return calm(page)


def test_an_image_is_dropped_seen_explained_and_taken_along(
    page: Page, served: Served, photo: Path, browser: Browser, tmp_path: Path
) -> None:
    ready(page, served).set_input_files("input[type=file]", photo)
    page.wait_for_selector("text=mine.png: 60×40 pixels", timeout=LONG)
    page.wait_for_selector("text=This is not the kind of image")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("text=One colour scale for all levels", timeout=LONG)
    page.get_by_role("progressbar").wait_for(state="detached", timeout=LONG)
    page.get_by_role("button", name="Report (HTML)", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save Report (HTML)").click(timeout=LONG)
    report = tmp_path / "report.html"
    download.value.save_as(report)
    page.get_by_role("button", name="Strip (PNG)", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save Strip (PNG)").click(timeout=LONG)
    download.value.save_as(tmp_path / "strip.png")
    assert Image.open(tmp_path / "strip.png").size == (16 * 98, 2 * 98)

    alone = browser.new_context(offline=True).new_page()
    alone.goto(report.as_uri())
    alone.wait_for_selector(CHART)
    assert alone.locator(".plotly-graph-div").count() == 5
    assert "mine.png in digits-ddpm" in alone.inner_text("h1")
    alone.close()


def test_a_click_on_a_level_and_a_block_moves_everything(page: Page, served: Served) -> None:
    ready(page, served)
    page.locator(".st-key-blocks-map").scroll_into_view_if_needed()
    box = page.locator(".st-key-blocks-map .nsewdrag").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 10.5 / 16, box["y"] + box["height"] * 5.5 / 15)  # the eleventh level, the sixth block
    page.wait_for_selector("text=block mid.res0 reads this image", timeout=LONG)
    page.wait_for_selector("text=At σ = 1.6")


def test_a_digit_is_drawn_and_read(page: Page, served: Served) -> None:
    ready(page, served)
    page.get_by_text("Draw", exact=True).click()
    square = page.locator("canvas[role=application]")
    square.wait_for()
    box = square.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 128, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 128, box["y"] + 220, steps=8)
    page.mouse.up()
    page.get_by_text("Use this drawing").click()
    page.wait_for_selector("text=/reads this image as 1/", timeout=LONG)


def test_a_drawing_needs_no_mouse(page: Page, served: Served) -> None:
    ready(page, served)
    page.get_by_text("Draw", exact=True).click()
    page.locator("canvas[role=application]").focus()
    for key in ["ArrowUp"] * 10 + ["Space"] + ["ArrowDown"] * 20:
        page.keyboard.press(key)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector('.st-key-pictures img[alt="drawing 1"]', timeout=LONG)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_nothing_serious_is_wrong_for_those_who_cannot_see_it(browser: Browser, served: Served, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    ready(page, served)
    assert serious(page) == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, served: Served, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    assert sideways(ready(page, served)) == []
    page.close()


@pytest.mark.slow
def test_two_folders_of_a_zip_are_taught_and_read_with(page: Page, served: Served, digits: Dataset, tmp_path: Path) -> None:
    values = digits.label_set(None).values
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name, digit in (("noughts", 0), ("ones", 1)):
            for row in np.flatnonzero(values == digit)[:5]:
                archive.writestr(f"{name}/{row}.png", encode(digits.images[row]))
    ready(page, served)
    page.get_by_text("Teach", exact=True).click()
    page.locator("input[accept*=zip]").set_input_files(tmp_path / "mine.zip")
    page.get_by_role("button", name="Teach", exact=True).click(timeout=LONG)
    page.wait_for_selector("text=Of 10 images", timeout=LONG)
    assert "undecided, n = 10" in page.inner_text("[data-testid=stMain]")
    page.get_by_role("button", name="Read images with it").click()
    page.wait_for_selector("text=/reads this image as (noughts|ones)/", timeout=LONG)
