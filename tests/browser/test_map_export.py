"""A map that was taken along, opened from the disk without any network in a real Chromium."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page

from analysis.figures import look
from analysis.map_export import NOTHING, page
from analysis.thumbnails import thumbnails

from .conftest import GRAVE, needs_chromium

pytestmark = needs_chromium
N = 60
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
NAMES = ["cat", "dog", "</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 1'>", "🦊"]
Open = Callable[..., Page]


def table(names: list[str] = NAMES) -> pd.DataFrame:
    angle = 2 * np.pi * np.arange(N) / N
    return pd.DataFrame(
        {
            "id": [f"{row:016x}" for row in range(N)],
            "x": 100 + np.cos(angle),
            "y": np.sin(angle),
            "label": [names[row % len(names)] for row in range(N)],
            "confidence": np.linspace(0, 1, N),
        }
    )


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a map without network; afterwards, nothing must have been asked for and nothing gone wrong."""
    asked: list[str] = []
    wrong: list[str] = []
    contexts = []

    def opening(given: pd.DataFrame | None = None, width: int = 1440, scheme: str = "light") -> Page:
        path = tmp_path / "map.html"
        path.write_text(
            page(table() if given is None else given, thumbnails(IMAGES).uris, "A <map>", "A ring of noise.", [("block", "mid")])
        )
        contexts.append(browser.new_context(offline=True, viewport={"width": width, "height": 900}, color_scheme=scheme))  # type: ignore[arg-type]
        found = contexts[-1].new_page()
        found.on("request", lambda request: asked.append(request.url))
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda message: wrong.append(message.text))
        found.goto(path.as_uri())
        return found

    yield opening
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "map.html").as_uri()] * len(contexts)
    assert wrong == []


def pixel(found: Page, row: int) -> tuple[float, float]:
    """Where an image's marker is on the screen."""
    box, at = found.locator("canvas").bounding_box(), found.evaluate(f"place({row})")
    assert box is not None
    return box["x"] + at[0], box["y"] + at[1]


def hover(found: Page, row: int) -> str:
    """The words on the card over an image's marker, or "" where there is none."""
    found.mouse.move(*pixel(found, row))
    return found.locator(".card").inner_text() if found.locator(".card").is_visible() else ""


@pytest.mark.parametrize("row", [0, 17, 42])
def test_hovering_shows_the_right_picture_and_label(opened: Open, row: int) -> None:
    found = opened()
    assert hover(found, row).splitlines()[0] == NAMES[row % 5]
    uri = found.locator(".card img").get_attribute("src") or ""
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(picture), IMAGES[row])
    assert found.locator(".card img").evaluate("e => e.decode().then(() => e.naturalWidth)") == 8


def test_markers_are_drawn_in_their_class_colour(opened: Open) -> None:
    found = opened()
    found.wait_for_timeout(300)
    x, y = pixel(found, 1)
    shot = Image.open(io.BytesIO(found.screenshot())).convert("RGB").getpixel((round(x), round(y)))
    colour = look(sorted(NAMES).index("dog"))[0]
    np.testing.assert_allclose(shot, [int(colour[at : at + 2], 16) for at in (1, 3, 5)], atol=30)  # drawn at 90 % on white


def test_hostile_labels_are_words_and_nothing_runs(opened: Open) -> None:
    found = opened()
    assert found.evaluate("window.hacked") is None
    assert sorted(found.locator("li .name").all_inner_texts()) == sorted(NAMES)
    assert found.title() == "A <map>"


def test_the_legend_takes_a_class_away_by_keyboard(opened: Open) -> None:
    found = opened()
    found.get_by_role("checkbox", name="cat").focus()
    found.keyboard.press("Space")
    assert hover(found, 0) == ""
    assert hover(found, 1).startswith("dog")
    found.get_by_role("button", name="All").click()
    assert hover(found, 0).startswith("cat")
    found.get_by_role("button", name="None").click()
    assert hover(found, 1) == ""


def test_a_search_finds_labels_and_steps_through_them(opened: Open) -> None:
    found = opened()
    found.get_by_role("searchbox", name="Search labels").fill("DOG")
    assert found.locator("output").inner_text() == "12 of 60 images. Enter shows the next."
    assert hover(found, 0) == ""
    found.get_by_role("searchbox").press("Enter")
    found.get_by_role("searchbox").press("Enter")
    assert found.locator(".card p").first.inner_text() == "dog"
    assert found.locator("output").inner_text().startswith("2 of 12: label dog, confidence 10 %")


def test_the_wheel_zooms_around_the_pointer_and_a_drag_moves(opened: Open) -> None:
    found = opened()
    x, y = pixel(found, 5)
    found.mouse.move(x, y)
    found.mouse.wheel(0, -600)
    found.wait_for_function("() => view.zoom > 2")
    assert pixel(found, 5) == pytest.approx((x, y), abs=1.5)
    found.mouse.down()
    found.mouse.move(x - 80, y + 30, steps=4)
    found.mouse.up()
    assert pixel(found, 5) == pytest.approx((x - 80, y + 30), abs=1.5)
    found.get_by_role("button", name="Whole map").click()
    assert pixel(found, 5) == pytest.approx((x, y), abs=1.5)


def test_the_canvas_says_what_it_shows(opened: Open) -> None:
    assert opened().get_by_role("img", name="A ring of noise.").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_wrong_for_those_who_cannot_see_it(opened: Open, scheme: str) -> None:
    found = opened(table([f"class {index}" for index in range(40)]), scheme=scheme)
    violations = Axe().run(found, options={"resultTypes": ["violations"]}).response["violations"]
    assert [each["id"] for each in violations if each["impact"] in GRAVE] == []


def test_a_phone_shows_it_without_scrolling_sideways(opened: Open) -> None:
    found = opened(table(["a label of many words that " + "n" + "o" * 60 + " screen holds", "b"]), width=390)
    assert found.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert hover(found, 1).startswith("b")
    card, plot = found.locator(".card").bounding_box(), found.locator(".plot").bounding_box()
    assert card is not None
    assert plot is not None
    assert plot["x"] <= card["x"] <= card["x"] + card["width"] <= plot["x"] + plot["width"]


def test_a_map_of_nothing_is_words(opened: Open) -> None:
    found = opened(table().assign(x=np.nan))
    assert NOTHING in found.inner_text("main")
    assert found.locator("canvas, script").count() == 0
