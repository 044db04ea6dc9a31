"""What the figures of a study of memorization show, in words, of a made-up one."""

from __future__ import annotations

import shlex
from pathlib import Path

import pandas as pd
import pytest

from analysis import memorization_words as words
from analysis.intervals import wilson
from analysis.memorization_report import sentence
from analysis.stopping import Stop, compare

from . import memorized_toy as toy
from .test_memorization_figures import HEAD, LAST, RISES, SIZES, TABLES, at, told


def shares(copies: list[float], held_out: list[float], threshold: float = 0.5) -> pd.DataFrame:
    rows = [{"size": "64", "threshold": threshold, "copies": a, "held_out": b, "n": 50} for a, b in zip(copies, held_out, strict=True)]
    return pd.DataFrame(rows)


def test_a_distance_stands_beside_that_of_real_images_and_their_difference() -> None:
    first, *_ = words.distance_rows(at("frechet"), SIZES)
    assert (first["trained on"], first["held-out real images"]) == ("64 images", "1.20")
    mine = at("frechet")
    mine = mine[mine["size"] == SIZES[0]]
    assert first["difference"] == f"{mine.above.mean():+.2f} ({mine.above_low.min():+.2f} to {mine.above_high.max():+.2f})"


def test_samples_of_all_seeds_are_one_set_and_held_out_images_count_once() -> None:
    row = words.pooled(shares([0.2, 0.4], [0.0, 0.2])).iloc[0]
    assert (row.copies, row.held_out, row.n, row.difference) == pytest.approx((0.3, 0.1, 100, -0.2))
    assert (row.copies_low, row.copies_high) == wilson(30, 100)
    assert (row.held_out_low, row.held_out_high) == wilson(5, 50)
    assert row.difference_low < -0.2 < row.difference_high


def test_the_threshold_to_begin_with_is_chosen_on_real_images_alone() -> None:
    rows = pd.concat([shares([0.0], [real], at) for at, real in ((0.5, 0.9), (0.7, 0.2), (0.9, 0.04), (0.95, 0.0))])
    assert words.usual("features", rows) == 0.9
    assert words.usual("l2_ratio", rows) == 0.5
    assert words.usual("features", rows[rows.threshold < 0.9]) == 0.7


def test_each_figure_has_its_sentence_with_every_size_and_intervals() -> None:
    rows = at("generation")
    found = words.pooled(rows[rows.measure == "l2_ratio"])
    for says in (
        words.curves(HEAD[HEAD.seen == LAST], SIZES, "mid", LAST),
        words.rises(RISES, SIZES),
        words.copied(found, SIZES, "l2_ratio", 0.5),
        words.halved(at("halves"), SIZES),
        words.parted(at("losses"), SIZES),
    ):
        assert "64 images" in says
        assert "new at every step" in says
        assert says.endswith(".")
        assert "nan" not in says


def test_a_rise_that_vanished_tells_of_its_best_moment() -> None:
    says = words.rises(RISES, ["1024"])
    assert f"at {toy.SEEN[2]:,}" in says or f"at {toy.SEEN[1]:,}" in says
    assert "points (" in says


def test_where_signals_stop_is_told_and_those_that_never_do() -> None:
    says = words.stopped({"curve": Stop(100, 10, ""), "score": Stop(None, 1000, "")}, "64")
    assert "peak of the curve stops after 100 and keeps 10" in says
    assert "generalization score never stops and keeps 1,000" in says


def test_the_table_of_stops_has_intervals_and_says_never() -> None:
    size = "fresh"
    rows = words.stop_rows(compare(told(size)), RISES[RISES["size"] == size])
    assert rows[0]["signal"] == "peak of the curve"
    assert rows[0]["stops after"] == "never"
    assert "to" in rows[0]["peak accuracy there"]


def test_one_network_reads_better_at_so_many_levels() -> None:
    rows = TABLES["sharing"][TABLES["sharing"].block == toy.HEADLINE]
    says = words.shared(rows)
    top = rows[(rows.model == "one") & (rows.seed == -1)].accuracy.max()
    assert f"In block {toy.HEADLINE} the one network for all noise levels reads {100 * top:.1f} % (" in says
    assert f"of {len(toy.SIGMAS)} levels" in says
    low = rows.assign(identity=rows.sigma**2, held_out=0.5 * rows.sigma**2)
    assert words.shared(low).endswith("is 50 % of that of leaving the noise in.")
    assert "no level in common" in words.shared(TABLES["sharing"].iloc[:0])
    later = pd.concat([rows, rows[rows.model == "one"].assign(model="later", accuracy=0.9, ci_low=0.8, ci_high=0.95)]).assign(seen=131072)
    assert " After 131,072 images the one network reads 90.0 % (80.0 to 95.0) at σ = " in words.shared(later)


def test_the_command_line_makes_the_same_study_again(tmp_path: Path) -> None:
    said = shlex.split(words.command(toy.make(tmp_path)))
    assert said[:7] == ["python", "-m", "analysis", "study", "memorization", "--dataset", "shapes"]
    assert said[said.index("--sizes") + 1] == "64,1024,16384,fresh"
    assert said[said.index("--seen") + 1] == "4096,16384,65536,131072"


def test_nothing_is_minus_zero() -> None:
    assert words.points(-0.0004, -0.0004, 0.0004) == "+0.0 points (+0.0 to +0.0)"
    verdict = {
        "block": "mid",
        "seen": 64,
        "weights": "ema",
        "labelled": "outside",
        "shape": "flat",
        "gain": -0.0001,
        "gain_ci": [-0.0004, 0.01],
    }
    said = sentence(["64"], 64, [verdict | {"size": "64", "peak_accuracy": 0.5}], "mid")
    assert "gain 0.0 points, 95 % interval 0.0 to 1.0; at most 50.0 %" in said
