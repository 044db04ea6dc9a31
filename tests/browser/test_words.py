"""Ask's Words with a real worker, in a real Chromium."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page

from analysis.backends import describe
from tests import latents

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work


def test_a_prompt_is_typed_a_word_chosen_and_its_maps_are_there(
    page: Page, served: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = latents.stable(tmp_path_factory.mktemp("stable"))
    card = describe(str(folder)).model_dump_json()
    (folder / "card.json").write_text(card)
    page.goto(f"{served.address}/ask?{urlencode({'by': 'words', 'backend': str(folder), 'dataset': 'digits'})}")
    page.wait_for_selector("text=each word gets a map", timeout=LONG)
    page.get_by_role("textbox", name="Prompt").fill("a photo of a red fox")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Maps of “photo” over the image at 8 noise levels", timeout=LONG)
    page.get_by_role("radio", name="fox", exact=True).click()
    page.wait_for_selector("text=Maps of “fox” over the image", timeout=LONG)
    page.locator(CHART).nth(1).wait_for(timeout=60_000)
    page.wait_for_url(re.compile(r"word=fox"))
    page.mouse.move(0, 0)  # a chosen word under the pointer has the colours of both
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
