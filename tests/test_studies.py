from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from analysis.errors import DamagedFile, InvalidRequest, NoisescopeError, StoreUnavailable, UnknownName
from analysis.studies import CONFUSION, FILES, GAUGE, Study, export_study, find_study, import_study, open_study, studies


@pytest.fixture
def copy(small_study: Study, tmp_path: Path) -> Study:
    return open_study(Path(shutil.copytree(small_study.folder, tmp_path / "studies" / small_study.key)))


def test_a_study_survives_export_and_import_byte_for_byte(small_study: Study, tmp_path: Path) -> None:
    export_study(small_study, tmp_path / "study.zip")
    arrived = import_study(tmp_path / "study.zip", tmp_path / "root")
    assert arrived.facts == small_study.facts
    assert all(arrived.path(name).read_bytes() == small_study.path(name).read_bytes() for name in small_study.facts["files"])
    assert find_study(small_study.key[:8], tmp_path / "root").folder == arrived.folder


def test_the_bundled_study_is_found_by_name() -> None:
    study = find_study("digits")
    assert study.key in studies()
    assert study.facts["receipt"]["model"] == "digits-ddpm"


@pytest.mark.parametrize("name", [*FILES, GAUGE, CONFUSION])
def test_a_file_that_was_altered_or_lost_is_named(copy: Study, name: str) -> None:
    path = copy.folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(DamagedFile, match=f"{name} of the study .* does not match"):
        copy.path(name)
    path.unlink()
    with pytest.raises(DamagedFile, match=f"lacks {name}"):
        copy.path(name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_study_file_that_is_none_is_one_sentence(copy: Study, text: str) -> None:
    (copy.folder / "study.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"study\.json"):
        open_study(copy.folder)


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(UnknownName, match="Unknown study 'zzz'"):
        find_study("zzz")


def test_a_file_that_is_no_study_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with pytest.raises(DamagedFile, match="no exported study"):
        import_study(tmp_path / "a.zip", tmp_path)
    with pytest.raises(InvalidRequest, match="no file"):
        import_study(tmp_path / "b.zip", tmp_path)
    assert not (tmp_path / "studies").exists()


def test_an_archive_cannot_write_outside_its_study(small_study: Study, tmp_path: Path) -> None:
    export_study(small_study, tmp_path / "study.zip")
    with zipfile.ZipFile(tmp_path / "study.zip", "a") as archive:
        archive.writestr("../../escaped", "x")
    arrived = import_study(tmp_path / "study.zip", tmp_path / "root")
    assert sorted(path.name for path in arrived.folder.iterdir()) == sorted((*FILES, GAUGE, CONFUSION, "study.json"))
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("key", ["../up", ".", "a/b"])
def test_a_study_that_names_itself_as_a_path_is_refused(small_study: Study, tmp_path: Path, key: str) -> None:
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for name in small_study.facts["files"]:
            archive.write(small_study.folder / name, name)
        archive.writestr("study.json", json.dumps({**small_study.facts, "key": key}))
    with pytest.raises(DamagedFile, match="no study key"):
        import_study(tmp_path / "study.zip", tmp_path / "root")


def test_another_study_of_the_same_key_is_not_overwritten(small_study: Study, tmp_path: Path) -> None:
    export_study(small_study, tmp_path / "study.zip")
    target = import_study(tmp_path / "study.zip", tmp_path / "root").folder / "study.json"
    target.write_text(json.dumps({**small_study.facts, "files": {}}))
    with pytest.raises(StoreUnavailable, match="already has another"):
        import_study(tmp_path / "study.zip", tmp_path / "root")


def test_a_damaged_study_is_listed_and_does_not_hide_the_others(copy: Study) -> None:
    root = copy.folder.parent.parent
    (root / "studies" / "broken").mkdir()
    (root / "studies" / "broken" / "study.json").write_text("{")
    assert {"broken", copy.key} <= set(studies(root))
    with pytest.raises(NoisescopeError):
        find_study("broken", root)
