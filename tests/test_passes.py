"""What streams past is added up and counted the same, however the images are shared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from analysis import passes, streaming
from analysis.passes import Counted, Share, merged
from analysis.specs import SweepRequest


@pytest.mark.parametrize(("count", "batch", "of"), [(300, 64, 2), (300, 64, 3), (64, 64, 4), (5000, 64, 7), (1, 64, 2), (0, 64, 2)])
def test_shares_are_whole_batches_and_together_all_images(count: int, batch: int, of: int) -> None:
    bounds = [Share(place, of).bounds(count, batch) for place in range(of)]
    assert (bounds[0][0], bounds[-1][1]) == (0, count)
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    assert all(first % batch == 0 or first == count for first, _ in bounds)
    batches = [-(-(end - first) // batch) for first, end in bounds]
    assert max(batches) - min(batches) <= 1


@pytest.mark.parametrize("of", [2, 3, 9])
def test_shares_of_sums_add_up_to_the_whole(plain: SweepRequest, of: int) -> None:
    """Each image is in the same batch, so that only the order of sums in double precision differs."""
    bench = streaming.prepare(plain)
    given = bench, bench.sigmas[1], 1, ["mid.res1/1", "up0.res0/1"]
    whole, shared = passes.add_up(*given), merged(passes.add_up(*given, Share(place, of)) for place in range(of))
    assert whole.keys() == shared.keys()
    for key, one in whole.items():
        assert one.totals.tolist() == shared[key].totals.tolist()
        np.testing.assert_allclose(one.mean, shared[key].mean, rtol=1e-12)
        scale = np.sqrt(np.outer(np.diag(one.scatter), np.diag(one.scatter)))
        assert (np.abs(one.scatter - shared[key].scatter) <= 1e-12 * scale).all()
        np.testing.assert_allclose(one.cross, shared[key].cross, atol=1e-12 * np.abs(one.cross).max())


def test_right_answers_are_counted_by_class_and_as_kept() -> None:
    """4000.5 and 4001 are one number in float16, and the first of equals is said."""
    logits = np.array([[1, 0], [0, 1], [4000.5, 4001]], np.float32)
    found = Counted.of([logits, -logits], np.array([0, 1, 1]))
    assert found.exact.tolist() == [3, 0]
    assert found.kept.tolist() == [[1, 1], [0, 0]]


def test_errors_of_numbers_and_their_squares_are_summed() -> None:
    found = Counted.of([np.array([[1.0], [4001.0]], np.float32)], np.array([0.5, 4000.0]), 2.5)
    assert found.exact.tolist() == [-1.25]
    assert found.kept.tolist() == [[0.25, 0.25**2, 0.25 * 2**2]]  # float16 has 4000, not 4001


def test_features_that_are_not_finite_in_one_part_are_so_in_the_whole() -> None:
    good, lost = Counted(np.ones(2), np.ones((2, 3))), Counted(np.full(2, np.nan), np.full((2, 1), np.nan))
    assert good.finite
    assert not (good + lost).finite
    assert not (lost + good).finite
