"""The Map page with a real worker, in a real Chromium."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page
from safetensors.numpy import load

from analysis.lane import ask
from analysis.map_points import frame
from analysis.studies import find_study
from analysis.thumbnails import thumbnails

from .conftest import Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
DIGITS = find_study("digits")
BLOCK, LEVEL = DIGITS.result()["headline"].split("/")[1], 5
MAP = f"/map?backend=digits-ddpm&dataset=digits&run={DIGITS.key}&images=500"
CHART = ".st-key-place [data-testid=stEChartsChart] canvas, [data-testid=stEChartsChart] canvas"
MARGINS = {"left": 8, "right": 8, "top": 40, "bottom": 8}


def told(served: Served, what: str, **question: Any) -> dict[str, np.ndarray]:
    """What the page's own worker answers."""
    asked = {
        "ask": what,
        "study": DIGITS.key,
        "count": 500,
        "dims": 2,
        "metric": "cosine",
        "seed": 0,
        "block": BLOCK,
        "level": LEVEL,
        **question,
    }
    while True:
        said, data = ask(served.store, "cpu", asked)
        if "left" not in said:
            return load(data)


def opened(page: Page, served: Served, **query: str) -> Locator:
    page.goto(served.address + MAP + "".join(f"&{name}={value}" for name, value in query.items()))
    page.wait_for_selector(f"text=/{query.get('layout', 'umap').upper()} of 500 test images/", timeout=LONG)
    page.wait_for_selector("text=Trustworthiness", timeout=LONG)
    calm(page)
    return page.locator("[data-testid=stEChartsChart] canvas").first


@pytest.fixture
def chart(page: Page, served: Served) -> tuple[Locator, np.ndarray]:
    """The PCA and where its points are on the screen, (n, 2)."""
    canvas = opened(page, served, layout="pca")
    box = canvas.bounding_box()
    assert box is not None
    layout = told(served, "map", method="pca")["layout"]
    edges = frame(layout)
    share = np.stack([(layout[:, i] - edges[name][0]) / (edges[name][1] - edges[name][0]) for i, name in enumerate("xy")], 1)
    wide, high = box["width"] - MARGINS["left"] - MARGINS["right"], box["height"] - MARGINS["top"] - MARGINS["bottom"]
    return canvas, np.stack([box["x"] + MARGINS["left"] + share[:, 0] * wide, box["y"] + MARGINS["top"] + (1 - share[:, 1]) * high], 1)


def test_hovering_shows_the_picture_of_that_image_as_the_network_sees_it(
    page: Page, served: Served, chart: tuple[Locator, np.ndarray]
) -> None:
    _, spots = chart
    apart = np.sqrt(((spots[:, None] - spots) ** 2).sum(2)) + np.eye(len(spots)) * 1e9
    uris = thumbnails(told(served, "noised")["images"]).uris
    labels = told(served, "shown")["labels/digit"]
    for row in np.argsort(-apart.min(1))[:4]:  # those that stand alone
        page.mouse.move(*spots[row].tolist())
        page.wait_for_timeout(600)
        shown = page.locator("[data-testid=stEChartsChart] img").first
        assert shown.get_attribute("src") == uris[row]
        assert page.get_by_text(f"digit: {labels[row]} · read as").count()


def test_a_lasso_takes_what_lies_in_it_and_it_stays_selected_at_the_next_level(
    page: Page, served: Served, chart: tuple[Locator, np.ndarray]
) -> None:
    canvas, spots = chart
    box = canvas.bounding_box()
    assert box is not None
    low, high = np.quantile(spots, 0.3, axis=0), np.quantile(spots, 0.6, axis=0)
    for axis in (0, 1):  # edges that no point lies near
        for edge in (low, high):
            near = np.sort(spots[:, axis])
            gaps = [(b - a, (a + b) / 2) for a, b in pairwise(near) if abs((a + b) / 2 - edge[axis]) < 20]
            edge[axis] = max(gaps)[1]
    inside = np.flatnonzero(((spots > low) & (spots < high)).all(1))
    page.mouse.click(box["x"] + 24, box["y"] + 36)  # Lasso
    page.wait_for_timeout(500)
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=10)
    page.mouse.up()
    page.wait_for_selector(f"text={len(inside)} selected", timeout=LONG)
    ids = told(served, "shown")["ids"]
    shown = page.locator(".st-key-clump .tiles").first.locator("figcaption")
    wanted = {f"{int(ids[row]):016x}" for row in inside}
    titles = [shown.nth(i).get_attribute("title") or "" for i in range(shown.count())]
    assert len(titles) == min(48, len(inside))
    assert {title.split(",")[0].removeprefix("image ") for title in titles} <= wanted
    page.get_by_role("slider").first.focus()
    for _ in range(25):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=/PCA of 500 test images .* σ = 0.21/", timeout=LONG)
    assert page.get_by_text(f"{len(inside)} selected").count() == 1


