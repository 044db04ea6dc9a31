"""Models of the hub: real `huggingface_hub` code against a stand-in on this machine."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from huggingface_hub import constants, hf_hub_download, scan_cache_dir
from safetensors.numpy import save

from analysis import hub, hub_calls, hub_fetch, hub_records, registry
from analysis.errors import DamagedFile, InvalidData, InvalidRequest, NotAllowed, StoreUnavailable, Unreachable
from analysis.hub_choice import CLASSES, choose
from analysis.hub_records import HubFile, in_units

from .conftest import TINY
from .standin import SIGNATURE, Fault, Standin, pretending, read_folder

ID = "someone/tiny-ddpm"
TOKEN = "hf_neverToBeSeenAnywhere"
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository as `save_pretrained` writes one, with what must not be fetched beside it."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    UNet2DModel(**TINY).save_pretrained(folder)
    DDPMScheduler().save_pretrained(folder)
    others = {
        "README.md": b"---\nlicense: apache-2.0\n---\nA model.",
        "diffusion_pytorch_model.bin": b"\x80\x02c__builtin__\nexit\n." * 400,
        "diffusion_pytorch_model.fp16.safetensors": b"half" * 3000,
        "run.py": b"raise SystemExit",
        "samples/0.png": b"png",
    }
    return read_folder(folder) | others


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """The stand-in, which `huggingface_hub` takes for the hub, with an empty cache and nobody logged in."""
    monkeypatch.setattr(hub_calls, "PAUSE", 0.01)
    monkeypatch.setattr(hub_fetch, "CHUNK", 1000)
    with pretending(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def tiny(standin: Standin, saved: dict[str, bytes]) -> str:
    """The commit of the one repository that is there."""
    return standin.repo(ID, saved).branches["main"]


def left(tmp_path: Path, ending: str) -> list[Path]:
    return list((tmp_path / "hub").rglob(f"*{ending}"))


def test_looking_up_says_what_there_is_and_downloads_nothing(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    record = hub.look_up(ID)
    assert (record.commit, record.revision, record.license, record.gated) == (tiny, "main", "apache-2.0", False)
    assert [file.name for file in record.files] == ["README.md", "config.json", WEIGHTS, "scheduler_config.json"]
    assert record.bytes == record.missing == sum(len(saved[file.name]) for file in record.files)
    assert record.weights == len(saved[WEIGHTS])
    assert record.said is None
    assert [path.rpartition("/")[2] for _, path, _ in standin.of_files()] == ["config.json"]


def test_what_was_fetched_loads_as_what_was_saved(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    news: list[tuple[int, int, str]] = []
    record = hub.look_up(ID)
    folder = hub.fetch(record, lambda *one: news.append(one))
    assert {name: content for name, content in saved.items() if name in read_folder(folder)} == read_folder(folder)
    assert len(read_folder(folder)) == 4
    assert hub.folder(ID) == hub.folder(ID, tiny) == hub.folder(ID, tiny[:7]) == folder
    torch.manual_seed(0)
    for name, value in UNet2DModel(**TINY).state_dict().items():
        torch.testing.assert_close(UNet2DModel.from_pretrained(folder, use_safetensors=True).state_dict()[name], value, rtol=0, atol=0)
    done = [one[0] for one in news]
    assert done == sorted(done)
    assert (done[0], done[-1], {one[1] for one in news}) == (0, record.bytes, {record.bytes})
    assert len(done) > record.bytes // 1000  # a word after every chunk
    again = hub.look_up(ID)
    assert (again.missing, all(file.there for file in again.files)) == (0, True)
    asked = len(standin.asked)
    assert hub.fetch(again) == folder
    assert len(standin.asked) == asked


def test_the_cache_is_the_one_that_huggingface_hub_knows(standin: Standin, tiny: str) -> None:
    folder = hub.fetch(hub.look_up(ID))
    found = scan_cache_dir(constants.HF_HUB_CACHE)
    assert not found.warnings
    (repo,) = found.repos
    assert (repo.repo_id, repo.repo_type, {revision.commit_hash for revision in repo.revisions}) == (ID, "model", {tiny})
    path = hf_hub_download(ID, WEIGHTS, revision=tiny, local_files_only=True, cache_dir=constants.HF_HUB_CACHE)
    assert Path(path) == folder / WEIGHTS


def test_what_another_program_fetched_is_used_once_it_is_verified(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    path = Path(hf_hub_download(ID, WEIGHTS, cache_dir=constants.HF_HUB_CACHE))
    record = hub.look_up(ID)
    assert record.bytes - record.missing == len(saved[WEIGHTS])
    sent = standin.sent
    folder = hub.fetch(record)
    assert standin.sent == sent
    shutil.rmtree(folder.parent.parent / "noisescope")
    path.resolve().chmod(0o644)
    path.resolve().write_bytes(b"\0" * len(saved[WEIGHTS]))  # as long, and not what the repository has
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]


def test_fetched_lists_what_is_here_and_whole(standin: Standin, tiny: str) -> None:
    assert hub.fetched() == []
    folder = hub.fetch(hub.look_up(ID))
    (record,) = hub.fetched()
    assert (record.repo_id, record.commit, record.revision, record.missing) == (ID, tiny, "main", 0)
    assert str(record.fetched)[:4].isdecimal()
    (folder / "config.json").resolve().unlink()
    assert (hub.fetched(), hub.folder(ID)) == ([], None)
    hub.fetch(hub.look_up(ID))
    assert hub.folder(ID) == folder


@pytest.mark.parametrize("name", ["no/one", "", "../..", "a/b/c", "nothing", "a\0b", "a/../b"])
def test_what_was_not_fetched_has_no_folder(standin: Standin, name: str) -> None:
    assert hub.folder(name) is None


def test_a_cut_connection_goes_on_where_it_was_cut(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    size = len(saved[WEIGHTS])
    standin.faults += [Fault(cut=7_500), Fault(cut=4_200)]
    folder = hub.fetch(hub.look_up(ID))
    assert (folder / WEIGHTS).read_bytes() == saved[WEIGHTS]
    ranges = [headers["range"] for _, path, headers in standin.asked if path.startswith("/lfs/") and "range" in headers]
    assert ranges == ["bytes=7000-", "bytes=11000-"]  # whole chunks are kept
    assert standin.sent == 7_500 + 4_200 + size - 11_000


def test_a_server_that_knows_no_ranges_sends_it_all_again(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    standin.faults += [Fault(cut=7_500), Fault(no_range=True)]
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]


def test_a_connection_that_is_cut_again_and_again_and_gives_something_each_time_comes_to_its_end(
    standin: Standin, tiny: str, saved: dict[str, bytes]
) -> None:
    standin.faults += [Fault(cut=2_500) for _ in range(2 * hub_calls.TRIES)]
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]
    assert not standin.faults


def test_a_connection_that_gives_nothing_any_more_is_given_up(standin: Standin, tiny: str, tmp_path: Path) -> None:
    record = hub.look_up(ID)
    standin.faults += [Fault(cut=3_000), *(Fault(cut=0) for _ in range(hub_calls.TRIES))]
    with pytest.raises(Unreachable, match="does not answer") as raised:
        hub.fetch(record)
    assert SIGNATURE not in str(raised.value)
    assert [path.stat().st_size for path in left(tmp_path, ".part")] == [3_000]
    assert hub.folder(ID) is None


def test_a_stopped_download_goes_on_with_the_next_call(standin: Standin, tiny: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    record, seen = hub.look_up(ID), 0

    def stop() -> None:
        nonlocal seen
        seen += 1
        if left(tmp_path, ".part") and max(path.stat().st_size for path in left(tmp_path, ".part")) >= 5_000:
            raise Stop

    with pytest.raises(Stop):
        hub.fetch(record, between=stop)
    assert (hub.folder(ID), seen > 4) == (None, True)
    (part,) = left(tmp_path, ".part")
    had = part.stat().st_size
    assert had == 5_000  # it stopped within a chunk
    sent = standin.sent
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]
    assert standin.sent - sent == len(saved[WEIGHTS]) - had
    assert not left(tmp_path, ".part")


def test_a_wrong_checksum_removes_the_file_and_says_so(standin: Standin, tiny: str, saved: dict[str, bytes], tmp_path: Path) -> None:
    standin.faults.append(Fault(flip=True))
    with pytest.raises(DamagedFile, match=f"{WEIGHTS} of {ID} came with a wrong checksum and was removed"):
        hub.fetch(hub.look_up(ID))
    assert not left(tmp_path, ".part")
    assert not [path for path in left(tmp_path, "") if path.is_file() and path.stat().st_size == len(saved[WEIGHTS])]
    assert hub.folder(ID) is None
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]


def test_a_small_file_is_verified_by_gits_hash(standin: Standin, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = hub.look_up(ID)
    standin.repos["model", ID].commits[tiny]["config.json"] = standin.repos["model", ID].commits[tiny]["config.json"].replace(b"8", b"9")
    with pytest.raises(DamagedFile, match=r"config\.json"):
        hub.fetch(record)


def test_a_gated_model_says_what_to_do_and_opens_to_who_is_logged_in(
    standin: Standin, tiny: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    standin.repos["model", ID].gated, standin.token = True, TOKEN
    record = hub.look_up(ID)
    assert record.gated
    with pytest.raises(NotAllowed, match=f"The model {ID} is gated: accept its licence at 127.0.0.1/{ID}, then `hf auth login`"):
        hub.fetch(record)
    (tmp_path / "token").write_text(TOKEN)  # where `hf auth login` leaves it
    assert hub.fetch(hub.look_up(ID)).is_dir()
    with_login = {path.split("?")[0].split("/")[1] for _, path, headers in standin.asked if "authorization" in headers}
    assert with_login == {"api", "someone"}  # and not the host where the large files are
    assert not [path for path in left(tmp_path, "") if path.is_file() and path.name != "token" and TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (Fault(status=403, api=True), NotAllowed, "does not give the model someone/tiny-ddpm to this account"),
        (
            Fault(status=401, api=True, headers={"X-Error-Message": "Invalid credentials in Authorization header"}),
            NotAllowed,
            "does not take this machine's login",
        ),
        (Fault(status=404, api=True), InvalidRequest, "does not have the model"),
    ],
)
def test_a_refusal_is_a_sentence(
    standin: Standin, tiny: str, fault: Fault, kind: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    standin.faults.append(fault)
    with pytest.raises(kind, match=says) as raised:
        hub.look_up(ID)
    assert TOKEN not in str(raised.value)
    assert standin.asked[-1][2]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(status=302, api=True, headers={"Location": f"/api/models/{ID}"}) for _ in range(120)],
        [Fault(status=200, api=True, headers={"Content-Encoding": "gzip"}, content=b"no gzip")],
    ],
    ids=["a redirect loop", "bad gzip"],
)
def test_an_answer_that_is_none_is_a_sentence_and_not_asked_for_again(standin: Standin, tiny: str, faults: list[Fault]) -> None:
    standin.faults += faults
    with pytest.raises(Unreachable, match=r"does not answer \((TooManyRedirects|DecodingError)\)"):
        hub.look_up(ID)
    assert len(standin.asked) < 120


@pytest.mark.parametrize(("given", "said"), [([1, "mit"], "1, mit"), (2.0, "2.0"), ([], None)])
def test_a_licence_that_is_no_text_is_said_as_it_stands(standin: Standin, tiny: str, given: object, said: str | None) -> None:
    standin.repos["model", ID].license = given  # type: ignore[assignment]
    assert hub.look_up(ID).license == said


def test_a_cache_that_may_only_be_read_is_a_sentence_where_something_is_to_be_noted(
    standin: Standin, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch(hub.look_up(ID))
    standin.repos["model", ID].branches["v1"] = tiny

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(hub_fetch, "keep", refuse)
    assert hub.fetch(hub.look_up(ID)) == hub.folder(ID)
    with pytest.raises(StoreUnavailable, match=r"Cannot write .* set HF_HOME"):
        hub.fetch(hub.look_up(ID, "v1"))


def test_a_body_longer_than_listed_is_not_read_to_its_end(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    standin.faults.append(Fault(endless=True))
    assert (hub.fetch(hub.look_up(ID)) / WEIGHTS).read_bytes() == saved[WEIGHTS]
    assert standin.sent < 50_000_000


def test_what_is_not_there_is_a_sentence(standin: Standin, tiny: str) -> None:
    with pytest.raises(InvalidRequest, match="does not have the model no/one; check its name"):
        hub.look_up("no/one")
    with pytest.raises(InvalidRequest, match=f"does not have the model {ID} at 'v9'; give a branch"):
        hub.look_up(ID, "v9")
    for name in ("a/b/c", "", "x y", "../.."):
        with pytest.raises(InvalidRequest, match="is no hub id"):
            hub.look_up(name)


@pytest.mark.parametrize("api", [True, False])
def test_where_the_hub_asks_to_wait_it_waits_as_long(standin: Standin, tiny: str, api: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(hub_calls, "_wait", lambda seconds, between: waited.append(seconds))
    standin.faults += [
        Fault(status=429, api=api, headers={"Retry-After": "3"}),
        Fault(status=429, api=api, headers={"ratelimit": '"api";r=0;t=7'}),
        Fault(status=503, api=api),
    ]
    assert hub.fetch(hub.look_up(ID)).is_dir()
    assert waited == [3.0, 7.0, 0.04]


def test_where_the_hub_wants_long_rest_or_never_gives_in_it_is_said(standin: Standin, tiny: str) -> None:
    standin.faults.append(Fault(status=429, api=True, headers={"Retry-After": "300"}))
    with pytest.raises(Unreachable, match="wants 300 s of rest"):
        hub.look_up(ID)
    standin.faults += [Fault(status=429, api=True) for _ in range(hub_calls.TRIES)]
    with pytest.raises(Unreachable, match="wants a while of rest"):
        hub.look_up(ID)
    assert not standin.faults


def test_waiting_ends_when_the_download_is_not_wanted_any_more(standin: Standin, tiny: str) -> None:
    record = hub.look_up(ID)
    standin.faults.append(Fault(status=429, headers={"Retry-After": "60"}))
    asked = len(standin.asked)

    def stop() -> None:
        if len(standin.asked) > asked:
            raise Stop

    with pytest.raises(Stop):
        hub.fetch(record, between=stop)
    standin.faults.append(Fault(status=429, api=True, headers={"Retry-After": "60"}))
    asked += 1
    with pytest.raises(Stop):
        hub.look_up(ID, between=stop)
    assert len(standin.asked) == asked + 1  # it has not waited and asked again


def test_without_a_network_what_was_fetched_is_there_and_says_from_when(standin: Standin, tiny: str) -> None:
    folder = hub.fetch(hub.look_up(ID))
    standin.close()
    record = hub.look_up(ID)
    assert (record.offline, record.commit, record.missing) == (True, tiny, 0)
    (there,) = hub.fetched()
    assert str(record.said) == f"The hub does not answer: {ID} is as it was fetched on {hub.day(there)}, main at {tiny[:7]}."
    assert hub.fetch(record) == hub.folder(ID) == folder
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer \(ConnectError\), and the model no/one is not here"):
        hub.look_up("no/one")
    with pytest.raises(Unreachable):
        hub.look_up(ID, "v2")


def test_a_login_page_in_between_is_as_no_network(standin: Standin, tiny: str) -> None:
    standin.faults += [Fault(status=200, api=True), Fault(status=200, api=True)]
    with pytest.raises(Unreachable, match=r"no hub, perhaps a network's login page"):
        hub.look_up(ID)
    standin.faults.clear()
    hub.fetch(hub.look_up(ID))
    standin.faults.append(Fault(status=200, api=True))
    assert hub.look_up(ID).offline


def test_the_librarys_own_offline_switch_is_respected(standin: Standin, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(Unreachable, match="HF_HUB_OFFLINE is set"):
        hub.look_up(ID)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.fetch(hub.look_up(ID))
    asked = len(standin.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.look_up(ID).offline
    assert len(standin.asked) == asked


def test_of_a_branch_that_moved_the_old_stays_and_the_new_is_said(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    old = hub.fetch(hub.look_up(ID))
    new = standin.repos["model", ID].push(saved | {"README.md": b"Another."})
    record = hub.look_up(ID)
    assert (record.commit, record.before) == (new, tiny)
    assert record.missing == len(b"Another.")  # the weights are the same content
    assert f"main of {ID} has moved from {tiny[:7]} to {new}" in str(record.said)
    assert hub.folder(ID) == old
    folder = hub.fetch(record)
    assert (hub.folder(ID), hub.folder(ID, tiny[:7]), hub.folder(ID, new)) == (folder, old, folder)
    assert hub.look_up(ID).before is None
    assert (old / "README.md").read_bytes() == saved["README.md"]
    standin.repos["model", ID].branches["main"] = tiny  # and back
    hub.fetch(hub.look_up(ID))
    assert hub.folder(ID) == old


def test_a_tag_of_the_same_commit_is_found_by_its_name(standin: Standin, tiny: str) -> None:
    standin.repos["model", ID].branches["v1"] = tiny
    folder = hub.fetch(hub.look_up(ID))
    assert hub.folder(ID, "v1") is None
    sent = standin.sent
    assert hub.fetch(hub.look_up(ID, "v1")) == hub.folder(ID, "v1") == folder
    assert standin.sent == sent


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(standin: Standin, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = hub.look_up(ID)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=hub_fetch.SPARE + record.bytes - 1))
    with pytest.raises(
        StoreUnavailable,
        match=rf"{ID} needs {in_units(record.bytes)} more; 50.1 MB are free at .*, of which 50 MB are to stay free.*set HF_HOME",
    ):
        hub.fetch(record)
    assert len(standin.of_files()) == 1  # the configuration, when it was looked up
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=hub_fetch.SPARE + record.bytes))
    hub.fetch(record)


def test_a_disk_that_fills_up_keeps_what_came_and_goes_on_later(
    standin: Standin, tiny: str, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, real = hub.look_up(ID), hub_fetch._write
    room = 9_500
    monkeypatch.setattr(hub_fetch, "ROOM", 1_500)

    def full(out: object, chunk: bytes) -> int:
        nonlocal room
        if len(chunk) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        room -= len(chunk)
        return real(out, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(hub_fetch, "_write", full)
    with pytest.raises(StoreUnavailable, match=r"is full; what came of someone/tiny-ddpm is kept: free .* and try again"):
        hub.fetch(record)
    (part,) = left(tmp_path, ".part")
    small = sum(file.size for file in record.files if file.name < WEIGHTS)
    assert (hub.folder(ID), part.stat().st_size) == (None, (9_500 - small) // 1000 * 1000 - 1_500)  # whole chunks, and room for others
    room = 10**9
    sent = standin.sent
    had = part.stat().st_size
    assert (hub.fetch(record) / WEIGHTS).read_bytes() == saved[WEIGHTS]
    assert standin.sent - sent == len(saved[WEIGHTS]) - had


def test_a_cache_that_cannot_be_written_is_a_sentence(standin: Standin, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "hub").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match="set HF_HOME"):
        hub.fetch(hub.look_up(ID))


def test_who_comes_second_waits_and_finds_it_there(standin: Standin, tiny: str, saved: dict[str, bytes]) -> None:
    record, held = hub.look_up(ID), Fault(hold=2_000)
    standin.faults.append(held)
    found: list[Path] = []
    waits = threading.Event()
    first = threading.Thread(target=lambda: found.append(hub.fetch(record)))
    first.start()
    while standin.faults:
        waits.wait(0.01)
    second = threading.Thread(target=lambda: found.append(hub.fetch(record, between=waits.set)))
    second.start()
    assert waits.wait(10)
    held.go.set()
    first.join(10)
    second.join(10)
    assert len(found) == 2
    assert standin.sent == len(saved[WEIGHTS])


@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "unet/../../config.json", "/etc/config.json", "a\\..\\config.json", "C:/config.json"]
)
def test_a_name_that_leaves_its_repository_is_refused(standin: Standin, tiny: str, name: str, tmp_path: Path) -> None:
    standin.repos["model", ID].names["run.py"] = name
    with pytest.raises(InvalidData, match="stays inside its repository"):
        hub.look_up(ID)


def test_a_pickle_is_refused_and_a_checkpoint_fetched_only_by_name(standin: Standin) -> None:
    files = {"model.bin": b"x" * 9_000, "256x256_diffusion_uncond.pt": b"y" * 9_000, "README.md": b"r"}
    standin.repo("open/adm", files)
    with pytest.raises(InvalidRequest, match=r"Its \.bin can run code .* ask for '256x256"):
        hub.look_up("open/adm")
    with pytest.raises(InvalidRequest, match=r"'model\.bin' is not fetched: such a file can run code"):
        hub.look_up("open/adm", checkpoint="model.bin")
    with pytest.raises(InvalidRequest, match=r"has no file '64\.pt'; it has: 256x256_diffusion_uncond\.pt"):
        hub.look_up("open/adm", checkpoint="64.pt")
    record = hub.look_up("open/adm", checkpoint="256x256_diffusion_uncond.pt")
    assert sorted(read_folder(hub.fetch(record))) == ["256x256_diffusion_uncond.pt", "README.md"]


def names(*given: str, checkpoint: str | None = None, kind: hub_records.Kind = "model") -> list[str]:
    files = [HubFile(name=name, size=1, blob=f"{i:040x}") for i, name in enumerate(given)]
    return [file.name for file in choose(files, kind, checkpoint, "a/b")]


WHOLE = "diffusion_pytorch_model.safetensors"
HALF = "diffusion_pytorch_model.fp16.safetensors"
SHARDS = tuple(f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2))
INDEX = "diffusion_pytorch_model.safetensors.index.json"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([WHOLE, HALF, "diffusion_pytorch_model.non_ema.safetensors"], [WHOLE]),
        ([HALF, "diffusion_pytorch_model.non_ema.safetensors"], [HALF]),
        ([*SHARDS, INDEX, "diffusion_pytorch_model.fp16-00001-of-00001.safetensors"], [*SHARDS, INDEX]),
        (
            ["unet/" + WHOLE, "unet/config.json", "v1-pruned.safetensors", "vae/" + WHOLE, "vae/" + HALF],
            ["unet/" + WHOLE, "unet/config.json", "vae/" + WHOLE],
        ),
        (
            [
                *(f"transformer/{part}" for part in (*SHARDS, INDEX)),
                "vae/" + HALF,
                *(f"text_encoder/{name}" for name in ("config.json", "model.safetensors", "model.fp16.safetensors", "pytorch_model.bin")),
                *(f"text_encoder_2/model-0000{i}-of-00002.safetensors" for i in (1, 2)),
                "text_encoder_2/model.safetensors.index.json",
                *(f"text_encoder_2/model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)),
                "text_encoder_2/model.safetensors.index.fp16.json",
                *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")),
                "safety_checker/model.safetensors",
                "flux1-dev.safetensors",
            ],
            [
                *(f"transformer/{part}" for part in (*SHARDS, INDEX)),
                "vae/" + HALF,
                "text_encoder/config.json",
                "text_encoder/model.safetensors",
                *(f"text_encoder_2/model-0000{i}-of-00002.safetensors" for i in (1, 2)),
                "text_encoder_2/model.safetensors.index.json",
                *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")),
            ],
        ),
        ([WHOLE, "scheduler/scheduler_config.json", "model_index.json"], [WHOLE, "scheduler/scheduler_config.json", "model_index.json"]),
        ([WHOLE, "tokenizer/vocab.json", "optimizer.bin", "x.py", "deep/er/config.json"], ["tokenizer/vocab.json", WHOLE]),
    ],
)
def test_one_copy_of_the_weights_is_wanted_and_full_precision_before_half(given: list[str], wanted: list[str]) -> None:
    assert names(*given) == sorted(wanted)


@pytest.mark.parametrize(
    ("files", "class_"),
    [
        ({"unet/config.json": b'{"_class_name": "UNet3DConditionModel"}', "unet/" + WHOLE: b"w"}, "UNet3DConditionModel"),
        ({"config.json": b'{"architectures": ["ViTModel"]}', "model.safetensors": b"w"}, "ViTModel"),
        ({"model_index.json": b'{"_class_name": "PixArtSigmaPipeline"}', "transformer/" + WHOLE: b"w"}, "PixArtSigmaPipeline"),
    ],
)
def test_a_network_that_no_family_reads_is_refused_before_anything_large_comes(
    standin: Standin, files: dict[str, bytes], class_: str
) -> None:
    standin.repo("some/other", files)
    with pytest.raises(
        InvalidRequest, match=f"some/other is a {class_}, which no family here reads; allowed: .*the nearest that is read is"
    ):
        hub.look_up("some/other")
    assert [path.rpartition("/")[2] for _, path, _ in standin.of_files()] == [next(iter(files)).rpartition("/")[2]]


def test_the_classes_that_are_fetched_are_those_that_a_family_claims(tmp_path: Path) -> None:
    for name in (*CLASSES, "UNet3DConditionModel"):
        for part in ("unet", "transformer"):
            place = tmp_path / name / part
            place.mkdir(parents=True)
            (place / "config.json").write_text(json.dumps({"_class_name": name}))
        families = [family for family in registry.names("backends") if registry.get("backends", family).claims(tmp_path / name)]
        assert len(families) == (name in CLASSES), name


def test_weights_that_no_family_opens_are_not_fetched() -> None:
    with pytest.raises(InvalidRequest, match=r"no weights called .*No family here reads 'model\.safetensors'"):
        names("model.safetensors", "README.md")
    with pytest.raises(
        InvalidRequest, match=r"'v1\.safetensors' is not fetched: no family here reads weights of that name; allowed: a \.pt"
    ):
        names("v1.safetensors", checkpoint="v1.safetensors")
    assert names(HALF, WHOLE, checkpoint=HALF) == [HALF]
    assert names("x.pt", "y.pt", "config.json", "README.md", checkpoint="x.pt") == ["README.md", "x.pt"]


def test_of_a_data_set_tables_or_images_are_wanted(standin: Standin) -> None:
    assert names("data/a.parquet", "README.md", "set.py", "x.png", kind="dataset") == ["README.md", "data/a.parquet"]
    assert names("train/cat/0.png", "set.py", "set.pkl", kind="dataset") == ["train/cat/0.png"]
    with pytest.raises(InvalidRequest, match="without running code"):
        names("set.py", "README.md", kind="dataset")
    content = save({"x": np.zeros(5_000, np.float32)})
    standin.repo("some/pets", {"data/train.parquet": content, "load.py": b"x"}, kind="dataset")
    folder = hub.fetch(hub.look_up("some/pets", kind="dataset"))
    assert read_folder(folder) == {"data/train.parquet": content}
    assert (hub.folder("some/pets", kind="dataset"), hub.folder("some/pets")) == (folder, None)
    with pytest.raises(InvalidRequest, match="does not have the data set some/none"):
        hub.look_up("some/none", kind="dataset")


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (14_320_000, "14.3 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_said_in_decimal_units(size: float, said: str) -> None:
    assert in_units(size) == said


@pytest.mark.parametrize("make", [Path.symlink_to, None])
def test_where_a_disk_knows_no_links_a_copy_is_made(
    tiny: str, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, make: Callable | None
) -> None:
    def none(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", none)
    if make is None:
        monkeypatch.setattr(Path, "hardlink_to", none)
    folder = hub.fetch(hub.look_up(ID))
    assert (folder / WEIGHTS).read_bytes() == saved[WEIGHTS]
    assert not (folder / WEIGHTS).is_symlink()
