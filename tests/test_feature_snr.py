"""SNR and projection classifier of features, against numbers worked out by hand, the formula written out, and planted subspaces."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import feature_snr
from analysis.errors import InvalidData
from analysis.feature_snr import DIRECTIONS, Energies
from analysis.heads.projection import Projection

TRAIN = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)  # mean 0; the first classes' directions are e1 and e2
TOLD = np.array([0, 0, 1, 1])
HELD = np.array([[0.8, 0, 0.6], [3, 4, 0], [0, 2, 0], [0, 0.6, 0.8]], np.float32)
LABELS = np.array([0, 0, 1, 1])


def planted(
    rng: np.random.Generator, images: int, noise: float, classes: int = 3, width: int = 5, ambient: int = 30
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features on subspaces of their own, their labels, and the bases."""
    bases = np.linalg.qr(np.random.default_rng(5).normal(size=(ambient, classes * width)))[0].reshape(ambient, classes, width)
    labels = rng.integers(0, classes, images)
    points = np.einsum("nd,ckd->nkc", rng.normal(size=(images, width)), bases)[np.arange(images), labels]
    return (points + noise * rng.normal(size=points.shape)).astype(np.float32), labels, bases


def by_hand(images: slice | list[int] = slice(None)) -> tuple[Energies, np.ndarray]:
    fitted = feature_snr.subspaces(TRAIN, TOLD, 2, directions=1)
    return feature_snr.energies(fitted, HELD[images], LABELS[images]), LABELS[images]


def test_energies_of_four_images_by_hand() -> None:
    found, _ = by_hand()
    np.testing.assert_allclose(found.inside, [0.64, 0.36, 1, 0.36], atol=1e-6)  # (3, 4, 0) has length one as (.6, .8, 0)
    np.testing.assert_allclose(found.outside, [0.36, 0.64, 0, 0.64], atol=1e-6)
    assert found.right.tolist() == [True, False, True, True]  # (.6, .8, 0) falls longer on e2


def test_the_snr_is_the_mean_over_classes_of_a_ratio_of_means() -> None:
    found, labels = by_hand()
    assert feature_snr.snr(found, labels) == pytest.approx((1.0 / 1.0 + 1.36 / 0.64) / 2)
    found, labels = by_hand([0, 1, 3])  # two images of the first class, one of the second
    assert feature_snr.snr(found, labels) == pytest.approx(2 / 3 * 1.0 + 1 / 3 * 0.36 / 0.64)


def test_each_images_part_tells_what_leaving_it_out_changes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    found = Energies(rng.uniform(0.2, 0.8, 400), rng.uniform(0.1, 0.9, 400), labels == 0)
    each = feature_snr.parts(found, labels)
    whole = feature_snr.snr(found, labels)
    assert each.mean() == pytest.approx(whole)
    for i in range(5):
        rest = np.delete(np.arange(400), i)
        without = feature_snr.snr(Energies(found.inside[rest], found.outside[rest], found.right[rest]), labels[rest])
        assert 400 * whole - 399 * without == pytest.approx(each[i], abs=0.02)  # the jackknife's, to 1 / n


def test_the_parts_error_is_the_bootstraps() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 300)
    found = Energies(rng.gamma(2, 0.2, 300) * (1 + labels), rng.gamma(3, 0.2, 300), labels == 0)
    rows = rng.integers(0, 300, (2000, 300))
    again = [math.log(feature_snr.snr(Energies(found.inside[r], found.outside[r], found.right[r]), labels[r])) for r in rows]
    error = feature_snr.log_parts(found, labels).std(ddof=1) / math.sqrt(300)
    assert error == pytest.approx(np.std(again), rel=0.08)  # 2,000 resamples tell a spread to 1.6 %; the rest is the first order
    assert feature_snr.log_parts(found, labels).mean() == pytest.approx(math.log(feature_snr.snr(found, labels)))


def test_planted_subspaces_give_the_snr_that_was_planted() -> None:
    rng = np.random.default_rng(2)
    train, told, _ = planted(rng, 6000, 0.2)
    held, labels, bases = planted(rng, 3000, 0.2)
    found = feature_snr.energies(feature_snr.subspaces(train, told, 3), held, labels)
    points = held / np.linalg.norm(held, axis=1, keepdims=True)
    inside = np.array([((point @ bases[:, k]) ** 2).sum() for point, k in zip(points, labels, strict=True)])
    wanted = np.mean([inside[labels == k].mean() / (1 - inside[labels == k]).mean() for k in range(3)])
    assert feature_snr.snr(found, labels) == pytest.approx(wanted, rel=0.05)  # fitted directions are off by a little
    assert found.right.mean() > 0.97


def test_held_out_images_have_a_lower_snr_than_the_fitted_ones_where_there_is_nothing_to_find() -> None:
    train, held = np.random.default_rng(3).normal(size=(2, 60, 40)).astype(np.float32)
    labels = np.arange(60) % 3
    fitted = feature_snr.subspaces(train, labels, 3)
    inside, outside = (feature_snr.snr(feature_snr.energies(fitted, x, labels), labels) for x in (train, held))
    assert outside == pytest.approx(5 / 35, rel=0.15)  # five of forty directions, whichever they are: 60 images tell that to some 10 %
    assert inside > 3 * outside


def test_shuffled_labels_bring_the_snr_down_to_what_no_knowledge_gives() -> None:
    rng = np.random.default_rng(4)
    train, told, _ = planted(rng, 1500, 0.2)
    held, labels, _ = planted(rng, 1500, 0.2)
    null = [feature_snr.shuffled(train, told, held, labels, 3, seed) for seed in range(10)]
    real = feature_snr.snr(feature_snr.energies(feature_snr.subspaces(train, told, 3), held, labels), labels)
    assert real > 5 * max(null)
    # Five directions of the fifteen that all classes share hold a third of what is in them, here nearly all: 1/3 to 2/3.
    assert np.mean(null) == pytest.approx(0.5, abs=0.12)


