"""What figures of several runs show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.compared import ClassGap
from analysis.comparing import Comparison, Gap, compare
from analysis.comparing_figures import CLASSES, Drawn, classes_figure, compared_figure
from analysis.figures import look, pick
from analysis.matching import sides

from .handmade import SIGMAS, shaken, study


def drawn(folder: Path, unlike: bool = False) -> tuple[go.Figure, list[Comparison]]:
    accuracies = [[0.7, 0.8, 0.75, 0.4], [0.7, 0.95, 0.75, 0.4], [0.5, 0.8, 0.75, 0.4]]
    runs = [study(folder, shaken(accuracy, 1000, seed=k), key=f"run{k}") for k, accuracy in enumerate(accuracies)]
    found = sides(runs)
    comparisons = compare(found)
    names = [
        Drawn(f"{side.name}: toy", pick(side.study.table("curve"), side.series), side.study.facts["levels"], unlike and side.name == "B")
        for side in found
    ]
    return compared_figure(names, [(one.sigmas[0], one.levels) for one in comparisons], "sigma"), comparisons


def traces(figure: go.Figure, axis: str, mode: str = "lines+markers") -> list[go.Scatter]:
    return [trace for trace in figure.data if (trace.yaxis or "y") == axis and trace.mode == mode]


def test_curves_stand_above_their_differences_in_points(tmp_path: Path) -> None:
    figure, comparisons = drawn(tmp_path)
    assert [trace.name for trace in traces(figure, "y")] == ["A: toy", "B: toy", "C: toy"]
    below = traces(figure, "y2")
    for trace, one in zip(below, comparisons, strict=True):
        np.testing.assert_allclose(trace.y, [100 * gap.value for gap in one.levels.gaps])
        np.testing.assert_allclose(trace.x, np.log10(SIGMAS))


def test_a_difference_that_is_shown_is_filled_and_any_other_open(tmp_path: Path) -> None:
    figure, comparisons = drawn(tmp_path)
    for trace, one in zip(traces(figure, "y2"), comparisons, strict=True):
        assert [not symbol.endswith("-open") for symbol in trace.marker.symbol] == one.levels.sure.tolist()
    assert comparisons[0].levels.sure.any()


def test_a_run_has_one_colour_and_marker_in_both_panels(tmp_path: Path) -> None:
    figure, _ = drawn(tmp_path)
    above, below = traces(figure, "y"), traces(figure, "y2")
    for index, trace in enumerate(above):
        assert (trace.line.color, trace.marker.symbol) == look(index)
    assert [trace.line.color for trace in below] == [trace.line.color for trace in above[1:]]


def test_an_unlike_run_is_dashed_hatched_and_called_so(tmp_path: Path) -> None:
    figure, _ = drawn(tmp_path, unlike=True)
    above = traces(figure, "y")
    assert [trace.line.dash for trace in above] == ["solid", "dash", "solid"]
    assert [trace.name for trace in above] == ["A: toy", "B: toy, unlike ≠", "C: toy"]
    bands = [trace for trace in figure.data if trace.fill == "toself" and (trace.yaxis or "y") == "y"]
    assert [bool(band.fillpattern.shape) for band in bands] == [False, True, False]


def test_both_panels_have_one_noise_axis_and_a_line_at_nothing(tmp_path: Path) -> None:
    figure, _ = drawn(tmp_path)
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.xaxis2.title.text == "clean ← noise level σ → noisy"
    assert any(shape.y0 == shape.y1 == 0 for shape in figure.layout.shapes)


def gaps(count: int) -> list[ClassGap]:
    return [
        ClassGap(f"class {k}", 10, Gap(0.5, 0.5 + k / 1000, k / 1000, k / 1000 - 0.1, k / 1000 + 0.2), 0.01 if k == 3 else 0.5)
        for k in range(count)
    ]


def test_classes_stand_in_their_order_with_intervals() -> None:
    figure = classes_figure([("B less A", 1, gaps(5))])
    (trace,) = figure.data
    assert list(figure.layout.yaxis.ticktext) == [f"class {k}" for k in range(5)]
    np.testing.assert_allclose(trace.x, [0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(trace.error_x.array, 20)
    np.testing.assert_allclose(trace.error_x.arrayminus, 10)
    assert [symbol.endswith("-open") for symbol in trace.marker.symbol] == [True, True, True, False, True]


def test_of_many_classes_those_that_differ_most_are_drawn() -> None:
    figure = classes_figure([("B less A", 1, gaps(100)), ("C less A", 2, gaps(100))])
    assert list(figure.layout.yaxis.ticktext) == [f"class {k}" for k in range(100 - CLASSES, 100)]
    assert len(figure.data) == 2
    assert figure.layout.showlegend
    assert figure.data[0].y != pytest.approx(figure.data[1].y)
