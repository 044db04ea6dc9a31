"""Start's exhibit of several questions, the switch between studies, generated images and the published wall, without a browser."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from analysis.literature import PUBLISHED
from analysis.studies import find_study

from .test_start import texts, visit

QUESTIONS = ("texture", "shape", "hue")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    st.cache_data.clear()


def test_it_opens_on_three_questions_in_the_order_of_their_best_level() -> None:
    page = visit()
    assert not page.exception
    assert not page.warning
    assert "One model, three questions, three curves." in texts(page)
    peaks = {name: find_study(f"shapes-{name}").result()["verdict"]["peak_sigma"] for name in QUESTIONS}
    ordered = sorted(QUESTIONS, key=peaks.get)
    assert [metric.label for metric in page.metric] == [f"{name.capitalize()}, best at" for name in ordered]
    assert [metric.value for metric in page.metric] == [f"σ ≈ {peaks[name]:.2g}" for name in ordered]


def test_the_table_gives_each_question_its_best_block_and_level_with_intervals() -> None:
    table = visit().dataframe[0].value
    for name in QUESTIONS:
        result = find_study(f"shapes-{name}").result()
        (row,) = (row for _, row in table.iterrows() if row["question"] == name)
        assert row["best block"] == result["headline"].split("/")[1]
        low, high = result["verdict"]["peak_ci"]
        assert row["best σ"] == f"{result['verdict']['peak_sigma']:.2g} ({low:.2g} to {high:.2g})"


def test_the_figure_has_the_three_studies_curves() -> None:
    chart = visit().get("plotly_chart")[0].proto
    lines = [trace for trace in json.loads(chart.spec)["data"] if trace.get("mode") == "lines+markers"]
    assert len(lines) == 3
    best = [np.frombuffer(base64.b64decode(line["y"]["bdata"]), line["y"]["dtype"]).max() for line in lines]  # as Plotly packs numbers
    assert best == pytest.approx([1, 1, 1])
    assert all(name in chart.alt for name in QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_question_is_a_study_of_its_own(question: str) -> None:
    page = visit(view="curve", question=question)
    assert not page.exception
    assert find_study(f"shapes-{question}").result()["sentence"] in texts(page)


def test_a_link_to_one_of_the_studies_opens_its_question() -> None:
    page = visit(study=find_study("shapes-hue").key)
    assert not page.warning
    assert find_study("shapes-hue").result()["sentence"] in texts(page)


def test_the_switch_goes_from_one_study_to_another() -> None:
    page = visit()
    page.segmented_control(key="study").set_value(find_study("digits").key).run()
    assert not page.exception
    assert find_study("digits").result()["sentence"] in texts(page)
    assert page.query_params["study"] in (find_study("digits").key, [find_study("digits").key])


def test_only_what_was_measured_is_said_of_memorization() -> None:
    shapes = {name: find_study(f"shapes-{name}").result()["verdict"]["shape"] for name in QUESTIONS}
    assert ("does not prove memorization" in texts(visit())) is ("decreasing" in shapes.values())


@pytest.mark.parametrize("study", ["shapes-texture", "digits"])
def test_more_labels_are_a_view(study: str) -> None:
    page = visit(study=find_study(study).key, view="budget")
    assert not page.exception
    assert "a class:" in page.get("plotly_chart")[0].proto.alt


def test_what_the_model_makes_is_shown_with_images_alike() -> None:
    page = visit(study=find_study("digits").key)
    assert "What the model makes from noise" in [heading.value for heading in page.subheader]
    page.number_input(key="generated-image").set_value(5).run()
    assert not page.exception
    assert "Left: number 5." in " ".join(str(image.proto) for image in page.get("image"))


def test_the_wall_shows_every_published_curve_with_its_source() -> None:
    page = visit()
    assert "Published, not measured here" in [heading.value for heading in page.subheader]
    assert all(curve.source in texts(page) for curve in PUBLISHED)
    assert [chart.proto.alt for chart in page.get("plotly_chart")[1:]] == [curve.finding for curve in PUBLISHED]
