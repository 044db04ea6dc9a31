"""The published numbers, copied from the papers' tables by hand a second time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from analysis.literature import CORE_GFLOPS, PUBLISHED, beside, expected_seconds, published
from analysis.wall import published_figure

EDM = "0.008 93.72 0.023 94.94 0.060 95.20 0.140 94.11 0.296 91.36 0.585 85.25 1.088 72.95 1.923 56.21"
TINY = "0.008 32.17 0.023 34.70 0.060 43.09 0.140 53.58 0.296 50.78 0.585 42.13 1.088 27.56 1.923 15.10"
DIT = "0.010 73.53 0.044 75.17 0.108 75.83 0.205 76.1 0.339 74.85 0.719 66.47 1.234 49.31 2.031 29.28 6.135 7.81"
every = pytest.mark.parametrize("curve", PUBLISHED, ids=lambda curve: curve.name)


@pytest.mark.parametrize(("name", "numbers"), [("edm-cifar10", EDM), ("edm-imagenet64", TINY), ("dit-miniimagenet", DIT)])
def test_the_numbers_are_the_tables(name: str, numbers: str) -> None:
    assert [value for point in published(name).points for value in point] == [float(value) for value in numbers.split()]


def test_adm_is_best_in_block_24() -> None:
    assert published("adm-imagenet").best == (24, 61.95)


@every
def test_every_curve_says_where_it_is_from_and_what_it_found(curve) -> None:
    assert "arXiv" in curve.source
    assert f"{curve.best[1]:.1f}" in curve.finding or f"{curve.best[1]:g}" in curve.finding
    assert [x for x, _ in curve.points] == sorted({x for x, _ in curve.points})
    assert all(curve.chance < value < 100 for _, value in curve.points)


@every
def test_what_cannot_be_run_today_says_so(curve) -> None:
    assert "later" in curve.again.note or "in this version" in curve.again.note or curve.again.command is None


@every
def test_published_curves_are_drawn_dashed_with_open_markers(curve) -> None:
    trace = published_figure(curve).data[0]
    assert (trace.line.dash, trace.marker.symbol) == ("dash", "circle-open")
    assert trace.mode == ("lines+markers" if curve.axis == "sigma" else "markers")
    assert list(trace.y) == [value / 100 for _, value in curve.points]


def test_the_expected_time_is_operations_over_speed() -> None:
    again = published("edm-cifar10").again
    assert expected_seconds(again, 2) == pytest.approx(12.4 * 480_000 / (2 * CORE_GFLOPS))
    assert expected_seconds(again.model_copy(update={"gflop": None}), 2) is None


def test_only_a_study_of_the_same_images_has_a_published_curve_beside_it() -> None:
    assert beside("uoft-cs/cifar10") is beside("cifar10") is published("edm-cifar10")
    assert beside("digits") is None


def test_the_numbers_load_without_torch_or_plotly() -> None:
    code = "import sys, analysis.literature; print({'torch', 'plotly', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
