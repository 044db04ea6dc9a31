"""Scores and intervals from counts, and the moments that come with a sweep without a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from analysis import streaming
from analysis.errors import InvalidRequest
from analysis.features import extract
from analysis.intervals import wilson
from analysis.planning import Bench
from analysis.probing import goodness
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.streamed import accuracy, over_draws, r2
from analysis.streaming import stream
from analysis.tables import _r2


def test_the_best_cell_is_chosen_on_validation_images(plain: SweepRequest) -> None:
    found = stream(plain)
    best = found.best()
    assert best.labels_per_class.tolist() == ["5", "all"]
    for row in best.itertuples():
        assert row.validation_accuracy == found.curve[found.curve.labels_per_class == row.labels_per_class].validation_accuracy.max()


def test_draws_that_agree_leave_wilsons_interval_and_draws_that_do_not_add_to_it() -> None:
    low, high = wilson(80, 100)
    mean, low, high = over_draws(np.array([0.8, 0.8, 0.8]), low, high)
    assert (mean, low, high) == pytest.approx((0.8, 0.7112, 0.8666), abs=1e-4)  # Wilson's of 80 of 100
    _, lower, higher = over_draws(np.array([0.79, 0.8, 0.81]), low, high)
    half = 4.302653 * 0.01 / np.sqrt(3)  # t with 2 degrees of freedom
    assert (lower, higher) == pytest.approx((0.8 - np.hypot(half, 0.8 - low), 0.8 + np.hypot(half, high - 0.8)))
    all_right = accuracy(np.array([[60, 40], [60, 40]]), np.array([60, 40])).mean
    assert (all_right["ci_low"], all_right["ci_high"]) == pytest.approx((0.963, 1.0), abs=1e-3)


@pytest.mark.parametrize("apart", [0.0, 0.3])
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(apart: float) -> None:
    """Three draws that differ by `apart` in log-odds, of 300 images that differ more; the truth is the mean over both."""
    rng = np.random.default_rng(0)

    def odds(*shape: int) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-(1 + 2 * rng.normal(size=shape[-1:]) + apart * rng.normal(size=(*shape[:-1], 1))))))

    truth = odds(4000, 200).mean()
    held = []
    for _ in range(1000):
        found = accuracy((rng.random((3, 300)) < odds(3, 300)).sum(1)[:, None], np.array([300])).mean
        held.append(found["ci_low"] <= truth <= found["ci_high"])
    assert np.mean(held) >= 0.95


def errors_of(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The sums of draws that say (R, n) of the numbers (n,)."""
    errors, apart = (said - truth) ** 2, (truth - truth.mean()) ** 2
    return np.stack([errors.sum(1), (errors**2).sum(1), errors @ apart], 1)


def test_r2_is_worked_out_by_hand() -> None:
    """Squared errors 0, 1, 4, 3 of numbers of variance 4: half of it is left, and they are -2, -1, 2, 1 off half of each one's share."""
    truth = np.array([0.0, 4.0, 0.0, 4.0])
    both = r2(errors_of(truth + np.sqrt([[0, 1, 4, 3], [0, 0, 4, 0]]), truth), truth)
    assert [one["accuracy"] for one in both.draws] == pytest.approx([0.5, 0.75])
    half = 1.96 * np.sqrt([(4 + 1 + 4 + 1) / 3, (1 + 1 + 9 + 1) / 3]) / np.sqrt(4) / 4
    assert [one["ci_high"] - one["accuracy"] for one in both.draws] == pytest.approx(half)
    reach = np.hypot(12.706205 * 0.125, half.mean())  # t with 1 degree of freedom
    assert both.mean["accuracy"] == pytest.approx(0.625)
    assert (both.mean["ci_low"], both.mean["ci_high"]) == pytest.approx((0.625 - reach, 1.0))


@pytest.mark.parametrize("truth", [0.2, 0.9])
def test_intervals_of_r2_hold_the_truth_as_often_as_they_say(truth: float) -> None:
    """Numbers and what is said of them are normal, with a share `truth` in common; a study's interval of a draw is the same."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        y = rng.normal(size=400)
        said = truth * y + np.sqrt(truth * (1 - truth)) * rng.normal(size=400)
        ours = r2(errors_of(np.stack([said, said]), y), y).draws[0]
        held.append(ours["ci_low"] <= truth <= ours["ci_high"])
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)
    theirs = _r2(goodness(said[:, None], y))
    assert [theirs[name] for name in ("accuracy", "ci_low", "ci_high")] == pytest.approx(
        [ours[name] for name in ("accuracy", "ci_low", "ci_high")], abs=1e-5
    )


def test_moments_are_those_of_the_first_draws_stored_features(plain: SweepRequest, store: Store) -> None:
    found, bench = stream(plain, components=3), Bench(plain, store)
    assert len(found.moments) == 2 * 2 * 3  # labels × blocks × levels
    sigma, task = bench.sigmas[1], streaming.prepare(plain).task(5, 0)
    one = found.at("mid.res1", 1.01 * sigma)
    assert one is found.moments["5", "mid.res1", "1", sigma]
    extract(store, bench.model, bench.model, bench.dataset, bench.features("model", 0), ["mid.res1/1"], [sigma], task.train, bench.settings)
    x = store.cell(bench.features("model", 0), sigma, "mid.res1", "1", task.train).astype(np.float64)
    for k in range(len(found.classes)):
        np.testing.assert_allclose(one.class_means[k], x[task.given == k].mean(0), atol=1e-5)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / len(x)
    np.testing.assert_allclose(one.variances, values[:3], rtol=1e-4)
    np.testing.assert_allclose(((x - one.mean) @ one.directions.T).var(0), one.variances, rtol=1e-4)


def test_moments_are_kept_as_one_file(plain: SweepRequest, tmp_path: Path) -> None:
    found = stream(plain.model_copy(update={"labels_per_class": ("all",)}), components=2)
    found.save_moments(tmp_path / "moments.safetensors")
    with safe_open(tmp_path / "moments.safetensors", "np") as file:
        assert len(list(file.keys())) == 2 * 3 * 4
        level = json.loads(file.metadata()["sigmas"])[2]
        assert json.loads(file.metadata()["classes"]) == list(found.classes)
        np.testing.assert_array_equal(file.get_tensor("all/2/up0.res0/1/directions"), found.at("up0.res0", level).directions)


def test_moments_that_are_not_kept_are_said(plain: SweepRequest) -> None:
    found = stream(plain, components=0)
    assert found.at("mid.res1", 1.0).directions.shape == (0, 8)
    with pytest.raises(InvalidRequest, match=r"No moments are kept of block 'nope'.*\('5', 'mid.res1', '1'\)"):
        found.at("nope", 1.0)
    with pytest.raises(InvalidRequest, match=r"at σ = 0\.0; allowed: σ above 0"):
        found.at("mid.res1", 0.0)
