from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset, LabelSet
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.planning import Bench
from analysis.resolving import coarse_first, resolve
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import COLUMNS, Study
from analysis.sweeping import sweep
from analysis.tasks import choose_labelled

from .conftest import SMALL


def units(store: Store) -> dict[str, bytes]:
    return {
        str(path.relative_to(store.root)): path.read_bytes() for path in store.root.rglob("*.safetensors") if "studies" not in path.parts
    }


def command(folder: Path, store: Store, *extra: str) -> list[str]:
    blocks = [word for block in SMALL["blocks"] for word in ("--block", block)]
    options = ["--levels", "6", "--label-draws", "4", "--n-train", "300", "--n-test", "80", "--processes", "1", "--json", *extra]
    return [sys.executable, "-m", "analysis", "sweep", "--backend", str(folder), *blocks, *options, "--store", str(store.root)]


def test_levels_come_ends_first_and_then_halve_the_widest_gap() -> None:
    assert coarse_first(9) == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert sorted(coarse_first(16)) == list(range(16))


def test_a_level_between_two_of_the_model_becomes_the_nearest(request_small: SweepRequest, store: Store) -> None:
    card = Bench(request_small, store).card
    wanted = request_small.model_copy(update={"sigmas": (0.001, 0.3, 1e9)})
    assert resolve(wanted, card).sigmas == (card.sigmas[0], min(card.sigmas, key=lambda s: abs(np.log(s / 0.3))), card.sigmas[-1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "nope"}, "Unknown backend"),
        ({"dataset": "nope"}, "Unknown dataset"),
        ({"blocks": ("nope",)}, "Unknown block"),
        ({"head": "nope"}, "Unknown head"),
        ({"label_set": "nope"}, "Unknown label set"),
        ({"condition": "class:1"}, "Unknown condition"),
        ({"poolings": ("median",)}, "pooling 'median'"),
        ({"sigmas": (0.5, 0.5001, 0.5002)}, "at least 3"),
        ({"labels_per_class": (500,)}, "labels per class is 500"),
        ({"n_test": 10**6}, "1000000 test images"),
        ({"n_test": 1}, "n_test is 1"),
        ({"eps_draws": 1, "labels_per_class": ("all",)}, "at least 2 draws"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(request_small: SweepRequest, store: Store, change: dict, words: str) -> None:
    with pytest.raises(NoisescopeError, match=words):
        sweep(request_small.model_copy(update=change), store, processes=0)
    assert not store.root.exists()


def test_tables_are_tidy_and_whole(small_study: Study) -> None:
    curve, draws = small_study.table("curve"), small_study.table("draws")
    assert list(curve.columns) == list(draws.columns) == list(COLUMNS)
    # (2 model + 2 random blocks + pixels) × 3 levels + clean pixels
    assert len(curve) == 5 * 3 + 1
    assert len(draws) == 4 * len(curve)
    assert ((curve.ci_low <= curve.accuracy) & (curve.accuracy <= curve.ci_high)).all()
    assert (curve.chance == 0.1).all()


def test_the_curve_is_the_mean_of_its_draws(small_study: Study) -> None:
    keys = ["source", "block", "sigma"]
    mean = small_study.table("draws").groupby(keys).accuracy.mean()
    pd.testing.assert_series_equal(small_study.table("curve").set_index(keys).accuracy.sort_index(), mean, check_names=False)


def test_which_images_were_right_is_kept_and_gives_the_accuracies(small_study: Study) -> None:
    right = small_study.correct()["10/model/mid.res1/1"]
    rows = small_study.table("draws").query("source == 'model' and block == 'mid.res1'")
    assert right.shape == (4, 3, 80)
    np.testing.assert_allclose(rows.pivot(index="draw", columns="sigma", values="accuracy"), right.mean(2))


def test_the_headline_is_the_block_with_the_best_mean_validation_accuracy(small_study: Study) -> None:
    means = small_study.table("curve").query("source == 'model'").groupby("block").validation_accuracy.mean()
    assert small_study.result()["headline"] == f"model/{means.idxmax()}/1"


def test_the_receipt_counts_every_kind_of_image(small_study: Study, request_small: SweepRequest, store: Store) -> None:
    receipt = small_study.facts["receipt"]
    assert (receipt["n_train_pool"], receipt["n_validation"], receipt["n_test"]) == (300, 60, 80)
    bench = Bench(request_small, store)
    # Four label draws over three draws of ε: the first and the last share one.
    labelled = [np.concatenate([bench.task(10, draw).train for draw in draws]) for draws in ((0, 3), (1,), (2,))]
    images = sum(60 + 80 + len(set(ids)) for ids in labelled)
    assert receipt["passes"] == images * 3 * 2 + 80 * 3  # × levels × (model, random weights), and the errors of test images


def test_a_second_sweep_passes_no_image_and_says_the_same(request_small: SweepRequest, store: Store) -> None:
    first = sweep(request_small, store, processes=0)
    again = sweep(request_small, store, processes=0)
    assert again.facts["receipt"]["passes"] == 0
    assert again.facts["results"] == first.facts["results"]


def test_fewer_labels_pass_no_image_and_more_only_the_new_ones(request_small: SweepRequest, store: Store) -> None:
    first = sweep(request_small, store, processes=0)
    fewer = sweep(request_small.model_copy(update={"labels_per_class": (5,)}), store, processes=0)
    assert fewer.facts["receipt"]["passes"] == 0
    more = sweep(request_small.model_copy(update={"labels_per_class": (5, "all")}), store, processes=0)
    assert (
        first.facts["receipt"]["passes"] + more.facts["receipt"]["passes"] == 440 * 3 * 3 * 2 + 80 * 3
    )  # images × levels × ε × models, and the errors of test images
    assert list(more.facts["results"]) == ["5", "all"]


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_and_equals_a_whole_one_bit_for_bit(tiny_folder: Path, tmp_path: Path) -> None:
    cut, whole = Store(tmp_path / "cut"), Store(tmp_path / "whole")
    with subprocess.Popen(command(tiny_folder, cut), start_new_session=True, stdout=subprocess.DEVNULL) as running:
        while len(units(cut)) < 12:
            assert running.poll() is None, "the sweep ended before it could be killed"
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
    done = len(units(cut))
    lines = [subprocess.run(command(tiny_folder, store), check=True, capture_output=True, text=True).stdout for store in (cut, whole)]
    assert 12 <= done < len(units(whole))
    assert units(cut) == units(whole)
    assert json.loads(lines[0].splitlines()[-1]) == json.loads(lines[1].splitlines()[-1])


@pytest.mark.slow
def test_two_sweeps_at_once_fill_one_store_and_agree(tiny_folder: Path, store: Store, tmp_path: Path) -> None:
    both = [subprocess.Popen(command(tiny_folder, store), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate()[0].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert lines[0] == lines[1]
    assert not list(store.root.rglob("*.tmp"))


@pytest.mark.slow
def test_a_damaged_unit_ends_with_one_sentence_and_deleting_it_mends(request_small: SweepRequest, store: Store) -> None:
    first = sweep(request_small, store, processes=0)
    for path in (store.root / "probes").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(NoisescopeError, match=f"{path.name} is damaged"):
            sweep(request_small, store, processes=0)
        path.unlink()
        break
    assert sweep(request_small, store, processes=0).facts["results"] == first.facts["results"]


def test_no_baselines_means_no_baselines(request_small: SweepRequest, store: Store) -> None:
    study = sweep(request_small.model_copy(update={"baselines": False}), store, processes=0)
    assert set(study.table("curve").source) == {"model"}
    assert study.result()["clean"] is None


def test_baselines_are_probed_only_up_to_as_many_labels_as_asked(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(update={"labels_per_class": (3, 10), "baseline_labels": 3, "label_draws": 3, "eps_draws": 2})
    study = sweep(request, store, processes=0)
    sources = {labels: set(part.source) for labels, part in study.table("curve").groupby("labels_per_class")}
    assert sources == {"3": {"model", "random", "baseline", "clean"}, "10": {"model"}}
    assert (study.result("3")["clean"] is None, study.result("10")["clean"] is None) == (False, True)


def test_other_labels_of_the_same_images_make_another_study(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(update={"blocks": ("mid.res0",), "baselines": False})
    first, again = sweep(request, store), sweep(request, store)
    real = Dataset.label_set

    def turned(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        return replace(found, values=(found.values + 1) % 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "label_set", turned)
        other = sweep(request, store)
    assert first.key == again.key != other.key
    assert len(list((store.root / "studies").iterdir())) == 2


def test_images_without_a_label_are_not_probed_and_counted(request_small: SweepRequest, store: Store) -> None:
    real = Dataset.label_set

    def half(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        return replace(found, values=np.where(dataset.ids % 2 == 0, found.values, -1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "label_set", half)
        request = request_small.model_copy(update={"blocks": ("mid.res0",), "baselines": False})
        bench = Bench(request, store)
        assert (len(bench.train), len(bench.test)) == (300, 80)
        assert all((ids % 2 == 0).all() for ids in (bench.train, bench.validation, bench.test))
        receipt = sweep(request, store).facts["receipt"]
    assert receipt["unlabelled"] == int((bench.dataset.ids % 2).sum())


def test_every_training_image_is_asked_for_as_all(request_small: SweepRequest, store: Store) -> None:
    labels = open_dataset("digits").label_set().values
    bench = Bench(request_small, store)
    count = np.bincount(labels[bench.dataset.rows(bench.train)])
    even = np.concatenate([bench.train[labels[bench.dataset.rows(bench.train)] == k][: count.min()] for k in range(10)])
    with pytest.raises(InvalidRequest, match="ask for 'all'"):
        choose_labelled(bench.dataset, bench.labels, even, int(count.min()), 0, 0)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are read from Linux's /proc")
def test_workers_end_with_the_process_that_started_them(tiny_folder: Path, tmp_path: Path) -> None:
    words = ["sweep", "--backend", str(tiny_folder), "--processes", "1", "--store", str(tmp_path), "--json"]
    with subprocess.Popen([sys.executable, "-m", "analysis", *words], cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        found: list[str] = []
        while not any((tmp_path / "features").glob("*/*/*.safetensors")):  # a worker is at work
            assert parent.poll() is None
            time.sleep(0.1)
        found = children.read_text().split()
        parent.kill()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in found) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found
    assert not [child for child in found if Path(f"/proc/{child}").exists()]


def test_only_images_that_a_draw_needs_are_extracted(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(update={"labels_per_class": (3,), "label_draws": 2, "eps_draws": 2, "baselines": False})
    sweep(request, store, processes=0)
    bench = Bench(request, store)
    for draw in range(2):
        held = np.concatenate([unit.ids for unit in store.units("features", bench.features("model", draw), bench.sigmas[0])])
        wanted = np.concatenate([bench.validation, bench.test, bench.task(3, draw).train])
        np.testing.assert_array_equal(np.sort(held), np.sort(wanted))


def test_limited_training_images_limit_the_validation_images_in_proportion(request_small: SweepRequest, store: Store) -> None:
    bench = Bench(request_small.model_copy(update={"n_train": 449, "n_validation": None}), store)
    assert (len(bench.train), len(bench.validation)) == (449, 90)  # half of 898 and of 180
