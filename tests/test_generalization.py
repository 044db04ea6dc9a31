"""Copies and what is new, of planted images; hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from analysis.errors import InvalidRequest
from analysis.frechet import frechet, frechet_distance, frechet_interval, gaussian_distance
from analysis.generalization import CHUNK, NEXT, copies, halves, highest_cosine, nearest_cosines, nearest_images, sensitivity
from analysis.intervals import wilson

RNG = np.random.default_rng(0)
DRAWN = RNG.integers(0, 256, (400, 8, 8, 3), dtype=np.uint8)
TRAINING, FRESH, HELD_OUT = DRAWN[:200], DRAWN[200:300], DRAWN[300:]
ALIKE = np.array([0.1, 0.2])


def ratios(images: np.ndarray) -> np.ndarray:
    return nearest_images(images, TRAINING).ratio


def test_a_copied_training_image_scores_as_memorized_and_a_fresh_draw_does_not() -> None:
    blurred = np.clip(TRAINING[:50].astype(int) + RNG.integers(-9, 10, (50, 8, 8, 3)), 0, 255).astype(np.uint8)
    real = ratios(HELD_OUT)
    for images, score in ((TRAINING[:50], 0), (blurred, 0), (FRESH, 1)):
        assert copies("l2_ratio", ratios(images), real, 0.5).score == score


def test_a_copy_is_found_at_distance_zero_with_ratio_zero_where_it_stands() -> None:
    found = nearest_images(TRAINING[[7, 3]], TRAINING)
    assert found.index.tolist() == [7, 3]
    assert found.distance.tolist() == found.ratio.tolist() == [0, 0]
    assert found.next == NEXT


def test_nearest_is_that_of_every_difference_looked_at_over_several_chunks() -> None:
    training = RNG.standard_normal((CHUNK + 300, 2, 3)) + 100  # far from 0, where products lose digits
    samples = np.concatenate([RNG.standard_normal((20, 2, 3)) + 100, training[-1:]])
    lengths = np.linalg.norm((samples[:, None] - training[None]).reshape(21, len(training), -1), axis=2)
    found, ordered = nearest_images(samples, training), np.sort(lengths, 1)
    assert found.index.tolist() == lengths.argmin(1).tolist()
    assert found.distance == pytest.approx(ordered[:, 0])
    assert found.distance[-1] == 0
    assert found.ratio == pytest.approx(ordered[:, 0] / ordered[:, 1:51].mean(1))


def test_a_hand_worked_ratio_and_of_few_images_the_others_are_all_there_is() -> None:
    found = nearest_images(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 3.0]]))
    assert (found.index[0], found.distance[0], found.next) == (1, 1, 2)
    assert found.ratio[0] == pytest.approx(1 / 4)
    assert nearest_images(FRESH, TRAINING[:16]).next == 15


def test_with_fewer_training_images_ratios_of_new_images_are_no_lower_than_their_held_out_ones() -> None:
    for size in (16, 64):
        new, real = (nearest_images(images, TRAINING[:size]).ratio for images in (FRESH, HELD_OUT))
        assert new.mean() == pytest.approx(real.mean(), abs=0.02)


def test_a_set_of_one_image_repeated_has_ratio_zero_at_that_image_and_one_elsewhere() -> None:
    same = np.repeat(TRAINING[:1], 5, axis=0)
    assert nearest_images(TRAINING[:2], same).ratio.tolist() == [0, 1]


def test_held_out_images_in_the_samples_place_have_difference_zero() -> None:
    values = ratios(HELD_OUT)
    for row in sensitivity("l2_ratio", values, values):
        assert row["difference"] == 0
        assert row["difference_low"] < 0 < row["difference_high"]


def test_shares_have_wilsons_interval_and_their_difference_newcombes() -> None:
    found = copies("l2_ratio", np.repeat([0.1, 0.9], [56, 14]), np.repeat([0.1, 0.9], [48, 32]), 0.5)
    assert (found.copies, found.held_out, found.n, found.n_held_out) == (0.8, 0.6, 70, 80)
    assert (found.copies_low, found.copies_high) == wilson(56, 70)
    # Newcombe 1998, table II, 56/70 - 48/80 by method 10: 0.0524 to 0.3339
    assert (-found.difference_high, -found.difference_low) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_copy_is_below_the_ratio_and_above_the_cosine() -> None:
    values = np.array([0.2, 0.5, 0.7])
    assert copies("l2_ratio", values, values, 0.5).copies == pytest.approx(1 / 3)
    assert copies("features", values, values, 0.5).copies == pytest.approx(1 / 3)


def test_a_lower_threshold_never_calls_more_copies() -> None:
    shares = [row["copies"] for row in sensitivity("l2_ratio", ratios(FRESH), ratios(HELD_OUT))]
    assert shares == sorted(shares)
    shares = [row["copies"] for row in sensitivity("features", RNG.uniform(size=50), RNG.uniform(size=50))]
    assert shares == sorted(shares, reverse=True)


def test_the_highest_cosine_is_that_of_the_same_direction() -> None:
    places, cosines = highest_cosine(np.array([[2.0, 0], [3, 4], [0, 0]]), np.array([[0.0, 1], [5, 0]]))
    assert places.tolist() == [1, 0, 0]
    assert cosines == pytest.approx([1, 0.8, 0])


def test_networks_that_agree_are_closer_to_each_other_than_to_their_images_and_networks_that_copy_are_not() -> None:
    one, other = TRAINING[:100], TRAINING[100:]
    agreeing = halves(FRESH, FRESH, one, other, nearest_cosines(HELD_OUT, one, other))
    assert (agreeing.between, agreeing.closer) == (pytest.approx(1), 1)
    assert agreeing.own_high < 0.9
    copying = halves(one[:80], other[:80], one, other, nearest_cosines(HELD_OUT, one, other))
    assert (copying.own, copying.closer) == (pytest.approx(1), 0)
    assert copying.difference_high < 0
    assert copying.above_low > 0  # copies are nearer than real images are; what was made of none is not
    assert agreeing.above_low < 0 < agreeing.above_high
    assert copying.across < copying.own


def test_without_their_mean_images_of_other_noise_are_not_alike() -> None:
    found = halves(FRESH, FRESH, TRAINING[:100], TRAINING[100:], ALIKE)
    assert abs(found.by_chance) < 0.05
    assert halves(FRESH, FRESH, TRAINING[:100], TRAINING[100:], ALIKE, center=False).by_chance > 0.5


def test_the_halves_numbers_are_those_worked_out_by_hand() -> None:
    a, b = np.array([[1.0, 0], [0, 1]]), np.array([[0.6, 0.8], [0, 2]])
    found = halves(a, b, np.array([[0.8, 0.6]]), np.array([[0.0, 1]]), np.array([0.2, 0.4]), center=False)
    assert (found.between, found.own, found.difference) == pytest.approx((0.8, 0.7, 0.1))
    assert (found.across, found.by_chance, found.closer) == pytest.approx((0.5, 0.4, 0.5))
    assert (found.held_out, found.above) == pytest.approx((0.3, 0.4))
    reach = 12.706 * np.hypot(0.1, 0.1)  # of .6 and .8, and of .2 and .4: half a difference each
    assert found.above_high - found.above == pytest.approx(reach, rel=1e-4)
    assert found.difference_high - found.difference == pytest.approx(12.706 * 0.3, rel=1e-4)  # Student's, of -.2 and .4


def test_one_dimensional_gaussians_are_apart_by_means_and_standard_deviations() -> None:
    assert gaussian_distance(np.array([3.0]), np.array([[4.0]]), np.array([0.0]), np.array([[25.0]])) == pytest.approx(9 + 9)


def test_gaussians_that_do_not_commute_agree_with_another_root_and_turning_the_space_changes_nothing() -> None:
    first, second, turn = (RNG.standard_normal((6, 6)) for _ in range(3))
    a, b, mean = first @ first.T, second @ second.T, RNG.standard_normal(6)
    expected = mean @ mean + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert gaussian_distance(mean, a, np.zeros(6), b) == pytest.approx(expected)
    q = np.linalg.qr(turn)[0]
    assert gaussian_distance(q @ mean, q @ a @ q.T, np.zeros(6), q @ b @ q.T) == pytest.approx(expected)


def test_a_flat_gaussian_has_a_distance_too_and_from_itself_it_is_zero() -> None:
    flat, other = np.diag([4.0, 0.0]), np.diag([0.0, 9.0])
    assert gaussian_distance(np.zeros(2), flat, np.zeros(2), other) == pytest.approx(13)
    few = RNG.standard_normal((5, 40))
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)


def test_the_distance_of_a_shifted_and_widened_set_is_what_was_done_to_it() -> None:
    features = RNG.standard_normal((4000, 3))
    assert frechet_distance(features, 2 * features + [1, 0, 0]) == pytest.approx(1 + 3, rel=0.05)


def test_the_interval_of_the_distance_holds_in_most_of_many_runs() -> None:
    scale = np.array([1.0, 1.5, 2, 1])
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        _, low, high = frechet_interval(rng.standard_normal((800, 4)), rng.standard_normal((800, 4)) * scale + [0.5, 0, 0, 0])
        hits += low <= 0.25 + 0.25 + 1 <= high
    assert hits >= 180  # 190 expected; 180 or fewer of 200 at 95 % has a chance of .002


def test_real_images_in_the_samples_place_have_the_references_distance() -> None:
    samples, real, training = RNG.standard_normal((3, 300, 5))
    found = frechet(samples[:200], real, training)
    assert found.n == 200
    assert found.frechet == pytest.approx(frechet_distance(samples[:200], training))
    assert frechet(real, real, training).frechet == frechet(real, real, training).reference
    assert frechet(samples + 2, real, training).frechet_low > found.reference_high
    assert found.above == pytest.approx(found.frechet - found.reference)
    assert found.above_low < 0 < found.above_high
    assert frechet(samples + 2, real, training).above_low > 0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nearest_images(FRESH, TRAINING[:1]), "at least 2 training images"),
        (lambda: nearest_images(FRESH / 255, TRAINING), "both uint8 or both floating"),
        (lambda: nearest_images(FRESH[:, :4], TRAINING), "of the samples' size"),
        (lambda: nearest_images(FRESH[:0], TRAINING), "at least one image"),
        (lambda: copies("ssim", np.ones(2), np.ones(2), 0.5), "l2_ratio, features, own_features, encoder"),  # type: ignore[arg-type]
        (lambda: copies("features", np.ones(2), np.ones(0), 0.5), "of at least one each"),
        (lambda: halves(FRESH, FRESH[:3], TRAINING, HELD_OUT, ALIKE), "as many of each network"),
        (lambda: halves(FRESH, FRESH, TRAINING[:9], TRAINING[8:], ALIKE), "disjoint"),
        (lambda: frechet_distance(np.ones((1, 3)), np.ones((9, 3))), "at least 2 vectors"),
        (lambda: frechet_distance(np.ones((9, 3)), np.ones((9, 4))), "same D"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(call: object, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        call()  # type: ignore[operator]
