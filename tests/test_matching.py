"""What two runs share, and what is said of what they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.errors import UnknownName
from analysis.matching import Side, matched, one_schedule, shared_levels, sides
from analysis.studies import find_study

from .handmade import BLOCK, IDS, SIGMAS, shaken, study

HUMP = [0.7, 0.8, 0.75, 0.4]


def pair(folder: Path, **changes: object) -> tuple[Side, Side]:
    """Two runs that differ in what `changes` says of the second."""
    right = shaken(HUMP)
    second = study(folder, shaken(HUMP, seed=1), key="bbbb", **changes)  # type: ignore[arg-type]
    first, other = sides([study(folder, right, key="aaaa"), second])
    return first, other


def test_runs_that_share_everything_have_no_mismatch_and_paired_draws(tmp_path: Path) -> None:
    match = matched(*pair(tmp_path))
    assert match.mismatches == ()
    assert match.draws.labels
    assert match.draws.eps
    assert match.images is not None
    assert len(match.images[0]) == 200
    assert match.same.all()
    first, second = match.draws.resamples(200)
    for name in ("images", "groups", "member"):
        assert getattr(first, name) is getattr(second, name)


def test_only_the_images_that_are_in_both_are_compared_and_that_is_said(tmp_path: Path) -> None:
    right = shaken(HUMP)[:, :, :120]
    first, other = pair(tmp_path)
    other = sides([first.study, study(tmp_path, right, key="cccc", ids=IDS[80:200][::-1])])[1]
    match = matched(first, other)
    assert match.images is not None
    assert np.array_equal(first.test[match.images[0]], other.test[match.images[1]])
    assert len(match.images[0]) == 120
    assert any("200 test images, B 120: the 120 that are in both" in said for said in match.mismatches)


def test_runs_without_a_common_image_are_not_paired(tmp_path: Path) -> None:
    first, other = pair(tmp_path, ids=IDS[1000:1200], receipt={"dataset_identity": "another", "dataset": "twins"})
    match = matched(first, other)
    assert match.images is None
    said = " ".join(match.mismatches)
    assert "The data differ: A was measured on digits" in said
    assert "share no test image" in said
    one, two = match.draws.resamples(200, 200)
    assert not np.array_equal(one.images, two.images)


def test_another_question_is_said(tmp_path: Path) -> None:
    match = matched(*pair(tmp_path, receipt={"label_set": "parity"}))
    assert "A asks for digit (10 classes), B for parity (10 classes)" in " ".join(match.mismatches)
    assert not match.draws.labels
    assert match.draws.eps


def test_another_seed_makes_other_draws(tmp_path: Path) -> None:
    match = matched(*pair(tmp_path, receipt={"seed": 7}))
    assert "The draws of labelled images and of the noise ε are not the same" in " ".join(match.mismatches)
    first, second = match.draws.resamples(200)
    assert np.array_equal(first.images, second.images)
    assert not np.array_equal(first.groups, second.groups)
    assert first.member is not second.member


def test_runs_of_different_numbers_of_draws_share_their_noise(tmp_path: Path) -> None:
    first, _ = pair(tmp_path)
    other = sides([first.study, study(tmp_path, shaken(HUMP, draws=9), key="cccc")])[1]
    draws = matched(first, other).draws
    assert (draws.labels, draws.eps) == (False, True)
    one, two = draws.resamples(200)
    assert two.groups is one.groups
    assert two.member.tolist() == draws.other[1].tolist()


@pytest.mark.parametrize(
    ("changes", "labels", "eps"),
    [
        ({"labels": "50"}, False, True),
        ({"request": {"average_draws": 3}}, True, False),
        ({"request": {"input": "clean"}}, True, False),
        ({"card": {"resolution": 16}}, True, False),
        ({"request": {"head": "ridge"}, "receipt": {"head": "ridge"}}, True, True),
    ],
)
def test_what_draws_depend_on(tmp_path: Path, changes: dict, labels: bool, eps: bool) -> None:
    draws = matched(*pair(tmp_path, **changes)).draws
    assert (draws.labels, draws.eps) == (labels, eps)


def test_other_numbers_of_labels_and_wrong_labels_are_said(tmp_path: Path) -> None:
    said = " ".join(matched(*pair(tmp_path, labels="50", request={"label_noise": 0.4})).mismatches)
    assert "A was fitted on 10 labels a class, B on 50 labels a class" in said
    assert "shares of wrong labels differ: 0 in A, 0.4 in B" in said


def test_levels_within_one_percent_are_the_same_and_within_half_a_step_are_near(tmp_path: Path) -> None:
    first = np.array([0.01, 0.1, 1.0, 10.0])
    here, there = shared_levels(first, np.array([0.01005, 0.12, 4.0, 10.0]))
    assert (here.tolist(), there.tolist()) == ([0, 1, 3], [0, 1, 3])
    assert shared_levels(first, np.array([100.0, 200.0, 400.0]))[0].size == 0
    moved = (SIGMAS[0], SIGMAS[1], 1.2 * SIGMAS[2], SIGMAS[3])
    match = matched(*pair(tmp_path, sigmas=moved))
    assert match.same.tolist() == [True, True, False, True]
    assert "At 1 of 4 levels σ is not the same: each is drawn with its nearest, at most 20 % away" in " ".join(match.mismatches)


def test_a_level_stands_for_one_other_alone() -> None:
    here, there = shared_levels(np.array([1.0, 1.1, 10.0]), np.array([1.09, 10.0, 100.0]))
    assert (here.tolist(), there.tolist()) == ([1, 2], [0, 1])


def test_fewer_levels_are_said(tmp_path: Path) -> None:
    right = shaken(HUMP[:3])
    first, _ = pair(tmp_path)
    other = sides([first.study, study(tmp_path, right, key="cccc", sigmas=SIGMAS[:3])])[1]
    assert f"A has 4 noise levels, B 3: 3 of them have a counterpart, σ = {SIGMAS[0]:.2g} to {SIGMAS[2]:.2g}" in " ".join(
        matched(first, other).mismatches
    )


def test_a_run_of_another_size_takes_the_nearest_number_of_labels(tmp_path: Path) -> None:
    digits, cifar = find_study("digits"), find_study("cifar10")
    assert [side.labels for side in sides([digits, cifar])] == ["10", "10"]
    assert [side.labels for side in sides([digits, cifar], "all")] == ["all", "all"]
    assert [side.labels for side in sides([cifar, digits], "1000")] == ["1000", "all"]
    assert [side.labels for side in sides([cifar, find_study("shapes-hue")], "all")] == ["all", "50"]


def test_the_chosen_block_is_read_in_every_run_that_has_it() -> None:
    digits, cifar = find_study("digits"), find_study("cifar10")
    assert {side.block for side in sides([digits, cifar], block="down0.res0")} == {"down0.res0"}
    assert sides([cifar, digits], block="up3.res0")[1].series == digits.result("10")["headline"]
    with pytest.raises(UnknownName, match=r"up3\.res0"):
        sides([digits, cifar], block="up3.res0")
    with pytest.raises(UnknownName, match="labels per class"):
        sides([digits, cifar], "7")


def test_the_best_level_is_the_validation_images_choice(tmp_path: Path) -> None:
    (side,) = sides([study(tmp_path, shaken(HUMP), key="aaaa", validation=[0.1, 0.2, 0.9, 0.3])])
    assert (side.best, side.block) == (2, BLOCK)


def test_timesteps_are_comparable_where_the_schedule_is_one(tmp_path: Path) -> None:
    assert one_schedule(sides([find_study("digits"), find_study("cifar10")]))
    assert not one_schedule(pair(tmp_path, card={"noise": "edm"}))
