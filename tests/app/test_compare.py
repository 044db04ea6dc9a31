"""Comparing runs on the Curve page, without a browser and without a worker."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from safetensors.numpy import save
from streamlit.testing.v1 import AppTest

from analysis.compared import numbers
from analysis.comparing import compare
from analysis.errors import InvalidRequest
from analysis.fairness import Common, equalised
from analysis.jobs import Jobs
from analysis.matching import sides
from analysis.studies import Study, find_study
from app.components import asking

from ..handmade import BLOCK, SIGMAS, shaken, study
from .test_curve import COST, button, visit
from .test_start import texts

HUE, SHAPE = find_study("shapes-hue"), find_study("shapes-shape")
TRUTH = np.arange(200) % 10
FIRST, SECOND = [0.70, 0.80, 0.75, 0.40], [0.70, 0.95, 0.92, 0.40]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """A store of its own; nothing starts a worker, and the data are on the machine."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "answer", lambda question, device: (COST, b""))
    monkeypatch.setattr(asking, "look", look)
    st.cache_data.clear()
    st.cache_resource.clear()
    return Jobs(tmp_path)


def look(question: dict[str, Any], device: str, data: bytes = b"", patience: float = 0.0) -> asking.Asked:
    """What a worker that has the data would say."""
    count = len(question["ids"])
    asked = asking.Asked(answer=({"there": True, "names": ["7"] * count}, save({"images": np.zeros((count, 8, 8, 3), np.uint8)})))
    asked.ended.set()
    return asked


def two(store: Path, **changes: Any) -> tuple[Study, Study]:
    """Two small runs on the digits; the second is better at two levels, and else what `changes` says."""
    first = study(store / "studies", shaken(FIRST), key="aaaa000000000000", truth=TRUTH)
    second = study(store / "studies", shaken(SECOND, seed=1), key="bbbb000000000000", truth=TRUTH, **changes)
    return first, second


def compared(first: Study, *others: Study, **query: str) -> AppTest:
    return visit(run=first.key, **{"with": ",".join(one.key for one in others)}, **query)


def charts(page: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]


def table(page: AppTest) -> str:
    return next(element.proto.body for element in page.get("html") if 'class="facts"' in element.proto.body)


