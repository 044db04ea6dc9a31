"""What the worker answers about why a probe reads an image as it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from analysis import trust
from analysis.answers import Answers
from analysis.attribution import Settings
from analysis.backends import open_backend
from analysis.datasets.base import Dataset, image_ids
from analysis.errors import InvalidRequest, UnknownName
from analysis.explaining import over_draws
from analysis.noise import noise_like
from analysis.probed import ProbedModel, Target
from analysis.readout import Readout, of_study
from analysis.store import Store
from analysis.studies import find_study

DIGITS = find_study("digits")
SEVEN = {"study": DIGITS.key, "block": "up1.res0", "target": {"kind": "class", "index": 7}}


@pytest.fixture
def answers(store: Store) -> Answers:
    return Answers(store, "cpu", 0)


def told(answers: Answers, image: np.ndarray, **question: Any) -> tuple[Mapping[str, Any], dict[str, np.ndarray], list[Mapping[str, Any]]]:
    """The whole answer, and what was said on the way."""
    way = []
    while True:
        said, back = answers({**SEVEN, **question}, save({"image": image}))
        if "left" not in said:
            return said, load(back) if back else {}, way
        way.append(said)


def by_hand(image: np.ndarray, readout: Readout) -> tuple[ProbedModel, torch.Tensor]:
    """What is asked about: the seventh class in one block at one level, and the image (1, 3, 8, 8)."""
    probed = ProbedModel(open_backend("digits-ddpm"), "up1.res0", readout.sigmas[5], *readout.probe(5, "up1.res0"), target=Target(index=7))
    return probed, torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_a_map_is_the_librarys_over_the_same_draws(answers: Answers, digits: Dataset) -> None:
    image, readout = digits.images[7], of_study(DIGITS)
    _, back, _ = told(answers, image, ask="explain", method="integrated_gradients", levels=[5], draws=3)
    probed, pixels = by_hand(image, readout)
    *_, last = over_draws(probed, pixels, "integrated_gradients", Settings(), int(image_ids(image[None])[0]), 3)
    np.testing.assert_allclose(back["mean/5"], last.mean, atol=1e-5)
    assert (back["sure/5"] == last.sure.numpy()).all()


def test_maps_come_one_level_after_the_other(answers: Answers, digits: Dataset) -> None:
    said, back, way = told(answers, digits.images[7], ask="explain", method="saliency", levels=[2, 5], draws=2)
    assert [(step["drawn"]["level"], step["drawn"]["draws"]) for step in way] == [(2, 1), (2, 2), (5, 1)]
    assert {"mean/2", "sure/2", "spread/2", "mean/5", "sure/5", "spread/5"} == set(back)
    assert said["gaps"] == {}


@pytest.mark.parametrize(
    "target",
    [
        {"kind": "class", "index": 1},
        {"kind": "difference", "index": 1, "minus": 7},
        {"kind": "channel", "index": 3},
        {"kind": "loss"},
    ],
)
def test_every_target_can_be_explained(answers: Answers, digits: Dataset, target: dict[str, Any]) -> None:
    _, back, _ = told(answers, digits.images[7], ask="explain", method="occlusion", levels=[5], draws=2, target=target)
    assert back["mean/5"].shape == (8, 8)
    assert np.abs(back["mean/5"]).max() > 0


@pytest.mark.slow
def test_the_checks_come_in_steps_and_are_the_librarys(answers: Answers, digits: Dataset) -> None:
    image, readout = digits.images[7], of_study(DIGITS)
    said, _, way = told(answers, image, ask="examine", method="integrated_gradients", level=5)
    assert [step["done"] for step in way] == list(range(1, trust.CHECKS))
    probed, pixels = by_hand(image, readout)
    probed = probed.changed(eps=noise_like(probed.backend.encode(pixels), [int(image_ids(image[None])[0])], 0, 0))
    expected = trust.examine(probed, pixels, "integrated_gradients", Settings(), open_backend("digits-ddpm", "random:0"))
    assert said["trust"]["random_network"] == pytest.approx(expected.random_network, abs=1e-4)
    assert said["trust"]["gap"] == pytest.approx(expected.gap, abs=1e-3)
    assert said["trust"]["random_network"] < 0.9


def test_maps_are_made_from_between_two_batches_of_a_sweep(answers: Answers, digits: Dataset) -> None:
    with torch.inference_mode():
        _, back, _ = told(answers, digits.images[7], ask="explain", method="saliency", levels=[5], draws=2)
    _, again, _ = told(answers, digits.images[7], ask="explain", method="saliency", levels=[5], draws=2)
    assert (back["mean/5"] == again["mean/5"]).all()


def test_methods_say_what_they_cost_and_guided_ones_are_left_out(answers: Answers) -> None:
    methods = answers({**SEVEN, "ask": "methods"})[0]["methods"]
    assert methods["integrated_gradients"]["passes"] == 66
    assert methods["layer_grad_cam"]["kind"] == "block"
    assert "guided_grad_cam" not in methods


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        ({"method": "magic"}, UnknownName, "magic"),
        ({"method": "guided_grad_cam"}, InvalidRequest, "ReLU"),
        ({"levels": [99]}, InvalidRequest, "allowed: 0 to 15"),
        ({"levels": []}, InvalidRequest, "at least one level"),
        ({"draws": 0}, InvalidRequest, "1 to 32 draws"),
        ({"block": "nowhere"}, UnknownName, "nowhere"),
        ({"target": {"kind": "class", "index": 10}}, InvalidRequest, "from 0 to 9"),
        ({"target": {"kind": "mood"}}, InvalidRequest, "is not one"),
        ({"settings": {"steps": 0}}, InvalidRequest, "steps of the settings is 0"),
    ],
)
def test_what_cannot_be_explained_is_said(
    answers: Answers, digits: Dataset, question: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        told(answers, digits.images[7], **{"ask": "explain", "method": "saliency", "levels": [5], "draws": 2, **question})
