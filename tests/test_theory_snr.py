"""The SNR over σ against the paper's table, its limits, the theorem, and its own intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import InvalidRequest
from analysis.theorem import confidence, denoising_rate, h, theorem1
from analysis.theory import INPUTS, MoLRG, Posterior, draw
from analysis.theory_snr import SNR, _by_energies, _by_products, limits, of_energies, snr

TABLE4 = {0.008: 24.88, 0.023: 25.15, 0.06: 26.95, 0.14: 35.84, 0.296: 58.27, 0.585: 20.84, 1.088: 4.05, 1.923: 1.57}
GENERAL = MoLRG(dims=(2, 4, 3), weights=(0.2, 0.5, 0.3), angle=65, delta=0.3)


def test_table_4_of_the_paper_is_met_within_5_percent() -> None:
    found = snr(MoLRG(), list(TABLE4), samples=200_000)
    assert np.abs(found.value / list(TABLE4.values()) - 1).max() < 0.05
    assert ((found.high - found.low) / found.value).max() < 0.03  # the samples are enough to say so


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("input", INPUTS)
def test_the_limits_are_the_papers(classes: int, input: str) -> None:
    spec = MoLRG(dims=(4,) * classes)
    low, high = limits(spec, input)
    start = 1 / ((classes - 1) * spec.delta**2)
    assert low == pytest.approx(start)
    assert high == pytest.approx(start if input == "clean" else 1 / (classes - 1))
    found = snr(spec, [1e-3, 1e3], 40_000, input=input)
    assert (found.low < [low, high]).all()
    assert (found.high > [low, high]).all()


@pytest.mark.parametrize("input", INPUTS)
def test_any_mixture_has_its_limits(input: str) -> None:
    found = snr(GENERAL, [1e-3, 1e4], 40_000, input=input)
    assert np.allclose(found.value, limits(GENERAL, input), rtol=0.03)
    assert limits(MoLRG(separation=1.0), input) is None


@pytest.mark.parametrize("clean", [False, True])
def test_energies_and_products_are_the_same_sums(clean: bool) -> None:
    spec, levels = MoLRG(dims=(2, 4, 3), weights=(0.2, 0.5, 0.3)), np.geomspace(0.01, 10, 7)
    drawn = draw(spec, 1500)
    short, long = (list(way(spec, drawn, levels, clean)) for way in (_by_energies, _by_products))
    assert np.allclose(short, long, rtol=1e-9)


def test_the_theorem_and_the_exact_snr_agree_at_both_ends_and_not_between() -> None:
    # at the ends w is sure, or even, whatever the sample: there expectations may go into the softmax
    spec, sigmas = MoLRG(), [0.005, 0.02, 0.06, 5.0, 20.0]
    found = snr(spec, sigmas, 100_000)
    assert np.allclose(theorem1(spec, sigmas), found.value, rtol=0.03)
    assert theorem1(spec, [0.585])[0] / snr(spec, [0.585]).value[0] > 5
    grid = np.geomspace(0.05, 5, 60)
    exact, formula = snr(spec, grid), theorem1(spec, grid)
    assert grid[formula.argmax()] == pytest.approx(0.58, abs=0.04)
    assert formula.max() / exact.value.max() == pytest.approx(2.6, abs=0.2)


def test_the_theorem_by_hand() -> None:
    # K = 2, d = 5, δ = .2, σ = .2: D = 5·.9216/(2·1.04·.08) = 27.69, so w⁺ = 1: C = 13, h(w⁻) = .04, SNR = 13 (2/1.04)²
    spec = MoLRG()
    assert theorem1(spec, [0.2])[0] == pytest.approx(13 * (2 / 1.04) ** 2, rel=1e-6)
    assert theorem1(spec, [0.2], "clean")[0] == pytest.approx(25 * (2 / 1.04) ** 2, rel=1e-6)
    assert denoising_rate(spec, [0.2, 0.4]) == pytest.approx([1, 4])
    assert h(np.array([0.0, 1.0]), 0.2) == pytest.approx([0.04, 1])
    assert confidence(spec, [0.2, 1e3]) == pytest.approx([1, 0.5], abs=1e-5)


@pytest.mark.parametrize(
    "spec",
    [MoLRG(dims=(4, 5)), MoLRG(weights=(0.4, 0.6)), MoLRG(angle=80), MoLRG(separation=1.0)],
    ids=["dims", "weights", "angle", "means"],
)
def test_the_theorem_is_not_used_where_it_does_not_hold(spec: MoLRG) -> None:
    assert theorem1(spec, [0.1]) is None


def test_the_theorems_limits_hold_to_the_last_digit() -> None:
    spec = MoLRG(dims=(5, 5, 5))
    assert theorem1(spec, [1e-4, 1e5]) == pytest.approx([12.5, 0.5], rel=1e-3)
    assert theorem1(spec, [1e-4, 1e5], "clean") == pytest.approx([12.5, 12.5], rel=1e-3)


@pytest.mark.parametrize("spec", [MoLRG(dims=(3, 3)), GENERAL], ids=["energies", "products"])
def test_95_percent_intervals_cover_95_percent(spec: MoLRG) -> None:
    sigmas = [0.05, 0.4, 2.0]
    truth = np.mean([snr(spec, sigmas, 100_000, seed=seed).value for seed in range(1000, 1004)], 0)
    tries = [snr(spec, sigmas, 1500, seed=seed) for seed in range(150)]
    covered = np.mean([(one.low <= truth) & (truth <= one.high) for one in tries], 0)
    assert (covered >= 0.90).all()  # 3 standard errors of a share of .95 in 150 tries are .053
    assert covered.mean() <= 0.99


def test_the_mean_over_classes_is_by_their_proportions() -> None:
    found = snr(GENERAL, [0.1, 1.0], 2000)
    assert np.allclose(found.value, found.per_class @ GENERAL.weights)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()


def test_the_same_draws_at_every_level_make_a_level_independent_of_the_others() -> None:
    spec = MoLRG()
    assert snr(spec, [0.1, 0.3, 1.0], 2000).value[1] == pytest.approx(snr(spec, [0.3], 2000).value[0], rel=1e-12)


def test_any_denoisers_energies_make_a_curve() -> None:
    energies = [(np.array([[2.0, 4.0]]), np.array([[1.0, 1.0]])), (np.array([[8.0, 8.0]]), np.array([[4.0, 4.0]]))]
    found = of_energies(MoLRG(), [0.1], energies, "noisy")
    assert found.per_class.tolist() == [[3.0, 2.0]]
    assert found.value[0] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sigmas": [0.1, 0.0]}, "sigmas has 0; allowed: noise levels σ from 1e-09 to 1e"),
        ({"sigmas": [1e200]}, "sigmas has 1e.200"),
        ({"samples": 10**12}, "samples is 1000000000000; allowed: at most 1,000,000"),
        ({"sigmas": []}, "sigmas has empty"),
        ({"sigmas": [np.inf]}, "sigmas has inf"),
        ({"samples": 5}, "samples is 5; allowed: at least 20"),
        ({"input": "blurred"}, "input is 'blurred'; allowed: noisy, clean"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(given: dict, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        snr(MoLRG(), **({"sigmas": [0.1]} | given))


@pytest.mark.parametrize("spec", [GENERAL, MoLRG(dims=(2, 3), angle=60, separation=2.0)], ids=["overlap", "means"])
@pytest.mark.parametrize("input", INPUTS)
def test_the_snr_is_that_of_the_posterior_mean(spec: MoLRG, input: str) -> None:
    sigma, drawn, ratios = 0.3, draw(spec, 1000), []
    for U, x0, eps in zip(spec.bases, drawn.x0, drawn.eps, strict=True):
        made = Posterior(spec).mean(x0 + (sigma * eps if input == "noisy" else 0), sigma)
        own = U @ U.T @ made
        ratios.append((own**2).sum() / ((made - own) ** 2).sum())
    found = snr(spec, [0.05, sigma], draws=drawn, input=input)
    assert found.per_class[1] == pytest.approx(ratios, rel=1e-9)
    assert found.value[1] == pytest.approx(np.dot(spec.weights, ratios))


def test_the_peaks_range_is_what_intervals_and_levels_leave_open() -> None:
    high = np.array([1.0, 4.2, 4.5, 2.0])
    found = SNR(np.array([0.1, 0.2, 0.4, 0.8]), high - 0.1, high - 0.4, high, *(np.zeros((4, 2)),) * 3, np.ones(4), "noisy", 10)
    assert found.peak == 2
    assert found.peak_range == pytest.approx((np.sqrt(0.1 * 0.2), np.sqrt(0.4 * 0.8)))
