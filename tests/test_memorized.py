"""A study of memorization is read, checked, and says what it shows and what it doesn't."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis import catalog
from analysis.errors import DamagedFile, UnknownName
from analysis.memorized import COLUMNS, FILE, Memorized, find_memorization, images, memorizations, open_memorized

from . import memorized_toy as toy


@pytest.fixture
def study(tmp_path: Path) -> Memorized:
    return toy.make(tmp_path / "memorization" / "toy0123456789abc")


def test_it_tells_sizes_moments_blocks_and_the_finding(study: Memorized) -> None:
    assert study.sizes == ["64", "1024", "16384", "fresh"]
    assert study.seen() == list(toy.SEEN)
    assert study.seen("raw") == study.seen("ema", "subset") == [toy.SEEN[-1]]
    assert study.block in study.blocks
    assert "only falls in those trained on 64 images" in study.sentence


@pytest.mark.parametrize("name", COLUMNS)
def test_every_table_is_read_with_its_columns_and_is_empty_where_there_is_none(study: Memorized, tmp_path: Path, name: str) -> None:
    assert set(COLUMNS[name]) <= set(study.table(name).columns)
    assert len(study.table(name)) > 0
    less = toy.make(tmp_path / "less", leave_out=(f"{name}.parquet",))
    assert not less.has(name)
    assert list(less.table(name).columns) == list(COLUMNS[name])
    assert less.table(name).empty


def test_verdicts_are_found_by_curve_and_another_is_named(study: Memorized) -> None:
    assert study.verdict("64", toy.SEEN[-1])["shape"] == "decreasing"
    assert study.verdict("fresh", toy.SEEN[-1])["shape"] == "unimodal"
    assert len(study.verdicts()) == len(toy.SIZES) * len(toy.SEEN)
    with pytest.raises(UnknownName, match="17 after 4096"):
        study.verdict("17", 4096)


def test_pairs_of_moments_have_their_interval(study: Memorized) -> None:
    low, high = study.paired("64")[4096, 131072]
    assert low < high < 0
    assert study.paired("17") == {}


def test_what_was_made_stands_beside_its_nearest_image(study: Memorized, tmp_path: Path) -> None:
    made = study.made("64")
    assert made is not None
    assert made.samples.shape == made.nearest.shape == (12, 16, 16, 3)
    assert made.ratio.mean() < 0.3
    assert study.made("17") is None
    assert toy.make(tmp_path / "less", leave_out=("samples.safetensors",)).made("64") is None


def difference(low: float, high: float) -> list[dict[str, object]]:
    last = {"block": toy.HEADLINE, "seen": toy.SEEN[-1], "weights": "ema", "labelled": "outside", "against": "64"}
    return [last | {"size": "fresh", "difference": (low + high) / 2, "low": low, "high": high}]


@pytest.mark.parametrize(
    ("low", "high", "shown", "says"),
    [
        (0.01, 0.05, True, "As arXiv 2502.05743 found"),
        (-0.01, 0.05, None, "is not shown here"),
        (-0.05, -0.01, False, "The opposite"),
    ],
)
def test_whether_the_expected_is_shown_is_said_plainly(tmp_path: Path, low: float, high: float, shown: bool | None, says: str) -> None:
    found = toy.make(tmp_path / "one", differences=difference(low, high)).expected()
    assert found.shown is shown
    assert says in found.sentence
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in found.sentence


def test_with_one_training_set_nothing_is_compared(tmp_path: Path) -> None:
    assert "nothing to compare" in toy.make(tmp_path / "one", differences=[]).expected().sentence


def test_studies_of_the_store_are_listed_and_found_by_the_beginning_of_their_key(study: Memorized, tmp_path: Path) -> None:
    (tmp_path / "memorization" / "unfinished" / "runs").mkdir(parents=True)
    assert memorizations(tmp_path)[study.key] == study.folder
    assert "unfinished" not in memorizations(tmp_path)
    assert find_memorization("toy0", tmp_path) is study
    with pytest.raises(UnknownName, match="study of memorization 'other'"):
        find_memorization("other", tmp_path)


def test_ones_own_study_goes_before_the_same_that_ships(study: Memorized, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "assets" / "memorization"
    shutil.copytree(study.folder, shipped / "toy")
    monkeypatch.setattr(catalog, "assets", lambda kind: tmp_path / "assets" / kind)
    assert memorizations(tmp_path)[study.key] == study.folder
    (study.folder / FILE).write_text("{")
    assert memorizations(tmp_path)[study.key] == shipped / "toy"


def test_a_damaged_one_comes_after_those_that_can_be_read(study: Memorized, tmp_path: Path) -> None:
    (broken := tmp_path / "memorization" / "a-broken-one").mkdir()
    (broken / FILE).write_text("{")
    assert list(memorizations(tmp_path))[-2:] == [study.key, "a-broken-one"]


def test_a_damaged_one_is_listed_by_its_folder_and_said_when_it_is_opened(study: Memorized, tmp_path: Path) -> None:
    (study.folder / FILE).write_text("{")
    assert study.folder.name in memorizations(tmp_path)
    with pytest.raises(DamagedFile):
        find_memorization(study.folder.name, tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 4}, r"another version: its format is 4; allowed: 3\. "),
        ({"key": None}, "is no study of memorization"),
        ({"verdicts": [], "sentence": ""}, "lacks sentence, verdicts"),
    ],
)
def test_what_is_no_such_study_is_a_sentence(study: Memorized, change: dict[str, object], says: str) -> None:
    facts = json.loads((study.folder / FILE).read_text())
    (study.folder / FILE).write_text(json.dumps(facts | change))
    with pytest.raises(DamagedFile, match=says):
        open_memorized(study.folder)


def test_an_unfinished_one_says_that_it_goes_on(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match="run it again, and it goes on"):
        open_memorized(tmp_path)


def test_an_altered_a_lost_and_a_wrong_file_are_named(study: Memorized, tmp_path: Path) -> None:
    (study.folder / "losses.parquet").write_bytes(b"other")
    with pytest.raises(DamagedFile, match=r"losses\.parquet .* checksum"):
        study.table("losses")
    (study.folder / "samples.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"lacks samples\.safetensors"):
        study.made("64")
    with pytest.raises(UnknownName, match="table 'draws'"):
        study.table("draws")


def test_a_table_without_a_column_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "sharing", lambda: [{"model": "one"}])
    with pytest.raises(DamagedFile, match=r"sharing\.parquet lacks the columns seed, block"):
        toy.make(tmp_path / "bad").table("sharing")


def test_sizes_are_said_in_words_and_sorted_as_text_in_tables(study: Memorized) -> None:
    assert (images("16384"), images("fresh")) == ("16,384 images", "images that are new at every step")
    assert pd.api.types.is_string_dtype(study.table("curve")["size"])
