"""What a study of memorization found, drawn: a made-up one whose numbers are known."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis import memorization_figures as figures
from analysis.figures import MARKERS
from analysis.memorization_words import pooled
from analysis.stopping import SIGNALS, Stop, signals, stops

from . import memorized_toy as toy

TABLES, VERDICTS = toy.tables(), pd.DataFrame(toy.verdicts())
LEVELS, LAST, SIZES = toy.facts()["levels"], toy.SEEN[-1], list(toy.SIZES)
CURVE = TABLES["curve"]
HEAD = CURVE[(CURVE.block == toy.HEADLINE) & (CURVE.seed == -1) & (CURVE.weights == "ema") & (CURVE.labelled == "outside")]
RISES = VERDICTS[(VERDICTS.weights == "ema") & (VERDICTS.labelled == "outside")]


def named(figure: object) -> list[str]:
    return [trace.name for trace in figure.data if trace.name and trace.showlegend is not False]  # type: ignore[attr-defined]


def at(name: str, size: str | None = None) -> pd.DataFrame:
    table = TABLES[name]
    table = table[(table.weights == "ema") & (table.seen == LAST)]
    return table if size is None else table[table["size"] == size]


def test_a_sequence_has_a_colour_and_a_marker_each_none_twice() -> None:
    looks = figures.sequence(range(8))
    assert len({colour for colour, _ in looks.values()}) == len({marker for _, marker in looks.values()}) == 8
    assert looks[0][1] == MARKERS[0]
    assert all(len(colour) == 7 and int(colour[1:], 16) for colour, _ in looks.values())


def test_every_size_has_its_curve_with_a_band_from_clean_to_noisy() -> None:
    figure = figures.sizes_figure(HEAD[HEAD.seen == LAST], LEVELS, "sigma", SIZES)
    assert named(figure) == ["64 images", "1,024 images", "16,384 images", "new at every step"]
    assert list(figure.data[1].y) == pytest.approx(list(toy.accuracy("64", LAST)))
    assert figure.layout.xaxis.range[0] < figure.layout.xaxis.range[1]
    assert "clean ←" in figure.layout.xaxis.title.text
    assert [one.text for one in figure.layout.annotations] == ["chance"]


def test_every_moment_is_in_every_sizes_panel_and_once_in_the_legend() -> None:
    figure = figures.moments_figure(HEAD, LEVELS, "timestep", SIZES)
    assert len(figure.data) == len(SIZES) * len(toy.SEEN)
    assert named(figure) == ["4,096 seen", "16k seen", "66k seen", "131k seen"]


def test_the_rise_vanishes_where_it_was_planted_to_and_open_marks_are_no_hump() -> None:
    figure = figures.rise_figure(RISES, SIZES)
    gains = {trace.name: list(trace.y) for trace in figure.data}
    assert gains["64 images"][-1] < 0.01 < gains["new at every step"][-1]
    few = figure.data[0]
    assert few.marker.symbol[-1] == "circle-open"
    assert few.error_y.array[0] == pytest.approx(0.02)
    assert figure.layout.xaxis.type == "log"


def told(size: str) -> pd.DataFrame:
    tables = {
        name: TABLES[name][(TABLES[name]["size"] == size) & (TABLES[name].weights == "ema")] for name in ("generation", "frechet", "losses")
    }
    return signals(RISES[RISES["size"] == size], **tables, threshold=("l2_ratio", 0.5))


def test_every_signal_has_a_panel_with_what_its_rule_keeps_and_where_it_stops() -> None:
    table = told("1024")
    found = stops(table)
    figure = figures.signals_figure(table, found)
    assert [trace.name for trace in figure.data if trace.name in {one.title for one in SIGNALS.values()}] == [
        one.title for one in SIGNALS.values()
    ]
    kept = [trace.x[0] for trace in figure.data if trace.name == "the rule keeps"]
    assert kept == [one.kept for one in found.values()]
    crosses = [trace.x[0] for trace in figure.data if trace.name == "the rule stops"]
    assert crosses == [one.stopped for one in found.values() if one.stopped is not None]
    assert len(figure.layout.shapes) == len(crosses) > 0


def test_held_out_images_have_a_line_in_the_panel_of_fréchet_distances() -> None:
    figure = figures.signals_figure(told("fresh"), {}, 1.2)
    (line,) = figure.layout.shapes
    assert (line.y0, line.yref) == (1.2, "y3")
    assert figure.layout.annotations[0].text == "held-out real images"


def test_a_rule_that_never_stops_has_no_cross() -> None:
    table = told("fresh")
    figure = figures.signals_figure(table, {"curve": Stop(None, LAST, "")})
    assert not [trace for trace in figure.data if trace.name == "the rule stops"]
    assert not figure.layout.shapes


def test_thresholds_are_drawn_for_samples_and_for_held_out_images() -> None:
    rows = at("generation")
    figure = figures.threshold_figure(pooled(rows[rows.measure == "l2_ratio"]), SIZES, 0.5)
    samples, real = figure.data[0], figure.data[1]
    assert samples.y[4] > 0.9 > 0.1 > real.y[4]
    assert named(figure) == ["samples", "held-out real images"]


def test_halves_have_a_dot_a_pair_and_few_images_are_closer_to_their_own() -> None:
    between, own, real = figures.halves_figure(at("halves"), SIZES).data
    assert set(real.y) == {0.5}
    assert len(between.y) == len(own.y) == len(SIZES) * 6
    assert (between.y[0] < own.y[0], between.y[-1] > own.y[-1]) == (True, True)


def test_losses_part_where_images_are_known_by_heart() -> None:
    lines = [trace for trace in figures.losses_figure(at("losses"), LEVELS, "sigma", SIZES).data if trace.name]
    assert len(lines) == len(SIZES)
    assert min(lines[0].y) > 0.5
    assert max(lines[-1].y) == pytest.approx(0)


def test_one_network_stands_beside_a_network_a_level() -> None:
    figure = figures.sharing_figure(TABLES["sharing"][TABLES["sharing"].block == toy.HEADLINE], LEVELS, "sigma")
    assert named(figure) == ["one network for all levels", "a network a level"]
    assert len(figure.data[1].y) == len(LEVELS)
    rows = TABLES["sharing"][TABLES["sharing"].block == toy.HEADLINE]
    both = pd.concat([rows, rows[rows.model == "one"].assign(model="later")])
    assert named(figures.sharing_figure(both, LEVELS, "sigma"))[1] == "the same, at the last moment"
