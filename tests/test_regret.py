"""What choosing without labels costs, of planted scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from analysis import advice, cells, regret
from analysis.studies import UNLABELLED, find_study

STUDY = find_study("digits")
RECIPE = advice.recipe(STUDY)
ACCURACY = np.array([one.accuracy for one in RECIPE.every.values()])


def table(**scores: np.ndarray) -> pd.DataFrame:
    """A row a cell with these scores, in the order of the recipe's cells; the others nan."""
    rows = [{"block": one.block, "pooling": one.pooling, "sigma": one.sigma, "depth": one.depth} for one in RECIPE.every.values()]
    return pd.DataFrame(rows).assign(**dict.fromkeys(regret.SCORES, np.nan)).assign(**scores)


def found(**scores: np.ndarray) -> dict[str, regret.Regret]:
    return {one.score: one for one in regret.regrets(STUDY, RECIPE, table(**scores))}


def test_a_score_that_says_what_the_probe_says_costs_nothing() -> None:
    validation = np.array([one.validation for one in RECIPE.every.values()])
    told = found(agreement=validation)["agreement"]
    assert told.chosen == RECIPE.best
    assert told.regret == pytest.approx((0, 0, 0), abs=1e-6)
    assert not told.failed


def test_a_score_that_ranks_cells_as_the_probe_does_has_correlation_one_and_its_opposite_chooses_the_worst() -> None:
    told = found(invariance=ACCURACY, effective_rank=-ACCURACY)
    assert told["invariance"].correlation == pytest.approx(1)
    assert told["invariance"].accuracy == ACCURACY.max()
    assert told["effective_rank"].correlation == pytest.approx(-1)
    assert told["effective_rank"].accuracy == ACCURACY.min()
    assert told["effective_rank"].regret[0] == pytest.approx(RECIPE.best.accuracy - ACCURACY.min())
    assert told["effective_rank"].failed


@pytest.mark.parametrize("name", ["alignment", "uniformity"])
def test_of_alignment_and_uniformity_less_is_better(name: str) -> None:
    told = found(**{name: -ACCURACY})[name]
    assert told.accuracy == ACCURACY.max()
    assert told.correlation == pytest.approx(1)


def test_the_correlation_is_scipys_over_the_cells_that_have_the_score() -> None:
    score = np.random.default_rng(0).normal(size=len(ACCURACY))
    score[:7] = np.nan
    told = found(effective_rank=score)["effective_rank"]
    assert told.correlation == pytest.approx(spearmanr(score[7:], ACCURACY[7:]).statistic)
    assert told.cells == len(ACCURACY) - 7


def test_choosing_blindly_costs_the_best_less_the_mean() -> None:
    blind = found()[regret.BLIND]
    assert blind.regret[0] == pytest.approx(RECIPE.best.accuracy - ACCURACY.mean())
    right, resamples = STUDY.correct(), cells.resampled(STUDY, "10")
    mean = np.mean([right[f"10/{name}"] for name, level in RECIPE.every if level == 0], 0).mean(1, keepdims=True)  # (R, 1, N)
    best = right[f"10/{RECIPE.best.cell[0]}"][:, [RECIPE.best.level]]
    (error,), (freedom,) = resamples.spread(best - mean).error()
    assert blind.regret[2] - blind.regret[0] == pytest.approx(regret.student.ppf(0.975, freedom) * error, rel=1e-3)


def test_what_chooses_badly_is_said_and_what_no_cell_has_is_left_out() -> None:
    told = regret.regrets(STUDY, RECIPE, table(effective_rank=-ACCURACY, agreement=ACCURACY))
    assert [one.score for one in told] == ["agreement", regret.BLIND, "effective_rank"]
    says = regret.sentence(told)
    assert "Of 2 scores without labels clusters agree over σ chooses best" in says
    assert "Worse than not looking: effective rank." in says
    rows = regret.rows(told)
    assert [row["the cell"] for row in rows] == ["not shown to be worse", "shown to be worse", "shown to be worse"]
    assert rows[2]["rank correlation"] == "-1.00"


def test_a_score_that_is_the_same_everywhere_ranks_nothing() -> None:
    assert found(effective_rank=np.ones(len(ACCURACY)))["effective_rank"].correlation is None


def test_a_study_without_scores_keeps_none() -> None:
    files = {name: value for name, value in STUDY.facts["files"].items() if name != UNLABELLED}
    assert regret.kept(replace(STUDY, facts={**STUDY.facts, "files": files})) is None
