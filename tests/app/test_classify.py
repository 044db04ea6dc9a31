"""Classes, on the Ask page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import json
import shlex
from itertools import pairwise

import pytest
from streamlit.testing.v1 import AppTest
from typer.main import get_command

from analysis import catalog
from analysis.__main__ import app

from .test_image import NOISE, drop, png, settle
from .test_start import MAIN, texts

pytestmark = pytest.mark.usefixtures("answered")
MODEL = "digits-ddpm-classes"
BUTTON = "Classify by denoising error"


def visit(backend: str = MODEL, **query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": backend, "dataset": "digits", "by": "classes", **query}.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/ask.py").run())


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return settle(page.run())


def charts(page: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def test_the_cost_is_said_first_and_only_the_button_computes() -> None:
    page = visit()
    assert not page.exception
    assert "10 candidates × 16 noise levels × 16 draws: at most 2,560 passes, about" in texts(page)
    assert not page.get("plotly_chart")
    assert not any("'classify')" in name for name in page.session_state["asked"])


def test_an_image_is_classified_with_gap_levels_and_receipt() -> None:
    page = press(visit(**{"classify-levels": "8", "classify-draws": "8"}), BUTTON)
    assert not page.exception
    said = texts(page)
    assert "The answer is **0**: its denoising error is lowest" in said
    assert "Half of the lead over" in said
    assert "passes were made" in said
    bars, lines = charts(page)
    assert len(bars["data"][0]["y"]) == 9
    assert len([trace for trace in lines["data"] if trace.get("name")]) == 7
    assert "2 others are hidden" in said
    assert any("classify-levels=8" in code.value and "by=classes" in code.value for code in page.code)
    words = shlex.split(next(code.value for code in page.code if code.value.startswith("python")))
    assert words[:4] == ["python", "-m", "analysis", "classify"]
    get_command(app).commands["classify"].make_context("classify", words[4:])  # type: ignore[attr-defined]
    assert ("--levels", "8") in list(pairwise(words))
    assert press(page, "Every error, as CSV").get("download_button")


def test_another_image_or_setting_asks_anew() -> None:
    page = press(visit(**{"classify-levels": "8", "classify-draws": "8", "among": "0,6"}), BUTTON)
    assert "2 candidates × 8 noise levels" in texts(page)
    assert "The answer is" in texts(page)
    page.multiselect[0].set_value(["class:0", "class:3"])
    page = settle(page.run())
    assert "The answer is" not in texts(page)
    assert page.query_params["among"] in ("0,3", ["0,3"])


def test_one_candidate_is_too_few_and_a_class_that_is_not_there_is_named() -> None:
    page = visit(among="3,77")
    assert "The link asks for class:77" in texts(page)
    assert "allowed: two or more that differ" in texts(page)
    assert next(button for button in page.button if button.label == BUTTON).disabled


def test_a_model_without_classes_says_which_has_and_switches_to_it() -> None:
    page = visit("digits-ddpm")
    assert not page.exception
    assert "digits-ddpm was trained without classes and takes no text" in texts(page)
    page = press(page, f"Switch to {MODEL}")
    assert page.session_state["backend"] == MODEL
    assert BUTTON in [button.label for button in page.button]


def test_a_model_that_takes_text_is_asked_with_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = catalog.card(MODEL).model_copy(update={"conditions": ("null", "prompt:")})
    monkeypatch.setattr(catalog, "card", lambda _: card)
    page = visit()
    assert "Write two or more prompts, one a line" in texts(page)
    next(area for area in page.text_area if "prompts" in area.label).set_value("a cat\n\n a dog at sea \na cat")
    page = settle(page.run())
    assert "2 candidates × 16 noise levels" in texts(page)
    assert page.query_params["prompts"] in ("a cat\na dog at sea", ["a cat\na dog at sea"])


def test_an_own_image_is_in_the_command_by_its_name() -> None:
    page = visit(**{"classify-levels": "8", "classify-draws": "8"})
    page = press(drop(page, ("my four.png", png(NOISE), "image/png")), BUTTON)
    words = shlex.split(next(code.value for code in page.code if code.value.startswith("python")))
    assert words[4] == "my four.png"