def test_without_classes_the_real_labels_are_no_better_than_shuffled_ones() -> None:
    rng = np.random.default_rng(6)
    train, held = rng.normal(size=(2, 600, 20)).astype(np.float32)
    told, labels = rng.integers(0, 4, (2, 600))
    real = feature_snr.snr(feature_snr.energies(feature_snr.subspaces(train, told, 4), held, labels), labels)
    null = [feature_snr.shuffled(train, told, held, labels, 4, seed) for seed in range(20)]
    assert min(null) - 0.01 < real < max(null) + 0.01


def test_rotating_all_features_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    train, told, _ = planted(rng, 300, 0.3)
    held, labels, _ = planted(rng, 200, 0.3)
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0].astype(np.float32)
    plain, turned = (
        feature_snr.energies(feature_snr.subspaces(train @ q, told, 3), held @ q, labels) for q in (np.eye(30, dtype=np.float32), turn)
    )
    assert feature_snr.snr(plain, labels) == pytest.approx(feature_snr.snr(turned, labels), rel=1e-4)
    assert (plain.right == turned.right).all()


def test_the_length_of_features_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    train, told, _ = planted(rng, 300, 0.3)
    held, labels, _ = planted(rng, 200, 0.3)
    longer = held * rng.uniform(0.1, 9, (200, 1)).astype(np.float32)
    fitted = feature_snr.subspaces(train, told, 3)
    one, other = (feature_snr.snr(feature_snr.energies(fitted, x, labels), labels) for x in (held, longer))
    assert one == pytest.approx(other, rel=1e-4)


def test_the_classifier_is_the_projection_heads() -> None:
    rng = np.random.default_rng(9)
    train, told, _ = planted(rng, 200, 0.5)
    held, labels, _ = planted(rng, 200, 0.5)
    head = next(one for one in Projection().fit(train, told, 3) if one.penalty == DIRECTIONS)
    right = feature_snr.energies(feature_snr.subspaces(train, told, 3), held, labels).right
    assert (right == (head.predict_logits(held).argmax(1) == labels)).all()
    # And the rule as the paper has it, written out.
    points, others = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train.astype(float), held.astype(float)))
    mean = points.mean(0)
    bases = [np.linalg.svd(points[told == k] - mean)[2][:5].T for k in range(3)]
    lengths = np.stack([np.linalg.norm((others - mean) @ basis, axis=1) for basis in bases], 1)
    assert ((lengths.argmax(1) == labels) == right).mean() > 0.99  # float32 may turn a tie


def test_a_class_with_fewer_images_than_directions_lowers_the_directions_of_all() -> None:
    rng = np.random.default_rng(10)
    train, told, _ = planted(rng, 300, 0.3)
    few = np.concatenate([np.flatnonzero(told == 0)[:3], np.flatnonzero(told > 0)])
    assert feature_snr.subspaces(train[few], told[few], 3).directions.shape == (3, 30, 3)
    assert feature_snr.subspaces(train, told, 3).directions.shape == (3, 30, 5)


def test_a_class_without_a_training_image_is_refused() -> None:
    with pytest.raises(InvalidData, match="Class 2 has no training image"):
        feature_snr.subspaces(TRAIN, TOLD, 3)


def test_where_a_subspace_holds_everything_there_is_no_snr() -> None:
    fitted = feature_snr.subspaces(TRAIN[:, :2], TOLD, 2)  # two directions of two numbers
    assert math.isnan(feature_snr.snr(feature_snr.energies(fitted, HELD[2:, :2], LABELS[2:] * 0), LABELS[2:] * 0))


def test_distances_by_hand() -> None:
    draws = np.array([[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 0.0]]])  # of two images, under two draws of ε
    assert feature_snr.noise_scatter(draws).tolist() == [2, 0]
    one = np.array([[1.0, 3.0], [1.0, 2.0]])
    assert feature_snr.squared_distance(one, draws).tolist() == [9 - 1, 4]
    value, low, high = feature_snr.relative(np.array([8.0, 4.0]), np.array([1.0, 2.0]))
    assert value == 2  # √(6 / 1.5)
    assert low < value < high


def test_a_feature_that_is_one_more_draw_is_as_far_as_the_noise_scatters() -> None:
    rng = np.random.default_rng(11)
    draws = rng.normal(size=(4, 5000, 8))
    squares, noise = feature_snr.squared_distance(draws[0], draws[1:]), feature_snr.noise_scatter(draws[1:])
    value, low, high = feature_snr.relative(squares, noise)
    assert value == pytest.approx(1, abs=0.03)
    assert low < 1 < high
    nothing, _, _ = feature_snr.relative(feature_snr.squared_distance(np.zeros((5000, 8)), draws), noise)
    assert nothing < 0.2  # 0 is the true mean


def test_the_distances_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(400):
        squares, units = rng.gamma(4, 1.0, 80), rng.gamma(2, 0.5, 80)  # means 4 and 1
        _, low, high = feature_snr.relative(squares, units)
        held += low < 2 < high
    assert 0.90 < held / 400 < 0.985  # 95 %, and three errors of 400 runs


def test_nothing_to_measure_by_gives_no_distance() -> None:
    assert np.isnan(feature_snr.relative(np.ones(3), np.zeros(3))).all()
    assert np.isnan(feature_snr.relative(np.full(3, np.nan), np.ones(3))).all()
