"""Differences of two runs, against numbers worked out by hand and differences that were planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis import compared, dynamics
from analysis.compared import classes, classes_lacking, classes_sentence, images_sentence, numbers
from analysis.comparing import Comparison, Images, at_one, compare, difference
from analysis.matching import sides
from analysis.studies import Study

from .handmade import IDS, SIGMAS, shaken, study

HUMP = [0.70, 0.80, 0.75, 0.40]


def beside(first: Study, second: Study) -> Comparison:
    return compare(sides([first, second]))[0]


def test_a_run_against_itself_differs_by_exactly_nothing(tmp_path: Path) -> None:
    run = study(tmp_path, shaken(HUMP), key="aaaa", truth=np.arange(200) % 10)
    found = beside(run, run)
    for gap in (found.best, *found.levels.gaps, *(one.gap for one in classes(found, 1))):
        assert (gap.value, gap.low, gap.high) == (0, 0, 0)
    assert (found.levels.band == 0).all()
    assert not found.levels.sure.any()
    assert found.sentence() == "There is no difference: A and B are right about the same images in every draw."
    assert found.images(1).counts["only_other"] == 0  # type: ignore[union-attr]
    assert all(one.p_holm == 1 for one in classes(found, 1))


def test_differences_by_hand(tmp_path: Path) -> None:
    # Two draws, three levels, four images.
    first = np.array([[[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]], [[1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]]], bool)
    second = np.array([[[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], [[1, 1, 0, 0], [1, 1, 0, 1], [0, 1, 0, 0]]], bool)
    runs = study(tmp_path, first, key="aaaa", sigmas=SIGMAS[:3]), study(tmp_path, second, key="bbbb", sigmas=SIGMAS[:3])
    found = beside(*runs)
    assert [gap.value for gap in found.levels.gaps] == pytest.approx([3 / 8, -1 / 8, 0])
    assert [gap.reference for gap in found.levels.gaps] == pytest.approx([3 / 8, 6 / 8, 1 / 8])
    # The best levels are the second of the first run, 6 of 8, and the first of the second, 6 of 8.
    assert (found.reference.best, found.other.best, found.best.value) == (1, 0, 0)
    images = found.images(1)
    assert images is not None
    assert images.reference.tolist() == [1, 1, 1, 0]
    assert images.other.tolist() == [1, 1, 0, 0.5]
    assert found.ids[images.only_reference].tolist() == [3]
    assert images.counts == {"both": 2, "only_reference": 1, "only_other": 0, "neither": 0, "split": 1}


def test_the_image_that_differs_most_comes_first_and_the_counts_have_the_exact_test() -> None:
    images = Images(np.array([0.6, 1.0, 0.0, 0.4, 0.9, 0.2]), np.array([0.4, 0.0, 0.8, 0.6, 0.9, 0.1]))
    assert images.only_reference.tolist() == [1, 0]
    assert images.only_other.tolist() == [2, 3]
    assert images.p_value == 1
    one_way = Images(np.zeros(8), np.array([1.0] * 6 + [0.0] * 2))
    assert one_way.p_value == pytest.approx(2 * 0.5**6)  # six of six


def test_a_paired_interval_is_that_of_the_difference_of_each_image() -> None:
    # Draws that say the same: the standard error is that of the mean of the differences of images, on as many less one.
    rng = np.random.default_rng(0)
    easy = rng.random(400)
    first, second = (np.repeat((easy + rng.normal(0, 0.1, 400) < 0.7)[None, None], 6, 0) for _ in range(2))
    resamples = dynamics.resamples(np.arange(6), np.arange(6) % 3, 400)
    gap = at_one(first[:, 0], second[:, 0], (resamples, resamples))
    error = (second[0, 0].astype(float) - first[0, 0]).std(ddof=1) / np.sqrt(400)
    half = (gap.high - gap.low) / 2
    assert half == pytest.approx(student.ppf(0.975, 399) * error)
    apart = at_one(first[:, 0], second[:, 0], (resamples, dynamics.resamples(np.arange(6), np.arange(6) % 3, 400, seed=1)))
    assert (apart.high - apart.low) > 1.5 * (gap.high - gap.low)


def test_a_planted_difference_is_found_where_it_is(tmp_path: Path) -> None:
    lower = study(tmp_path, shaken(HUMP, 1000), key="aaaa")
    better = study(tmp_path, shaken([0.70, 0.90, 0.85, 0.40], 1000, seed=1), key="bbbb")
    found = beside(lower, better)
    assert found.levels.sure.tolist() == [False, True, True, False]
    assert found.best.low < 0.1 < found.best.high
    said = found.sentence()
    assert said.startswith("B is better than A by 10.")
    assert "Of 4 shared levels, after correction for their number, B is ahead at 2, most at σ" in said
    other_way = beside(better, lower).sentence()
    assert other_way.startswith("A is better than B by 10.")


def test_what_cannot_be_told_is_said_with_what_would_have_been_seen(tmp_path: Path) -> None:
    runs = [study(tmp_path, shaken(HUMP, 100, own=0.3, seed=seed), key=f"run{seed}") for seed in range(2)]
    said = beside(*runs).sentence()
    assert said.startswith("This comparison cannot tell A and B apart at their best levels")
    assert "would have been seen four times in five" in said
    assert "At none of 4 shared levels is a difference shown" in said


def worlds(seed: int, draws: int, images: int, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two runs whose expected accuracy is the same at every level; images, label draws and ε draws scatter."""
    rng = np.random.default_rng(seed)
    easy = rng.normal(1, 1.5, images)
    common = rng.normal(0, 0.25, (draws, 5, 1)) if paired else 0.0

    def one() -> np.ndarray:
        by_draw = rng.normal(0, 0.2, (draws, 5, 1)) + rng.normal(0, 0.1, (3, 5, 1))[np.arange(draws) % 3]
        return easy + common + by_draw + rng.normal(0, 0.6, (1, 5, images)) + rng.logistic(0, 0.5, (draws, 5, images)) > 0

    return one(), one()