@pytest.mark.slow
def test_a_umap_comes_after_its_pca_and_every_block_is_a_click_away(page: Page, served: Served) -> None:
    opened(page, served)
    page.get_by_role("radio", name="Every block").click()
    page.wait_for_selector("text=/UMAP of 500 test images in every block/", timeout=LONG)
    calm(page)
    canvas = page.locator("[data-testid=stEChartsChart] canvas").first
    box = canvas.bounding_box()
    assert box is not None
    names = [block.name for block in DIGITS.card.blocks]
    layout = told(served, "maps", method="umap", cells=[[names[0], LEVEL]])[f"{names[0]}/{LEVEL}"]
    edges = frame(layout)
    x, y = (float((layout[7, i] - edges[name][0]) / (edges[name][1] - edges[name][0])) for i, name in enumerate("xy"))
    rows = -(-len(names) // 5)
    wide, high = box["width"] * (0.2 - 0.02), box["height"] * (1 / rows * 0.95 - 0.05)
    page.mouse.click(box["x"] + box["width"] * 0.01 + x * wide, box["y"] + box["height"] * 0.08 + (1 - y) * high)
    page.wait_for_selector(f"text=/in block {names[0]} at σ/", timeout=LONG)


@pytest.mark.slow
def test_the_player_moves_in_the_browser_alone(page: Page, served: Served) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    page.goto(f"{served.address}{MAP}&layout=pca&maps=noise")
    page.get_by_text("moving over 16 noise levels").or_(page.get_by_role("button", name="Make it")).first.wait_for(timeout=LONG)
    if (make := page.get_by_role("button", name="Make it")).count():
        make.click()
    page.wait_for_selector("text=/moving over 16 noise levels/", timeout=LONG)
    calm(page)
    canvas = page.locator("[data-testid=stEChartsChart] canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    sent.clear()
    before = canvas.screenshot()
    page.mouse.click(box["x"] + 34, box["y"] + box["height"] - 37)  # Play
    page.wait_for_timeout(3000)
    assert canvas.screenshot() != before
    assert sent == []


@pytest.mark.slow
def test_a_map_is_saved_as_a_table_a_page_and_a_picture(page: Page, served: Served) -> None:
    opened(page, served, layout="pca")
    page.get_by_text("Receipt and export").click()
    calm(page)  # the part opens with a movement: a click on what still moves goes beside it
    for name, begins in (("Parquet", b"PAR1"), ("Page (HTML)", b"<!doctype html>"), ("Picture (SVG)", b"<svg")):
        page.get_by_role("button", name=name, exact=True).click()
        calm(page)
        with page.expect_download(timeout=LONG) as taken:
            page.get_by_role("button", name=f"Save {name}").click(timeout=LONG)
        assert taken.value.path().read_bytes().lower().startswith(begins.lower()), name


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_it_serves_those_who_cannot_see_it_and_phones(browser: Browser, served: Served, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    opened(page, served, layout="pca")
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, served, layout="pca")
    assert sideways(page) == []
    page.close()


def test_the_keyboard_alone_finds_a_class_and_changes_view(page: Page, served: Served) -> None:
    opened(page, served, layout="pca")
    met = []
    for _ in range(90):
        page.keyboard.press("Tab")
        met.append(page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText.slice(0, 40)"))
        if "Find a class" in met[-1]:
            break
    assert "Find a class" in met[-1], met
    page.keyboard.type("3 (", delay=50)
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/\\d+ selected/", timeout=LONG)
    named = " ".join(met)
    for control in ("One map", "UMAP", "Images", "More", "digit", "Your image", "Noise level"):
        assert control in named, control
