from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from analysis.errors import DamagedFile, StoreUnavailable
from analysis.specs import FeatureIdentity
from analysis.store import Store

IDENTITY = FeatureIdentity(backend="b", dataset="d")
IDS = np.array([30, 10, 20, 2**63 + 5], dtype=np.uint64)
VALUES = np.arange(8, dtype=np.float32).reshape(4, 2)


def put(store: Store, ids: np.ndarray = IDS, values: np.ndarray = VALUES, name: str = "up/1") -> Path:
    return store.put("features", IDENTITY, 0.5, ids, {name: values})


def test_a_cell_comes_back_in_the_order_of_the_ids_asked_for(store: Store) -> None:
    put(store)
    got = store.cell(IDENTITY, 0.5, "up", "1", IDS[[2, 0, 3]])
    np.testing.assert_array_equal(got, VALUES[[2, 0, 3]])


def test_a_cell_is_joined_from_several_units(store: Store) -> None:
    put(store, IDS[:2], VALUES[:2])
    put(store, IDS[2:], VALUES[2:])
    np.testing.assert_array_equal(store.cell(IDENTITY, 0.5, "up", "1", IDS), VALUES)


def test_only_what_is_missing_is_asked_for(store: Store) -> None:
    put(store, IDS[:2], VALUES[:2])
    ((names, ids),) = store.missing("features", IDENTITY, 0.5, ["up/1"], IDS)
    assert names == ("up/1",)
    np.testing.assert_array_equal(ids, IDS[2:])
    assert len(store.missing("features", IDENTITY, 0.5, ["up/1", "mid/1"], IDS)) == 2
    assert store.missing("features", IDENTITY, 0.5, ["up/1"], IDS[:2]) == []


def test_more_than_a_unit_of_images_is_cut_into_units(store: Store) -> None:
    groups = store.missing("features", IDENTITY, 0.5, ["up/1"], np.arange(9000, dtype=np.uint64))
    assert [len(ids) for _, ids in groups] == [4096, 4096, 808]


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_a_damaged_unit_is_one_sentence_that_names_it(store: Store, damage: str) -> None:
    path = put(store)
    data = bytearray(path.read_bytes())
    place = data.index(VALUES.tobytes())
    data[place] ^= 1
    path.write_bytes({"truncate": bytes(data[:-9]), "flip": bytes(data), "empty": b""}[damage])
    with pytest.raises(DamagedFile, match=f"{path.name} is damaged.*delete it"):
        store.cell(IDENTITY, 0.5, "up", "1", IDS)


def test_a_missing_unit_is_said(store: Store) -> None:
    put(store).unlink()
    with pytest.raises(DamagedFile, match=r"lacks up/1 at σ = 0\.5 for 4 of 4 images"):
        store.cell(IDENTITY, 0.5, "up", "1", IDS)


def test_the_settings_of_the_first_unit_stand(store: Store) -> None:
    assert store.settings("features", IDENTITY, {"batch_size": 7}) == {"batch_size": 7}
    assert store.settings("features", IDENTITY, {"batch_size": 64}) == {"batch_size": 7}


@pytest.mark.parametrize("first", [True, False])
def test_settings_stand_also_where_there_are_no_hard_links(store: Store, monkeypatch: pytest.MonkeyPatch, first: bool) -> None:
    def none(_: Path, path: Path) -> None:
        if not first:  # another process was
            path.write_text('{"batch_size": 7}')
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", none)
    assert store.settings("features", IDENTITY, {"batch_size": 64}) == {"batch_size": 64 if first else 7}
    assert store.settings("features", IDENTITY, {"batch_size": 3}) == {"batch_size": 64 if first else 7}


def test_a_unit_is_on_the_disk_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, int]] = []
    sync, replace = os.fsync, os.replace

    def told(descriptor: int) -> None:
        sync(descriptor)
        stat = os.fstat(descriptor)
        flushed.append((stat.st_ino, stat.st_size))

    def renamed(old: Path, new: Path) -> None:
        stat = old.stat()
        assert (stat.st_ino, stat.st_size) in flushed
        replace(old, new)

    monkeypatch.setattr(os, "fsync", told)
    monkeypatch.setattr(os, "replace", renamed)
    path = put(store)
    assert path.stat().st_size > VALUES.nbytes


@pytest.mark.parametrize(("code", "word"), [(errno.ENOSPC, "full"), (errno.EROFS, "read-only")])
def test_a_store_that_cannot_be_written_says_why_and_keeps_what_it_has(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int, word: str
) -> None:
    put(store)

    def fail(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StoreUnavailable, match=f"{word}.*NOISESCOPE_STORE"):
        put(store, name="mid/1")
    assert [path.suffix for path in (store.folder("features", IDENTITY) / "0.5").iterdir()] == [".safetensors"]
    np.testing.assert_array_equal(store.cell(IDENTITY, 0.5, "up", "1", IDS), VALUES)


def test_a_store_under_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="Cannot write"):
        put(Store(tmp_path / "file" / "store"))


def test_a_store_of_another_version_is_refused(store: Store) -> None:
    store.settings("features", IDENTITY, {})
    (store.root / "store.json").write_text('{"format": 99}')
    with pytest.raises(StoreUnavailable, match="format 99"):
        Store(store.root)


def test_many_writers_of_one_unit_leave_one_whole_file(store: Store) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda _: put(Store(store.root)), range(32)))
    assert len(store.units("features", IDENTITY, 0.5)) == 1
    np.testing.assert_array_equal(store.cell(IDENTITY, 0.5, "up", "1", IDS), VALUES)
