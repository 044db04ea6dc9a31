"""What the worker answers about a person's own image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from analysis import known, views
from analysis.answers import Answers
from analysis.backends import open_backend
from analysis.datasets.base import Dataset
from analysis.errors import InvalidRequest, UnknownName
from analysis.readout import of_study
from analysis.store import Store
from analysis.studies import find_study

DIGITS, CIFAR = find_study("digits"), find_study("cifar10")


@pytest.fixture
def own(store: Store) -> Answers:
    return Answers(store, "cpu", 0)


def told(
    own: Answers, what: str, data: Mapping[str, np.ndarray] | None = None, **question: Any
) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    said, back = own({"ask": what, "study": DIGITS.key, **question}, save(dict(data or {})))
    return said, load(back) if back else {}


def all_neighbours(own: Answers, data: Mapping[str, np.ndarray], **question: Any) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    said, back = told(own, "neighbours", data, **question)
    while said.get("left"):
        before = said["left"]
        said, back = told(own, "neighbours", data, **question)
        assert said.get("left", 0) < before
    return said, back


def test_a_view_is_the_librarys_with_the_fit(own: Answers, digits: Dataset) -> None:
    said, back = told(own, "view", {"image": digits.images[5]})
    expected = views.view(open_backend("digits-ddpm"), of_study(DIGITS), digits.images[5])[0]
    assert set(back) == set(expected)
    for name, array in expected.items():
        assert np.array_equal(back[name], array), name
    assert 0 <= said["fit"]["percentile"] <= 100


def test_the_nearest_training_image_of_a_training_image_is_itself(own: Answers, digits: Dataset) -> None:
    image = digits.images[digits.rows(digits.members("train")[7:8])][0]
    _, seen = told(own, "view", {"image": image})
    for metric in ("cosine", "l2"):
        question = {"level": 3, "block": "up1.res0", "count": 3, "metric": metric}
        said, back = all_neighbours(own, {"feature": seen["feature/up1.res0"][3:4]}, **question)
        assert said["kind"] == "training"
        assert said["of"] == len(digits.members("train"))
        assert (back["images"][0] == image).all()
        assert said["distances"][0] == pytest.approx(0, abs=1e-3)


def test_images_that_are_stored_later_are_compared_with_too(own: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    feature = {"feature": np.ones((1, 64), np.float32)}
    question = {"level": 3, "block": "mid.res1", "count": 2, "metric": "l2"}
    monkeypatch.setattr(known, "MANY", 100)
    assert all_neighbours(own, feature, **question)[0]["of"] == 100
    bench = own.own.bench(DIGITS)
    assert bench is not None
    monkeypatch.setattr(known, "MANY", 300)
    assert all_neighbours(own, feature, **question)[0]["of"] == 100  # from memory: the store is as it was
    known.more(bench, DIGITS.facts["levels"][3]["sigma"], known.stored(bench, DIGITS.facts["levels"][3]["sigma"], "mid.res1"))
    assert all_neighbours(own, feature, **question)[0]["of"] == 300


def test_neighbours_of_another_block_at_that_level_need_no_more_passes(own: Answers) -> None:
    feature = {"feature": np.ones((1, 64), np.float32)}
    all_neighbours(own, feature, level=3, block="up1.res0", count=2, metric="l2")
    said, _ = told(own, "neighbours", {"feature": np.ones((1, 64), np.float32)}, level=3, block="mid.res1", count=2, metric="l2")
    assert "left" not in said


def test_without_its_data_a_study_is_compared_with_images_that_were_generated(own: Answers) -> None:
    feature = {"feature": np.ones((1, 64), np.float32)}
    said, back = told(own, "neighbours", feature, study=CIFAR.key, level=4, block="up1.res0", count=5, metric="cosine")
    assert (said["kind"], said["of"], back["images"].shape) == ("generated", 1000, (5, 32, 32, 3))
    with pytest.raises(InvalidRequest, match=r"can be compared in block up1\.res0 alone"):
        told(own, "neighbours", feature, study=CIFAR.key, level=4, block="mid.res0", count=5, metric="cosine")


def test_examples_are_test_images_of_every_class_or_generated_ones(own: Answers, digits: Dataset) -> None:
    said, back = told(own, "examples")
    assert said["names"][:10] == [str(k) for k in range(10)]
    assert back["images"].shape == (24, 8, 8, 3)
    said, back = told(own, "examples", study=CIFAR.key)
    assert (said["kind"], back["images"].shape) == ("generated", (24, 32, 32, 3))


def test_draws_come_with_their_spread_and_an_ensemble(own: Answers, digits: Dataset) -> None:
    _, back = told(own, "draws", {"image": digits.images[5]})
    assert back["mean/up1.res0"].shape == back["spread/up1.res0"].shape == back["ensemble/up1.res0"].shape == (16, 10)


def test_a_study_that_is_not_there_is_named(own: Answers) -> None:
    with pytest.raises(UnknownName, match="nope"):
        told(own, "view", study="nope")


def test_nothing_of_an_image_is_written(own: Answers, digits: Dataset, store: Store) -> None:
    told(own, "view", {"image": digits.images[5]})
    told(own, "draws", {"image": digits.images[5]})
    assert not store.root.exists() or not [path for path in store.root.rglob("*") if path.is_file()]


def test_what_is_begun_is_carried_on_where_it_stopped_and_forgotten_when_many_others_come(own: Answers) -> None:
    feature = save({"feature": np.ones((1, 64), np.float32)})
    question = {"ask": "neighbours", "study": DIGITS.key, "level": 3, "block": "up1.res0", "count": 2, "metric": "l2"}
    assert own(question, feature)[0] == {"done": 0, "of": 898, "left": 898}
    assert own(question, feature)[0]["done"] == 256
    for level in range(16):
        own({**question, "level": level, "metric": "cosine"}, feature)
    assert len(own._begun) == 16
    assert own(question, feature)[0]["done"] == 256  # begun anew: the store has what was done


def test_what_is_taught_is_the_librarys_and_reads_the_image(own: Answers, digits: Dataset) -> None:
    values = digits.label_set(None).values
    rows = np.concatenate([np.flatnonzero(values == k)[:5] for k in (0, 1)])
    data = {"images": digits.images[rows], "labels": np.repeat(np.arange(2), 5)}
    question = {"ask": "teach", "study": DIGITS.key, "classes": ["zero", "one"], "block": "up1.res0"}
    while (answer := own(question, save(data)))[0].get("left"):
        pass
    said, back = answer[0], load(answer[1])
    assert (said["n"], said["verdict"]["shape"], len(said["curve"][0])) == (10, "undecided", 16)
    _, seen = told(own, "view", {"image": digits.images[rows[7]], **back}, classes=["zero", "one"])
    assert seen["logits/up1.res0"].shape == (16, 2)
    assert seen["logits/up1.res0"][0].argmax() == 1


def test_a_block_that_was_not_probed_cannot_be_taught(own: Answers) -> None:
    with pytest.raises(UnknownName, match="nope"):
        told(own, "teach", {"images": np.zeros((4, 8, 8, 3), np.uint8), "labels": np.arange(4) % 2}, classes=["a", "b"], block="nope")


def test_pictures_of_test_images_are_those_of_their_ids(own: Answers, digits: Dataset) -> None:
    ids = digits.members("test")[[5, 2]]
    said, back = told(own, "pictures", ids=[f"{id:016x}" for id in ids])
    values = digits.label_set().values[digits.rows(ids)]
    assert said == {"there": True, "names": [digits.label_set().classes[value] for value in values]}
    assert np.array_equal(back["images"], digits.images[digits.rows(ids)])


def test_pictures_of_data_that_are_not_there_are_none(own: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own.own, "bench", lambda study: None)
    said, back = told(own, "pictures", ids=["00"])
    assert said == {"there": False, "names": []}
    assert len(back["images"]) == 0
