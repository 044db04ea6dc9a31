from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from analysis.__main__ import app
from analysis.datasets.base import Dataset
from analysis.errors import InvalidRequest


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["classify", *(str(word) for word in words), "--levels", "6", "--draws", "3"])


@pytest.fixture
def two(tmp_path: Path, digits: Dataset) -> tuple[list[Path], list[int]]:
    """Two test images on disk, and what they are."""
    rows = np.flatnonzero(digits.split == "test")[:2]
    paths = [tmp_path / f"{row}.png" for row in rows]
    for path, row in zip(paths, rows, strict=True):
        Image.fromarray(digits.images[row]).save(path)
    return paths, [int(digits.label_set().values[row]) for row in rows]


def test_it_says_the_class_of_each_image_and_writes_every_error(two: tuple[list[Path], list[int]], tmp_path: Path) -> None:
    paths, truth = two
    result = call(*paths, "--out", tmp_path / "classes.csv")
    assert result.exit_code == 0
    assert f"{paths[0].name}: " in result.stdout
    assert "passes were made" in result.stdout
    rows = pd.read_csv(tmp_path / "classes.csv")
    answers = rows[rows.answer].drop_duplicates("image")
    assert answers["class"].tolist() == truth
    assert len(rows) == 2 * 10 * (6 + 1)


def test_candidates_and_json(two: tuple[list[Path], list[int]], tmp_path: Path) -> None:
    paths, truth = two
    other = f"class:{(truth[0] + 1) % 10}"
    call(paths[0], "--candidate", f"class:{truth[0]}", "--candidate", other, "--no-eliminate", "--out", tmp_path / "classes.json")
    (found,) = json.loads((tmp_path / "classes.json").read_text())
    assert (found["answer"], found["runner_up"], found["evaluations"], found["of"]) == (f"class:{truth[0]}", other, 36, 36)
    assert found["lead_ci"][0] <= found["lead"] <= found["lead_ci"][1]


def test_a_model_without_classes_and_another_ending_are_a_sentence(two: tuple[list[Path], list[int]], tmp_path: Path) -> None:
    result = call(two[0][0], "--backend", "digits-ddpm")
    assert isinstance(result.exception, InvalidRequest)
    assert "trained without classes" in str(result.exception)
    assert "allowed endings: .csv, .parquet, .json" in str(call(two[0][0], "--out", tmp_path / "a.txt").exception)
