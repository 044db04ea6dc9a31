"""Downloads as jobs, and the command line: processes of their own, against the stand-in."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from analysis import downloads, errands, hub
from analysis.errors import StoreUnavailable
from analysis.hub_fetch import CHUNK
from analysis.jobs import NETWORK, Job, Jobs, place
from analysis.specs import DownloadRequest, SweepRequest
from analysis.workers import only_worker, start_worker, tend, work, worker_runs

from .standin import SIGNATURE, Fault, Standin, pretending, surroundings

ID = "someone/model"
WEIGHTS = "diffusion_pytorch_model.safetensors"
CONTENT = save({"w": np.random.default_rng(0).random(750_000).astype(np.float32)})  # 3 MB
FILES = {"config.json": b"{}", WEIGHTS: CONTENT, "README.md": b"A model."}
ASKED = DownloadRequest(repo_id=ID)
TOKEN = "hf_neverToBeSeenAnywhere"
WAIT = 30.0


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    with pretending(tmp_path, monkeypatch) as server:
        server.repo(ID, FILES)
        yield server


@pytest.fixture
def table(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "store")


def command(standin: Standin, tmp_path: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "analysis", *arguments],
        env=surroundings(standin, tmp_path, COLUMNS="300", **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_a_download_is_a_job_with_bytes(table: Jobs, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    job = table.submit(ASKED, "cuda:0")
    assert (job.state, job.device, job.request, table.submit(ASKED).id) == ("submitted", NETWORK, ASKED, job.id)
    seen: list[Job] = []
    told = Jobs.tell

    def tell(self: Jobs, *arguments: object) -> None:
        told(self, *arguments)  # type: ignore[arg-type]
        seen.append(self.get(job.id))

    monkeypatch.setattr(Jobs, "tell", tell)
    monkeypatch.setattr(errands, "LOOK", 0.0)
    work(table.root, NETWORK, idle=0.1, processes=1)
    done = table.get(job.id)
    total = sum(map(len, FILES.values()))
    assert (done.state, done.done, done.total, done.study, done.eta) == ("done", total, total, None, None)
    assert done.message == f"{ID} is here, main at {standin.repos['model', ID].branches['main']}."
    assert {one.state for one in seen} == {"running"}
    middle = [one for one in seen if 0 < one.done < total and one.message == WEIGHTS]
    assert len(middle) >= 2
    assert all(one.eta is not None and one.eta >= 0 for one in middle[1:])
    assert hub.folder(ID) is not None


def test_sweeps_and_downloads_are_looked_at_apart(table: Jobs) -> None:
    sweep, download = table.submit(SweepRequest()), table.submit(ASKED)
    assert [job.id for job in table.list()] == [job.id for job in table.look()[0]] == [sweep.id]
    assert [job.id for job in table.downloads()] == [download.id]
    assert table.devices() == {"cpu", NETWORK}
    assert table.take("cpu") == table.get(sweep.id)
    table.cancel(download.id)
    assert table.devices() == {"cpu"}
    table.forget(download.id)
    assert (table.downloads(), Jobs(table.root / "none").downloads()) == ([], [])


def test_a_table_of_an_earlier_version_takes_downloads(table: Jobs) -> None:
    """The rows of before are as they were: nothing about the table has changed."""
    sweep = table.submit(SweepRequest())
    with sqlite3.connect(table.path) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (request,) = connection.execute("SELECT request FROM jobs").fetchone()
    assert (version, request) == (1, SweepRequest().canonical())
    assert "kind" not in json.loads(request)
    table.submit(ASKED)
    assert table.get(sweep.id).request == SweepRequest()


def test_a_refused_download_fails_with_its_sentence(table: Jobs, standin: Standin) -> None:
    job = table.submit(DownloadRequest(repo_id="no/one"))
    other = table.submit(ASKED)
    work(table.root, NETWORK, idle=0.1, processes=1)
    assert (table.get(job.id).state, table.get(other.id).state) == ("failed", "done")
    assert "does not have the model no/one" in str(table.get(job.id).reason)


def test_a_mistake_of_ours_is_said_without_what_the_libraries_say(table: Jobs, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"http://x?{SIGNATURE}")

    monkeypatch.setattr(downloads, "fetch", broken)
    job = table.submit(ASKED)
    work(table.root, NETWORK, idle=0.1, processes=1)
    reason = str(table.get(job.id).reason)
    assert "RuntimeError at test_downloads.py:" in reason
    assert SIGNATURE not in reason


def test_a_cancelled_download_ends_within_a_chunk_and_keeps_what_came(
    table: Jobs, standin: Standin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job, told = table.submit(ASKED), Jobs.tell

    def tell(self: Jobs, id: str, done: int, *rest: object) -> None:
        told(self, id, done, *rest)  # type: ignore[arg-type]
        if done >= CHUNK:
            self.cancel(id)

    monkeypatch.setattr(Jobs, "tell", tell)
    monkeypatch.setattr(errands, "LOOK", 0.0)
    work(table.root, NETWORK, idle=0.1, processes=1)
    assert table.get(job.id).state == "cancelled"
    (part,) = (tmp_path / "hub").rglob("*.part")
    assert part.stat().st_size == CHUNK
    monkeypatch.setattr(Jobs, "tell", told)
    again = table.submit(ASKED)
    work(table.root, NETWORK, idle=0.1, processes=1)
    assert table.get(again.id).state == "done"
    assert [headers["range"] for _, path, headers in standin.asked if path.startswith("/lfs/") and "range" in headers] == [
        f"bytes={CHUNK}-"
    ]


def test_a_killed_workers_download_goes_on_where_it_was(table: Jobs, standin: Standin, tmp_path: Path) -> None:
    held = Fault(hold=CHUNK + 400_000)
    standin.faults.append(held)
    job = table.submit(ASKED)
    arguments = ("worker", "--device", NETWORK, "--store", str(table.root), "--idle", "0.5")
    first = command(standin, tmp_path, *arguments)
    until(lambda: any(path.stat().st_size >= CHUNK for path in (tmp_path / "hub").rglob("*.part")))
    assert worker_runs(table.root, NETWORK)
    maps = Path(f"/proc/{first.pid}/maps")
    if maps.exists():
        assert "torch" not in maps.read_text()  # and its memory is that of a bare interpreter's
    os.kill(first.pid, signal.SIGKILL)
    first.wait(WAIT)
    held.go.set()
    assert table.get(job.id).state == "running"
    second = command(standin, tmp_path, *arguments)
    said, _ = second.communicate(timeout=WAIT)
    assert (table.get(job.id).state, second.returncode) == ("done", 0), said
    ranges = [headers["range"] for _, path, headers in standin.asked if path.startswith("/lfs/") and "range" in headers]
    assert ranges == [f"bytes={CHUNK}-"]
    (weights,) = (tmp_path / "hub").rglob(WEIGHTS)
    assert weights.read_bytes() == CONTENT


def test_the_app_starts_the_networks_worker_and_no_other(
    table: Jobs, standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in surroundings(standin, tmp_path).items():
        monkeypatch.setenv(name, value)
    real, started = subprocess.Popen, []

    def popen(given: list[str], **settings: object) -> subprocess.Popen[bytes]:
        started.append(real([*given, "--idle", "0.3"], **settings))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    job = table.submit(ASKED)
    tend(table.root)
    tend(table.root)
    until(lambda: not table.get(job.id).active)
    assert table.get(job.id).state == "done"
    assert [process.wait(WAIT) for process in started] == [0]
    start_worker(table.root, NETWORK)
    assert started[-1].wait(WAIT) == 0


def test_a_sweeps_worker_is_not_held_up_by_a_download(table: Jobs, standin: Standin) -> None:
    table.submit(ASKED)
    with only_worker(table.root, NETWORK) as free:
        assert free  # it has a lock of its own,
        sweep = table.submit(SweepRequest())
        assert table.take("cpu") == table.get(sweep.id)  # and a worker for a device takes what is for that device


def test_the_command_line_looks_fetches_and_lists(standin: Standin, tmp_path: Path) -> None:
    commit = standin.repos["model", ID].branches["main"]
    looked, _ = command(standin, tmp_path, "models", "look", ID).communicate(timeout=WAIT)
    assert f"{ID}, main at {commit}: licence apache-2.0." in looked
    assert "3 files, 3 MB, of which 3 MB are to be fetched." in looked
    assert f"{WEIGHTS}\t3 MB\tto be fetched" in looked
    standin.faults += [Fault(cut=CHUNK + 10)]
    fetched, _ = command(standin, tmp_path, "models", "fetch", ID).communicate(timeout=WAIT)
    assert f"{ID} is in {tmp_path / 'hub'}" in fetched
    assert "3.0/3.0 MB" in fetched
    listed, _ = command(standin, tmp_path, "models", "list").communicate(timeout=WAIT)
    assert "digits-ddpm\t" in listed
    assert f"{ID}\t3 MB\tapache-2.0\tmain at {commit}\tfetched on " in listed
    process = command(standin, tmp_path, "models", "fetch", ID, "--revision", "v9")
    said, _ = process.communicate(timeout=WAIT)
    assert (process.returncode, said) == (
        2,
        f"Error: 127.0.0.1 does not have the model {ID} at 'v9'; give a branch, a tag or a commit that is there, or leave it out.\n",
    )


def test_a_login_is_in_no_message_log_row_or_file(table: Jobs, standin: Standin, tmp_path: Path) -> None:
    standin.repos["model", ID].gated = True
    standin.repo("some/free", {WEIGHTS: CONTENT[:-4]})
    said = ""
    table.submit(ASKED)
    table.submit(DownloadRequest(repo_id="some/free"))
    table.submit(DownloadRequest(repo_id="no/one"))
    standin.faults += [Fault(cut=CHUNK), Fault(status=429, api=True, headers={"Retry-After": "0"})]
    (tmp_path / "stored").mkdir()
    for arguments in (
        ("worker", "--device", NETWORK, "--store", str(table.root), "--idle", "0"),
        ("worker", "--device", NETWORK, "--store", str(table.root), "--idle", "0.5"),
        ("models", "fetch", ID),
    ):
        said += command(standin, tmp_path, *arguments, HF_TOKEN=TOKEN, HF_DEBUG="1").communicate(timeout=WAIT)[0]
    assert "is gated: accept its licence" in said
    assert [job.state for job in table.downloads()] == ["failed", "done", "failed"]
    assert any(headers.get("authorization") == f"Bearer {TOKEN}" for _, _, headers in standin.asked)
    assert not any("authorization" in headers for _, path, headers in standin.asked if path.startswith("/lfs/"))
    assert TOKEN not in said
    assert SIGNATURE not in said
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
            assert SIGNATURE.encode() not in path.read_bytes(), path
    assert place(table.root, NETWORK).with_suffix(".lock").exists()


SMALL_DISK = """
import sys
from pathlib import Path
from analysis import hub
from analysis.errors import StoreUnavailable

