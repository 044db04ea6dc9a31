"""A study's recipe: the best cell of all poolings, those near it, the cheapest of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import advice, cells, dynamics
from analysis.__main__ import app
from analysis.errors import UnknownName
from analysis.specs import Block, SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study

from .conftest import SMALL

DIGITS, CIFAR = find_study("digits"), find_study("cifar10")


def told(study: Study, **receipt: Any) -> Study:
    return replace(study, facts={**study.facts, "receipt": {**study.facts["receipt"], **receipt}})


@pytest.mark.parametrize(("study", "labels"), [(DIGITS, "10"), (DIGITS, "all"), (CIFAR, "10"), (CIFAR, "1000")])
def test_what_ships_has_a_recipe(study: Study, labels: str) -> None:
    found, near = advice.recipe(study, labels), cells.near_best_of(study, labels, "1")
    assert (found.best.cell, {one.cell for one in found.near}) == (near.best, set(near.cells))
    table = study.table("curve").query("source == 'model' and labels_per_class == @labels and block == @found.best.block")
    row = table.sort_values("sigma").iloc[found.best.level]
    assert (found.best.accuracy, found.best.ci) == (row.accuracy, (row.ci_low, row.ci_high))
    assert found.best.sigma == study.facts["levels"][found.best.level]["sigma"]
    assert len(found.every) == len(study.card.blocks) * len(study.facts["levels"])


def test_the_first_number_of_labels_is_taken_where_none_is_given_and_an_unknown_one_refused() -> None:
    assert advice.recipe(DIGITS).labels == "10"
    with pytest.raises(UnknownName, match="labels per class"):
        advice.recipe(DIGITS, 7)


def test_without_gflop_the_earliest_block_is_cheapest_and_it_is_said() -> None:
    found = advice.recipe(DIGITS)
    assert found.cheapest.depth == min(one.depth for one in found.near)
    same = [one for one in found.near if one.block == found.cheapest.block]
    assert found.cheapest.validation == max(one.validation for one in same)  # of equal cost the better
    assert "this study says no GFLOP" in advice.how(DIGITS, found)
    assert "whose pass may end after block 5 of 15" in advice.sentence(found)


def test_gflop_come_before_the_number_of_features() -> None:
    gflop = {block.name: 2.0 + block.channels for block in DIGITS.card.blocks}
    gflop["mid.res1"] = 0.5
    found = advice.recipe(told(DIGITS, gflop=gflop))
    assert found.cheapest.block == "mid.res1"
    assert advice.rows(found)[1]["GFLOP an image"] == "0.5"
    assert "0.5 GFLOP an image" in advice.sentence(found)
    assert "no GFLOP" not in advice.how(DIGITS, found)


def test_the_careful_choice_is_the_cheapest_whose_own_interval_holds_nothing_lost() -> None:
    found = advice.recipe(CIFAR, "1000")
    assert found.cheapest.below[1] > 0  # twelve points, and yet not shown among 180 tests with three draws
    assert found.careful.below[1] <= 0
    assert all(one.below[1] > 0 for one in found.near if one.cost < found.careful.cost)
    assert "3 draws, too few to tell most cells apart" in (advice.caution(found) or "")
    assert advice.caution(advice.recipe(DIGITS)) is None


def test_the_difference_to_the_best_is_paired() -> None:
    found = advice.recipe(DIGITS)
    right, resamples = DIGITS.correct(), cells.resampled(DIGITS, "10")
    best, other = (right[f"10/{one.cell[0]}"][:, one.level].astype(float) for one in (found.best, found.careful))
    assert found.careful.below[0] == pytest.approx((best - other).mean())
    (error,), (freedom,) = resamples.spread((best - other)[:, None]).error()
    half = dynamics.student.ppf(0.975, freedom) * error
    assert found.careful.below[1:] == pytest.approx((found.careful.below[0] - half, found.careful.below[0] + half), abs=1e-6)


def test_a_cell_that_is_worse_beyond_doubt_is_left_out() -> None:
    draws = np.arange(12)
    rng = np.random.default_rng(0)
    right = rng.random((12, 2, 400)) < np.array([0.9, 0.3])[None, :, None]
    found = cells.near_best({"model/a/1": right}, {"model/a/1": np.array([0.9, 0.3])}, dynamics.resamples(draws, draws % 3, 400))
    assert found.cells == {("model/a/1", 0)}
    assert found.below["model/a/1", 0] == pytest.approx((0, 0, 0), abs=1e-6)
    assert found.below["model/a/1", 1][0] == pytest.approx(0.6, abs=0.03)


def test_a_cell_without_a_validation_accuracy_is_not_chosen() -> None:
    assert cells.chosen({"a": np.array([np.nan, 0.2]), "b": np.array([0.1, np.nan])}) == ("a", 1)


def test_all_poolings_are_one_family(tiny_folder: Path, tmp_path: Path) -> None:
    from analysis.sweeping import sweep

    request = SweepRequest(backend=str(tiny_folder), poolings=("1", "2", "max"), baselines=False, **SMALL)
    study = sweep(request, Store(tmp_path))
    found = advice.recipe(study)
    assert len(found.every) == 3 * 2 * 3
    validation = study.table("curve").query("source == 'model'").validation_accuracy
    assert found.best.validation == validation.max()
    assert {one.pooling: one.dimension for one in found.every.values() if one.block == "mid.res1"} == {"1": 8, "2": 32, "max": 8}
    gflop = study.facts["receipt"]["gflop"]
    assert {one.block: one.gflop for one in found.every.values()} == gflop
    assert found.order.startswith("GFLOP to the block's end")
    alone = {pooling: cells.near_best_of(study, "10", pooling).best for pooling in ("1", "2", "max")}
    assert found.best.cell == alone[found.best.pooling]


@pytest.mark.parametrize(("pooling", "width"), [("1", 6), ("4", 96), ("gem", 6)])
def test_how_wide_a_feature_is(pooling: str, width: int) -> None:
    assert Block(name="a", module="a", stage="mid", depth=0, channels=6, stride=1).width(pooling) == width


def test_several_draws_are_said() -> None:
    averaged = replace(DIGITS, facts={**DIGITS.facts, "request": {**DIGITS.facts["request"], "average_draws": 4}})
    assert "the mean over 4 draws of ε" in advice.how(averaged, advice.recipe(averaged))


def test_principal_components_are_said_and_counted() -> None:
    fewer = replace(DIGITS, facts={**DIGITS.facts, "request": {**DIGITS.facts["request"], "pca": 40}})
    found = advice.recipe(fewer)
    assert {one.dimension for one in found.every.values()} == {32, 40}
    assert "projected on 40 principal components of the labelled images, which the lines of code leave out" in advice.how(fewer, found)


def test_numbers_are_told_by_their_variance() -> None:
    found = advice.recipe(told(DIGITS, measure="r2"))
    assert "the share of variance explained (R²) 91.7 % (90.0 to 93.1) on test images" in advice.sentence(found)
    assert "R²" in advice.rows(found)[0]


def test_the_command_gives_the_lines_or_writes_them(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", "recipe", "digits", "--labels", "all"])
    assert result.exit_code == 0, result.output
    assert "With all labels the best of 240 cells" in result.stdout
    assert "from diffusers import DDPMScheduler, UNet2DModel" in result.stdout
    out = tmp_path / "feature.py"
    result = CliRunner().invoke(app, ["study", "recipe", "digits", "--cheapest", "--out", str(out)])
    assert str(out) in result.stdout.replace("\n", "")
    module = next(block.module for block in DIGITS.card.blocks if block.name == advice.recipe(DIGITS).cheapest.block)
    assert module in out.read_text()


def test_the_command_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", "recipe", "digits", "--out", str(tmp_path / "a.txt")])
    assert result.exit_code != 0
    assert CliRunner().invoke(app, ["study", "recipe", "digits", "--labels", "12"]).exit_code != 0
