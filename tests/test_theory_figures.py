from __future__ import annotations

import numpy as np

from analysis.theory import MoLRG, draw
from analysis.theory_figures import curves
from analysis.theory_picture import picture, plane, positions
from analysis.theory_probe import probe
from analysis.theory_snr import limits, snr

SIGMAS = np.geomspace(0.01, 10, 12)
SPEC = MoLRG(dims=(3, 3, 3))
FOUND = snr(SPEC, SIGMAS, 3000)


def test_exact_and_formula_are_told_apart_and_the_band_is_the_interval() -> None:
    figure = curves(SPEC, FOUND, "sigma")
    band, exact, formula = figure.data[:3]
    assert band.y[: len(SIGMAS)] == tuple(FOUND.high)
    assert (exact.name, exact.line.dash) == ("exact posterior mean", "solid")
    assert (formula.name, formula.line.dash) == ("Theorem 1, an approximation", "dash")
    assert not any(trace.name == "SNR" for trace in figure.data)


def test_the_axis_runs_from_clean_to_noisy_and_is_the_same_in_every_panel() -> None:
    figure = curves(SPEC, FOUND, "log_snr", probe(SPEC, SIGMAS, 3000))
    axes = [figure.layout.xaxis, figure.layout.xaxis2, figure.layout.xaxis3]
    assert all(axis.range[0] < np.log10(0.01) < np.log10(10) < axis.range[1] for axis in axes)
    assert axes[2].title.text == "clean ← log-SNR → noisy"
    assert axes[0].ticktext[0] == "9.2"


def test_both_limits_are_named_where_they_are() -> None:
    named = {note.text: note.y for note in curves(SPEC, FOUND, "sigma").layout.annotations}
    assert list(named) == ["σ → 0: 12.5", "σ → ∞: 0.5"]
    assert list(named.values()) == [float(np.log10(limit)) for limit in limits(SPEC)]  # of a log axis


def test_a_trained_denoiser_is_drawn_with_its_bars() -> None:
    one = {"sigmas": SIGMAS, "value": FOUND.value, "low": FOUND.low, "high": FOUND.high}
    line = next(trace for trace in curves(SPEC, FOUND, "sigma", trained={"lowrank": one}).data if trace.name == "trained, x̂ = U h")
    assert np.allclose(line.error_y.array, FOUND.high - FOUND.value)


def test_the_planes_directions_are_orthonormal_and_classes_lie_apart_on_it() -> None:
    for spec in (MoLRG(dims=(2, 4)), MoLRG(dims=(3, 3, 2, 4)), MoLRG(dims=(2, 2, 2), angle=50)):
        onto, lines = plane(spec)
        assert np.allclose(onto @ onto.T, np.eye(2))
        turns = np.sort(np.arctan2(lines[1], lines[0]) % np.pi)
        assert np.diff(turns).min() > 0.2


def test_points_lie_nearer_their_line_near_the_peak_and_in_the_middle_at_much_noise() -> None:
    drawn = draw(SPEC, 3000)
    start, peak, end = positions(SPEC, drawn, [0.01, 0.25, 30.0], "noisy")
    off = [np.abs(level[0][1]).mean() for level in (start, peak)]  # class 1 has the first direction
    assert off[1] < 0.8 * off[0]
    assert np.abs(end[0]).mean() < 0.1 * np.abs(start[0]).mean()


def test_a_frame_a_level_moves_every_class() -> None:
    figure = picture(SPEC, draw(SPEC, 1000), SIGMAS, "noisy", "sigma", 5)
    assert len(figure.frames) == len(figure.layout.sliders[0].steps) == 12
    assert all(len(frame.data) == 3 for frame in figure.frames)
    assert len({(trace.marker.color, trace.marker.symbol) for trace in figure.data[3:]}) == 3
