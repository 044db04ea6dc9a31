"""The Curve page's later views in a real Chromium: runs side by side, equalised by a real worker, the recipe, and what has views of its own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study
from analysis.sweeping import sweep_all

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways
from .test_dashboard import LONG, said, tab_to

pytestmark = needs_chromium
QUICK = SweepRequest(levels=3, label_draws=3, n_train=200, n_test=100, baselines=False, labels_per_class=(5,))
DIGITS = find_study("digits")


@pytest.fixture(scope="module")
def three(served: Served) -> tuple[Study, ...]:
    """Two blocks by two poolings with an ensemble, the same by another head, and one other block of half as many features."""
    rich = QUICK.model_copy(update={"blocks": ("mid.res0", "up1.res0"), "poolings": ("1", "2"), "ensemble": 2})
    other = rich.model_copy(update={"head": "ridge", "ensemble": 0})
    return tuple(sweep_all([rich, other, QUICK.model_copy(update={"blocks": ("down0.res0",)})], Store(served.store)))


def legend(page: Page) -> set[str]:
    """The letters of the runs that are drawn."""
    page.wait_for_selector(".st-key-figure-compare .legendtext", timeout=LONG)
    return {text.split(":")[0] for text in page.locator(".st-key-figure-compare .legendtext").all_text_contents()}


@pytest.mark.slow
def test_two_runs_stand_side_by_side_and_a_worker_makes_them_equal(page: Page, served: Served, three: tuple[Study, ...]) -> None:
    errors = said(page)
    page.goto(f"{served.address}/curve?run={three[0].key}&with={three[2].key}")
    assert legend(page) == {"A", "B"}
    measured = page.locator(".st-key-verdict").inner_text()
    assert page.locator(".st-key-figure-compare .cartesianlayer > .subplot").count() == 2  # curves, and their difference in its band
    page.wait_for_selector(f".st-key-figure-classes {CHART}")
    page.wait_for_selector(".tiles img", timeout=LONG)  # of what one alone reads right
    assert "≠ unlike" in page.locator(".st-key-facts").inner_text()
    page.get_by_text("Equalise: 32 features and 1 pass an image").click()
    page.wait_for_selector("text=One equalised run has not been measured yet")
    page.get_by_role("button", name="Measure what is lacking").click(timeout=LONG)
    page.wait_for_selector("text=32 principal components", timeout=LONG)  # the page turns to it by itself
    (job,) = Jobs(served.store).list()
    assert (job.state, job.request.pca, job.request.blocks) == ("done", 32, (three[0].result()["headline"].split("/")[1],))
    assert page.locator(".st-key-verdict").inner_text() != measured
    page.wait_for_url(re.compile(r"equal=1"))
    assert errors == []


@pytest.mark.slow
def test_the_recipe_is_twelve_lines_that_are_copied_as_they_stand(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    errors = said(page)
    page.goto(f"{served.address}/curve?run={DIGITS.key}&view=ensemble")
    page.wait_for_selector("text=The link asks for view = 'ensemble', which is not there")  # this run was made without
    page.get_by_text("Recipe: what to use").click()
    code = page.locator("[data-testid=stCode]", has_text="from diffusers import")
    code.wait_for(timeout=LONG)
    code.hover()
    code.get_by_label("Copy to clipboard").click()
    copied = str(page.evaluate("navigator.clipboard.readText()"))
    assert copied.strip() == code.locator("code").inner_text().strip()
    compile(copied, "recipe", "exec")
    assert len([line for line in copied.splitlines() if line.strip() and not line.startswith("#")]) == 12
    page.wait_for_url(re.compile(r"recipe=open"))
    assert errors == []
    context.close()


def test_a_run_that_has_them_shows_poolings_what_is_known_when_and_its_ensemble(
    page: Page, served: Served, three: tuple[Study, ...]
) -> None:
    errors = said(page)
    page.goto(f"{served.address}/curve?run={three[0].key}&view=poolings")
    for view, words in (
        ("Poolings", "read through 2 poolings"),
        ("What is known when", "digit is read best near"),
        ("Ensemble", "2 neighbouring levels, each with its own"),
    ):
        page.get_by_role("radio", name=view).click()
        page.wait_for_selector(f"[data-testid=stCaptionContainer] >> text={words}")
        page.wait_for_selector(f"[class*=st-key-figure-] {CHART}")
        assert page.get_by_label(words).count() == 1
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
    assert errors == []


@pytest.mark.slow
def test_the_comparison_serves_those_who_cannot_see_it_and_phones(browser: Browser, served: Served, three: tuple[Study, ...]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme="dark")
    page.goto(f"{served.address}/curve?run={three[0].key}&with={three[1].key},{three[2].key}")
    page.wait_for_selector(f".st-key-figure-classes {CHART}")
    page.get_by_text("Measure something new").click()
    page.wait_for_selector("text=There already", timeout=LONG)
    assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert sideways(calm(page)) == []
    page.close()


@pytest.mark.slow
def test_the_keyboard_alone_opens_the_recipe_compares_and_equalises(browser: Browser, served: Served, three: tuple[Study, ...]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    page.goto(f"{served.address}/curve?run={three[0].key}&view=poolings")
    page.wait_for_selector(CHART)
    page.locator(".st-key-measuring input").focus()  # behind the sidebar
    assert tab_to(page, "Other heads (1)") == []
    assert tab_to(page, "Recipe") == []
    page.keyboard.press("Space")
    page.wait_for_selector("text=from diffusers import", timeout=LONG)
    page.locator(".st-key-measuring input").focus()
    assert tab_to(page, "Other heads (1)") == []
    page.keyboard.press("Enter")
    assert legend(page) == {"A", "B"}
    assert tab_to(page, "Equalise") == []
    page.keyboard.press("Space")
    page.wait_for_selector("text=2 equalised runs have not been measured yet")
    page.close()