filler = Path(sys.argv[1]) / "filler"


def fill() -> None:
    if not filler.exists():
        with filler.open("wb", buffering=0) as out:
            try:
                while out.write(b"0" * 100_000):
                    pass
            except OSError:
                out.truncate(max(0, out.tell() - 2_500_000))


record = hub.look_up(sys.argv[2])
try:
    hub.fetch(record, between=fill)
except StoreUnavailable as error:
    sys.stdout.write(f"{error}\\n")
(part,) = Path(sys.argv[1]).rglob("*.part")
filler.write_bytes(b"")
hub.fetch(record, between=lambda: None)
sys.stdout.write(f"{part.exists()} {hub.folder(sys.argv[2]) is not None}\\n")
"""


FULL_WORKER = """
import sys
from pathlib import Path
from analysis import downloads, hub_fetch
from analysis.jobs import Jobs
from analysis.specs import DownloadRequest

disk, real = Path(sys.argv[1]), hub_fetch._write


def full(out, chunk):
    with (disk / "filler").open("ab", buffering=0) as filler:
        try:
            while filler.write(b"0" * 10_000):
                pass
        except OSError:
            pass
    return real(out, chunk)


jobs = Jobs(disk / "store")
job = jobs.submit(DownloadRequest(repo_id=sys.argv[2]))
first = iter([real] * 3)  # two small files and a chunk have come when the disk fills up
hub_fetch._write = lambda out, chunk: next(first, full)(out, chunk)
downloads.work(jobs.root, 0.1)
sys.stdout.write(f"{jobs.get(job.id).state}: {jobs.get(job.id).reason}\\n")
(disk / "filler").unlink()
hub_fetch._write = real
job = jobs.submit(DownloadRequest(repo_id=sys.argv[2]))
downloads.work(jobs.root, 0.1)
sys.stdout.write(jobs.get(job.id).state)
"""


def test_where_the_store_is_on_the_disk_that_fills_up_the_job_ends_all_the_same(standin: Standin, small_disk: Callable[..., str]) -> None:
    said = small_disk(FULL_WORKER).splitlines()
    assert len(said) == 2
    assert said[0].startswith("failed: The disk of ")
    assert said[1] == "done"


def test_a_worker_lives_on_where_the_end_of_a_job_cannot_be_written_at_once(
    table: Jobs, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands, "AGAIN", 0.0)
    tries = {"take": 0, "fail": 0, "finish": 0}

    def patchy(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            tries[name] += 1
            if tries[name] < 3:
                raise StoreUnavailable("disk I/O error")
            return real(*arguments)

        return call

    for name in tries:
        monkeypatch.setattr(Jobs, name, patchy(name, getattr(Jobs, name)))
    refused, job = table.submit(DownloadRequest(repo_id="no/one")), table.submit(ASKED)
    work(table.root, NETWORK, idle=0.1, processes=1)
    assert [table.get(one.id).state for one in (refused, job)] == ["failed", "done"]
    assert min(tries.values()) >= 3


@pytest.fixture
def small_disk(standin: Standin, tmp_path: Path) -> Callable[..., str]:
    """What a script says that is given the place of a disk of 60 MB, with the hub's cache on it, and a model's id."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=60m tmpfs "$0" && exec "$@"', str(disk)]
    try:
        subprocess.run([*mount, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system does not let a test mount a small disk")

    def run(script: str) -> str:
        call = [*mount, sys.executable, "-c", script, str(disk), ID]
        done = subprocess.run(call, env=surroundings(standin, disk), capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_real_disk_that_fills_up_keeps_what_came_and_goes_on_later(standin: Standin, small_disk: Callable[..., str]) -> None:
    said = small_disk(SMALL_DISK).splitlines()
    assert len(said) == 2
    assert f"what came of {ID} is kept: free" in said[0]
    assert said[1] == "False True"
    ranges = [int(headers["range"][6:-1]) for _, path, headers in standin.asked if path.startswith("/lfs/") and "range" in headers]
    assert len(ranges) == 1
    assert 0 < ranges[0] < len(CONTENT)
