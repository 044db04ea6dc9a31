"""A store in object storage, here in fsspec's memory; against a server that speaks S3 in test_raycrew.py."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest

from analysis.errors import InvalidRequest, StoreUnavailable
from analysis.remote import RemoteStore, open_store
from analysis.specs import FeatureIdentity, SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

WHAT = FeatureIdentity(backend="a", dataset="b", input="noisy", seed=0, draw=0)
IDS = np.arange(4, dtype=np.uint64)
ROWS = {"mid/1": np.arange(8, dtype=np.float32).reshape(4, 2)}


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}/store"


def test_a_folder_is_a_store_as_ever_and_a_url_is_one_in_object_storage(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(open_store(tmp_path)) is Store
    assert Store(tmp_path).place == str(tmp_path)
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "own"))
    remote = open_store(url)
    assert type(remote) is RemoteStore
    assert remote.place == url
    assert remote.root.is_relative_to(tmp_path / "own" / "copies")


def test_what_one_machine_puts_another_reads(url: str, tmp_path: Path) -> None:
    RemoteStore(url, tmp_path / "one").put("features", WHAT, 0.5, IDS, ROWS)
    other = RemoteStore(url, tmp_path / "two")
    assert other.missing("features", WHAT, 0.5, list(ROWS), IDS) == []
    np.testing.assert_array_equal(other.cell(WHAT, 0.5, "mid", "1", IDS), ROWS["mid/1"])


def test_the_first_machines_settings_stand(url: str, tmp_path: Path) -> None:
    one, two = RemoteStore(url, tmp_path / "one"), RemoteStore(url, tmp_path / "two")
    assert one.settings("features", WHAT, {"batch_size": 8})["batch_size"] == 8
    assert two.settings("features", WHAT, {"batch_size": 64})["batch_size"] == 8


def test_a_batch_that_another_machine_has_halved_is_used(url: str, tmp_path: Path) -> None:
    one, two = RemoteStore(url, tmp_path / "one"), RemoteStore(url, tmp_path / "two")
    for machine in (one, two):
        machine.settings("features", WHAT, {"batch_size": 8})
    assert one.halve_batch("features", WHAT, 8) == 4
    assert two.settings("features", WHAT, {"batch_size": 8})["batch_size"] == 4
    assert one.halve_batch("features", WHAT, 4) == 2
    assert two.halve_batch("features", WHAT, 4) == 2
    assert one.settings("features", WHAT, {}) == {"batch_size": 2, "halved": 2}


def test_what_is_put_later_is_seen_after_a_refresh_and_always_by_who_asks_what_is_missing(url: str, tmp_path: Path) -> None:
    one, two = RemoteStore(url, tmp_path / "one"), RemoteStore(url, tmp_path / "two")
    assert two.units("features", WHAT, 0.5) == []
    one.put("features", WHAT, 0.5, IDS, ROWS)
    assert two.units("features", WHAT, 0.5) == []
    two.refresh()
    assert len(two.units("features", WHAT, 0.5)) == 1
    one.put("features", WHAT, 0.5, IDS + 4, ROWS)
    assert two.missing("features", WHAT, 0.5, list(ROWS), IDS + 4) == []


def test_what_was_written_and_not_put_is_put_when_its_folder_is_looked_at(url: str, tmp_path: Path) -> None:
    Store(tmp_path / "one").put("features", WHAT, 0.5, IDS, ROWS)  # as if killed between the two
    RemoteStore(url, tmp_path / "one").units("features", WHAT, 0.5)
    assert len(RemoteStore(url, tmp_path / "two").units("features", WHAT, 0.5)) == 1


def test_what_fails_on_the_way_leaves_nothing_behind(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RemoteStore(url, tmp_path / "one").put("features", WHAT, 0.5, IDS, ROWS)
    two = RemoteStore(url, tmp_path / "two")

    def cut(*_: object, **__: object) -> None:
        raise ConnectionError("the line is cut")

    monkeypatch.setattr(two._files, "get_file", cut)
    with pytest.raises(StoreUnavailable, match="the line is cut"):
        two.units("features", WHAT, 0.5)
    assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file()]


def test_the_default_place_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", "s3://bucket/store")
    with pytest.raises(StoreUnavailable, match="allowed: a folder"):
        open_store(None)


def test_a_url_that_went_through_path_is_a_url(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    assert open_store(Path(url)).place == open_store(url).place == url


@pytest.mark.parametrize("wrong", ["nosuch://bucket", "file:///tmp/store"])
def test_a_url_that_cannot_be_a_store_is_refused(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="The store is"):
        RemoteStore(wrong, tmp_path)


def test_a_sweep_into_object_storage_leaves_the_study_there(request_small: SweepRequest, url: str, tmp_path: Path) -> None:
    study = sweep(request_small, RemoteStore(url, tmp_path / "one"))
    files = fsspec.filesystem("memory")
    base = url.removeprefix("memory:/")
    there = {path.removeprefix(f"{base}/") for path in files.find(base)}
    assert {f"studies/{study.key}/{name}" for name in (*study.facts["files"], "study.json")} <= there
    local = {str(path.relative_to(tmp_path / "one")) for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert there == local
    again = sweep(request_small, RemoteStore(url, tmp_path / "two"))
    assert again.facts["receipt"]["passes"] == 0
    assert again.facts["results"] == study.facts["results"]
