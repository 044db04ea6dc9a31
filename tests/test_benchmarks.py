"""The protocol, with costs that are made up, and the command line; nothing here is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from analysis import registry
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.planning import Bench
from analysis.similarity import cka
from analysis.store import Store
from analysis.thumbnails import thumbnails
from benchmarks import BENCHMARKS, __main__, alike, cost_child, cost_slope, false_unimodal, families, maps, payload, word_maps
from benchmarks.__main__ import main
from benchmarks.measure import Attempt, Measured, attempts, cpu, interleave, measure, summary
from benchmarks.networks import flops
from benchmarks.page import page, put

from .families import LATENT

FIELDS = ["name", "ratio", "target", "control", "runs", "hardware", "details"]


def scripted(*costs: float) -> Callable[[], float]:
    """A side that costs these, over and over."""
    turns: Iterator[float] = cycle(costs)
    return lambda: next(turns)


def test_work_costs_what_the_clock_says():
    ticks = iter([10.0, 12.5])
    assert cpu(lambda: None, clock=lambda: next(ticks))() == 2.5


def test_sides_are_interleaved_and_turned_about():
    order: list[str] = []
    interleave(lambda: order.append("baseline") or 1.0, lambda: order.append("ours") or 1.0, 2)
    assert order == ["baseline", "ours", "baseline"] * 2


def test_the_baselines_swap_places_every_round():
    attempt = interleave(scripted(1.0, 2.0), lambda: 3.0, 2)  # the second baseline of a round costs twice the first
    assert (attempt.baseline, attempt.again, attempt.cost) == (1.5, 1.5, 2.0)


@pytest.mark.parametrize(("again", "accepted"), [(0.96, False), (0.98, True), (1.02, True), (1.04, False)])
def test_an_attempt_is_accepted_by_its_control(again: float, accepted: bool):
    assert Attempt(baseline=1.0, again=again, ours=1.0).accepted is accepted


def test_a_machine_that_is_never_quiet_ends_after_twenty_attempts_without_a_ratio():
    found = measure(scripted(1.0, 1.1), lambda: 1.0, 1, lambda cost: cost, {})
    assert (found.ratio, found.control, len(found.runs)) == (None, None, 20)
    assert "Only 0 of 20" in found.details["note"]


def test_the_result_is_the_median_of_the_first_five_accepted():
    costs = iter([1.0, 9.0, 2.0, 3.0, 9.0, 4.0, 5.0, 100.0])
    made = attempts(lambda: Attempt(1.0, 1.5 if (cost := next(costs)) == 9.0 else 1.0, cost))
    assert len(made) == 7
    assert summary(made, lambda cost: cost, {}).ratio == 3.0


def test_fewer_than_five_accepted_give_their_median_and_a_note():
    made = [Attempt(1.0, 1.0, 2.0), Attempt(1.0, 1.0, 4.0)] + [Attempt(1.0, 2.0, 9.0)] * 18
    found = summary(made, lambda cost: 1 / cost, {})
    assert found.ratio == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert "Only 2 of 20" in found.details["note"]


def test_every_attempt_is_reported():
    found = summary([Attempt(1.0, 2.0, 3.0), Attempt(1.0, 1.0, 3.0)], lambda cost: cost, {})
    assert found.runs[0] == {"ratio": 2.0, "control": 2.0, "accepted": False}
    assert found.runs[1] == {"ratio": 3.0, "control": 1.0, "accepted": True}


def test_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_something_to_run(name: str):
    assert callable(BENCHMARKS[name].run)


def test_an_unknown_name_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]):
    assert main(["run", "speed", "--json"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("Error: there is no benchmark 'speed'; allowed: extraction, ")
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_the_last_line_is_one_object_with_exactly_the_fields(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(
        "benchmarks.memory.run", lambda: Measured(1.2, 1.0, [{"ratio": 1.2, "control": 1.0, "accepted": True}], {"unit": "bytes"})
    )
    assert main(["run", "memory", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(found) == FIELDS
    assert (found["ratio"], found["target"], found["details"]["met"]) == (1.2, 1.1, False)


@pytest.mark.parametrize(
    ("name", "ratio", "met"), [("extraction", 0.96, True), ("extraction", 0.94, False), ("memory", 1.1, True), ("memory", None, False)]
)
def test_a_target_is_met_on_its_own_side(name: str, ratio: float | None, met: bool):
    assert BENCHMARKS[name].met(ratio) is met


def test_a_ratio_that_keeps_the_target_does_not_meet_it_where_what_else_is_promised_does_not_hold():
    found = __main__.record(BENCHMARKS["first-map"], Measured(0.5, 1.0, holds=False))
    assert found["details"]["met"] is False
    assert "| 0.500 | at most 0.8 | **not met** |" in page([found])


def test_a_first_map_is_one_of_the_chain_and_all_others_follow():
    assert maps.shared(scripted(5.0), scripted(1.0), levels=4)() == (5 + 3 * 1) / 4


def test_maps_that_are_moved_by_their_spread_have_moved_by_one():
    layout = np.array([[0.0, 0.0], [2.0, 0.0]])  # its spread is 1
    assert maps.moved([layout, layout]) == 0
    assert maps.moved([layout, layout + np.array([0, 1])]) == 1


def test_maps_are_of_the_same_images_features_at_every_level():
    low, high = maps.features(8, [0, 11])
    assert low.shape == high.shape == (8, 80)
    assert not np.allclose(low, high)
    np.testing.assert_array_equal(maps.features(8, [11])[0], high)


@pytest.mark.parametrize("keep", [True, False])
def test_the_loop_over_pairs_finds_the_same_numbers(keep: bool):
    given = list(alike.batches(512, blocks=4))
    assert [features.shape[1] for features in given[0]] == [64, 213, 362, 512]
    np.testing.assert_allclose(alike.by_pairs(given, keep), cka(given), atol=alike.GAP)


def test_memory_of_cka_is_that_of_one_batch():
    alike.peak(alike.BATCH)
    assert alike.peak(4 * alike.BATCH) <= alike.GROWTH * alike.peak(2 * alike.BATCH)


def test_the_verdicts_ratio_is_the_worst_false_rate_over_five_percent(monkeypatch: pytest.MonkeyPatch):
    curves = {"flat": {"unimodal": 0.01}, "falling": {"unimodal": 0.04}, "rise of 4": {"unimodal": 0.9}}
    monkeypatch.setattr(false_unimodal.verdicts, "run", lambda: {"curves": curves})
    found = false_unimodal.run()
    assert found.ratio == pytest.approx(0.8)
    assert found.details["power"] == {"rise of 4": 0.9}


def test_the_page_says_met_and_not_met_and_shows_every_attempt():
    runs = [{"ratio": 0.97, "control": 1.0, "accepted": True}, {"ratio": 0.8, "control": 1.2, "accepted": False}]
    found = [__main__.record(BENCHMARKS["extraction"], Measured(0.97, 1.0, runs)), __main__.record(BENCHMARKS["memory"], Measured(1.3))]
    text = page(found)
    assert "| 0.970 | at least 0.95 | met | 1.000 | 1 of 2 |" in text
    assert "| 1.300 | at most 1.1 | **not met** |" in text
    assert "0.970 (1.000), 0.800 (1.200, rejected)" in text


def test_one_result_takes_its_place_in_the_page_and_leaves_the_others():
    whole = [__main__.record(BENCHMARKS[name], Measured(ratio, 1.0)) for name, ratio in (("extraction", 0.97), ("memory", 1.3))]
    text = page(whole)
    text = put(text, __main__.record(BENCHMARKS["memory"], Measured(1.05, details={"images": 7})))
    text = put(text, __main__.record(BENCHMARKS["early-exit"], Measured(0.95)))
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
    assert rows == ["extraction", "early-exit", "memory"]
    assert "| 1.050 | at most 1.1 | met |" in text
    assert "1.300" not in text
    assert text.count("measured by itself") == 2
    assert "- images: 7" in text
    assert put(text, __main__.record(BENCHMARKS["early-exit"], Measured(0.95))) == text
    assert text.startswith(page(whole).partition("| extraction")[0])


@pytest.mark.slow
def test_a_maps_payload_is_that_of_its_pictures_and_little_more():
    clean, _ = payload.images(200)
    quiet, loud = (thumbnails(payload.noised(clean, sigma)) for sigma in (0.0, 1.9))
    assert clean.shape == (200, 32, 32, 3)
    for thumbs in (quiet, loud):
        assert 0 < payload.sent(thumbs) - thumbs.bytes < 200 * payload.POINT + 10 * 2000  # ten tables have a head each
    assert loud.bytes > quiet.bytes


def test_every_model_family_of_pixels_is_measured() -> None:
    of_latents = {name.partition(":")[0] for name in LATENT}  # `latent` measures one of them
    assert {name.partition(",")[0] for name in families.FAMILIES} == set(registry.names("backends")) - of_latents


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("name", ["unet2d, v", "adm, 10 classes"])
def test_a_measured_network_is_of_the_promised_size_and_a_little_more(name: str, tmp_path: Path) -> None:
    backend = open_backend(str(families.FAMILIES[name](tmp_path / "network")))
    assert families.LEAST <= flops(backend) / 1e9 < 1.2 * families.LEAST
    assert (backend.card.unconditional == "mean") == ("classes" in name)


@pytest.mark.usefixtures("own_store")
def test_both_sides_of_a_family_are_passes_of_as_many_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.UNET, "block_out_channels", (32, 32, 32))
    backend = open_backend(str(families.unet2d(num_class_embeds=4)(tmp_path / "network")))
    bare, ours = families.sides(backend, Store(tmp_path / "features"), images=6, batch=2)
    passed: list[int] = []
    backend.net.conv_in.register_forward_hook(lambda m, i, o: passed.append(len(o)))
    bare()
    assert passed == [2, 2, 2]
    ours()
    assert passed == [2] * 6
    assert len(list((tmp_path / "features").glob("features/*/*/*.safetensors"))) == 2  # each time anew


def test_the_number_is_that_of_the_worst_family() -> None:
    found = families.worst({"a": Measured(0.99, 1.0), "b": Measured(0.96, 1.01), "c": Measured(0.97)})
    assert (found.ratio, found.control, found.details["worst"], found.details["a"]["ratio"]) == (0.96, 1.01, "b", 0.99)
    assert families.worst({"a": Measured(0.99), "b": Measured(None)}).ratio is None


def test_the_cost_of_word_maps_is_that_of_the_worst_family_and_memory_has_to_hold() -> None:
    found = {"a": Measured(1.1, 1.0), "b": Measured(1.2, 1.01)}
    told = word_maps._together(found, 7)
    assert (told.ratio, told.control, told.details["worst"], told.details["a"]["ratio"], told.holds) == (1.2, 1.01, "b", 1.1, True)
    assert not word_maps._together(found, 1 << 30).holds
    assert word_maps._together(found | {"c": Measured(None)}, 7).ratio is None


def test_a_slope_is_the_power_of_the_size() -> None:
    sizes = (1, 4, 16)
    assert cost_slope.slope(sizes, [3 * n**1.2 for n in sizes]) == pytest.approx(1.2)
    attempt = cost_slope.climb(sizes, lambda n: 2.0 * n)
    assert (attempt.cost, attempt.control, attempt.accepted) == (pytest.approx(1.0), 1.0, True)


def test_a_machine_that_slows_down_on_the_way_is_seen() -> None:
    times = iter([1.0, 4.0, 16.0, 32.0, 8.0, 2.0])
    attempt = cost_slope.climb((1, 4, 16), lambda n: next(times))
    assert (attempt.control, attempt.accepted) == (2.0, False)
    assert attempt.cost == pytest.approx(1.0)  # all sizes alike


def test_the_larger_distance_from_one_counts_and_the_rest_has_to_hold() -> None:
    slopes = {"images": Measured(0.97, 1.0), "levels": Measured(1.01, 0.99)}
    found = cost_slope.both(slopes, Measured(1.02), {"ratio": 1.08})
    assert (found.ratio, found.control, found.holds) == (0.03, 1.0, True)
    assert not cost_slope.both(slopes, Measured(1.04), {"ratio": 1.08}).holds
    assert not cost_slope.both(slopes, Measured(1.02), {"ratio": 1.12}).holds
    assert cost_slope.both(slopes | {"levels": Measured(None)}, Measured(1.02), {"ratio": 1.08}).ratio is None


@pytest.mark.usefixtures("own_store")
def test_the_images_whose_memory_is_measured_are_all_extracted(tmp_path: Path) -> None:
    table = cost_child.write(tmp_path / "images.parquet", 120)
    assert len(open_dataset(str(table), cost_child.SIDE).ids) == 120
    passed: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "extract", lambda bench, *given: passed.append(sum(len(ids) for _, ids in bench.wanted(*given).values())))
        assert cost_child.main(str(table)) > 1e8
    assert passed == [120]


def test_a_childs_memory_is_its_own_and_not_that_of_who_started_it() -> None:
    filled = np.ones(50_000_000)  # 400 MB of ours
    code = "from benchmarks import cost_child; import numpy as np; one = cost_child.highest(); np.ones(12_500_000); print(one, cost_child.highest())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    before, after = map(int, done.stdout.split())
    assert 0.9e8 < after - before < 1.5e8
    assert before < cost_child.highest()
    del filled
