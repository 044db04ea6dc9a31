"""The figures of several questions, and of several numbers of labels."""

from __future__ import annotations

import math

import pytest

from analysis.exhibit import budget_figure, questions_figure
from analysis.questions import Question, ask, finding

LEVELS = [{"sigma": s, "timestep": t, "log_snr": -2 * math.log(s)} for s, t in ((0.01, 0), (0.1, 30), (1.0, 260))]
IMAGES = ["data:image/png;base64,"] * 3


def verdict(peak: float, shape: str = "unimodal") -> dict:
    return {
        "peak_sigma": peak,
        "peak_ci": [peak / 2, peak * 2],
        "peak_accuracy": 0.7,
        "gain": 0.02,
        "gain_ci": [0.01, 0.03],
        "shape": shape,
    }


def result(peak: float, curve: list[float], block: str = "mid.res0") -> dict:
    rows = [curve, [v - 0.1 for v in curve], [v + 0.1 for v in curve]]
    return {"headline": f"model/{block}/1", "short": {"curves": {"model": rows}}, "verdict": verdict(peak)}


@pytest.fixture
def questions() -> list[Question]:
    results = {"hue": result(1.0, [0.4, 0.5, 0.6]), "texture": result(0.01, [0.75, 0.5, 0.25], "down0.res0")}
    return ask(results, {"hue": 0.2, "texture": 0.25})


def test_questions_come_in_the_order_of_their_best_level(questions: list[Question]) -> None:
    assert [q.name for q in questions] == ["texture", "hue"]
    assert [q.block for q in questions] == ["down0.res0", "mid.res0"]


def test_a_curve_runs_from_chance_to_its_own_best(questions: list[Question]) -> None:
    texture, hue = questions
    assert texture.relative()[0] == pytest.approx([1, 0.5, 0])
    assert hue.relative()[0] == pytest.approx([0.5, 0.75, 1])
    assert hue.relative()[1] == pytest.approx([0.25, 0.5, 0.75])  # 0.1 of a reach of 0.4 lower


def test_the_figure_has_a_curve_and_a_best_level_for_each_question(questions: list[Question]) -> None:
    figure = questions_figure(questions, LEVELS, "sigma", IMAGES)
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines+markers"]
    assert [list(line.y) for line in lines] == [pytest.approx(q.relative()[0]) for q in questions]
    assert len({line.line.dash for line in lines}) == len({line.marker.symbol for line in lines}) == 2  # colour is never alone
    best = [trace for trace in figure.data if trace.type == "scatter" and trace.error_x.array]
    assert [trace.x[0] for trace in best] == pytest.approx([-2, 0])
    assert best[0].error_x.array[0] == pytest.approx(math.log10(2))


def test_every_level_has_a_frame_with_each_question_own_accuracy(questions: list[Question]) -> None:
    figure = questions_figure(questions, LEVELS, "timestep", IMAGES)
    assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
    assert [dot.text[0] for dot in figure.frames[0].data[:2]] == ["<b>75%</b>", "<b>40%</b>"]


def test_the_axis_runs_from_clean_to_noisy(questions: list[Question]) -> None:
    title = questions_figure(questions, LEVELS, "log_snr", IMAGES).layout.xaxis.title.text
    assert title.startswith("clean ← log-SNR")


def test_peak_and_gain_stand_over_the_number_of_labelled_images() -> None:
    figure = budget_figure({"10": result(0.1, [0.1, 0.5, 0.2]), "all": result(0.05, [0.1, 0.5, 0.2])}, {"10": 60, "all": 900})
    peak, gain = figure.data[:2]
    assert (list(peak.x), list(peak.y), list(gain.y)) == ([60, 900], [0.1, 0.05], [2.0, 2.0])
    assert list(gain.error_y.arrayminus) == pytest.approx([1.0, 1.0])
    assert list(figure.layout.xaxis.ticktext) == ["10 a class", "all"]


def test_levels_are_told_apart_only_where_their_intervals_are(questions: list[Question]) -> None:
    assert "each question has its own best noise level: texture near σ = 0.01 (block down0.res0) and hue near σ = 1" in finding(questions)
    close = ask({"a": result(0.1, [0.4, 0.5, 0.6]), "b": result(0.15, [0.4, 0.5, 0.6])}, {"a": 0.2, "b": 0.2})
    assert "its own" not in finding(close)
    assert "does not tell all of them apart" in finding(close)


def test_a_curve_at_or_below_chance_stays_at_the_bottom() -> None:
    (flat,) = ask({"a": result(0.1, [0.2, 0.2, 0.2])}, {"a": 0.2})
    (below,) = ask({"b": result(0.1, [0.19, 0.195, 0.18])}, {"b": 0.2})
    assert flat.relative()[0] == [0, 0, 0]
    assert max(below.relative()[0]) <= 0
