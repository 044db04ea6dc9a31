from __future__ import annotations

import numpy as np
import pytest

from analysis import dynamics
from analysis.dynamics import Resamples, judge, judge_all
from analysis.errors import InvalidRequest
from analysis.verdict import describe

SIGMAS = np.geomspace(0.01, 20, 9)
PLATEAU = np.array([0.85, 0.85, 0.85, 0.85, 0.8, 0.5, 0.2, 0.1, 0.1])
HUMP = PLATEAU + np.array([0, 0.02, 0.05, 0.03, 0, 0, 0, 0, 0])


def resample(draws: int = 12, images: int = 400) -> Resamples:
    return dynamics.resamples(np.arange(draws), np.arange(draws) % 3, images, times=500)


def sample(accuracy: np.ndarray, images: int = 400, draws: int = 12, seed: int = 0) -> np.ndarray:
    """Images of fixed difficulty, a little shaken by each draw: (R, S, N) with the given mean."""
    rng = np.random.default_rng(seed)
    easy = rng.permutation(images)[None, None, :] / images + rng.normal(0, 0.02, (draws, 1, images))
    return easy + rng.normal(0, 0.02, (draws, len(accuracy), images)) < accuracy[:, None]


def test_a_hump_is_unimodal_and_its_peak_is_found() -> None:
    verdict = judge(sample(HUMP), SIGMAS, resample())
    assert verdict.shape == "unimodal"
    assert SIGMAS[1] < verdict.peak_ci[0] <= verdict.peak_sigma <= verdict.peak_ci[1] < SIGMAS[3]
    assert verdict.gain_ci[0] < 0.05 < verdict.gain_ci[1]
    assert verdict.p_value < 0.01


@pytest.mark.parametrize(
    ("accuracy", "shape"),
    [
        (np.linspace(0.9, 0.1, 9), "decreasing"),
        (np.full(9, 0.8), "flat"),
        (np.linspace(0.3, 0.9, 9), "increasing"),
        (np.array([0.7, 0.8, 0.9, 0.8, 0.6, 0.8, 0.9, 0.5, 0.1]), "multimodal"),
    ],
)
def test_plain_shapes_are_called_by_their_names(accuracy: np.ndarray, shape: str) -> None:
    assert judge(sample(accuracy, 4000), SIGMAS, resample(images=4000)).shape == shape


def test_too_few_images_are_undecided_and_the_rise_that_would_be_seen_is_said() -> None:
    verdict = judge(sample(HUMP, 30, 3), SIGMAS, resample(3, 30))
    assert verdict.shape == "undecided"
    assert verdict.detectable > 0.05
    assert f"{100 * verdict.detectable:.1f} points four times in five" in describe(verdict, "mid.res0")


def test_a_rise_by_luck_of_the_test_images_alone_is_not_selected_and_measured_on_the_same_images() -> None:
    # Every draw says the same, so halves of the draws share all luck: only halves of the images can tell.
    gains = []
    for seed in range(60):
        luck = np.random.default_rng(seed).random((1, 9, 200)) < 0.8
        gains.append(dynamics._honest(np.repeat(luck, 4, 0), seed)[0])
    assert abs(np.mean(gains)) < 3 * np.std(gains) / np.sqrt(60)


def test_the_parabola_through_five_levels_has_the_vertex_it_was_made_with() -> None:
    curve = 0.9 - 0.1 * (np.log(SIGMAS) - np.log(0.5)) ** 2
    assert dynamics.vertices(curve[None], SIGMAS)[0] == pytest.approx(0.5)


def test_the_bootstrap_over_images_has_the_error_of_a_share() -> None:
    # One image effect and nothing else: the standard error of a share of .8 of 400 images is .02.
    right = np.repeat((np.arange(400) < 320)[None, None], 6, 0).repeat(3, 1)
    spread = resample(6).curves(right).std(0)
    np.testing.assert_allclose(spread, 0.02, rtol=0.1)


def test_the_bootstrap_over_draws_is_no_narrower_than_the_draws_scatter() -> None:
    right = np.zeros((6, 3, 400), dtype=bool)
    for draw, share in enumerate([0.5, 0.6, 0.7, 0.5, 0.6, 0.7]):
        right[draw, :, : int(400 * share)] = True
    by_draw = right.mean((1, 2)).std(ddof=1) / np.sqrt(6)
    assert (resample(6).curves(right).std(0) > by_draw).all()


def test_uneven_groups_of_draws_that_say_the_same_add_no_error() -> None:
    right = np.repeat((np.arange(400) < 360)[None, None], 8, 0).repeat(3, 1)
    np.testing.assert_allclose(resample(8).curves(right).std(0), np.sqrt(0.9 * 0.1 / 400), rtol=0.1)


