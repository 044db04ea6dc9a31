"""What a class-conditional network is told while it is trained, and that it comes out with a null class."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from analysis import training
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.errors import InvalidData, InvalidRequest
from analysis.recipes import RECIPES, Recipe, recipe
from analysis.training import Run
from analysis.withheld import classes_of, withhold

from .conftest import TINY

NAME = "digits-ddpm-classes"


def tiny(steps: int = 4, **changes: object) -> Recipe:
    return recipe(NAME, **{"network": TINY | {"num_class_embeds": 11}, "steps": steps, "batch": 8, "warmup": 2} | changes)


def test_the_class_is_that_of_the_image_or_withheld_in_the_share_that_was_asked_for() -> None:
    classes = torch.arange(10).repeat(2000)
    told = withhold(tiny(class_dropout=0.15), classes, torch.Generator().manual_seed(0))
    assert ((told == classes) | (told == 10)).all()
    assert float((told == 10).float().mean()) == pytest.approx(0.15, abs=0.01)


def test_only_labels_outside_the_test_split_are_learnt(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    assert run.classes is not None
    assert run.classes.tolist() == digits.label_set().values[digits.split != "test"].tolist()


def test_each_image_goes_with_its_own_class(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = Run(tiny(class_dropout=0.0), digits), []
    forward = run.forward
    monkeypatch.setattr(run, "forward", lambda x, t, told: (seen.append(told), forward(x, t, told))[1])
    rows = []
    batch = run._batch
    monkeypatch.setattr(run, "_batch", lambda given: (rows.append(given), batch(given))[1])
    run.advance()
    assert run.classes is not None
    assert seen[0].tolist() == run.classes[rows[0]].tolist()


def test_a_trained_model_has_a_null_class_and_a_card_that_tells_the_classes(tmp_path: Path) -> None:
    card = training.train(tiny(), open_dataset("digits"), tmp_path / "run", tmp_path / "model", sample_every=2)
    model = open_backend(str(tmp_path / "model"))
    assert model.card == card
    assert (card.unconditional, card.conditions[-1], len(card.conditions), card.notes) == ("null", "class:9", 11, ())
    assert (card.training["class_dropout"], card.training["classes"][3]) == (0.15, "3")
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor([0.5, 0.5])
    null, three = model.denoise(x, sigma, "null"), model.denoise(x, sigma, "class:3")
    assert torch.equal(model.denoise(x, sigma), null)
    assert not torch.equal(null, three)
    with pytest.raises(InvalidRequest, match="'class:10'"):
        model.denoise(x, sigma, "class:10")


def test_a_run_with_classes_goes_on_bit_for_bit(tmp_path: Path) -> None:
    digits = open_dataset("digits")
    whole = training.train(tiny(6), digits, tmp_path / "a", tmp_path / "whole")
    training.train(tiny(6), digits, tmp_path / "b", tmp_path / "cut", minutes=0.0001)
    assert training.train(tiny(6), digits, tmp_path / "b", tmp_path / "cut").identity == whole.identity


@pytest.mark.parametrize("data", ["shapes", "shapes:50"])
def test_data_of_other_classes_are_refused(data: str) -> None:
    images = open_dataset(data, 8)
    with pytest.raises(InvalidData, match="digits-ddpm-classes learns 10 classes; allowed: data of as many"):
        classes_of(tiny(), images, images.split != "test")


def test_recipes_without_classes_keep_their_keys_and_tell_nothing() -> None:
    for one in RECIPES:
        assert ("class_dropout" in one.canonical()) == (one.name == NAME)
    assert recipe("digits-ddpm").conditions is None
    assert recipe(NAME).conditions == ("null", *(f"class:{k}" for k in range(10)))
