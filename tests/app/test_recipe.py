"""The recipe on the Curve page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis import advice, regret, unlabelled
from analysis.errors import InvalidRequest
from analysis.lane import Answer
from analysis.store import Store
from analysis.studies import UNLABELLED, Study, find_study, open_study, write_study
from app.components import asking

from .test_start import MAIN, texts

DIGITS = find_study("digits")
pytestmark = pytest.mark.usefixtures("answered")


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return page.switch_page("app_pages/curve.py").run()


def settle(page: AppTest) -> AppTest:
    """Draw until nothing new has been asked for."""
    for _ in range(20):
        before = list(page.session_state["asked"].values())
        assert all(asked.ended.wait(60) for asked in before)
        page.run()
        if list(page.session_state["asked"].values()) == before:
            return page
    raise AssertionError("answers keep coming")


def code(page: AppTest) -> str:
    return next(found.value for found in page.code if "diffusers" in found.value)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The digits' study with scores of twenty images."""
    root = tmp_path_factory.mktemp("scored")
    study = open_study(shutil.copytree(DIGITS.folder, root / "studies" / DIGITS.key))
    table, said = unlabelled.measure(study, unlabelled.bench_of(study, Store(root)), 20)
    return unlabelled.keep(study, unlabelled.to_bytes(table), said)


def brought(study: Study, root: Path, without: str = "") -> str:
    """The study in the store, under a key of its own, without one of its files."""
    files = {name: study.path(name).read_bytes() for name in study.facts["files"] if name != without}
    facts = {name: value for name, value in study.facts.items() if name != "files"}
    return write_study(root / "studies" / "feedfeed", {**facts, "key": "feedfeed"}, files).key


def test_nothing_of_it_is_computed_until_it_is_wanted() -> None:
    page = visit(run=DIGITS.key)
    assert not page.exception
    assert "not shown to be worse" not in texts(page)
    assert "asked" not in page.session_state


def test_the_recipe_stands_there_with_its_table_and_its_lines() -> None:
    page = visit(run=DIGITS.key)
    next(toggle for toggle in page.toggle if toggle.label.startswith("Recipe")).set_value(True).run()
    page = settle(page)
    assert not page.exception
    found = advice.recipe(DIGITS, "10")
    assert advice.sentence(found) in texts(page)
    table = next(frame.value for frame in page.dataframe if "ends with block" in frame.value)
    assert len(table) == len(found.near)
    assert list(table[""][:3]) == ["best", "cheapest", "careful"]
    assert f", {found.best.timestep:.0f}  # σ" in code(page)
    assert page.get("download_button")
    assert page.query_params["recipe"] in ("open", ["open"])


def test_the_lines_of_the_cheapest_can_be_had() -> None:
    page = settle(visit(run=DIGITS.key, recipe="open"))
    control = next(group for group in page.button_group if group.label == "Lines that read it")
    page = settle(control.set_value("Cheapest").run())
    cheapest = advice.recipe(DIGITS, "10").cheapest
    assert next(block.module for block in DIGITS.card.blocks if block.name == cheapest.block) in code(page)


def test_a_link_opens_it_at_its_number_of_labels_and_a_wrong_word_is_named() -> None:
    page = settle(visit(run=DIGITS.key, recipe="open", labels="all"))
    assert advice.sentence(advice.recipe(DIGITS, "all")) in texts(page)
    assert "too few to tell most cells apart" in " ".join(warning.value for warning in page.warning)
    link = next(found.value for found in page.code if "?" in found.value and "run=" in found.value)
    assert "recipe=open" in link
    assert "recipe = 'sometimes'" in " ".join(warning.value for warning in visit(run=DIGITS.key, recipe="sometimes").warning)


def test_scores_that_are_kept_stand_there_with_their_regret_and_a_map_beside_the_probes(scored: Study, answered: Path) -> None:
    page = settle(visit(run=brought(scored, answered), recipe="open"))
    assert not page.exception
    study = find_study("feedfeed", answered)
    told = regret.regrets(study, advice.recipe(study, "10"), regret.kept(study))
    assert regret.sentence(told) in texts(page)
    table = next(frame.value for frame in page.dataframe if "regret, points" in frame.value)
    assert list(table["regret, points"]) == [row["regret, points"] for row in regret.rows(told)]
    assert "Scores are of 20 validation images, two draws of ε" in texts(page)
    chart = next(chart.proto for chart in page.get("plotly_chart") if "chooses block" in chart.proto.alt)
    assert [trace["type"] for trace in json.loads(chart.spec)["data"]].count("heatmap") == 2


def test_a_score_that_fails_is_shown_as_one(scored: Study, answered: Path) -> None:
    page = settle(visit(run=brought(scored, answered), recipe="open"))
    control = next(group for group in page.button_group if group.label == "Score")
    page = settle(control.set_value("uniformity").run())
    says = next(chart.proto.alt for chart in page.get("plotly_chart") if "chooses block" in chart.proto.alt)
    assert says.startswith("Uniformity chooses")
    assert "shown to choose a worse cell" in says


def test_where_they_are_not_there_they_are_offered_with_their_cost_computed_and_kept(
    answered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlabelled, "COUNT", 20)
    page = settle(visit(run=brought(DIGITS, answered, without=UNLABELLED), recipe="open"))
    said = " ".join(info.value for info in page.info)
    assert "have not been computed for this run: 640 passes of an image and 240 cells, about" in said
    next(button for button in page.button if button.label == "Score every cell without labels").click()
    page = settle(page.run())
    assert not page.exception
    assert "Of 5 scores without labels" in texts(page)
    assert UNLABELLED in find_study("feedfeed", answered).facts["files"]
    assert "Of 5 scores without labels" in texts(settle(visit(run="feedfeed", recipe="open")))


def test_without_the_data_or_the_worker_it_says_so_and_the_rest_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> Answer:
        raise InvalidRequest("The data set of it is not on this machine.")

    monkeypatch.setattr(asking, "ask", gone)
    page = settle(visit(run=DIGITS.key, recipe="open"))
    assert not page.exception
    assert "is not on this machine" in " ".join(info.value for info in page.info)
    assert advice.sentence(advice.recipe(DIGITS, "10")) in texts(page)
