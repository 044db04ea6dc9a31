from __future__ import annotations

import pytest

from analysis import figures, player
from analysis.studies import find_study

STUDY = find_study("digits")
LEVELS = STUDY.facts["levels"]
TABLE = STUDY.table("curve").query("labels_per_class == '10'")
SHORT = STUDY.result("10")["short"]
IMAGES = [f"data:image/png;base64,{i}" for i in range(len(LEVELS))]


def start(axis: str = "sigma") -> figures.go.Figure:
    return player.start_figure(TABLE, LEVELS, SHORT, axis, IMAGES, clean=0.9, first=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("axis", "text"), [("timestep", "35"), ("sigma", "0.13"), ("log_snr", "4.1")])
def test_a_level_is_labelled_as_the_axis_says(axis: str, text: str) -> None:
    assert figures.label(LEVELS[5], axis) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", ["timestep", "sigma", "log_snr"])
def test_clean_is_left_and_noisy_right_on_every_axis(axis: str) -> None:
    low, high = start(axis).layout.xaxis.range
    assert low < figures.places(LEVELS)[0] < figures.places(LEVELS)[-1] < high
    assert start(axis).layout.xaxis.ticktext[0] == figures.label(LEVELS[0], axis)  # type: ignore[arg-type]


def test_there_is_a_frame_a_level_with_its_own_image_and_numbers() -> None:
    frames = start().frames
    assert len(frames) == len(LEVELS)
    assert [frame.data[-1].source for frame in frames] == IMAGES
    accuracy = TABLE.query("source == 'model' and block == @SHORT['series']['model'].split('/')[1]").sort_values("sigma").accuracy
    assert [frame.data[1].y[0] for frame in frames] == accuracy.tolist()


def test_a_figure_that_opens_elsewhere_is_as_if_it_were_built_so() -> None:
    built, moved = start(), player.start_figure(TABLE, LEVELS, SHORT, "sigma", IMAGES, clean=0.9)
    player.open_at(moved, 3)
    assert moved.to_plotly_json() == built.to_plotly_json()


def test_the_drawn_lines_are_the_tables_numbers_with_their_intervals() -> None:
    line = next(trace for trace in start().data if trace.name and trace.name.startswith("linear readout"))
    rows = TABLE.query("source == 'model' and block == @SHORT['series']['model'].split('/')[1]").sort_values("sigma")
    assert list(line.y) == rows.accuracy.tolist()
    assert [row[2] for row in line.customdata] == rows.ci_low.tolist()


def test_a_band_of_few_levels_has_no_marks_at_its_corners() -> None:
    bands = [trace for trace in start().data if trace.type == "scatter" and trace.fill == "toself"]
    assert bands
    assert {trace.mode for trace in bands} == {"lines"}


def test_every_block_has_a_line_and_colour_is_never_alone() -> None:
    figure = figures.blocks_figure(TABLE, LEVELS, "sigma", SHORT["series"]["model"])
    assert [trace.fill for trace in figure.data].count("toself") == 1  # the headline's
    looks = [(trace.line.color, trace.marker.symbol) for trace in figure.data if trace.fill is None]
    assert len(looks) == len(STUDY.card.blocks) + 2  # random weights, and the pixels themselves
    assert len(set(looks)) == len(looks)


def test_the_heat_map_rings_the_best_cell_and_dots_the_others_near_it() -> None:
    figure = figures.heat_map(TABLE, LEVELS, "sigma", ("mid.res0", 3), [("mid.res0", 3), ("mid.res1", 2)])
    assert (figure.data[1].x[0], figure.data[1].y[0]) == (3, "mid.res0")
    assert (list(figure.data[2].x), list(figure.data[2].y)) == ([2], ["mid.res1"])
