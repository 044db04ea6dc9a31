"""Which runs differ from one in one thing alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.siblings import Aspect, siblings
from analysis.studies import Study, find_study

from .handmade import SIGMAS, shaken, study

HUMP = [0.7, 0.8, 0.75, 0.4]


def made(folder: Path, key: str, **changes: Any) -> Study:
    right = shaken(HUMP[: len(changes.get("sigmas", SIGMAS))])
    head = {"receipt": {"head": changes["request"]["head"]}} if "head" in changes.get("request", {}) else {}
    return study(folder, right, key=key, **{**head, **changes})


def keys(found: list[Study]) -> list[str]:
    return [one.key for one in found]


def test_each_preset_names_those_that_differ_in_its_own_thing_alone(tmp_path: Path) -> None:
    own = made(tmp_path, "own")
    others = [
        made(tmp_path, "knn", request={"head": "knn"}),
        made(tmp_path, "ridge", request={"head": "ridge"}),
        made(tmp_path, "clean", request={"input": "clean"}),
        made(tmp_path, "wrong", request={"label_noise": 0.4}),
        made(tmp_path, "uneven", request={"imbalance": 10.0}),
        made(tmp_path, "fifty", labels="50"),
        made(tmp_path, "both", request={"head": "knn", "input": "clean"}),
        made(tmp_path, "seed", request={"head": "knn", "seed": 1}),
        made(tmp_path, "network", request={"head": "knn"}, card={"identity": "another"}),
        made(tmp_path, "data", request={"head": "knn"}, receipt={"dataset_identity": "other"}),
    ]
    assert keys(siblings(own, [own, *others], "head")) == ["knn", "ridge"]
    assert keys(siblings(own, others, "input")) == ["clean"]
    assert keys(siblings(own, others, "labels")) == ["wrong", "uneven", "fifty"]
    assert keys(siblings(own, others, "question")) == []


def test_of_equal_ones_the_first_stands(tmp_path: Path) -> None:
    own = made(tmp_path, "own")
    twice = [made(tmp_path, key, request={"head": "knn", "baselines": baselines}) for key, baselines in (("one", True), ("two", False))]
    assert keys(siblings(own, twice, "head")) == ["one"]


@pytest.mark.parametrize("aspect", ["head", "input", "labels", "question"])
def test_the_same_once_more_is_no_sibling(tmp_path: Path, aspect: Aspect) -> None:
    own, again = made(tmp_path, "own"), made(tmp_path, "again", request={"baselines": False, "ensemble": 2})
    assert siblings(own, [again], aspect) == []


def test_averaged_features_are_beside_clean_input_which_has_none_to_average(tmp_path: Path) -> None:
    own = made(tmp_path, "own", request={"average_draws": 5})
    assert keys(siblings(own, [made(tmp_path, "clean", request={"input": "clean"})], "input")) == ["clean"]


def test_without_a_level_or_block_in_common_nothing_is_compared(tmp_path: Path) -> None:
    own = made(tmp_path, "own")
    apart = [
        made(tmp_path, "levels", request={"head": "knn"}, sigmas=[sigma * 1.5 for sigma in SIGMAS]),
        made(tmp_path, "block", request={"head": "knn", "blocks": ["up1.res0"]}),
        made(tmp_path, "labels", request={"head": "knn"}, labels="50"),
    ]
    assert siblings(own, apart, "head") == []


def test_numbers_have_one_linear_probe_under_two_names(tmp_path: Path) -> None:
    receipt = {"measure": "r2", "head": "ridge"}
    own, again = (made(tmp_path, name, request={"head": name}, receipt=receipt) for name in ("logistic", "ridge"))
    assert own.measure == "r2"
    assert siblings(own, [again], "head") == []


def test_the_questions_of_the_shapes_are_siblings() -> None:
    hue, shape, texture = (find_study(f"shapes-{name}") for name in ("hue", "shape", "texture"))
    assert siblings(hue, [shape, texture, find_study("digits")], "question") == [shape, texture]
