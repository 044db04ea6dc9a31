"""That the mean of the class embeddings was never trained is said wherever a condition is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis import fairness, map_words
from analysis.matching import sides
from analysis.specs import said_condition
from analysis.studies import Study
from app.components import image_receipt
from app.components.album import Shot
from app.components.receipt import methods, rows
from tests.handmade import BLOCK, shaken, study

WORDS = "mean of the class embeddings, which was not trained"


@pytest.fixture(params=["none", "null", "class:3", "mean"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Study]:
    made = study(tmp_path, shaken([0.7, 0.8, 0.75, 0.4]), key="aaaa", receipt={"condition": request.param})
    return (WORDS if request.param == "mean" else request.param), made


def test_a_condition_in_words() -> None:
    assert said_condition("mean") == WORDS
    assert said_condition("class:3") == "class:3"


def test_on_the_receipt_and_in_the_methods_of_a_curve(told: tuple[str, Study]) -> None:
    words, made = told
    assert f"condition: {words}, precision" in rows(made, "10")["input"]
    assert (f"condition: {words}; x_sigma" in methods(made, made.result("10"))) == (words != "none")
    assert ("not trained" in methods(made, made.result("10"))) == (words == WORDS)


def test_on_the_receipt_and_in_the_methods_of_an_image(told: tuple[str, Study]) -> None:
    words, made = told
    levels = made.facts["levels"]
    looked: Any = SimpleNamespace(
        study=made,
        probes=SimpleNamespace(arrays={}, classes=()),
        fit=None,
        draws=None,
        levels=levels,
        sigma=levels[0]["sigma"],
        block=BLOCK,
    )
    assert (
        f"condition: {words}, precision" in dict(image_receipt.facts(looked, Shot("a", np.zeros((8, 8, 3), np.uint8), "here")))["features"]
    )
    assert f"condition: {words})" in image_receipt.methods(looked)


def test_beside_another_run_and_under_a_map(told: tuple[str, Study]) -> None:
    words, made = told
    assert fairness.facts(sides([made])[0])["input"] == f"noisy, condition: {words}"
    assert f"condition {words}, seed" in str(dict(map_words.facts(made, "80 images", BLOCK, 0))["features"])