def test_a_falling_verdict_and_its_interval_agree() -> None:
    verdict = judge(sample(np.linspace(0.9, 0.1, 9), 4000), SIGMAS, resample(images=4000))
    assert verdict.shape == "decreasing"
    assert verdict.gain_ci[1] < dynamics.MARGIN


def test_holm_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = judge(sample(PLATEAU), SIGMAS, resample())
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    from dataclasses import replace

    monkeypatch.setattr(dynamics, "judge", lambda right, *_: replace(plain, p_value=p[right]))
    monkeypatch.setattr(dynamics, "_judge", lambda right, s, r, seed, n, holm: replace(plain, p_holm=holm))
    found = judge_all({name: name for name in p}, SIGMAS, resample())  # type: ignore[dict-item]
    assert {name: round(v.p_holm, 9) for name, v in found.items()} == {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}


def test_a_rise_that_does_not_survive_holm_is_not_called_unimodal() -> None:
    curves = {"hump": sample(HUMP - [0, 0.01, 0.03, 0.02, 0, 0, 0, 0, 0], 300, seed=3)}
    alone = judge(curves["hump"], SIGMAS, resample(images=300))
    many = judge_all(curves | {f"flat {i}": sample(PLATEAU, 300, seed=i) for i in range(40)}, SIGMAS, resample(images=300))
    assert many["hump"].p_holm >= alone.p_value
    assert all(v.shape != "unimodal" for v in many.values() if v.p_holm >= 0.05)


def test_the_same_seed_gives_the_same_verdict() -> None:
    assert judge(sample(HUMP), SIGMAS, resample()) == judge(sample(HUMP), SIGMAS, resample())


def test_a_baseline_that_rises_is_named_with_the_difference() -> None:
    verdict = judge(sample(HUMP), SIGMAS, resample())
    gap = dynamics.gain_difference(sample(HUMP), sample(HUMP), resample())
    assert gap == (0, 0, 0)
    sentence = describe(verdict, "mid.res0", {"the noised pixels": (verdict, gap)})
    assert "The curve of the noised pixels also rises" in sentence
    assert "less that one's is +0.0 points" in sentence


def test_a_baseline_that_does_not_rise_is_not_named() -> None:
    flat = judge(sample(PLATEAU), SIGMAS, resample())
    assert "noised pixels" not in describe(judge(sample(HUMP), SIGMAS, resample()), "mid.res0", {"the noised pixels": (flat, (0, 0, 0))})


def test_the_lowest_level_and_this_network_are_named() -> None:
    sentence = describe(judge(sample(HUMP), SIGMAS, resample()), "mid.res0")
    assert "σ = 0.01, the lowest level" in sentence
    assert "this network" in sentence


@pytest.mark.parametrize(
    ("correct", "sigmas", "word"),
    [
        (np.ones((12, 9), bool), SIGMAS, "shape"),
        (np.ones((11, 9, 400), bool), SIGMAS, "shape"),
        (np.ones((12, 2, 400), bool), SIGMAS[:2], "at least 3"),
        (np.ones((12, 9, 400), bool), SIGMAS[::-1], "ascending"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(correct: np.ndarray, sigmas: np.ndarray, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        judge(correct, sigmas, resample())


def test_one_draw_or_one_image_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="draws"):
        dynamics.resamples(np.zeros(1), np.zeros(1), 100)
    with pytest.raises(InvalidRequest, match="n_test is 1"):
        dynamics.resamples(np.arange(3), np.arange(3), 1)


def test_curves_without_a_rise_are_seldom_called_unimodal() -> None:
    # 90 simulated curves as correlated as the bundled study's: above 9 would be beyond what 5 % explains (p < .02).
    from benchmarks import verdicts

    found = verdicts.run(times=30, images=400)["curves"]
    wrong = sum(30 * found[name]["unimodal"] for name in ("flat", "falling", "plateau then falling"))
    assert wrong <= 9
    assert found["rise of 4"]["unimodal"] > 0.8


@pytest.mark.parametrize(("draws", "images"), [(12, 400), (6000, 3000)])  # sums that float32 holds exactly, and larger ones
def test_resampled_curves_are_exact_sums_whatever_the_order_of_summing(draws: int, images: int) -> None:
    rng = np.random.default_rng(3)
    correct = rng.random((draws, 2, images)) < 0.7
    found = Resamples(resampled := rng.multinomial(images, np.full(images, 1 / images), 20), np.zeros((20, 3)), np.arange(draws) % 3)
    mean = correct.mean(2, dtype=np.float64).mean(0)
    sums = resampled.astype(np.int64) @ correct.sum(0, dtype=np.int64).T
    exact = mean + (sums.astype(np.float64) / (draws * images) - mean) * np.sqrt(images / (images - 1))
    assert (found.curves(correct) == exact).all()