@pytest.mark.parametrize("paired", [True, False])
def test_without_a_difference_one_is_seldom_claimed(paired: bool) -> None:
    # 300 comparisons at 5 %: 15 are expected at most; above 24 is beyond chance (p < .01).
    first = dynamics.resamples(np.arange(15), np.arange(15) % 3, 200)
    apart = replace(dynamics.resamples(np.arange(15), np.arange(15) % 3, 200, seed=1), images=first.images)
    resamples = first, first if paired else apart
    levels = best = 0
    for seed in range(300):
        one, other = worlds(seed, 15, 200, paired)
        levels += difference(one, other, resamples).sure.any()
        best += at_one(one[:, 2], other[:, 2], resamples).sure
    assert levels <= 24
    assert best <= 24


def test_a_difference_of_classes_is_found_in_the_class_that_has_one(tmp_path: Path) -> None:
    truth = np.arange(1000) % 10
    first = shaken([0.8] * 3, 1000, own=0.05)
    second = shaken([0.8] * 3, 1000, own=0.05, seed=1)
    second[:, :, truth == 4] = False
    runs = study(tmp_path, first, key="aaaa", sigmas=SIGMAS[:3]), study(tmp_path, second, key="bbbb", sigmas=SIGMAS[:3], truth=truth)
    found = beside(*runs)
    gaps = classes(found, 1)  # the labels that one study has kept serve both
    assert [one.n for one in gaps] == [100] * 10
    assert [k for k, one in enumerate(gaps) if one.shown] == [4]
    assert gaps[4].gap.value == pytest.approx(-first[:, 1, truth == 4].mean())
    assert "one run is ahead in 1: A in 4" in classes_sentence(found, gaps, 1)


def test_no_class_is_singled_out_without_a_difference(tmp_path: Path) -> None:
    # 40 comparisons of ten classes at 5 % for all of them: 2 are expected at most; above 6 is beyond chance (p < .01).
    truth, wrong = np.arange(300) % 10, 0
    for seed in range(40):
        one, other = worlds(seed, 6, 300, True)
        runs = [study(tmp_path, right[:, :3], key=f"k{seed}{k}", sigmas=SIGMAS[:3], truth=truth) for k, right in enumerate((one, other))]
        wrong += any(gap.shown for gap in classes(beside(*runs), 1))
    assert wrong <= 6


def test_five_images_that_all_agree_are_not_certain(tmp_path: Path) -> None:
    truth = np.repeat([0, 1], [5, 195])
    first, second = shaken([0.8] * 3), shaken([0.8] * 3)
    first[..., truth == 0], second[..., truth == 0] = False, True
    runs = [study(tmp_path, right, key=f"k{k}", sigmas=SIGMAS[:3], truth=truth) for k, right in enumerate((first, second))]
    gap = classes(beside(*runs), 1)[0].gap
    assert (gap.value, gap.high) == (1, 1)  # no difference is larger
    assert gap.high - gap.low > 0.25  # half of what it is on both sides


def test_one_image_is_and_several_are(tmp_path: Path) -> None:
    first = np.ones((3, 3, 200), bool)
    second = first.copy()
    second[..., 0] = False
    runs = [study(tmp_path, right, key=f"k{k}", sigmas=SIGMAS[:3]) for k, right in enumerate((first, second))]
    said = images_sentence(beside(*runs), 1)
    assert "both read 199 of 200 images right and 0 wrong; 1 is right in A alone and 0 in B alone" in said


def test_classes_are_corrected_for_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.arange(200) % 4
    runs = [study(tmp_path, shaken(HUMP, seed=seed), key=f"k{seed}", truth=truth) for seed in range(2)]
    found = beside(*runs)
    corrected = [one.p_holm for one in classes(found, 1)]
    monkeypatch.setattr(compared, "holm", lambda p_values: p_values)
    alone = [one.p_holm for one in classes(found, 1)]
    assert len(set(alone)) > 1
    assert min(corrected) == pytest.approx(min(1.0, 4 * min(alone)))


