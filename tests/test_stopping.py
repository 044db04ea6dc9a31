"""When to stop, of made-up curves: the rule has no hindsight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.errors import InvalidRequest
from analysis.stopping import SIGNALS, Moment, Stop, compare, decisions, signals, stop, stops


def made(values: list[float], half: float = 0.0, shapes: str = "") -> list[Moment]:
    names = {"u": "unimodal", "d": "decreasing", "f": "flat", "?": "undecided", "i": "increasing"}
    kinds = [names[one] for one in shapes] or [None] * len(values)
    return [Moment(10**i, value, value - half, value + half, kind) for i, (value, kind) in enumerate(zip(values, kinds, strict=True))]


def test_a_curve_that_only_rises_is_never_stopped_and_its_last_moment_is_kept() -> None:
    assert stop(made([0.1, 0.2, 0.3])) == Stop(None, 100, "nothing spoke against going on")


def test_it_stops_where_the_curve_first_falls_and_keeps_the_best_before() -> None:
    found = stop(made([0.1, 0.5, 0.3, 0.2, 0.9]))
    assert (found.stopped, found.kept) == (100, 10)  # that .9 comes later is not known


def test_it_stops_at_once_where_the_second_moment_is_worse() -> None:
    assert (stop(made([0.5, 0.2, 0.9])).stopped, stop(made([0.5, 0.2, 0.9])).kept) == (10, 1)


def test_a_fall_within_the_interval_of_the_difference_is_none() -> None:
    half = 0.1  # of a difference, .1414
    assert stop(made([0.5, 0.36], half)).stopped is None
    assert stop(made([0.5, 0.35], half)).stopped == 10


def test_a_slow_fall_is_measured_from_the_best_so_far() -> None:
    assert stop(made([0.5, 0.45, 0.4, 0.35, 0.3], 0.1)).stopped == 1000


def test_a_hump_that_was_there_and_is_gone_stops_it_though_the_peak_is_no_lower() -> None:
    found = stop(made([0.1, 0.5, 0.5, 0.5], shapes="?u?d"))
    assert (found.stopped, found.kept) == (1000, 100)
    assert "the hump was there and is gone" in found.reason


@pytest.mark.parametrize(("blocks", "stopped"), [("aaba", 1000), ("aabb", None), ("bbab", 1000)])
def test_a_hump_is_gone_only_in_the_block_that_it_was_in(blocks: str, stopped: int | None) -> None:
    moments = [replace(one, block=block) for one, block in zip(made([0.1, 0.5, 0.5, 0.5], shapes="?u?d"), blocks, strict=True)]
    assert stop(moments).stopped == stopped


@pytest.mark.parametrize("shapes", ["dddd", "?u??", "uuui", "fddu"])
def test_a_hump_that_never_was_is_not_missed_nor_one_that_cannot_be_told(shapes: str) -> None:
    assert stop(made([0.1, 0.2, 0.3, 0.4], shapes=shapes)).stopped is None


def test_with_patience_one_bad_moment_is_forgiven_and_two_in_a_row_are_not() -> None:
    values = [0.5, 0.2, 0.6, 0.3, 0.2, 0.9]
    assert [one.against for one in decisions(made(values))] == [0, 1, 0, 1, 2, 0]
    found = stop(made(values), patience=2)
    assert (found.stopped, found.kept) == (10_000, 100)


def test_where_low_is_better_everything_is_the_other_way_round() -> None:
    values = [0.5, 0.3, 0.4, 0.1]
    up, down = stop(made([-v for v in values], 0.05)), stop(made(values, 0.05), better=-1)
    assert up == down == Stop(100, 10, up.reason)


def test_an_interval_of_the_difference_itself_is_taken_where_it_is_given() -> None:
    assert stop(made([0.5, 0.45], 0.1), paired=lambda early, late: (-0.08, -0.02)).stopped == 10
    assert stop(made([0.5, 0.1]), paired=lambda early, late: (-0.9, 0.1)).stopped is None
    assert stop(made([0.5, 0.6], 0.2), better=-1, paired=lambda early, late: (0.01, 0.2)).stopped == 10


@pytest.mark.parametrize("better", [1, -1])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_appending_later_moments_never_changes_an_earlier_decision(better: int, patience: int) -> None:
    rng = np.random.default_rng(patience)
    for _ in range(30):
        moments = made(list(rng.uniform(size=9)), 0.2, "".join(rng.choice(list("udf?i"), 9)))
        every = decisions(moments, better, patience)
        for count in range(1, 10):
            assert decisions(moments[:count], better, patience) == every[:count]
            early, late = stop(moments[:count], better, patience), stop(moments, better, patience)
            assert early.stopped is None or early == late


def tables(seeds: int = 2) -> dict[str, pd.DataFrame]:
    """The peak falls after 100 images seen; copies come at 1,000; losses part at 100 and held-out loss is lowest at 10."""
    seen, each = [10, 100, 1000], range(seeds)
    peak = {"seen": seen, "peak_accuracy": [0.5, 0.7, 0.4], "shape": ["undecided", "unimodal", "undecided"]}
    copied, far, train, held = [0.0, 0.0, 0.8], [9.0, 4.0, 4.5], [2.0, 1.0, 0.1], [2.0, 2.4, 4.0]
    rows = [(i, seed) for i in range(3) for seed in each]
    return {
        "verdicts": pd.DataFrame(peak).assign(peak_accuracy_ci=[[0.48, 0.52], [0.68, 0.72], [0.38, 0.42]]),
        "generation": pd.DataFrame(
            {
                "seen": seen[i],
                "seed": s,
                "measure": "l2_ratio",
                "threshold": 0.5,
                "copies": copied[i],
                "copies_low": copied[i],
                "copies_high": copied[i] + 0.04,
            }
            for i, s in rows
        ),
        "frechet": pd.DataFrame({"seen": seen[i], "seed": s, "frechet": far[i] + s, "reference": 3.0} for i, s in rows),
        "losses": pd.DataFrame(
            {"seen": seen[i], "seed": s, "sigma": sigma, "train": train[i] * sigma, "held_out": held[i] * sigma * 1.01**s}
            for i, s in rows
            for sigma in (0.5, 2.0)
        ),
    }


def test_every_signal_has_a_row_a_moment_with_the_mean_over_seeds() -> None:
    table = signals(**tables(), threshold=("l2_ratio", 0.5))
    assert list(table.signal.unique()) == list(SIGNALS)
    values = table.pivot(index="seen", columns="signal", values="value")
    assert values.loc[1000].to_dict() == pytest.approx(
        {"curve": 0.4, "score": 0.2, "frechet": 5.0, "held_out": 4 * 1.005, "gap": 40 * 1.005}, rel=1e-4
    )
    score = table[(table.signal == "score") & (table.seen == 1000)].iloc[0]
    assert (score.low, score.high) == pytest.approx((0.2 - 0.04 / 2**0.5, 0.2))  # the mean of two independent ones


def test_signals_stop_each_in_its_own_time_and_the_table_says_what_they_keep() -> None:
    table = compare(signals(**tables(), threshold=("l2_ratio", 0.5))).set_index("signal")
    assert table.stopped.dropna().to_dict() == {"curve": 1000, "score": 1000, "held_out": 100, "gap": 100}
    assert table.kept.to_dict() == {"curve": 100, "score": 100, "frechet": 100, "held_out": 10, "gap": 10}
    assert table.lost.to_dict() == pytest.approx({"curve": 0, "score": 0, "frechet": 0, "held_out": 0.2, "gap": 0.2})


def test_with_one_seed_and_without_losses_the_rest_is_still_there() -> None:
    few = tables(1) | {"losses": pd.DataFrame(columns=["seen", "seed", "sigma", "train", "held_out"])}
    found = stops(signals(**few, threshold=("l2_ratio", 0.5)))
    assert list(found) == ["curve", "score", "frechet"]
    assert found["frechet"].stopped == 1000  # without an interval a worse value is worse


@pytest.mark.parametrize(
    ("moments", "settings", "says"),
    [
        ([], {}, "at least one"),
        ([Moment(10, 1), Moment(10, 2)], {}, "ascending"),
        ([Moment(1, float("nan"))], {}, "finite"),
        ([Moment(1, 1)], {"patience": 0}, "at least 1"),
        ([Moment(1, 1)], {"better": 0}, "1 or -1"),
    ],
)
def test_what_cannot_be_watched_is_a_sentence(moments: list[Moment], settings: dict[str, int], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        stop(moments, **settings)
