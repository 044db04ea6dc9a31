"""The Generate page's figures."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analysis.deciding_panels import forks_figure, settled_figure
from analysis.deciding_player import Told, way_figure
from analysis.player import open_at
from analysis.studies import find_study

FOUND = {name: json.loads(find_study(f"shapes-{name}").path("deciding.json").read_text()) for name in ("hue", "shape")}
PROBES = {name: pd.DataFrame({"sigma": [0.1, 1.0], "accuracy": [0.9, 0.8]}) for name in FOUND}
LEVELS = [{"sigma": sigma, "timestep": t, "log_snr": -2 * np.log(sigma)} for t, sigma in enumerate([0.1, 1.0, 10.0])]
PICTURES = np.zeros((3, 4, 4, 3), np.uint8)
MANY = np.random.default_rng(0).dirichlet(np.ones(12), 3)


def way(first: int = 0, **told: np.ndarray):
    told = told or {"many": MANY}
    asked = {name: Told([f"c{k}" for k in range(values.shape[1])], "mid", values) for name, values in told.items()}
    return way_figure(PICTURES, PICTURES, asked, LEVELS, [False, False, True], "sigma", first)


def bars(figure, level: int):
    frame = next(frame for frame in figure.frames if frame.name == str(level))
    return [trace for trace in frame.data if trace.type == "bar"]


def test_there_is_a_frame_a_step_and_they_play_from_noise() -> None:
    figure = way()
    assert [frame.name for frame in figure.frames] == ["2", "1", "0"]
    assert [step.args[0][0] for step in figure.layout.sliders[0].steps] == ["0", "1", "2"]  # clean stands on the left


def test_bars_are_probabilities_of_seven_classes_and_the_rest() -> None:
    (bar,) = bars(way(), 1)
    assert len(bar.x) == 8
    assert sum(bar.x) == pytest.approx(1)


def test_the_final_class_has_a_star_even_where_others_were_likelier_on_the_way() -> None:
    values = np.vstack([np.full(12, 1 / 13), np.full(12, 0), np.full(12, 0)])
    values[0, 11] += 1 / 13
    values[1:, :8] = 0.125
    names = way(many=values).layout.yaxis3.ticktext
    assert len(names) == 8
    assert [name for name in names if "★" in name] == ["<b>★ c11</b>"]


def test_several_questions_move_together_below_each_other() -> None:
    figure = way(one=MANY, two=MANY[:, :3])
    assert len(bars(figure, 0)) == 2
    assert figure.layout.yaxis4.domain[1] < figure.layout.yaxis3.domain[0]
    assert figure.layout.yaxis4.domain[0] >= 0


def test_it_opens_at_the_level_that_is_asked_for_and_says_where_probes_are_beyond_theirs() -> None:
    figure = way(first=2)
    assert figure.layout.sliders[0].active == 2
    np.testing.assert_array_equal(figure.data[2].x, bars(figure, 2)[0].x)
    assert [step.label for step in figure.layout.sliders[0].steps] == ["0.1", "1", "10 · beyond the probes"]


def test_one_that_is_there_opens_at_another_level() -> None:
    figure = way(first=2)
    open_at(figure, 0)
    assert figure.layout.sliders[0].active == 0
    np.testing.assert_array_equal(figure.data[2].x, bars(figure, 0)[0].x)


@pytest.mark.parametrize("what", ["agreement", "settled"])
def test_every_question_has_a_curve_a_marker_its_probe_and_its_median(what: str) -> None:
    figure = settled_figure(FOUND, PROBES, "sigma", what)
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [line.name for line in lines] == list(FOUND)
    for line, found in zip(lines, FOUND.values(), strict=True):
        assert list(line.y) == [row[what] for row in reversed(found["levels"])]
        assert [symbol.endswith("-open") for symbol in line.marker.symbol] == [row["outside"] for row in reversed(found["levels"])]
    medians = [trace for trace in figure.data if trace.yaxis == "y2"]
    assert [10 ** trace.x[0] for trace in medians] == pytest.approx([found["median"] for found in FOUND.values()])
    assert len({line.line.color for line in lines} | {trace.marker.symbol for trace in medians}) == 4


def test_the_axis_runs_from_clean_to_noisy() -> None:
    for figure in (settled_figure(FOUND, PROBES, "log_snr"), forks_figure([], LEVELS, "timestep")):
        assert figure.layout.xaxis.title.text.startswith("clean ←")
        assert figure.layout.xaxis.range[0] < figure.layout.xaxis.range[1]


def test_shares_of_forks_stand_at_their_levels_with_their_intervals() -> None:
    rows = [{**level, "kept": {"hue": [0.5, 0.3, 0.7], "shape": [1.0, 0.8, 1.0]}} for level in LEVELS[:2]]
    figure = forks_figure(rows, LEVELS, "sigma")
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [list(line.y) for line in lines] == [[0.5, 0.5], [1.0, 1.0]]
    np.testing.assert_allclose(lines[0].x, [-1.0, 0.0], atol=0.03)  # beside each other
    np.testing.assert_allclose(lines[0].y - lines[0].error_y.arrayminus, 0.3)
    np.testing.assert_allclose(lines[0].y + lines[0].error_y.array, 0.7)
