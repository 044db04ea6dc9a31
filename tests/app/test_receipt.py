"""What a figure carries: the command line that makes it again, and the ways to take it along."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study, open_study
from analysis.sweeping import sweep
from app.components.receipt import bibtex, command, methods, rows


def run_again(study: Study, folder: Path) -> Study:
    """What the study's own command line makes, in another store."""
    words = shlex.split(command(study))
    assert words[:3] == ["python", "-m", "analysis"]
    options = ["--store", str(folder), "--out", str(folder / "curve.parquet"), "--processes", "1"]
    folder.mkdir()
    subprocess.run([sys.executable, *words[1:], *options], check=True, capture_output=True)
    assert (folder / "curve.parquet").exists()
    (made,) = (folder / "studies").iterdir()
    return open_study(made)


def test_the_command_line_makes_the_same_numbers(small_study: Study, tmp_path: Path) -> None:
    again = run_again(small_study, tmp_path / "again")
    assert again.facts["results"] == small_study.facts["results"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again" / "curve.parquet"), small_study.table("curve"))


@pytest.mark.slow
def test_so_it_does_where_every_setting_is_another_one(request_small: SweepRequest, store: Store, tmp_path: Path) -> None:
    changes = {
        "input": "clean",
        "poolings": ("1", "2", "max", "gem"),
        "label_noise": 0.2,
        "imbalance": 2.0,
        "labels_per_class": (3, 5),
        "label_draws": 2,
        "eps_draws": 2,
        "seed": 4,
        "baseline_labels": 3,
        "head": "knn",
        "precision": "bfloat16",
    }
    study = sweep(request_small.model_copy(update=changes), store)
    assert run_again(study, tmp_path / "again").facts["results"] == study.facts["results"]


def test_wrong_labels_and_uneven_classes_are_said(small_study: Study) -> None:
    assert "labels" not in rows(small_study, next(iter(small_study.facts["results"])))
    facts = {**small_study.facts, "request": {**small_study.facts["request"], "label_noise": 0.4, "imbalance": 10.0}}
    study = replace(small_study, facts=facts)
    labels = next(iter(facts["results"]))
    assert rows(study, labels)["labels"].startswith("40 % wrong labels; first class 10 times the last, among the labelled images")
    assert "40 % wrong labels; first class 10 times the last, among the labelled images" in methods(study, study.result(labels))
    assert "--label-noise 0.4 --imbalance 10.0" in command(study)


def test_a_condition_and_a_precision_of_ones_own_are_in_the_command(small_study: Study) -> None:
    assert not {"--condition", "--precision"} & set(command(small_study).split())
    request = {**small_study.facts["request"], "condition": "class:3", "precision": "float16"}
    said = command(replace(small_study, facts={**small_study.facts, "request": request}))
    assert "--precision float16" in said
    assert "--condition class:3" in said


@pytest.mark.parametrize("name", ["digits", "shapes-hue"])
def test_the_command_of_a_study_that_ships_asks_for_its_request(name: str) -> None:
    study = find_study(name)
    words = shlex.split(command(study))
    given = [value for option, value in pairwise(words) if option == "--sigma"]
    assert [float(value) for value in given] == study.facts["request"]["sigmas"]
    assert ("--dataset", study.facts["request"]["dataset"]) in set(pairwise(words))


def test_what_is_cited_is_this_version() -> None:
    root = Path(__file__).resolve().parents[2]
    said = f"version = {{{tomllib.loads((root / 'pyproject.toml').read_text())['project']['version']}}}"
    assert said in bibtex(find_study("digits"))
    assert said in (root / "README.md").read_text()
