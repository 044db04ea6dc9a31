"""Scores of a study's cells without labels: from the store, kept with the study, and no label read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import label_free, regret, unlabelled
from analysis.__main__ import app
from analysis.answers import Answers
from analysis.errors import InvalidRequest
from analysis.features import load_x0, read_features
from analysis.lane import Answer
from analysis.noise import noise_like
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.steps import finish
from analysis.store import Store
from analysis.studies import UNLABELLED, Study, export_study, find_study, import_study, open_study

from .toys import AtOnce

COUNT = 90
SCORES = ["effective_rank", "invariance", "alignment", "uniformity", "agreement"]


@pytest.fixture
def copied(small_study: Study, tmp_path: Path) -> Study:
    return open_study(shutil.copytree(small_study.folder, tmp_path / "store" / "studies" / small_study.key))


@pytest.fixture(scope="module")
def bench(small_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return unlabelled.bench_of(small_study, Store(tmp_path_factory.mktemp("scored")))


@pytest.fixture(scope="module")
def table(bench: Bench) -> pd.DataFrame:
    return finish(unlabelled.measuring(bench, COUNT))


def test_every_cell_has_every_score(table: pd.DataFrame, bench: Bench) -> None:
    assert len(table) == 2 * 3
    assert np.isfinite(table[SCORES].to_numpy()).all()
    assert set(table.n_images) == {COUNT}
    assert list(table.sigma.unique()) == list(bench.sigmas)
    assert set(table.dimension) == {8}


def test_the_images_are_validation_images_then_training_images_and_never_test_images(bench: Bench) -> None:
    ids = unlabelled.images(bench, 1000)
    split = bench.dataset.split[bench.dataset.rows(ids)]
    assert list(split) == ["validation"] * 180 + ["train"] * 820
    assert len(set(ids)) == 1000
    assert set(bench.dataset.split[bench.dataset.rows(unlabelled.images(bench, 100))]) == {"validation"}


def test_a_cells_scores_are_those_of_its_features_under_two_draws(table: pd.DataFrame, bench: Bench) -> None:
    ids, sigma = unlabelled.images(bench, COUNT), bench.sigmas[1]
    x0 = load_x0(bench.dataset, ids, bench.model)
    draws = [
        read_features(bench.model, ["mid.res1/1"], x0, noise_like(x0, ids.tolist(), 0, draw), sigma, 64)["mid.res1/1"].numpy()
        for draw in (0, 1)
    ]
    row = table[(table.block == "mid.res1") & (table.sigma == sigma)].iloc[0]
    wanted = label_free.scores(draws)
    np.testing.assert_allclose([row[name] for name in wanted], list(wanted.values()), rtol=1e-3)


def test_clusters_are_compared_with_the_neighbouring_levels_under_the_other_noise() -> None:
    def name(*places: int) -> np.ndarray:
        return np.array(places)

    a, b, c = name(0, 0, 1, 1), name(0, 1, 0, 1), name(1, 1, 0, 0)  # a and c are the same clusters, b shares nothing with them
    clusters: list[dict[str, list[np.ndarray | None]]] = [{"x": [a, b]}, {"x": [b, c]}, {"x": [None, b]}]
    same, none = label_free.agreement(a, c), label_free.agreement(b, a)
    assert unlabelled._agreement(clusters, 0, "x") == (same + 1) / 2  # a with c, b with b
    assert unlabelled._agreement(clusters, 1, "x") == pytest.approx((1 + same + 1) / 3)  # b with b, c with a, b with b; c has none
    assert none < 0.5
    assert np.isnan(unlabelled._agreement([{"x": [None, None]}, {"x": [a, b]}], 0, "x"))


def test_labels_are_never_read(table: pd.DataFrame, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = unlabelled.bench_of(small_study, Store(tmp_path))
    rng = np.random.default_rng(0)
    bench.dataset.label_sets = {
        name: replace(labels, values=rng.permutation(labels.values)) for name, labels in bench.dataset.label_sets.items()
    }
    bench.labels = bench.dataset.label_set()
    found = finish(unlabelled.measuring(bench, COUNT))
    pd.testing.assert_frame_equal(found, table)
    bench.dataset.label_sets = {}
    pd.testing.assert_frame_equal(finish(unlabelled.measuring(bench, COUNT)), table)


def test_what_is_stored_is_not_extracted_again(table: pd.DataFrame, bench: Bench) -> None:
    cost = unlabelled.cost(bench, COUNT)
    assert (cost["passes"], cost["cells"]) == (0, 6)
    assert cost["seconds"] > 0
    more = unlabelled.cost(bench, COUNT + 10)
    assert more["passes"] == 10 * 3 * 2
    pd.testing.assert_frame_equal(finish(unlabelled.measuring(bench, COUNT)), table)


def test_it_says_how_far_it_is(bench: Bench) -> None:
    told: list[unlabelled.Step] = []
    finish(unlabelled.measuring(bench, COUNT), told.append)
    assert [done for done, _, _ in told] == list(range(3 * (2 * 1 + 2) + 1))
    assert {of for _, of, _ in told} == {12}
    assert {words.split(" at ")[0] for _, _, words in told} == {"Reading 90 images", "Scoring the blocks", "Comparing the clusters"}


def test_clean_input_has_no_second_draw(tiny_folder: Path, small_study: Study, tmp_path: Path) -> None:
    request = SweepRequest.model_validate(small_study.facts["request"]).model_copy(update={"input": "clean", "baselines": False})
    found = finish(unlabelled.measuring(Bench(request, Store(tmp_path)), COUNT))
    assert found[["invariance", "alignment"]].isna().all(axis=None)
    assert found[["effective_rank", "uniformity", "agreement"]].notna().all(axis=None)


def test_features_that_are_no_numbers_have_no_score(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = bench.store.cell

    def cell(identity: Any, sigma: float, block: str, *rest: Any) -> np.ndarray:
        values = read(identity, sigma, block, *rest)
        return values * np.nan if block == "mid.res1" and sigma == bench.sigmas[0] else values

    monkeypatch.setattr(bench.store, "cell", cell)
    found = finish(unlabelled.measuring(bench, COUNT))
    lost = (found.block == "mid.res1") & (found.sigma == bench.sigmas[0])
    assert found[lost][SCORES].isna().all(axis=None)
    assert found[~lost][SCORES].notna().all(axis=None)


@pytest.mark.parametrize("count", [19, 1001])
def test_too_few_images_and_too_many_are_refused(count: int, bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=f"count is {count}; allowed: 20 to 1000"):
        unlabelled.images(bench, count)


@pytest.mark.parametrize("fact", ["revision", "dataset_identity"])
def test_another_model_and_other_data_are_refused(fact: str, small_study: Study, bench: Bench) -> None:
    other = replace(small_study, facts={**small_study.facts, "receipt": {**small_study.facts["receipt"], fact: "another"}})
    with pytest.raises(InvalidRequest, match=r"are another, those here .* give the ones it was measured with"):
        unlabelled.measure(other, bench, COUNT)


def test_it_is_kept_with_the_study_and_goes_out_and_comes_in_with_it(copied: Study, table: pd.DataFrame, tmp_path: Path) -> None:
    kept = unlabelled.keep(copied, unlabelled.to_bytes(table), {"validation": 90})
    pd.testing.assert_frame_equal(regret.kept(kept), table)
    assert {name: kept.facts["files"][name] for name in copied.facts["files"]} == copied.facts["files"]
    export_study(kept, tmp_path / "s.zip")
    pd.testing.assert_frame_equal(regret.kept(import_study(tmp_path / "s.zip", tmp_path / "elsewhere")), table)


def test_the_command_says_what_each_score_costs(copied: Study, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", "unlabelled", copied.key, "--count", "40", "--store", str(tmp_path / "store")])
    assert result.exit_code == 0, result.output
    assert "Labels a class: 10. Of 5 scores without labels" in result.stdout
    assert "nothing: the mean of all cells" in result.stdout
    study = find_study(copied.key, tmp_path / "store")
    assert UNLABELLED in study.facts["files"]
    assert (study.facts["unlabelled"]["validation"], study.facts["unlabelled"]["train"], study.facts["unlabelled"]["draws"]) == (40, 0, 2)


def ask(answers: Answers, **question: Any) -> tuple[Answer, int]:
    steps = 0
    while "left" in (found := answers(question))[0]:
        steps += 1
    return found, steps


def test_the_worker_answers_in_steps_and_keeps_it_with_a_study_of_the_store(
    copied: Study, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.advising.LOOK", 0.0)
    answers = Answers(Store(tmp_path / "store"), "cpu", 0, AtOnce())
    (said, data), steps = ask(answers, ask="unlabelled", study=copied.key, count=COUNT)
    assert steps == 13
    pd.testing.assert_frame_equal(regret.read(data), table)
    assert said["clusters"] == 10
    kept = find_study(copied.key, tmp_path / "store")
    pd.testing.assert_frame_equal(regret.kept(kept), table)
    assert kept.facts["unlabelled"] == said


def test_the_worker_says_what_it_costs_first(copied: Study, tmp_path: Path) -> None:
    answers = Answers(Store(tmp_path / "store"), "cpu", 0, AtOnce())
    (said, data), steps = ask(answers, ask="unlabelled", study=copied.key, count=COUNT, most=0.0)
    assert (steps, data, said["passes"], said["cells"]) == (0, b"", COUNT * 6, 6)
    assert UNLABELLED not in find_study(copied.key, tmp_path / "store").facts["files"]


@pytest.mark.slow
def test_what_ships_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlabelled, "keep", None)  # would fail if it were called
    (_, data), _ = ask(Answers(Store(tmp_path), "cpu", 0, AtOnce()), ask="unlabelled", study="digits", count=20)
    assert len(regret.read(data)) == 240


def test_the_worker_says_where_the_data_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(Store(tmp_path), "cpu", 0, AtOnce())
    monkeypatch.setattr(answers.own, "bench", lambda study: None)
    with pytest.raises(InvalidRequest, match="is not on this machine"):
        ask(answers, ask="unlabelled", study="digits")


def test_the_worker_gives_the_lines_of_a_cell(tmp_path: Path) -> None:
    answers = Answers(Store(tmp_path), "cpu", 0, AtOnce())
    (said, _), _ = ask(answers, ask="snippet", study="digits", block="mid.res1", pooling="1", level=3)
    assert "mid_block.resnets.1" in said["lines"]
    with pytest.raises(InvalidRequest, match="level is 99; allowed: 0 to 15"):
        ask(answers, ask="snippet", study="digits", block="mid.res1", pooling="1", level=99)
