from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analysis.specs import FeatureIdentity, SweepRequest, variants


def test_the_key_is_the_hash_of_the_canonical_json() -> None:
    import hashlib

    identity = FeatureIdentity(backend="b", dataset="d")
    written = '{"backend":"b","condition":"none","dataset":"d","draw":0,"input":"noisy","precision":"float32","protocol":1,"seed":0}'
    assert identity.canonical() == written
    assert identity.key() == hashlib.sha256(written.encode()).hexdigest()[:16]


@given(st.integers(0, 10**6), st.integers(0, 100))
def test_another_seed_or_draw_is_another_key(seed: int, draw: int) -> None:
    identity = FeatureIdentity(backend="b", dataset="d", seed=seed, draw=draw)
    assert identity.key() != identity.model_copy(update={"seed": seed + 1}).key()
    assert identity.key() != identity.model_copy(update={"draw": draw + 1}).key()


def test_specs_cannot_be_changed_and_take_no_unknown_field() -> None:
    with pytest.raises(ValidationError):
        SweepRequest().seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        SweepRequest(colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize("labels", [(), (0,), (-3,), ("most",)])
def test_labels_per_class_are_positive_or_all(labels: tuple) -> None:
    with pytest.raises(ValidationError):
        SweepRequest(labels_per_class=labels)


def test_few_labels_are_drawn_often_and_all_labels_once_a_noise_draw() -> None:
    assert SweepRequest().draws(10) == 15
    assert SweepRequest().draws("all") == 3
    assert SweepRequest(label_draws=8).draws(10) == 8


def test_every_combination_is_a_request_and_equal_ones_are_one() -> None:
    found = variants(SweepRequest(), head=["logistic", "ridge"], label_noise=[0.0, 0.4, 0.4])
    assert [(one.head, one.label_noise) for one in found] == [("logistic", 0.0), ("logistic", 0.4), ("ridge", 0.0), ("ridge", 0.4)]
