"""Curves of SNR, their intervals and their peaks, on planted curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import dynamics, snr_curves
from analysis.resampling import resamples

SIGMAS = np.geomspace(0.01, 10, 13)
X = np.log(SIGMAS)


def hump(at: float, height: float = 0.5, width: float = 2.0) -> np.ndarray:
    """A parabola in ln σ (S,)."""
    return height - ((X - np.log(at)) / width) ** 2 / 4


def noisy(mean: np.ndarray, draws: int, images: int, rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """(E, S, N) about a mean curve: each image has a curve of its own, each draw a level of its own."""
    own = spread * rng.normal(size=(1, len(mean), images))
    return mean[None, :, None] + own + 0.02 * rng.normal(size=(draws, len(mean), 1)) + 0.3 * rng.normal(size=(draws, len(mean), images))


def answers(chance: np.ndarray, draws: int, images: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(size=(draws, len(chance), images)) < chance[None, :, None]


def test_the_curve_is_the_mean_and_its_interval_is_symmetric_in_the_logarithm() -> None:
    parts = noisy(hump(0.3), 3, 200, np.random.default_rng(0))
    value, low, high = snr_curves.curve(parts)
    np.testing.assert_allclose(value, np.exp(parts.mean((0, 2))))
    np.testing.assert_allclose(low * high, value**2)
    assert (low < value).all()


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(1), []
    for _ in range(150):
        _, low, high = snr_curves.curve(noisy(hump(0.3), 3, 120, rng))
        held.append((low < np.exp(hump(0.3))) & (np.exp(hump(0.3)) < high))
    assert 0.92 < np.mean(held) < 0.985  # 1,950 levels, those of a run apart


def test_levels_that_cannot_be_told_are_left_empty() -> None:
    parts = noisy(hump(0.3), 2, 50, np.random.default_rng(2))
    parts[:, 4] = np.nan
    value, low, high = snr_curves.curve(parts)
    assert np.isnan([value[4], low[4], high[4]]).all()
    assert np.isfinite(np.delete(value, 4)).all()


def test_one_draw_has_an_interval_over_images() -> None:
    value, low, high = snr_curves.curve(noisy(hump(0.3), 1, 100, np.random.default_rng(3)))
    assert (low < value).all()
    assert (value < high).all()


def peaks(at: float, accurate: float, seed: int, images: int = 400, shared: bool = True) -> snr_curves.Apart:
    rng = np.random.default_rng(seed)
    test = np.concatenate([np.arange(images - 100), np.full(100, -1)])  # the last hundred are no test images
    right = answers(0.6 * np.exp(hump(accurate, 0.2)), 15, images, rng)
    accuracy = resamples(np.arange(15), np.arange(15) % 3, images, times=400)
    found = snr_curves.apart(
        noisy(hump(at), 3, images, rng, 0.5), snr_curves.beside(accuracy, test, 3, shared), right, accuracy, SIGMAS, images - 100
    )
    assert found is not None
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_planted_peaks_are_found_with_their_distance(shared: bool) -> None:
    found = peaks(0.2, 0.8, 4, shared=shared)
    assert found.snr_sigma == pytest.approx(0.2, rel=0.3)
    assert found.accuracy_sigma == pytest.approx(0.8, rel=0.3)
    assert found.distance == pytest.approx(np.log(found.accuracy_sigma / found.snr_sigma))
    assert found.distance_ci[0] < np.log(4) < found.distance_ci[1]
    assert found.distance_ci[0] > 0
    assert (found.images, found.paired, found.snr_edge, found.accuracy_edge) == (400, 300, False, False)


def test_peaks_in_one_place_are_not_told_apart_too_often() -> None:
    apart = [not (found.distance_ci[0] <= 0 <= found.distance_ci[1]) for found in (peaks(0.4, 0.4, seed) for seed in range(60))]
    assert sum(apart) <= 8  # of sixty at 5 %: nine or more once in a thousand


def test_a_curve_that_falls_has_its_peak_at_the_edge() -> None:
    found = peaks(1e-4, 0.4, 5)
    assert found.snr_edge
    assert found.snr_sigma == pytest.approx(SIGMAS[0])


def test_images_and_draws_that_are_shared_are_drawn_as_often() -> None:
    accuracy = resamples(np.arange(15), np.arange(15) % 3, 50, times=40)
    test = np.array([7, -1, 3, -1, 0])
    mine = snr_curves.beside(accuracy, test, 3, shared=True)
    assert (mine.images[:, [0, 2, 4]] == accuracy.images[:, [7, 3, 0]]).all()
    assert (mine.images[:, [1, 3]].sum(1) == 2).all()
    assert mine.groups is accuracy.groups
    assert snr_curves.beside(accuracy, test, 4, shared=False).groups.shape == (40, 4)


def test_a_curve_that_is_the_others_twice_is_at_no_distance() -> None:
    """The same answers as both: paired, the peaks move together, and their distance has no spread."""
    rng = np.random.default_rng(6)
    right = answers(0.6 * np.exp(hump(0.4, 0.2)), 3, 300, rng)
    accuracy = resamples(np.zeros(3), np.arange(3), 300, times=200)
    mine = snr_curves.beside(accuracy, np.arange(300), 3, shared=True)
    found = snr_curves.apart(right.astype(float), mine, right, accuracy, SIGMAS, 300)
    assert found is not None
    np.testing.assert_allclose(found.distance_ci, 0, atol=1e-6)
    assert found.snr_ci[0] < found.snr_ci[1]


def test_fewer_than_three_levels_have_no_peak() -> None:
    parts = np.full((3, 13, 50), np.nan)
    parts[:, :2] = 0.5
    accuracy = resamples(np.zeros(3), np.arange(3), 50, times=20)
    right = np.ones((3, 13, 50), bool)
    assert snr_curves.apart(parts, snr_curves.beside(accuracy, np.arange(50), 3, True), right, accuracy, SIGMAS, 50) is None


def test_the_vertex_is_that_of_the_parabola() -> None:
    assert dynamics.vertices(hump(0.37)[None], SIGMAS)[0] == pytest.approx(0.37)
