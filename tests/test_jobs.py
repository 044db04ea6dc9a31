from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from analysis import jobs as jobs_module
from analysis.errors import DamagedFile, InvalidRequest, StoreUnavailable, UnknownName
from analysis.jobs import Job, Jobs, Mark, place
from analysis.specs import SweepRequest
from analysis.workers import only_worker, start_worker, tend, worker_runs

ASKED = SweepRequest()
OTHER = SweepRequest(seed=1)


@pytest.fixture
def table(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "store")


def test_a_job_goes_from_submitted_to_running_to_done(table: Jobs) -> None:
    job = table.submit(ASKED)
    assert (job.state, job.active, job.request) == ("submitted", True, ASKED)
    assert table.take("cpu") == table.get(job.id)
    table.tell(job.id, 3, 51, "σ = 0.1", 12.5)
    table.finish(job.id, "abc")
    done = table.get(job.id)
    assert (done.state, done.study, done.done, done.total, done.active) == ("done", "abc", 3, 51, False)
    assert done.submitted <= done.started <= done.finished  # type: ignore[operator]


def test_reading_a_table_that_is_not_there_makes_nothing(table: Jobs) -> None:
    assert table.look() == ([], {})
    assert not table.root.exists()


def test_the_same_question_asked_twice_is_one_job_and_after_its_end_another(table: Jobs) -> None:
    first = table.submit(ASKED)
    assert table.submit(ASKED).id == first.id
    table.take("cpu")
    assert table.submit(ASKED).id == first.id
    table.finish(first.id, "abc")
    assert table.submit(ASKED).id != first.id


def test_many_who_press_run_at_once_get_one_job(tmp_path: Path) -> None:
    for turn in range(10):  # that the table is made at the same moment is rare
        table, found, start = Jobs(tmp_path / str(turn)), list[Job](), threading.Barrier(8)

        def press(table: Jobs = table, found: list[Job] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(Jobs(table.root).submit(ASKED))

        threads = [threading.Thread(target=press) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len({job.id for job in found}) == len(table.list()) == 1


def test_what_a_dead_worker_was_at_comes_first_and_then_the_oldest(table: Jobs) -> None:
    first, second = table.submit(ASKED), table.submit(OTHER)
    assert [table.take("cpu").id, table.take("cpu").id] == [first.id, first.id]  # type: ignore[union-attr]
    table.finish(first.id, "abc")
    assert table.take("cpu").id == second.id  # type: ignore[union-attr]


def test_a_worker_takes_only_its_devices_jobs(table: Jobs) -> None:
    table.submit(ASKED, "cpu")
    assert table.take("cuda") is None


def test_a_job_that_ends_its_worker_three_times_fails_and_says_so(table: Jobs) -> None:
    job = table.submit(ASKED)
    for _ in range(3):
        assert table.take("cpu") is not None
    assert table.take("cpu") is None
    failed = table.get(job.id)
    assert failed.state == "failed"
    assert "ended 3 times" in str(failed.reason)


def test_getting_further_counts_the_attempts_anew_but_not_the_same_units_again(table: Jobs) -> None:
    job = table.submit(ASKED)
    for done in (5, 6):
        table.take("cpu")
        table.tell(job.id, done, 51, "", None)
        assert table.get(job.id).attempts == 1
    table.take("cpu")
    table.tell(job.id, 2, 51, "", None)
    assert (table.get(job.id).attempts, table.get(job.id).done) == (2, 6)


def test_cancelled_is_the_last_word(table: Jobs) -> None:
    job = table.submit(ASKED)
    table.take("cpu")
    assert table.wanted(job.id)
    table.cancel(job.id)
    table.tell(job.id, 9, 51, "", None)
    table.finish(job.id, "abc")
    table.fail(job.id, "no")
    assert not table.wanted(job.id)
    assert (table.get(job.id).state, table.get(job.id).study, table.get(job.id).done) == ("cancelled", None, 0)


def test_only_what_is_over_can_be_forgotten(table: Jobs) -> None:
    job = table.submit(ASKED)
    with pytest.raises(InvalidRequest, match="cancel it first"):
        table.forget(job.id)
    table.cancel(job.id)
    table.forget(job.id)
    with pytest.raises(UnknownName, match=f"Unknown job '{job.id}'"):
        table.get(job.id)


def test_names_and_pins_are_kept_by_study(table: Jobs) -> None:
    table.mark("abc", Mark("mine", True))
    table.mark("abd", Mark("", False))
    assert table.look()[1] == {"abc": Mark("mine", True), "abd": Mark(None, False)}


def test_a_table_of_a_newer_version_is_left_alone_and_said(table: Jobs) -> None:
    table.submit(ASKED)
    with sqlite3.connect(table.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreUnavailable, match="has version 2; this Noisescope reads 1"):
        table.submit(ASKED)


def test_a_damaged_table_is_said_with_the_way_on(table: Jobs) -> None:
    table.root.mkdir()
    table.path.write_bytes(b"no database at all " * 500)
    with pytest.raises(DamagedFile, match="move it away"):
        table.list()


def test_a_locked_table_is_said(table: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    table.submit(ASKED)
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.05)
    holder = sqlite3.connect(table.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StoreUnavailable, match="locked"):
            table.submit(OTHER)
    finally:
        holder.close()


def test_a_request_of_another_version_is_said(table: Jobs) -> None:
    job = table.submit(ASKED)
    with sqlite3.connect(table.path) as connection:
        connection.execute("UPDATE jobs SET request = ?", ('{"colour": "red"}',))
    with pytest.raises(DamagedFile, match=f"Job {job.id}"):
        table.list()


def test_one_worker_a_store_and_device_even_after_a_kill(tmp_path: Path) -> None:
    words = (
        f"import time; from pathlib import Path; from analysis.workers import only_worker\n"
        f"with only_worker(Path({str(tmp_path)!r}), 'cpu') as free: print(free, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert worker_runs(tmp_path, "cpu")
        assert not worker_runs(tmp_path, "cuda")
        with only_worker(tmp_path, "cpu") as free:
            assert not free
        other.kill()
        other.wait()
    assert not worker_runs(tmp_path, "cpu")


def test_a_worker_that_never_begins_is_tried_three_times_and_its_last_words_are_the_reason(
    table: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[list[str]] = []

    def end_at_once(command: list[str], stdout, **_: object) -> None:
        began.append(command)
        stdout.write(b"Traceback\nNo room for torch\n")

    monkeypatch.setattr(subprocess, "Popen", end_at_once)
    job = table.submit(ASKED)
    for minute in range(6):
        monkeypatch.setattr(time, "time", lambda minute=minute: 1e9 + 60 * minute)
        tend(table.root)
    assert len(began) == 3
    assert table.get(job.id).state == "failed"
    assert "No room for torch" in str(table.get(job.id).reason)


def test_a_worker_that_is_starting_is_not_started_again(table: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: began.append(a))
    for _ in range(5):
        start_worker(table.root)
    assert len(began) == 1
    table.begun("cpu")
    start_worker(table.root)
    assert len(began) == 2
    assert place(table.root, "cpu").with_suffix(".log").exists()
