"""What runs say of themselves, where two are unlike, and the runs that would be alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.compared import classes, classes_lacking, classes_sentence
from analysis.comparing import compare
from analysis.fairness import (
    NOT_RECORDED,
    Common,
    common,
    dimension,
    equalised,
    facts,
    overlap,
    passes,
    reached,
    saw,
    serves,
    unlike,
    unsure,
)
from analysis.matching import Side, sides
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study
from analysis.sweeping import sweep

from .handmade import BLOCK, DIGITS, shaken, study

HUMP = [0.7, 0.8, 0.75, 0.4]
SHIPPED = ("digits", "cifar10", "shapes-hue", "shapes-shape", "shapes-texture")


def pair(folder: Path, **changes: Any) -> list[Side]:
    second = study(folder, shaken(HUMP, seed=1), key="bbbb", **changes)
    return sides([study(folder, shaken(HUMP), key="aaaa"), second])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundled_run_says_everything_that_a_run_says(name: str) -> None:
    said = facts(sides([find_study(name)])[0])
    assert said["saw in training"] == "neither labels nor text"
    assert said["known overlap with the test images"].startswith("none known: ")
    assert said["images seen in training"].replace(",", "").isdecimal()
    assert said["forward passes an image"] == "1"
    assert said["GFLOP an image"] == NOT_RECORDED
    assert int(said["feature dimension"]) > 0


def test_the_digits_facts_by_hand() -> None:
    said = facts(sides([DIGITS])[0])
    assert said["training set"] == "digits, 1,078 images, train and validation; no test image was seen"
    assert said["known overlap with the test images"] == "none known: trained on the other images of the same data"
    assert said["images seen in training"] == "128,000"
    assert said["parameters"] == "1,112,801"
    assert said["labelled images a draw"] == "100 (10 a class)"
    assert said["feature dimension"] == "64"
    assert said["question"] == "digit (10 classes), chance 10.0 %"


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (("none",), "neither labels nor text"),
        (("null", "class:0", "class:1"), "labels"),
        (("mean", "class:0"), "labels"),
        (("null", "prompt:"), "text"),
        (("null", "class:0", "prompt:a cat"), "labels and text"),
        (("null",), NOT_RECORDED),
    ],
)
def test_what_a_model_saw_is_told_from_its_conditions(conditions: tuple[str, ...], words: str) -> None:
    assert saw(conditions) == words


@pytest.mark.parametrize(
    ("training", "begins"),
    [
        ({}, "unknown: what the model was trained on is not recorded"),
        ({"data": "LAION"}, "unknown: trained on LAION, tested on other images (digits)"),
        ({"data": "digits", "data_identity": "x"}, "unknown: trained on the same data; which of its images"),
        ({"data": "digits", "data_identity": "x", "split": "train; no test image was seen"}, "none known: "),
    ],
)
def test_no_more_is_said_of_an_overlap_than_the_card_says(training: dict[str, Any], begins: str) -> None:
    assert overlap(training, {"dataset": "digits", "dataset_identity": "x"}).startswith(begins)


def test_like_runs_are_not_called_unlike(tmp_path: Path) -> None:
    assert unlike(*pair(tmp_path)) == []
    assert unsure(*pair(tmp_path)) == []


def test_what_makes_a_comparison_unequal_is_named(tmp_path: Path) -> None:
    a, b = pair(
        tmp_path,
        receipt={"head": "ridge", "gflop": {BLOCK: 0.5}, "dimensions": {f"{BLOCK}/1": 128}},
        request={"pca": 32, "average_draws": 5, "label_noise": 0.4},
        card={"conditions": ["null", "class:0"], "parameters": 7},
    )
    assert unlike(a, b) == ["saw in training", "parameters", "labels told", "probe", "feature dimension", "forward passes an image"]
    assert unsure(a, b) == ["GFLOP an image"]
    said = facts(b)
    assert said["feature dimension"] == "32"
    assert said["block and pooling"] == f"{BLOCK}, 1, 32 principal components"
    assert (said["forward passes an image"], said["GFLOP an image"]) == ("5", "2.5")
    assert said["labels told"] == "40 % wrong labels"
    assert (dimension(b), passes(b)) == (32, 5)


def test_a_dimension_that_was_not_kept_is_known_from_block_and_pooling(tmp_path: Path) -> None:
    (side,) = sides([study(tmp_path, shaken(HUMP), key="aaaa")])
    block = next(block for block in side.study.card.blocks if block.name == BLOCK)
    assert dimension(side) == block.channels
    wide = Side("A", side.study, "10", f"model/{BLOCK}/4")
    assert dimension(wide) == 16 * block.channels  # of a grid of 4 × 4 places, whatever the map's own side
    assert common([wide]) == Common(99, 1)  # of 100 labelled images


def test_runs_are_brought_to_the_smaller_dimension_and_the_fewer_passes(tmp_path: Path) -> None:
    a, b = pair(tmp_path, receipt={"dimensions": {f"{BLOCK}/1": 40}}, request={"average_draws": 5})
    assert common([a, b]) == Common(40, 1)
    wide = [study(tmp_path, shaken(HUMP), key=f"w{k}", receipt={"dimensions": {f"{BLOCK}/1": 5000}}) for k in range(2)]
    assert common(sides(wide)) == Common(99, 1)  # of 100 labelled images
    assert not reached(a, Common(40, 1))
    assert reached(a, Common(dimension(a) or 0, 1))
    assert not reached(b, Common(40, 1))  # of five passes


def test_an_equalised_request_is_the_curves_own_and_a_run_of_it_serves(tmp_path: Path) -> None:
    a, _ = pair(tmp_path)
    wanted = equalised(a, Common(40, 1))
    assert (wanted.pca, wanted.blocks, wanted.labels_per_class, wanted.label_set) == (40, (BLOCK,), (10,), "digit")
    made = SweepRequest.model_validate(a.study.facts["request"])
    assert not serves(made, "digit", wanted)
    more = made.model_copy(update={"pca": 40, "blocks": (BLOCK, "up0.res0"), "labels_per_class": (10, 50)})
    assert serves(more, "digit", wanted)
    assert not serves(more, "parity", wanted)
    assert not serves(more.model_copy(update={"head": "ridge"}), "digit", wanted)
    assert not serves(more.model_copy(update={"blocks": ("up0.res0",)}), "digit", wanted)
    assert SweepRequest.model_validate_json(wanted.canonical()) == wanted


def test_a_swept_run_is_equalised_and_compared_with_itself_as_it_was(small_study: Study, store: Store) -> None:
    (side,) = sides([small_study])
    said = facts(side)
    assert float(said["GFLOP an image"]) > 0
    assert int(said["feature dimension"]) == 8
    wanted = equalised(side, Common(4, 1))
    made = sweep(wanted, store, processes=0)
    assert serves(SweepRequest.model_validate(made.facts["request"]), made.facts["receipt"]["label_set"], wanted)
    (one,) = compare(sides([small_study, made]))
    assert made.result("10")["headline"] == side.series
    assert (one.match.draws.labels, one.match.draws.eps, one.match.same.all()) == (True, True, True)
    assert one.match.mismatches == ()
    assert unlike(one.reference, one.other) == ["feature dimension"]
    assert unsure(one.reference, one.other) == []
    assert classes_lacking(one) is None
    gaps = classes(one, 0)
    assert sum(gap.n for gap in gaps) == 79
    assert "1 more has fewer than 2 shared test images" in classes_sentence(one, gaps, 0)
