"""What the worker answers about samples on their way from noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from analysis.answers import Answers
from analysis.backends import open_backend
from analysis.decided import measure
from analysis.deciding import Watcher, ask
from analysis.errors import InvalidRequest, UnknownName
from analysis.sampling import to_pixels, visited
from analysis.store import Store
from analysis.studies import find_study
from analysis.views import softmax

HUE, SHAPE, DIGITS = (find_study(name) for name in ("shapes-hue", "shapes-shape", "digits"))
TWO = [HUE.key, SHAPE.key]


@pytest.fixture
def own(store: Store) -> Answers:
    return Answers(store, "cpu", 0)


def told(own: Answers, what: str, **question: Any) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
    said, back = own({"ask": what, "studies": TWO, "steps": 4, **question})
    return said, load(back) if back else {}


def whole(own: Answers, what: str, **question: Any) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The whole answer, and what was said on the way."""
    way = []
    while (said := told(own, what, **question)[0]).get("left"):
        way.append(said)
    return said, way


def watcher(steps: int = 4) -> Watcher:
    return Watcher(open_backend("shapes-ddpm"), [ask(HUE), ask(SHAPE)], steps=steps)


def test_a_sample_is_the_librarys_whatever_was_asked_before(own: Answers) -> None:
    told(own, "sample", number=2, seed=1)
    said, back = told(own, "sample", number=3, seed=1)
    (made,) = watcher().watch(range(3, 4), 1)
    assert [level["sigma"] for level in said["levels"]] == made.sigmas.tolist()
    np.testing.assert_array_equal(back["noisy"], made.noisy[:, 0])
    np.testing.assert_array_equal(back["clean"], made.clean[:, 0])
    for name, reading in made.readings.items():
        np.testing.assert_array_equal(back[f"told/{name}"], softmax(reading.logits[:, 0]))
        assert said["questions"][name]["outside"] == reading.outside.tolist()


def test_a_sample_is_read_in_the_block_that_is_asked_for(own: Answers) -> None:
    said, _ = told(own, "sample", block="mid.res0")
    assert {question["block"] for question in said["questions"].values()} == {"mid.res0"}
    with pytest.raises(UnknownName, match="nowhere"):
        told(own, "sample", block="nowhere")


def test_forks_of_a_level_are_the_librarys(own: Answers) -> None:
    said, back = told(own, "fork", number=3, seed=1, sigma=2.0, count=5)
    (made,) = watcher().watch(range(3, 4), 1)
    finals = {name: int(reading.final[0]) for name, reading in made.readings.items()}
    expected = watcher().fork(made.x0, finals, 2.0, 5, 1)
    assert said["sigma"] == expected.sigma
    assert said["kept"] == {name: list(kept) for name, kept in expected.kept.items()}
    assert said["own"] == finals
    assert said["classes"]["hue"] == expected.made.readings["hue"].final.tolist()
    np.testing.assert_array_equal(back["noised"], expected.made.noisy[0])
    assert back["images"].shape == (5, 16, 16, 3)


def test_shares_over_levels_come_one_level_at_a_time(own: Answers) -> None:
    said, way = whole(own, "forks", sigmas=[0.3, 2.0, 150.0], count=4)
    levels = visited(open_backend("shapes-ddpm").schedule, "ddim", 4)
    assert [len(part["rows"]) for part in way] == [1, 2]
    assert {row["sigma"] for row in said["rows"]} <= set(levels.tolist())
    assert said["rows"][1]["kept"] == told(own, "fork", sigma=said["rows"][1]["sigma"], count=4)[0]["kept"]


def test_what_thousands_say_is_what_would_be_kept_with_the_studies(own: Answers) -> None:
    said, way = whole(own, "decide", count=20)
    expected = measure([HUE, SHAPE], open_backend("shapes-ddpm"), 20, steps=4)
    assert [part["done"] for part in way] == [16, 20]
    assert set(said["found"]) == set(TWO)
    for key, found in expected.items():
        same = {name: value for name, value in found.items() if name != "seconds"}
        assert {name: value for name, value in said["found"][key].items() if name != "seconds"} == same
        json.dumps(said["found"][key], allow_nan=False)


def test_nothing_is_written(own: Answers, store: Store) -> None:
    before = HUE.path("deciding.json").read_bytes()
    whole(own, "decide", count=3)
    assert HUE.path("deciding.json").read_bytes() == before
    assert not store.root.exists() or not [path for path in Path(store.root).rglob("*") if path.is_file()]


def test_others_are_served_between_two_steps_and_change_nothing(own: Answers) -> None:
    alone, _ = whole(own, "forks", sigmas=[0.3, 2.0], count=4)
    told(own, "forks", sigmas=[0.3, 2.0], count=4)
    told(own, "sample", number=9)
    between, way = whole(own, "forks", sigmas=[0.3, 2.0], count=4)
    assert not way  # its first level was there
    assert between["rows"] == alone["rows"]


def test_what_is_begun_and_not_asked_for_again_leaves_no_hook(own: Answers) -> None:
    told(own, "decide", count=100)
    model = own.own.model(HUE)
    assert not [module for module in model.net.modules() if module._forward_hooks]


def test_the_pace_is_seconds_of_one_pass_of_one_image(own: Answers) -> None:
    assert 0 < told(own, "pace")[0]["pace"] < 10


@pytest.mark.parametrize(
    ("what", "question", "words"),
    [
        ("sample", {"studies": []}, "allowed: at least one"),
        ("sample", {"studies": [HUE.key, DIGITS.key]}, "studies of one model"),
        ("sample", {"number": 1000}, "number is 1000; allowed: a whole number from 0 to 999"),
        ("sample", {"number": 1.5}, r"number is 1\.5; allowed"),
        ("sample", {"seed": -1}, "seed is -1; allowed"),
        ("sample", {"sampler": "euler"}, "sampler is 'euler'"),
        ("sample", {"steps": 1}, "steps is 1; allowed: a whole number from 2"),
        ("fork", {"sigma": -1.0}, "sigma is -1.0; allowed: finite and above 0"),
        ("fork", {"sigma": "much"}, "sigma is 'much'; allowed: a number above 0"),
        ("fork", {"sigma": 1.0, "count": 0}, "count is 0; allowed: a whole number from 1"),
        ("forks", {"sigmas": []}, "sigmas is empty"),
        ("decide", {"count": 1}, "count is 1; allowed: a whole number from 2"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(own: Answers, what: str, question: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        told(own, what, **question)


def test_a_study_that_is_not_there_is_named(own: Answers) -> None:
    with pytest.raises(UnknownName, match="nope"):
        told(own, "sample", studies=["nope"])


def test_pictures_are_of_the_finished_sample(own: Answers) -> None:
    _, back = told(own, "sample", number=3)
    (made,) = watcher().watch(range(3, 4))
    np.testing.assert_array_equal(back["x0"], to_pixels(torch.from_numpy(made.x0))[0])
