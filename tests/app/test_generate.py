"""The Generate page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from analysis.errors import NoisescopeError
from analysis.lane import Answer
from analysis.studies import DECIDING, Study, find_study, write_study
from app.components import asking, decided

from .test_start import MAIN, texts

DIGITS = find_study("digits")
pytestmark = pytest.mark.usefixtures("answered")


def visit(backend: str = "digits-ddpm", dataset: str = "digits", **query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": backend, "dataset": dataset, **query}.items():
        page.query_params[name] = value
    page.run()
    return page.switch_page("app_pages/generate.py").run()


def settle(page: AppTest) -> AppTest:
    """Draw until nothing new has been asked for."""
    for _ in range(20):
        before = list(page.session_state["asked"].values())
        assert all(asked.ended.wait(120) for asked in before)
        page.run()
        if list(page.session_state["asked"].values()) == before:
            return page
    raise AssertionError("answers keep coming")


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return settle(page.run())


def undecided(study: Study, root: Path, **facts: Any) -> Study:
    """A copy in the store of a study that ships, under a data set of its own name, without what is settled."""
    folder = shutil.copytree(study.folder, root / "studies" / "0123456789abcdef")
    files = {name: (folder / name).read_bytes() for name in study.facts["files"] if name != DECIDING}
    kept = {name: value for name, value in study.facts.items() if name != "files"}
    request = {**study.facts["request"], "dataset": "elsewhere", **facts}
    return write_study(folder, {**kept, "key": "0123456789abcdef", "request": request}, files)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decided, "COUNT", 20)


def test_the_level_that_ships_is_there_at_once() -> None:
    page = visit()
    assert not page.exception
    kept = json.loads(DIGITS.path(DECIDING).read_text())
    assert page.metric[0].label == "Digit, settled at"
    assert page.metric[0].value == f"σ ≈ {kept['median']:.2g}"
    assert page.metric[0].delta == f"{kept['median_ci'][0]:.2g} to {kept['median_ci'][1]:.2g}"
    assert "Half of 1,000 samples on their way from noise have settled their digit by σ = 1.3" in texts(page)
    assert "Limited by the probe" not in texts(page)


def test_every_question_of_the_model_stands_side_by_side_and_a_poor_probe_is_named() -> None:
    page = visit("shapes-ddpm", "shapes")
    assert [metric.label.partition(",")[0] for metric in page.metric] == ["Texture", "Shape", "Hue"]
    said = next(warning.value for warning in page.warning)
    assert "Limited by the probe: texture and shape" in said
    assert "hue" not in said
    assert "Not every probe is to be trusted: near the last level the probe of texture" in texts(settle(page))


def test_a_sample_is_shown_with_what_is_read_of_it() -> None:
    page = settle(visit())
    assert not page.exception
    assert "Sample 0 of seed 0: its digit is read as **" in texts(page)
    (way,) = (json.loads(chart.proto.spec) for chart in page.get("plotly_chart") if "frames" in json.loads(chart.proto.spec))
    assert len(way["frames"]) == 19


def test_another_sample_is_another_and_stands_in_the_address() -> None:
    page = press(settle(visit()), "Another")
    assert "Sample 1 of seed 0:" in texts(page)
    assert page.query_params["number"] in ("1", ["1"])


def test_a_link_restores_sample_seed_level_and_block() -> None:
    page = settle(visit(run=DIGITS.key, number="7", seed="3", sigma="2.2583", block="mid.res0", axis="sigma", shown="settled"))
    assert not page.exception
    assert "Sample 7 of seed 3:" in texts(page)
    assert "not in mid.res0 on the bench" in texts(page)
    assert page.session_state["fork-level"] == 7
    assert page.session_state["shown"] == "settled"
    assert [warning.value for warning in page.warning] == []


@pytest.mark.parametrize(("name", "value"), [("number", "1000"), ("number", "x"), ("seed", "-1")])
def test_what_a_link_cannot_ask_for_is_named(name: str, value: str) -> None:
    page = visit(**{name: value})
    assert f"The link asks for {name} = '{value}'; allowed: a whole number from 0" in texts(page)


def test_nothing_long_runs_by_itself() -> None:
    page = settle(visit())
    assert {name.split("'ask', '")[1].split("'")[0] for name in page.session_state["asked"]} == {"pace", "sample"}


def test_forks_come_when_they_are_asked_for_with_their_share() -> None:
    page = press(settle(visit(run=DIGITS.key, sigma="2.2583")), "Generate 16 from here")
    assert not page.exception
    assert "of 16 keep the digit (" in texts(page)
    gallery = " ".join(str(html.proto.body) for html in page.get("html"))
    assert gallery.count('<figcaption title="fork ') == 16
    share = int(texts(page).split(" of 16 keep")[0].split()[-1])
    assert gallery.count('">✓') == share


def test_the_forks_level_is_the_benchs() -> None:
    page = settle(visit())
    page.select_slider(key="fork-level").set_value(10).run()
    assert not page.exception
    assert DIGITS.card.sigmas[page.session_state["level"]] == pytest.approx(5.394, rel=1e-3)


def test_the_share_over_noise_is_drawn_over_eight_levels() -> None:
    page = press(settle(visit()), "Share over noise")
    figure = json.loads(page.get("plotly_chart")[-1].proto.spec)
    assert not page.exception
    assert "more than half keep it" in page.get("plotly_chart")[-1].proto.alt
    assert figure["layout"]["xaxis"]["title"]["text"].startswith("clean ←")


def test_without_a_finding_it_is_offered_with_its_cost_and_made_here(answered: Path, few: None) -> None:
    study = undecided(DIGITS, answered)
    page = settle(visit(dataset="elsewhere"))
    assert not page.metric
    assert "380 passes of an image, about" in texts(page)
    page = press(page, "Watch 20 samples")
    assert not page.exception
    assert page.metric[0].label == "Digit, settled at"
    assert DECIDING not in study.facts["files"]


def test_what_was_cancelled_can_be_asked_for_again(answered: Path, few: None) -> None:
    undecided(DIGITS, answered)
    page = press(settle(visit(dataset="elsewhere")), "Watch 20 samples")
    for asked in page.session_state["asked"].values():
        asked.wanted, asked.answer = False, None
    assert settle(page.run()).metric


def test_probes_of_other_passes_than_a_samplers_are_not_asked(answered: Path) -> None:
    undecided(DIGITS, answered, input="clean")
    assert "no run here has linear probes of such passes" in texts(visit(dataset="elsewhere"))


def test_without_probes_the_page_says_what_to_do() -> None:
    assert "Measure it on the Curve page first" in texts(visit("digits-ddpm", "shapes"))


def test_what_the_worker_says_is_wrong_stands_there_beside_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Answer:
        raise NoisescopeError("The worker for cpu does not answer.")

    monkeypatch.setattr(asking, "ask", refuse)
    page = settle(visit())
    assert not page.exception
    assert [error.value for error in page.error] == ["The worker for cpu does not answer."]
    assert "Try again" in [button.label for button in page.button]
    assert page.metric[0].label == "Digit, settled at"


def test_while_the_worker_starts_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Event()
    monkeypatch.setattr(asking, "ask", lambda *_, **__: never.wait(30) and ({}, b""))
    page = visit()
    assert "digits-ddpm is being opened" in texts(page)
    assert page.metric[0].label == "Digit, settled at"
    never.set()


def test_every_chart_says_its_finding_to_those_who_do_not_see_it() -> None:
    for chart in settle(visit("shapes-ddpm", "shapes")).get("plotly_chart"):
        assert len(chart.proto.alt) > 40
