"""The scores that read no label, against numbers worked out by hand and the papers' formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import label_free

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("images", "width"), [(40, 12), (12, 40)])
def test_the_effective_rank_of_k_equal_singular_values_is_k(images: int, width: int) -> None:
    left = np.linalg.qr(RNG.normal(size=(images, 6)))[0]
    left -= left.mean(0)
    left = np.linalg.qr(left)[0][:, :5]  # orthonormal columns without a mean
    right = np.linalg.qr(RNG.normal(size=(width, 5)))[0]
    assert label_free.effective_rank(3 * left @ right.T + 7) == pytest.approx(5)


def test_the_effective_rank_is_the_exponential_of_the_entropy_of_the_singular_values() -> None:
    features = RNG.normal(size=(50, 8)) * np.arange(1, 9)
    values = np.linalg.svd(features - features.mean(0), compute_uv=False)
    share = values / values.sum()
    assert label_free.effective_rank(features) == pytest.approx(math.exp(-(share * np.log(share)).sum()))


def test_features_that_ignore_the_noise_are_wholly_invariant_and_pure_noise_is_not() -> None:
    first, second = RNG.normal(size=(2, 4000, 20))
    assert label_free.invariance(first, first) == pytest.approx(1)
    assert label_free.invariance(first + 5, second + 5) == pytest.approx(0, abs=0.02)  # 80,000 independent pairs: ± .004


def test_invariance_is_the_share_of_the_variance_that_is_the_images() -> None:
    own = 2 * RNG.normal(size=(4000, 20))  # variance 4 of the image, 1 of the noise
    first, second = own + RNG.normal(size=(2, 4000, 20))
    assert label_free.invariance(first, second) == pytest.approx(0.8, abs=0.01)


def test_invariance_of_three_images_by_hand() -> None:
    first, second = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [2.0], [1.0]])
    # about the common mean 1: products 1·1 + 0·1 + 1·0 = 1; squares (2 + 2) / 2 = 2
    assert label_free.invariance(first, second) == pytest.approx(0.5)


def test_alignment_and_uniformity_are_the_papers_over_all_pairs() -> None:
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in RNG.normal(size=(2, 30, 5)))
    aligned = np.mean([sum((a - b) ** 2) for a, b in zip(first, second, strict=True)])
    assert label_free.alignment(first, second) == pytest.approx(aligned)
    pairs = [math.exp(-2 * sum((first[i] - first[j]) ** 2)) for i in range(30) for j in range(i)]
    assert label_free.uniformity(first) == pytest.approx(math.log(np.mean(pairs)))


def test_spread_points_are_more_uniform_than_gathered_ones() -> None:
    def on_circle(angles: np.ndarray) -> np.ndarray:
        return np.stack([np.cos(angles), np.sin(angles)], 1)

    around, near = on_circle(np.linspace(0, 2 * np.pi, 60, endpoint=False)), on_circle(np.linspace(0, 0.5, 60))
    assert label_free.uniformity(around) < label_free.uniformity(near)


def test_clusterings_of_the_same_features_agree_wholly_and_of_independent_ones_not() -> None:
    first, second = RNG.normal(size=(2, 1000, 8)).astype(np.float32)
    found = label_free.clusters(first, 10)
    assert sorted(set(found)) == list(range(10))
    assert label_free.agreement(found, label_free.clusters(first, 10)) == 1
    assert label_free.agreement(found, label_free.clusters(second, 10)) == pytest.approx(0, abs=0.02)  # adjusted for chance


def test_planted_groups_are_found_again_under_other_noise() -> None:
    centres = 10 * RNG.normal(size=(10, 8))
    first, second = np.repeat(centres, 50, 0) + RNG.normal(size=(2, 500, 8))
    assert label_free.agreement(label_free.clusters(first, 10), label_free.clusters(second, 10)) > 0.8


def test_two_draws_give_every_score_and_one_gives_those_that_need_no_second() -> None:
    first, second = RNG.normal(size=(2, 60, 6)).astype(np.float32) + 3
    both, one = label_free.scores([first, second]), label_free.scores([first])
    assert set(both) == set(one) == {"effective_rank", "invariance", "alignment", "uniformity"}
    assert all(math.isfinite(value) for value in both.values())
    assert {name for name, value in one.items() if math.isnan(value)} == {"invariance", "alignment"}


@pytest.mark.parametrize("value", [4.0, np.nan, np.inf])
def test_features_that_do_not_vary_or_are_no_numbers_have_no_score(value: float) -> None:
    dead = np.full((30, 4), value, np.float32)
    assert all(math.isnan(score) for score in label_free.scores([dead, dead]).values())
    assert label_free.clusters(dead, 10) is None
