"""The published numbers, copied from the papers' tables by hand a second time."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from analysis.__main__ import app
from analysis.literature import ADM_SIGMAS, CORE_GFLOPS, PUBLISHED, beside, expected_seconds, published
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep
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


@pytest.mark.parametrize("curve", [curve for curve in PUBLISHED if curve.again.command], ids=lambda curve: curve.name)
def test_the_passes_that_are_counted_are_those_of_the_command(curve) -> None:
    words = shlex.split(curve.again.command)[4:]
    given = get_command(app).commands["sweep"].make_context("sweep", words).params
    assert given["labels_per_class"] == ["all"]
    assert not given["baselines"]
    assert curve.again.passes == curve.again.images * len(given["sigma"]) * given["eps_draws"]


@pytest.mark.slow
def test_a_sweep_of_such_a_command_makes_as_many_passes(tiny_folder: Path, tmp_path: Path) -> None:
    words = shlex.split(published("edm-cifar10").again.command)[4:]
    given = get_command(app).commands["sweep"].make_context("sweep", words).params
    labels = {"labels_per_class": ("all",), "baselines": given["baselines"], "eps_draws": given["eps_draws"]}
    # Besides, the denoising errors of 200 test images, a few in a hundred of all.
    request = SweepRequest(backend=str(tiny_folder), levels=3, blocks=("mid.res1",), **labels)
    assert (
        sweep(request, Store(tmp_path), processes=0).facts["receipt"]["passes"] == 1797 * 3 * published("edm-cifar10").again.draws + 200 * 3
    )


def test_levels_of_adm_are_its_timesteps_90_to_150() -> None:
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    assert np.round(np.sqrt((1 - kept) / kept)[[90, 120, 150]], 2).tolist() == list(ADM_SIGMAS)


def test_latents_are_named_on_the_axis() -> None:
    titles = {curve.name: published_figure(curve).layout.xaxis.title.text for curve in PUBLISHED}
    assert "latents" in titles["dit-miniimagenet"]
    assert "latents" not in titles["edm-cifar10"]


@every
def test_published_curves_are_drawn_dashed_with_open_markers(curve) -> None:
    trace = published_figure(curve).data[0]
    assert (trace.line.dash, trace.marker.symbol) == ("dash", "circle-open")
    assert trace.mode == ("lines+markers" if curve.axis == "sigma" else "markers")
    assert list(trace.y) == [value / 100 for _, value in curve.points]


def test_the_expected_time_is_operations_over_speed() -> None:
    again = published("edm-cifar10").again
    assert expected_seconds(again, 2) == pytest.approx(12.4 * 960_000 / (2 * CORE_GFLOPS))
    dit = published("dit-miniimagenet").again
    assert expected_seconds(dit, 1) == pytest.approx((237 * 1_080_000 + 273 * 60_000) / CORE_GFLOPS)
    assert expected_seconds(again.model_copy(update={"gflop": None}), 2) is None


def test_only_a_study_of_the_same_images_has_a_published_curve_beside_it() -> None:
    assert beside("uoft-cs/cifar10") is beside("cifar10") is published("edm-cifar10")
    assert beside("digits") is None


def test_the_numbers_load_without_torch_or_plotly() -> None:
    code = "import sys, analysis.literature; print({'torch', 'plotly', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
