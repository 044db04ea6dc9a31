"""A folder that came through a browser: kept for its session, opened by its path, and gone a day later."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis import dropped
from analysis.datasets import open_dataset
from analysis.errors import InvalidData, InvalidRequest, StoreUnavailable


def png(seed: int, side: int = 8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "png")
    return out.getvalue()


PETS = [(f"My pets/{kind}/{i}.png", png(10 * j + i)) for j, kind in enumerate(("ant", "cat")) for i in range(10)]


def test_a_folder_is_a_data_set_by_its_path(tmp_path: Path) -> None:
    place = dropped.keep([*PETS, ("My pets/.DS_Store", b"x"), ("My pets/notes.txt", b"x")], tmp_path)
    assert place.name == "My pets.zip"
    assert dropped.is_dropped(str(place), tmp_path)
    assert not dropped.is_dropped(str(tmp_path / "other.zip"), tmp_path)
    data = open_dataset(str(place), 8)
    assert (data.name, len(data.ids), data.label_set().classes) == ("My pets.zip", 20, ("ant", "cat"))
    with zipfile.ZipFile(place) as archive:
        assert ".DS_Store" not in " ".join(archive.namelist())


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "C:\\Windows\\x.png", "..\\..\\x.png"])
def test_no_path_leads_out_of_the_folder(path: str, tmp_path: Path) -> None:
    place = dropped.keep([(path, b"x")], tmp_path)
    assert place.parent.parent == tmp_path / "uploads"
    with zipfile.ZipFile(place) as archive:
        assert not any(name.startswith(("/", "..")) or ":" in name or "\\" in name for name in archive.namelist())


def test_two_sessions_get_two_places_and_what_nobody_chose_for_a_day_goes(tmp_path: Path) -> None:
    first, second = (dropped.keep(PETS, tmp_path) for _ in range(2))
    assert first.parent != second.parent
    before = time.time() - dropped.KEPT - 60
    for place in (first, second):
        os.utime(place.parent, (before, before))
    dropped.choose(second)
    dropped.keep(PETS, tmp_path)
    assert not first.exists()
    assert second.exists()
    dropped.choose(first)  # gone: nothing to note


def test_what_was_decoded_of_a_folder_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    place = dropped.keep(PETS, tmp_path)
    open_dataset(str(place), 8)
    assert len(list((tmp_path / "images").iterdir())) == 2
    dropped.forget(tmp_path, -1.0)
    assert not list((tmp_path / "images").iterdir())


def test_what_cannot_be_kept_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidData, match="holds no file"):
        dropped.keep([("pets/.hidden", b"x")], tmp_path)
    monkeypatch.setattr(dropped, "MOST_FILES", 3)
    with pytest.raises(InvalidRequest, match="20 files"):
        dropped.keep(PETS, tmp_path)
    monkeypatch.setattr(dropped, "MOST_FILES", 30)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable):
        dropped.keep(PETS, tmp_path / "file")
    assert not list(tmp_path.glob("uploads/*"))
