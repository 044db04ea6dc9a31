"""Means of logits, worked out by hand; gains and their intervals against what they must be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from analysis import dynamics
from analysis.ensembles import DRAWS, LEVELS, SHARED, SINGLE, averaged, describe, gains, mean
from analysis.ensembling import Plan, nearest


def plan(**changes: object) -> Plan:
    known = {"per_class": 10, "tensor": "mid/1", "sigmas": (0.1, 0.2, 0.4), "centre": 0.2, "together": None, "draws": 4}
    return Plan(**known | changes)  # type: ignore[arg-type]


def test_logits_are_averaged_and_then_the_highest_is_said() -> None:
    members = [np.array([[4, 0], [2, 0]], np.float16), np.array([[0, 1], [0, 1]], np.float16), np.array([[0, 1], [0, 3]], np.float16)]
    # Means: (4/3, 2/3) and (2/3, 4/3). A vote would say the second class of the first image too.
    np.testing.assert_allclose(mean(members), [[4 / 3, 2 / 3], [2 / 3, 4 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(mean(members).argmax(1), [0, 1])


def test_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(mean([np.array([[60000, 59008]], np.float16)] * 5), [[60000, 59008]], rtol=1e-6)


def test_members_are_the_best_level_and_its_neighbours_within_the_ends() -> None:
    assert [list(nearest(best, 3, 5)) for best in range(5)] == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [2, 3, 4], [2, 3, 4]]
    assert list(nearest(2, 5, 5)) == [0, 1, 2, 3, 4]
    assert list(nearest(3, 2, 6)) == [2, 3]


@pytest.mark.parametrize("centre", [0.1, 0.2, 0.4])
def test_every_member_has_a_draw_of_its_own_and_the_centre_takes_turns(centre: float) -> None:
    of = plan(centre=centre)
    assert all(sorted(of.eps_draws(draw)) == [0, 1, 2] for draw in range(5))
    assert [of.eps_draws(draw)[of.sigmas.index(centre)] for draw in range(5)] == [0, 1, 2, 0, 1]


def test_each_variant_averages_the_probes_that_it_is_named_after() -> None:
    # How much the probe of a member's level (row) under a draw of ε (column) is for the second of two classes, of one image.
    table = np.array([[3.0, -1.0, 2.0], [-2.0, 1.0, 2.0], [-1.0, -4.0, 1.0]])

    def logits(member: int, eps: int) -> np.ndarray:
        return np.array([[0.0, table[member, eps]]])

    def said(draw: int) -> dict[str, int]:
        return {name: int(made[0].argmax()) for name, made in averaged(logits, plan(), draw)}

    found = said(1)
    assert found == {
        SINGLE: 1,  # the centre under ε 1: 1
        LEVELS: 1,  # ε 0, 1, 2 in turn: 3 + 1 + 1
        SHARED: 0,  # ε 1 for all: -1 + 1 - 4
        f"{DRAWS} 0": 1,  # 3 - 1 + 2
        f"{DRAWS} 1": 1,  # -2 + 1 + 2
        f"{DRAWS} 2": 0,  # -1 - 4 + 1
    }
    assert said(0)[SINGLE] == 0  # under ε 0: -2
    assert said(2)[LEVELS] == 0  # ε 1, 2, 0: -1 + 2 - 1


def test_a_gain_is_paired_over_images() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(500) < 0.6
    second = np.where(rng.random(500) < 0.1, ~first, first)
    correct = np.stack([np.stack([first, second, first])] * 60)  # every draw the same: images alone vary
    resamples = dynamics.resamples(np.zeros(60), np.zeros(60), 500)
    value, low, high = gains(correct, resamples)(1, 0)
    difference = second.astype(float) - first
    assert value == pytest.approx(difference.mean())
    half = student.ppf(0.975, 499) * difference.std(ddof=1) / np.sqrt(500)
    assert high - value == pytest.approx(half)
    assert value - low == pytest.approx(high - value)
    assert gains(correct, resamples)(2, 0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ([0.02, 0.01, 0.03], "the levels add to what averaging over noise gives"),
        ([-0.02, -0.03, -0.01], "draws at one level are the better use"),
        ([0.0, -0.01, 0.01], "nothing beyond averaging over noise is shown"),
    ],
)
def test_the_sentence_says_no_more_than_the_interval(control: list[float], words: str) -> None:
    single = {LEVELS: [0.1, 0.05, 0.15], DRAWS: [0.08, 0.05, 0.11], SHARED: [0.01, -0.01, 0.03]}
    told = {
        "block": "mid",
        "members": 3,
        "centre": 0.2,
        "control": 0.4,
        "measure": "accuracy",
        "over_single": single,
        "over_control": control,
    }
    found = describe(told)
    assert words in found
    assert found.index(f"{100 * control[0]:+.1f} points") < found.index("+10.0 points (+5.0 to +15.0)")
    assert "share one ε gain +1.0 points (-1.0 to +3.0)" in found
