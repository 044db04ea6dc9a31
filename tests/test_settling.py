from __future__ import annotations

import numpy as np
import pytest

from analysis.errors import InvalidRequest
from analysis.intervals import wilson
from analysis.settling import settled

SIGMAS = np.array([8.0, 4.0, 2.0, 1.0])


def logits(*classes: list[int]) -> np.ndarray:
    """Of samples whose classes at every level are given: (T, n, 10)."""
    return np.eye(10)[np.array(classes).T]


def test_a_class_is_settled_where_it_changes_for_the_last_time() -> None:
    found = settled(logits([3, 3, 7, 7], [7, 3, 7, 3], [5, 5, 5, 5], [5, 1, 5, 5]), SIGMAS)
    assert found.at.tolist() == [2.0, 1.0, 8.0, 2.0]


def test_agreement_counts_the_classes_that_are_final_and_the_share_those_that_stay_so() -> None:
    found = settled(logits([3, 3, 7, 7], [7, 3, 7, 3], [5, 5, 5, 5], [5, 1, 5, 5]), SIGMAS)
    assert found.agreement[0].tolist() == [0.5, 0.5, 0.75, 1.0]
    assert found.share[0].tolist() == [0.25, 0.25, 0.75, 1.0]


def test_each_share_has_wilsons_interval_and_the_last_is_known() -> None:
    _, low, high = settled(logits([3, 3, 7, 7], [7, 3, 7, 3], [5, 5, 5, 5], [5, 1, 5, 5]), SIGMAS).agreement
    assert (low[2], high[2]) == wilson(3, 4)
    assert (low[-1], high[-1]) == (1, 1)


def test_the_median_is_a_level_and_its_interval_reaches_to_the_one_above() -> None:
    late, early = [3, 3, 7, 7], [7, 7, 7, 7]
    found = settled(logits(*[late] * 70, *[early] * 30), SIGMAS)  # settled somewhere between 4 and 2
    assert (found.median, found.median_ci) == (2.0, (2.0, 4.0))
    found = settled(logits(*[late] * 49, *[early] * 51), SIGMAS)  # a split like this leaves both open
    assert (found.median, found.median_ci) == (8.0, (2.0, 8.0))


def test_the_same_seed_gives_the_same_interval() -> None:
    random = np.random.default_rng(1).normal(size=(4, 30, 3))
    assert settled(random, SIGMAS).median_ci == settled(random, SIGMAS).median_ci


@pytest.mark.parametrize(("shape", "sigmas"), [((4, 3), SIGMAS), ((3, 2, 2), SIGMAS), ((4, 0, 2), SIGMAS), ((4, 2, 2), SIGMAS[::-1])])
def test_what_cannot_be_read_is_refused(shape: tuple[int, ...], sigmas: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="σ descending"):
        settled(np.zeros(shape), sigmas)
