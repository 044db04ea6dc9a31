"""SNR of a study's cells: from the store, subspaces from training images alone, kept with the study."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from analysis import feature_snr, snr_measuring, snr_words, unlabelled
from analysis.__main__ import app
from analysis.answers import Answers
from analysis.errors import InvalidData, InvalidRequest
from analysis.features import load_x0, read_features
from analysis.noise import noise_like
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.steps import finish
from analysis.store import Store
from analysis.studies import SNR, Study, export_study, find_study, import_study, open_study

from .toys import AtOnce

COUNT = 120
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.fixture
def copied(small_study: Study, tmp_path: Path) -> Study:
    return open_study(shutil.copytree(small_study.folder, tmp_path / "store" / "studies" / small_study.key))


@pytest.fixture(scope="module")
def bench(small_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return unlabelled.bench_of(small_study, Store(tmp_path_factory.mktemp("snr")))


@pytest.fixture(scope="module")
def found(small_study: Study, bench: Bench) -> snr_measuring.Found:
    return finish(snr_measuring.measuring(small_study, bench, COUNT))


@pytest.fixture(scope="module")
def table(found: snr_measuring.Found) -> pd.DataFrame:
    return found[0]


def test_every_cell_is_read_in_three_ways(table: pd.DataFrame, bench: Bench) -> None:
    assert len(table) == 2 * 3 * 3
    assert set(table.reading) == {"noisy", "clean", "mean"}
    columns = [f"{name}{end}" for name in ("snr", "null", "projection", "distance") for end in ("", "_low", "_high")]
    assert np.isfinite(table[columns].to_numpy()).all()
    for name in ("snr", "null", "projection", "distance"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_high"]).all()
    assert list(table.groupby("reading").draws.first()) == [1, 1, 3]
    assert list(table.sigma.unique()) == list(bench.sigmas)


def test_subspaces_see_training_images_and_the_snr_test_and_validation_ones(bench: Bench) -> None:
    chosen = snr_measuring.images(bench, COUNT)
    split = bench.dataset.split[bench.dataset.rows(chosen.held)]
    assert list(split) == ["test"] * 80 + ["validation"] * 40
    assert set(bench.dataset.split[bench.dataset.rows(chosen.train)]) == {"train"}
    assert set(chosen.train) <= set(bench.train)
    assert not set(chosen.train) & set(chosen.held)


def test_a_cells_numbers_are_those_of_its_features(table: pd.DataFrame, bench: Bench) -> None:
    chosen, sigma, name = snr_measuring.images(bench, COUNT), bench.sigmas[1], "mid.res1/1"
    x0, cut = load_x0(bench.dataset, chosen.every, bench.model), len(chosen.train)
    draws = [
        read_features(bench.model, [name], x0, noise_like(x0, chosen.every.tolist(), 0, draw), sigma, 64)[name].numpy() for draw in range(3)
    ]
    clean = read_features(bench.model, [name], x0, None, sigma, 64)[name].numpy()

    def read(features: np.ndarray) -> tuple[float, float]:
        fitted = feature_snr.subspaces(features[:cut], chosen.told, chosen.classes)
        one = feature_snr.energies(fitted, features[cut:], chosen.labels)
        return feature_snr.snr(one, chosen.labels), float(one.right.mean())

    rows = table[(table.block == "mid.res1") & (table.sigma == sigma)].set_index("reading")
    each = [read(features) for features in draws]
    assert rows.snr["noisy"] == pytest.approx(np.exp(np.mean([np.log(snr) for snr, _ in each])), rel=1e-3)  # features agree to 1e-5
    assert rows.projection["noisy"] == pytest.approx(np.mean([share for _, share in each]), abs=0.01)
    assert rows.snr["clean"] == pytest.approx(read(clean)[0], rel=1e-3)
    assert rows.snr["mean"] == pytest.approx(read(np.mean(draws, 0))[0], rel=1e-3)


def test_distances_are_in_units_of_the_spread_over_levels(table: pd.DataFrame, bench: Bench) -> None:
    chosen, name = snr_measuring.images(bench, COUNT), "up0.res0/1"
    x0 = load_x0(bench.dataset, chosen.held, bench.model)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    middles, squares, noise = [], [], []
    for sigma in bench.sigmas:
        draws = np.stack(
            [
                unit(read_features(bench.model, [name], x0, noise_like(x0, chosen.held.tolist(), 0, draw), sigma, 64)[name].numpy())
                for draw in range(3)
            ]
        )
        clean = unit(read_features(bench.model, [name], x0, None, sigma, 64)[name].numpy())
        middles.append(draws.mean(0))
        noise.append(((draws - draws.mean(0)) ** 2).sum(-1).sum(0) / 2)
        squares.append(((clean - draws.mean(0)) ** 2).sum(1) - noise[-1] / 3)
    spread = ((np.stack(middles) - np.mean(middles, 0)) ** 2).sum(-1).mean()
    rows = {reading: part.sort_values("sigma").distance for reading, part in table[table.block == "up0.res0"].groupby("reading")}
    np.testing.assert_allclose(rows["clean"], np.sqrt(np.maximum(np.mean(squares, 1), 0) / spread), rtol=0.02, atol=2e-3)
    np.testing.assert_allclose(rows["noisy"], np.sqrt(np.mean(noise, 1) / spread), rtol=0.01)
    np.testing.assert_allclose(rows["mean"], np.array(rows["noisy"]) / np.sqrt(3))


def test_peaks_are_compared_with_every_accuracy_on_the_same_images(found: snr_measuring.Found, small_study: Study) -> None:
    peaks = found[1]
    assert {(one["block"], one["against"], one["of"]) for one in peaks} == {
        (block, against, of) for block in ("mid.res1", "up0.res0") for against in ("10", "projection") for of in ("snr", "excess")
    }
    for one in peaks:
        assert one["paired"] == (80 if one["against"] == "10" else 120)
        assert one["images"] == 120
        assert one["distance_ci"][0] <= one["distance"] <= one["distance_ci"][1]
        rows = snr_words.pick(found[0], one["block"], "1", "noisy")
        top = (rows.snr if one["of"] == "snr" else rows.snr / rows.null).argmax()
        assert one["above"] == (rows.snr_low.iloc[top] > rows.null_high.iloc[top])
    verdict = small_study.result()["verdicts"]["model/mid.res1/1"]
    probe = next(one for one in peaks if (one["block"], one["against"]) == ("mid.res1", "10"))
    assert probe["accuracy_sigma"] == pytest.approx(verdict["peak_sigma"])
    assert probe["accuracy_ci"] == pytest.approx(verdict["peak_ci"])


def test_the_images_of_the_benchs_test_are_those_of_the_studys_answers(bench: Bench, small_study: Study) -> None:
    assert (load_file(small_study.path("logits.safetensors"))["test"] == bench.test).all()


def test_what_is_stored_is_not_extracted_again(found: snr_measuring.Found, bench: Bench, small_study: Study) -> None:
    cost = snr_measuring.cost(bench, COUNT)
    assert (cost["passes"], cost["cells"]) == (0, 6)
    again = finish(snr_measuring.measuring(small_study, bench, COUNT))
    pd.testing.assert_frame_equal(again[0], found[0])
    assert again[1] == found[1]


def test_it_says_how_far_it_is(bench: Bench, small_study: Study) -> None:
    told: list[snr_measuring.Step] = []
    finish(snr_measuring.measuring(small_study, bench, COUNT), told.append)
    assert [done for done, _, _ in told] == list(range(3 * (4 * 1 + 2) + 2))
    assert {of for _, of, _ in told} == {20}


def test_a_study_of_clean_input_compares_its_accuracy_with_clean_features(small_study: Study, tmp_path: Path) -> None:
    request = SweepRequest.model_validate(small_study.facts["request"]).model_copy(update={"input": "clean", "baselines": False})
    table, peaks = finish(snr_measuring.measuring(small_study, Bench(request, Store(tmp_path)), COUNT))
    assert np.isfinite(table.snr).all()
    assert len(peaks) == 8


def test_features_that_are_no_numbers_have_no_snr(bench: Bench, small_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read = bench.store.cell

    def cell(identity: Any, sigma: float, block: str, *rest: Any) -> np.ndarray:
        values = read(identity, sigma, block, *rest)
        return values * np.nan if block == "mid.res1" and sigma == bench.sigmas[0] else values

    monkeypatch.setattr(bench.store, "cell", cell)
    table, peaks = finish(snr_measuring.measuring(small_study, bench, COUNT))
    lost = (table.block == "mid.res1") & (table.sigma == bench.sigmas[0])
    assert table[lost][["snr", "null", "projection", "distance"]].isna().all(axis=None)
    assert table[~lost][["snr", "null", "projection", "distance"]].notna().all(axis=None)
    assert {one["block"] for one in peaks} == {"up0.res0"}  # two levels have no peak


def test_classes_without_images_are_left_out_and_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    values = bench.labels.values.copy()
    train = bench.dataset.rows(bench.train)
    values[train[values[train] == 3]] = 4
    monkeypatch.setattr(bench, "labels", replace(bench.labels, values=values))
    chosen = snr_measuring.images(bench, COUNT)
    assert (chosen.classes, chosen.left_out) == (9, ["3"])
    assert set(chosen.told) == set(chosen.labels) == set(range(9))
    monkeypatch.setattr(bench, "labels", replace(bench.labels, values=np.zeros_like(values)))
    with pytest.raises(InvalidData, match="needs at least 2"):
        snr_measuring.images(bench, COUNT)


@pytest.mark.parametrize("count", [19, 1001])
def test_too_few_images_and_too_many_are_refused(count: int, bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=f"count is {count}; allowed: 20 to 1000"):
        snr_measuring.images(bench, count)


def test_labels_that_are_numbers_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "labels", replace(bench.labels, numbers=bench.labels.values.astype(np.float32)))
    with pytest.raises(InvalidRequest, match="are numbers; an SNR is of classes"):
        snr_measuring.images(bench)


def test_another_model_is_refused(small_study: Study, bench: Bench) -> None:
    other = replace(small_study, facts={**small_study.facts, "receipt": {**small_study.facts["receipt"], "revision": "another"}})
    with pytest.raises(InvalidRequest, match="give the ones it was measured with"):
        snr_measuring.measure(other, bench, COUNT)


def test_it_is_kept_with_the_study_and_goes_out_and_comes_in_with_it(
    copied: Study, found: snr_measuring.Found, bench: Bench, tmp_path: Path
) -> None:
    said = snr_measuring.facts(bench, COUNT, found[1], 1.0)
    kept = snr_measuring.keep(copied, unlabelled.to_bytes(found[0]), said)
    table, told = snr_words.kept(kept) or pytest.fail("nothing is kept")
    pd.testing.assert_frame_equal(table, found[0])
    assert told == said
    assert {name: kept.facts["files"][name] for name in copied.facts["files"]} == copied.facts["files"]
    export_study(kept, tmp_path / "s.zip")
    assert import_study(tmp_path / "s.zip", tmp_path / "elsewhere").facts["snr"] == said


def test_the_command_keeps_it_and_writes_both_tables(copied: Study, tmp_path: Path) -> None:
    out, peaks = tmp_path / "snr.csv", tmp_path / "peaks.csv"
    given = ["study", "snr", copied.key, "--count", "40", "--store", str(tmp_path / "store"), "--out", str(out), "--peaks", str(peaks)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "the SNR of held-out images' features is highest near" in result.stdout
    assert SNR in (study := find_study(copied.key, tmp_path / "store")).facts["files"]
    assert (study.facts["snr"]["train"], study.facts["snr"]["test"], study.facts["snr"]["validation"]) == (40, 40, 0)
    assert len(pd.read_csv(out)) == 18
    assert {"distance_low", "distance_high", "snr_sigma"} <= set(pd.read_csv(peaks).columns)


def test_the_command_refuses_a_wrong_ending_before_the_work(copied: Study, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", "snr", copied.key, "--out", str(tmp_path / "snr.txt"), "--store", str(tmp_path / "store")])
    assert isinstance(result.exception, InvalidRequest)


def ask(answers: Answers, **question: Any) -> tuple[Any, int]:
    steps = 0
    while "left" in (found := answers(question))[0]:
        steps += 1
    return found, steps


def test_the_worker_says_the_cost_answers_in_steps_and_keeps_it(
    copied: Study, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.advising.LOOK", 0.0)
    answers = Answers(Store(tmp_path / "store"), "cpu", 0, AtOnce())
    (said, data), steps = ask(answers, ask="snr", study=copied.key, count=COUNT, most=0.0)
    assert (steps, data, said["passes"], said["cells"]) == (0, b"", 2 * COUNT * 3 * 4, 6)
    (said, data), steps = ask(answers, ask="snr", study=copied.key, count=COUNT)
    assert steps == 20
    pd.testing.assert_frame_equal(snr_words.read(data), table)
    assert find_study(copied.key, tmp_path / "store").facts["snr"] == said
