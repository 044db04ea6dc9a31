"""A map as a table, and the command that makes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import crew
from analysis.__main__ import app
from analysis.errors import NoisescopeError
from analysis.map_table import table
from tests.toys import AtOnce

CLASSES = ("cat", "dog")
LABELS = {"label": (CLASSES, np.array([0, 1, -1])), "hue": (("red",), np.array([0, -1, 0]))}
READ = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])


def test_a_row_an_image_with_what_is_known_of_it() -> None:
    found = table(np.array([1, 2, 2**63], np.uint64), np.arange(9.0).reshape(3, 3), "label", LABELS, CLASSES, READ)
    assert found.id.tolist() == [f"{1:016x}", f"{2:016x}", "8000000000000000"]
    assert found[["x", "y", "z"]].to_numpy().tolist() == np.arange(9.0).reshape(3, 3).tolist()
    known = [[None if pd.isna(value) else value for value in found[name]] for name in ("label", "hue")]
    assert known == [["cat", "dog", None], ["red", None, "red"]]
    assert found.prediction.tolist() == ["cat", "cat", "dog"]
    assert found.confidence.tolist() == [0.9, 0.6, 0.8]
    assert found.correct.tolist() == [True, False, pd.NA]
    assert found.correct.dtype == "boolean"
    assert [line.split(",")[-2] for line in found.to_csv(index=False).splitlines()] == ["correct", "True", "False", ""]


def test_where_no_label_is_known_nothing_is_right_or_wrong_and_the_column_is_of_that_type_all_the_same() -> None:
    found = table(np.array([1, 2, 3], np.uint64), np.zeros((3, 2)), "label", {"label": (CLASSES, np.full(3, -1))}, CLASSES, READ)
    assert found.correct.isna().all()
    assert found.correct.dtype == "boolean"


def test_a_label_set_that_is_called_as_a_column_is_gets_a_name_of_its_own() -> None:
    labels = {"fine": (CLASSES, np.array([0, 1])), "label": (("a", "b"), np.array([1, 1])), "x": (("c",), np.array([0, 0]))}
    found = table(np.array([1, 2], np.uint64), np.zeros((2, 2)), "fine", labels, (), None)
    assert found.label.tolist() == ["cat", "dog"]
    assert found.label_label.tolist() == ["b", "b"]
    assert found.label_x.tolist() == ["c", "c"]
    assert found.x.tolist() == [0, 0]


def test_without_labels_and_probes_there_are_places_alone() -> None:
    assert list(table(np.array([1], np.uint64), np.zeros((1, 2)), None, {}, (), None).columns) == ["id", "x", "y"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "Crew", lambda count: AtOnce())


@pytest.mark.parametrize("ending", ["parquet", "csv", "html", "svg"])
def test_a_map_is_written_from_the_command_line(tmp_path_factory: pytest.TempPathFactory, at_once: None, ending: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "maps"
    folder.mkdir(exist_ok=True)
    out = folder / f"map.{ending}"
    words = ["study", "map", "digits", "--count", "40", "--method", "umap", "--out", str(out), "--store", str(folder / "store")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "40 images of" in done.output
    if ending in ("parquet", "csv"):
        found = pd.read_parquet(out) if ending == "parquet" else pd.read_csv(out)
        assert len(found) == 40
        assert found.prediction.eq(found.label).mean() > 0.6
        assert ending != "parquet" or len(found.neighbors[0]["ids"]) == 15
    else:
        assert "digits-ddpm" in out.read_text()


@pytest.mark.parametrize(
    ("show", "rows"),
    [("blocks", 15 * 40), ("trust", 16 + 15 - 1), ("alike --over levels", 16 * 16), ("content", 2 * 15)],
)
def test_so_are_the_numbers_behind_other_views(tmp_path_factory: pytest.TempPathFactory, at_once: None, show: str, rows: int) -> None:
    folder = tmp_path_factory.getbasetemp() / "maps"
    folder.mkdir(exist_ok=True)
    out = folder / "numbers.csv"
    words = ["study", "map", "digits", "--count", "40", "--method", "pca", "--out", str(out), "--store", str(folder / "store")]
    done = CliRunner().invoke(app, [*words, "--show", *show.split()])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(out)) == rows


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--show", "clouds"), "show is 'clouds'; allowed: map, blocks"),
        (("--over", "images", "--show", "alike"), "over is 'images'; allowed: blocks and levels"),
        (("--show", "trust", "--out", "map.html"), "allowed endings: .parquet, .csv"),
        (("--out", "map.png"), "allowed endings: .parquet, .csv, .html, .svg"),
        (("--method", "tsne"), "method is 'tsne'; allowed: 'pca' and 'umap'"),
        (("--block", "up9"), "up9"),
        (("--dims", "4"), "dims is 4"),
        (("--sigma", "0"), "sigma is 0.0; allowed: a noise level above 0"),
    ],
)
def test_what_cannot_be_mapped_is_one_sentence(tmp_path: Path, at_once: None, words: tuple[str, ...], said: str) -> None:
    given = [*(("--out", str(tmp_path / "map.csv")) if "--out" not in words else ()), *words]
    done = CliRunner().invoke(app, ["study", "map", "digits", "--count", "20", "--store", str(tmp_path / "store"), *given])
    assert isinstance(done.exception, NoisescopeError)
    assert said in str(done.exception)
    assert Path("map.png").exists() is False