def test_why_there_are_no_classes_is_said(tmp_path: Path) -> None:
    first = study(tmp_path, shaken(HUMP), key="aaaa")
    assert "neither study has kept" in str(classes_lacking(beside(first, study(tmp_path, shaken(HUMP, seed=1), key="bbbb"))))
    asked = study(tmp_path, shaken(HUMP, seed=1), key="cccc", receipt={"label_set": "parity"}, truth=np.zeros(200))
    assert "the same question" in str(classes_lacking(beside(first, asked)))
    elsewhere = study(tmp_path, shaken(HUMP, seed=1), key="dddd", ids=IDS[500:700], truth=np.zeros(200))
    found = beside(first, elsewhere)
    assert "shared test images" in str(classes_lacking(found))
    assert found.images(0) is None
    assert images_sentence(found, 0) == "No test image is in both runs."
    assert classes(found, 0) == []


def test_a_level_that_is_only_near_is_drawn_and_nothing_is_claimed_there(tmp_path: Path) -> None:
    moved = (SIGMAS[0], SIGMAS[1], 1.2 * SIGMAS[2], SIGMAS[3])
    first = study(tmp_path, shaken(HUMP, 1000), key="aaaa")
    second = study(tmp_path, shaken([0.5, 0.5, 0.5, 0.5], 1000, seed=1), key="bbbb", sigmas=moved)
    found = beside(first, second)
    assert found.levels.gaps[2].high < 0
    assert found.levels.sure.tolist() == [True, True, False, True]
    assert "Of 3 shared levels" in found.sentence()
    one = study(tmp_path, shaken([0.5, 0.5, 0.5], 1000, seed=1), key="cccc", sigmas=[SIGMAS[0], *(1.2 * sigma for sigma in SIGMAS[1:3])])
    assert f"At the one level that both have, A is ahead at σ = {SIGMAS[0]:.2g}, by 20.0 points (" in beside(first, one).sentence()
    assert "(" in found.at(2)
    assert "(" not in found.at(1)


def test_runs_without_a_common_image_or_level_have_a_difference_of_their_best_levels(tmp_path: Path) -> None:
    first = study(tmp_path, shaken(HUMP), key="aaaa")
    far = study(tmp_path, shaken(HUMP, 150, seed=1), key="bbbb", ids=IDS[500:650], sigmas=[100 * sigma**0.1 for sigma in SIGMAS])
    found = beside(first, far)
    assert found.levels.gaps == ()
    assert found.nearest() is None
    assert found.best.low < 0 < found.best.high
    assert "Of" not in found.sentence().split("Not the same")[0].split(".")[-2]
    table = numbers([found])
    assert table.what.tolist() == ["best level"]


def test_all_numbers_are_one_tidy_table(tmp_path: Path) -> None:
    truth = np.arange(200) % 10
    runs = [study(tmp_path, shaken(HUMP, own=0.3, seed=k), key=f"run{k}", truth=truth) for k in range(3)]
    comparisons = compare(sides(runs))
    table = numbers(comparisons, SIGMAS[2])
    assert set(table.other) == {"run1", "run2"}
    counts = table[table.other == "run1"].what.value_counts()
    images = comparisons[0].images(2)
    assert images is not None
    assert (counts["level"], counts["class"], counts["best level"]) == (4, 10, 1)
    assert counts["image"] == len(images.only_other) + len(images.only_reference)
    rows = table[(table.other == "run1") & (table.what == "level")]
    np.testing.assert_allclose(rows.difference, [gap.value for gap in comparisons[0].levels.gaps])
    assert (rows.band_low <= rows.ci_low + 1e-12).all()
    pd.testing.assert_frame_equal(table, numbers(compare(sides(runs)), SIGMAS[2]))


def test_numbers_are_compared_by_their_r2_and_no_image_is_called_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scored = {"measure": "r2", "label_set": "size"}
    first, second = (level - rng.exponential(0.2, (6, 4, 300)) for level in (0.6, 0.9))
    runs = [study(tmp_path, right.astype(np.float32), key=f"k{k}", receipt=scored) for k, right in enumerate((first, second))]
    found = beside(*runs)
    assert found.best.value == pytest.approx(0.3, abs=0.03)
    assert found.sentence().startswith("B is better than A by ")
    assert "% of the variance at σ" in found.sentence()
    assert found.images(0) is None
    assert images_sentence(found, 0) == "Numbers are not right or wrong, so no image is."
    assert "numbers are read here" in str(classes_lacking(found))
    mixed = beside(runs[0], study(tmp_path, shaken(HUMP, 300), key="cccc"))
    assert "A is scored by R², B by accuracy" in " ".join(mixed.match.mismatches)
    assert beside(runs[0], runs[0]).sentence() == "There is no difference: A and B say the same of every image in every draw."
