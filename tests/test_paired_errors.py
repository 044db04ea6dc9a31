"""Intervals of paired errors: against scipy, against hand-worked numbers, and in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.paired_errors import LEVEL, judge, looks

EVEN = np.array([0.5, 0.5])


def test_with_two_classes_and_one_level_it_is_the_paired_t_test() -> None:
    errors = np.random.default_rng(0).normal(1, 0.2, (2, 1, 12))
    race = judge(errors, np.ones(1))
    low, high = stats.ttest_rel(errors[1 - race.best, 0], errors[race.best, 0]).confidence_interval()
    assert race.lead == pytest.approx((abs(errors[0].mean() - errors[1].mean()), low, high))


def test_levels_are_strata_by_hand() -> None:
    errors = np.array([[[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], [[1.1, 1.2, 1.3], [2.5, 2.6, 2.4]]])
    race = judge(errors, EVEN)
    assert race.excess.tolist() == pytest.approx([0, 0.5 * 0.2 + 0.5 * 0.5])
    error = np.sqrt(0.25 * 0.01 / 3 + 0.25 * 0.01 / 3)  # both strata have the variance .01: four degrees of freedom
    reach = stats.t.ppf(0.975, 4) * error
    assert race.lead == pytest.approx((0.35, 0.35 - reach, 0.35 + reach))
    assert race.level_high[1].tolist() == pytest.approx([m + stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3) for m in (0.2, 0.5)])


def test_what_is_common_to_the_classes_does_not_count() -> None:
    rng = np.random.default_rng(0)
    shared, own = 100 * rng.normal(size=(1, 4, 8)), 0.01 * rng.normal(size=(3, 4, 8))
    race = judge(shared + own + np.array([0.0, 0.1, 0.2])[:, None, None], np.full(4, 0.25))
    assert race.best == 0
    assert race.out.tolist() == [False, True, True]


def test_a_class_that_fell_out_is_compared_over_the_draws_it_had() -> None:
    errors = np.random.default_rng(0).normal(size=(3, 2, 8))
    errors[2, :, 2:] = np.nan
    race = judge(errors, EVEN)
    assert race.taken.tolist() == [8, 8, 2]
    assert race.excess[2] == pytest.approx((errors[2, :, :2] - errors[race.best, :, :2]).mean())
    assert race.best in (0, 1)


def test_equal_errors_are_a_tie_that_nothing_decides() -> None:
    race = judge(np.ones((3, 2, 4)), EVEN)
    assert race.lead == (0, 0, 0)
    assert not race.out.any()


@pytest.mark.parametrize(("draws", "expected"), [(2, [2]), (3, [2, 3]), (8, [2, 3, 4, 6, 8]), (16, [2, 3, 4, 6, 9, 13, 16])])
def test_one_looks_again_after_half_as_many_draws_more(draws: int, expected: list[int]) -> None:
    assert looks(draws) == expected


def simulated(means: np.ndarray, rng: np.random.Generator, draws: int = 8, levels: int = 6) -> np.ndarray:
    """Errors of levels that differ, each with a noise of its own size, shared by the classes but for a part."""
    size = np.linspace(0.2, 2, levels)[None, :, None]
    shared = rng.normal(size=(1, levels, draws))
    return means[:, None, None] + np.arange(levels)[None, :, None] + size * (shared + 0.5 * rng.normal(size=(len(means), levels, draws)))


@pytest.mark.parametrize("means", [[0, 0.4], [0, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 0.3, 0.31, 2, 2, 2]])
def test_the_interval_of_the_lead_covers_it(means: list[float]) -> None:
    rng, mean, covered = np.random.default_rng(0), np.array(means, float), []
    for _ in range(400):
        race = judge(simulated(mean, rng), np.full(6, 1 / 6))
        truth = np.delete(mean, race.best).min() - mean[race.best]  # of the class that came out lowest
        covered.append(race.lead[1] <= truth <= race.lead[2])
    assert np.mean(covered) >= 1 - LEVEL - 0.02  # two standard errors of 400 trials


def test_the_interval_of_two_classes_covers_no_more_than_it_says() -> None:
    rng, mean = np.random.default_rng(0), np.array([0.0, 2.0])
    covered = [abs(judge(simulated(mean, rng), np.full(6, 1 / 6)).lead[0] - 2) for _ in range(400)]
    reach = [np.subtract(*judge(simulated(mean, rng), np.full(6, 1 / 6)).lead[:2]) for _ in range(50)]
    assert 0.9 <= np.mean(np.array(covered) <= np.mean(reach)) <= 0.99


def test_a_class_that_is_above_one_that_fell_out_is_above_the_lowest_by_as_much() -> None:
    errors = np.random.default_rng(0).normal(0, 0.01, (3, 1, 8)) + np.array([0.0, 0.1, 0.2])[:, None, None]
    errors[2, 0, :2], errors[2, :, 2:] = [0.1, 0.3], np.nan  # two draws tell little of it
    alone, known = (judge(errors, np.ones(1), 1, below) for below in (None, np.array([-1, -1, 1])))
    assert alone.low[2] < 0
    assert known.low.tolist() == [0, known.low[1], known.low[1]]
    assert known.lead[1] == known.low[1] > 0


@pytest.mark.parametrize("mean", [[0.0, 0.1, 0.2, 0.2, 0.2], [0.0, 0.3, 0.3, 1.0, 1.0]])
def test_looking_again_and_again_still_leaves_the_lowest_in_and_covers_its_lead(mean: list[float]) -> None:
    rng, means, dropped, covered, times = np.random.default_rng(1), np.array(mean), 0, 0, len(looks(16))
    for _ in range(300):
        errors = simulated(means, rng, draws=16)
        alive, below, seen, before = np.ones(5, bool), np.full(5, -1), np.full(errors.shape, np.nan), 0
        for look in looks(16):
            seen[alive, :, before:look] = errors[alive, :, before:look]
            race = judge(seen, np.full(6, 1 / 6), times, below)
            below[alive & race.out] = race.best
            alive, before = alive & ~race.out, look
        dropped += not alive[0]
        covered += race.lead[1] <= np.delete(means, race.best).min() - means[race.best] <= race.lead[2]
    assert dropped / 300 <= LEVEL
    assert covered / 300 >= 1 - LEVEL