def test_choosing_another_run_shows_the_comparison(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    page = visit(run=first.key)
    assert "Compare" not in page.segmented_control(key="view").options
    page.multiselect(key="compare-with").set_value([second.key]).run()
    assert not page.exception
    assert page.session_state["view"] == "compare"
    assert compare(sides([first, second]))[0].sentence() in texts(page)
    page.multiselect(key="compare-with").set_value([]).run()
    assert not page.exception
    assert page.session_state["view"] == "curve"


def test_the_figure_has_both_curves_the_difference_and_its_sentence(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    page = compared(first, second)
    assert not page.exception
    figure, classes = charts(page)
    drawn = {trace.get("name"): trace for trace in figure["data"] if trace.get("name")}
    assert [name.split(":")[0] for name in drawn] == ["A", "B"]
    assert all(trace["line"]["dash"] == "solid" for trace in drawn.values())
    says = page.get("plotly_chart")[0].proto.alt
    assert says.startswith("B is better than A by ")
    assert len(classes["data"][0]["y"]) == 10
    assert "nothing to equalise" in texts(page)


def test_images_that_one_alone_reads_right_are_shown(tmp_path: Path) -> None:
    page = compared(*two(tmp_path), sigma=str(SIGMAS[2]))
    assert "Right in B alone" in texts(page)
    pictures = [element.proto.body for element in page.get("html") if "<img" in element.proto.body]
    assert pictures
    assert "· B 100%" in pictures[0]


def test_where_the_data_are_not_there_images_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> asking.Asked:
        asked = asking.Asked(answer=({"there": False, "names": []}, save({"images": np.zeros((0, 1, 1, 3), np.uint8)})))
        asked.ended.set()
        return asked

    monkeypatch.setattr(asking, "look", absent)
    page = compared(*two(tmp_path), sigma=str(SIGMAS[2]))
    assert "The data are not on this machine. The images are named by their ids" in texts(page)
    assert {"image", "right in"} <= set(page.dataframe[0].value.columns)


def test_what_is_unlike_is_said_marked_and_hatched(tmp_path: Path) -> None:
    page = compared(*two(tmp_path, receipt={"head": "ridge"}, request={"head": "ridge"}))
    rows = table(page)
    assert rows.count('class="unlike"') == 1
    assert "<b>≠ unlike</b> ridge" in rows
    assert "Not the same in both, so the difference may come from it: probe." in texts(page)
    trace = next(trace for trace in charts(page)[0]["data"] if trace.get("name") == "B: digits-ddpm, mid.res0, unlike ≠")
    assert trace["line"]["dash"] == "dash"


def test_what_is_not_shared_is_listed(tmp_path: Path) -> None:
    first, _ = two(tmp_path)
    other = study(tmp_path / "studies", shaken(SECOND[:3], 120, seed=1), key="cccc", sigmas=SIGMAS[:3], labels="50")
    page = compared(first, other)
    said = texts(page)
    for words in ("the 120 that are in both", "3 of them have a counterpart", "A was fitted on 10 labels a class, B on 50"):
        assert words in said


def test_an_old_study_says_what_it_has_not_kept() -> None:
    page = compared(HUE, SHAPE)
    assert not page.exception
    rows = table(page)
    assert "not recorded" in rows
    assert "<b>?</b>" in rows
    assert "need the same question in both runs" in texts(page)


def test_models_without_a_common_schedule_are_said_in_sigma(tmp_path: Path) -> None:
    page = compared(*two(tmp_path, card={"noise": "edm"}), axis="timestep")
    assert "noise level σ" in json.dumps(charts(page)[0]["layout"], ensure_ascii=False)
    assert "Timesteps of these models are not the same noise" in texts(page)


def test_three_runs_are_compared_with_the_first(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    third = study(tmp_path / "studies", shaken(FIRST, seed=5), key="cccc", truth=TRUTH)
    page = compared(first, second, third)
    assert not page.exception
    assert [one.sentence() for one in compare(sides([first, second, third]))] == [
        markdown.value
        for markdown in page.markdown
        if " points" in markdown.value and "σ = " in markdown.value and "levels" in markdown.value
    ]


def test_a_link_restores_the_comparison(tmp_path: Path) -> None:
    page = compared(*two(tmp_path), axis="log_snr", sigma=str(SIGMAS[1]))
    link = next(code.value for code in page.code if "with=" in code.value)
    query = dict(parse_qsl(link.partition("?")[2]))
    assert (query["view"], query["run"], query["with"]) == ("compare", "aaaa000000000000", "bbbb000000000000")
    again = visit(**query)
    assert not again.warning
    assert [markdown.value for markdown in again.markdown] == [markdown.value for markdown in page.markdown]
    assert charts(again) == charts(page)


def test_an_unknown_run_in_a_link_is_named(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    page = visit(run=first.key, **{"with": f"{second.key},nonsense"})
    assert "compare with run 'nonsense', which is not in this store" in " ".join(warning.value for warning in page.warning)
    assert page.multiselect(key="compare-with").value == [second.key]
    alone = visit(run=first.key, **{"with": "nonsense", "view": "compare"})
    assert not alone.exception
    assert "view = 'compare', which is not there" in " ".join(warning.value for warning in alone.warning)


def test_a_run_that_becomes_the_reference_is_no_longer_compared_with_itself(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    page = compared(first, second)
    page.selectbox(key="run").set_value(second.key).run()
    assert not page.exception
    assert page.multiselect(key="compare-with").value == []


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    first, second = two(tmp_path)
    page = compared(first, second, sigma=str(SIGMAS[2]))
    words = next(code.value for code in page.code if "study compare" in code.value)
    split = shlex.split(words)
    split[split.index("numbers.csv")] = str(tmp_path / "numbers.csv")
    said = subprocess.run([sys.executable, *split[1:], "--store", str(tmp_path)], check=True, capture_output=True, text=True).stdout
    found = compare(sides([first, second]))
    assert found[0].sentence() in said
    button(page, "Numbers as CSV").click().run()
    kept = page.session_state["file-made"][2]
    assert kept == (tmp_path / "numbers.csv").read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_csv(io.BytesIO(kept), dtype={"class": str}).convert_dtypes(),
        pd.read_csv(io.StringIO(numbers(found, SIGMAS[2]).to_csv(index=False)), dtype={"class": str}).convert_dtypes(),
    )


@pytest.mark.parametrize("words", [["aaaa000000000000"], ["aaaa000000000000", "nope"]])
def test_a_command_line_that_cannot_be_carried_out_is_one_sentence(tmp_path: Path, words: list[str]) -> None:
    two(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "study", "compare", *words, "--store", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.strip().splitlines()) == 1


def unequal(store: Path) -> tuple[Study, Study]:
    return two(store, receipt={"head": "ridge", "dimensions": {f"{BLOCK}/1": 40}}, request={"head": "ridge", "average_draws": 3})


def test_equalising_offers_what_is_not_measured_and_keeps_the_comparison(own: Jobs) -> None:
    page = compared(*unequal(own.root))
    assert page.toggle(key="equal").label == "Equalise: 40 features and 1 pass an image"
    page.toggle(key="equal").set_value(True).run()
    assert "2 equalised runs have not been measured yet" in texts(page)
    assert "2,468 passes of an image and 112 probes" in texts(page)
    button(page, "Measure what is lacking").click().run()
    assert not page.exception
    asked = {(job.request.head, job.request.pca, job.request.average_draws, job.request.blocks) for job in own.list()}
    assert asked == {(head, 40, 1, (BLOCK,)) for head in ("logistic", "ridge")}
    assert page.session_state["view"] == "compare"


def test_a_wrong_cost_is_a_sentence(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise InvalidRequest("pca is 40; allowed: less.")

    monkeypatch.setattr(asking, "answer", wrong)
    page = compared(*unequal(own.root), equal="1")
    assert "pca is 40; allowed: less." in [error.value for error in page.error]
    assert "Measure what is lacking" not in [found.label for found in page.button]


def test_equalised_runs_that_are_there_are_compared_instead(own: Jobs) -> None:
    first, second = unequal(own.root)
    made = []
    for place, side in enumerate(sides([first, second])):
        request = json.loads(equalised(side, Common(40, 1)).canonical())
        right = shaken([0.5, 0.6 + place / 10, 0.5, 0.3], seed=10 + place)
        made.append(
            study(own.root / "studies", right, key=f"equal{place}", truth=TRUTH, request=request, receipt={"head": request["head"]})
        )
    page = compared(first, second, equal="1")
    assert not page.exception
    assert compare(sides(made))[0].sentence() in texts(page)
    assert "40 principal components" in table(page)
    words = next(code.value for code in page.code if "study compare" in code.value)
    assert "equal0 equal1" in words
    link = next(code.value for code in page.code if "with=" in code.value)
    assert {"run": first.key, "with": second.key, "equal": "1"}.items() <= dict(parse_qsl(link.partition("?")[2])).items()
    page.toggle(key="equal").set_value(False).run()
    assert compare(sides([first, second]))[0].sentence() in texts(page)


def test_a_run_that_is_there_already_stays_as_it_is(own: Jobs) -> None:
    page = compared(*two(own.root, receipt={"head": "ridge", "dimensions": {f"{BLOCK}/1": 40}}, request={"head": "ridge"}), equal="1")
    assert "One equalised run has not been measured yet" in texts(page)
    button(page, "Measure what is lacking").click().run()
    assert [job.request.head for job in own.list()] == ["logistic"]


def test_runs_that_would_be_the_same_are_said(own: Jobs) -> None:
    page = compared(*two(own.root, receipt={"dimensions": {f"{BLOCK}/1": 40}}), equal="1")
    assert "Equalised, these are one and the same run." in texts(page)


def test_titles_tell_runs_apart(tmp_path: Path) -> None:
    first, _ = two(tmp_path, request={"head": "ridge", "pca": 40, "average_draws": 5})
    study(tmp_path / "studies", shaken(FIRST, seed=5), key="aaab00000000", truth=TRUTH)
    options = visit(run=first.key).selectbox(key="run").options
    assert len(set(options)) == len(options)
    assert any("ridge · 40 components · mean of 5 ε" in option for option in options)


def test_one_click_puts_the_runs_beside_it_that_differ_in_one_thing_alone(tmp_path: Path) -> None:
    first, _ = two(tmp_path, request={"head": "knn"}, receipt={"head": "knn"})
    study(tmp_path / "studies", shaken(FIRST, seed=2), key="cccc", truth=TRUTH, request={"head": "ridge"}, receipt={"head": "ridge"})
    study(tmp_path / "studies", shaken(FIRST, seed=3), key="dddd", truth=TRUTH, request={"input": "clean"}, receipt={"input": "clean"})
    page = visit(run=first.key)
    assert [found.label for found in page.button if found.label.startswith("Other ")] == ["Other heads (2)", "Other input (1)"]
    button(page, "Other heads (2)").click().run()
    assert not page.exception
    assert page.session_state["view"] == "compare"
    assert set(page.multiselect(key="compare-with").value) == {"bbbb000000000000", "cccc"}
    assert {"A", "B", "C"} == {trace["name"][0] for trace in charts(page)[0]["data"] if trace.get("name")}
    assert "knn" in table(page)


def test_where_no_run_differs_in_one_thing_alone_no_button_stands_there(tmp_path: Path) -> None:
    first, _ = two(tmp_path, request={"head": "knn", "seed": 5}, receipt={"head": "knn"})
    assert not [found for found in visit(run=first.key).button if found.label.startswith("Other ")]
