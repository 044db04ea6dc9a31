"""What `study decide` measures and keeps with a study."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.backends import open_backend
from analysis.decided import decide, measure
from analysis.deciding import Watcher, ask, join
from analysis.errors import InvalidRequest
from analysis.settling import settled
from analysis.studies import Study, export_study, find_study, import_study, open_study


@pytest.fixture
def copied(small_study: Study, tmp_path: Path) -> Study:
    return open_study(shutil.copytree(small_study.folder, tmp_path / "store" / "studies" / small_study.key))


def other(study: Study, **request: Any) -> Study:
    return replace(study, facts={**study.facts, "request": {**study.facts["request"], **request}})


def test_the_numbers_are_those_of_the_watched_samples() -> None:
    studies, model = [find_study("shapes-hue"), find_study("shapes-shape")], open_backend("shapes-ddpm")
    found = measure(studies, model, count=6, seed=4, steps=3)
    assert [found[study.key]["label_set"] for study in studies] == ["hue", "shape"]
    for study in studies:
        watched = join(Watcher(model, [ask(study)], steps=3).watch(range(6), 4))
        reading, said = next(iter(watched.readings.values())), found[study.key]
        wanted = settled(reading.logits, watched.sigmas, 4)
        assert said["block"] == study.result()["headline"].split("/")[1]
        assert (said["median"], tuple(said["median_ci"])) == (wanted.median, wanted.median_ci)
        np.testing.assert_allclose([row["agreement"] for row in said["levels"]], wanted.agreement[0])
        assert said["finals"] == np.bincount(reading.final, minlength=6).tolist()


def test_it_is_kept_with_the_study_whose_own_files_stay(copied: Study, tiny_folder: Path) -> None:
    ((kept, said),) = decide([copied], str(tiny_folder), count=5, steps=2)
    assert json.loads(kept.path("deciding.json").read_text()) == said
    assert {name: kept.facts["files"][name] for name in copied.facts["files"]} == copied.facts["files"]
    assert kept.facts["results"] == copied.facts["results"]


def test_it_goes_out_and_comes_in_with_the_study(copied: Study, tiny_folder: Path, tmp_path: Path) -> None:
    ((kept, _),) = decide([copied], str(tiny_folder), count=5, steps=2)
    export_study(kept, tmp_path / "s.zip")
    again = import_study(tmp_path / "s.zip", tmp_path / "elsewhere")
    assert again.path("deciding.json").read_bytes() == kept.path("deciding.json").read_bytes()


def test_the_command_says_the_median(copied: Study, tiny_folder: Path, tmp_path: Path) -> None:
    words = ["study", "decide", copied.key, "--backend", str(tiny_folder), "--count", "5", "--steps", "2"]
    result = CliRunner().invoke(app, [*words, "--store", str(tmp_path / "store")])
    assert f"{copied.key}: digit is settled at σ = " in result.stdout, result.output
    assert "deciding.json" in find_study(copied.key, tmp_path / "store").facts["files"]


@pytest.mark.parametrize(("request_", "words"), [({"input": "clean"}, "clean input"), ({"condition": "null"}, "condition 'null'")])
def test_probes_of_other_passes_than_a_samplers_are_refused(request_: dict[str, Any], words: str, small_study: Study, tiny: Any) -> None:
    with pytest.raises(InvalidRequest, match=words):
        measure([other(small_study, **request_)], tiny, count=5, steps=2)


def test_another_model_than_the_studys_is_refused(copied: Study) -> None:
    with pytest.raises(InvalidRequest, match="give that model"):
        decide([copied], "digits-ddpm", count=5, steps=2)


def test_one_sample_is_too_few(small_study: Study, tiny: Any) -> None:
    with pytest.raises(InvalidRequest, match="count is 1; allowed: at least 2"):
        measure([small_study], tiny, count=1)


@pytest.mark.parametrize("name", ["digits", "shapes-hue", "shapes-shape", "shapes-texture", "cifar10"])
def test_what_ships_says_when_each_question_is_settled(name: str) -> None:
    said = json.loads(find_study(name).path("deciding.json").read_text())
    agreement = [row["agreement"] for row in said["levels"]]
    assert (said["count"], said["steps"], len(agreement)) == (1000, 19, 19)
    assert agreement[-1] == 1
    assert said["median_ci"][0] <= said["median"] <= said["median_ci"][1]
    assert sum(said["finals"]) == 1000
