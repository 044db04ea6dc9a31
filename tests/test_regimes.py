"""Wrong labels and uneven classes, as asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.tasks import long_tailed, mislabelled


@given(st.integers(2, 12), st.integers(1, 400), st.floats(0, 0.99), st.integers(0, 1000))
def test_exactly_the_share_that_was_asked_for_is_wrong(classes: int, count: int, rate: float, seed: int) -> None:
    labels = np.arange(count) % classes
    found = mislabelled(labels, classes, rate, np.random.default_rng(seed))
    assert (found != labels).sum() == round(rate * count)
    assert found.min() >= 0
    assert found.max() < classes


def test_any_other_class_is_as_likely() -> None:
    labels = np.zeros(30_000, int)
    found = mislabelled(labels, 4, 0.9, np.random.default_rng(0))
    counts = np.bincount(found, minlength=4)
    assert counts[0] == 3000
    assert counts[1:] == pytest.approx(9000, abs=5 * np.sqrt(9000 * 2 / 3))


def test_classes_fall_off_evenly_by_the_logarithm() -> None:
    labels = np.repeat([0, 1, 2], 100)
    counts = np.bincount(labels[long_tailed(labels, 3, 100)])
    assert counts.tolist() == [100, 10, 1]
    assert len(long_tailed(labels, 3, 1)) == 300


def test_a_bench_tells_probes_the_wrong_labels_and_scores_by_the_right_ones(request_small: SweepRequest, store: Store) -> None:
    noisy = Bench(request_small.model_copy(update={"label_noise": 0.5, "labels_per_class": (4,)}), store)
    first, second = noisy.task(4, 0), noisy.task(4, 1)
    assert (first.given != first.values(first.train)).sum() == len(first.train) // 2
    assert first.given.tolist() != second.given.tolist()
    plain = Bench(request_small.model_copy(update={"labels_per_class": (4,)}), store).task(4, 0)
    assert plain.train.tolist() == first.train.tolist()
    reading = noisy.reading("model", 0)
    assert first.identity(reading, "logistic", "feature", [1.0]).labels != plain.identity(reading, "logistic", "feature", [1.0]).labels


def test_an_uneven_bench_has_fewer_of_the_later_classes(request_small: SweepRequest, store: Store) -> None:
    task = Bench(request_small.model_copy(update={"imbalance": 4.0, "labels_per_class": (8,)}), store).task(8, 0)
    counts = np.bincount(task.given)
    assert counts[0] == 8
    assert counts[-1] == 2
    assert (np.diff(counts) <= 0).all()


def test_what_says_nothing_leaves_keys_as_they_were() -> None:
    request = SweepRequest()
    assert "label_noise" not in request.canonical()
    assert request.key() != request.model_copy(update={"label_noise": 0.2}).key()
    assert SweepRequest.model_validate_json(request.canonical()) == request


@pytest.mark.parametrize("field", [{"label_noise": 1.0}, {"label_noise": -0.1}, {"imbalance": 0.5}])
def test_what_cannot_be_is_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SweepRequest(**field)  # type: ignore[arg-type]
