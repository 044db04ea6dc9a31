from __future__ import annotations

import numpy as np

from analysis import cells, dynamics
from analysis.studies import find_study

STUDY = find_study("digits")
RESAMPLES = dynamics.resamples(np.arange(12), np.arange(12) % 3, 400)


def planted(accuracy: list[float], seed: int) -> np.ndarray:
    """(12, S, 400) with these accuracies, images and draws independent."""
    rng = np.random.default_rng(seed)
    return rng.random((12, len(accuracy), 400)) < np.asarray(accuracy)[None, :, None]


def test_the_bootstrap_is_the_studys_own() -> None:
    result = STUDY.result("10")
    right = STUDY.correct()[f"10/{result['headline']}"]
    found = [row.tolist() for row in dynamics.change(right, cells.resampled(STUDY, "10"))]
    assert found == result["short"]["changes"]["model"]


def test_the_headlines_block_gives_the_studys_result_and_another_its_own_verdict() -> None:
    result = STUDY.result("10")
    assert cells.of_block(STUDY, "10", result["headline"]) == result
    found = cells.of_block(STUDY, "10", "model/down0.res0/1")
    assert found["verdict"]["peak_accuracy"] == result["verdicts"]["model/down0.res0/1"]["peak_accuracy"]
    assert max(found["short"]["curves"]["model"][0]) == found["verdict"]["peak_accuracy"]
    assert found["short"]["curves"]["baseline"] == result["short"]["curves"]["baseline"]
    assert "block down0.res0" in found["sentence"]


def test_a_cell_as_good_as_the_best_is_near_it_and_one_ten_points_below_is_not() -> None:
    correct = {"model/a/1": planted([0.80, 0.80, 0.70], 1), "model/b/1": planted([0.55, 0.80, 0.50], 2)}
    validation = {"model/a/1": np.array([0.8, 0.81, 0.7]), "model/b/1": np.array([0.5, 0.8, 0.5])}
    found = cells.near_best(correct, validation, RESAMPLES)
    assert found.best == ("model/a/1", 1)
    assert found.cells == {("model/a/1", 0), ("model/a/1", 1), ("model/b/1", 1)}


def test_the_best_is_chosen_on_validation_images_and_may_be_beaten_on_test_images() -> None:
    correct = {"model/a/1": planted([0.6, 0.9, 0.6], 3)}
    found = cells.near_best(correct, {"model/a/1": np.array([0.7, 0.6, 0.5])}, RESAMPLES)
    assert found.best == ("model/a/1", 0)
    assert ("model/a/1", 1) in found.cells  # better, so not worse


def test_a_cell_as_good_is_seldom_left_out() -> None:
    # 40 runs with nine equal cells: at 5 % for all cells together two runs would leave one out; above 6 is beyond chance (p < .01).
    wrong = 0
    for seed in range(40):
        correct = {"model/a/1": planted([0.8] * 9, 100 + seed)}
        validation = {"model/a/1": np.random.default_rng(seed).random(9)}
        wrong += len(cells.near_best(correct, validation, RESAMPLES).cells) < 9
    assert wrong <= 6


def test_the_studys_best_cell_is_among_the_near_ones() -> None:
    found = cells.near_best_of(STUDY, "10", "1")
    assert found.best in found.cells
    assert found.best[0].startswith("model/")
    assert len(found.cells) < 15 * 16
