from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import worker
from analysis.__main__ import app
from analysis.datasets.base import Dataset
from analysis.devices import devices
from analysis.devices import fast_precisions as devices_fast
from analysis.errors import InvalidRequest, StoreUnavailable
from analysis.jobs import Job, Jobs, place
from analysis.lane import ask
from analysis.recipes import recipe
from analysis.release import export
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import UNFINISHED, Study, find_study
from analysis.training import Run
from analysis.workers import facts, fast_precisions, known_devices, only_worker, start_worker, tend, worker_runs

from .conftest import TINY

WAIT = 120.0


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A store whose worker, if one was started, is ended with the test."""
    yield tmp_path / "store"
    if (pid := facts(tmp_path / "store", "cpu").get("pid")) and pid != os.getpid():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def longer(request_small: SweepRequest) -> SweepRequest:
    return request_small.model_copy(update={"levels": 8, "label_draws": 6})


def work(root: Path, device: str, idle: float, processes: int) -> bool:
    """Be the worker in this process, if there is none."""
    with only_worker(root, device) as free:
        if free:
            worker.work(root, device, idle, processes)
    return free


def until(jobs: Jobs, id: str, condition, keep: bool = False) -> Job:
    """The job as soon as it is as wanted; `keep` looks after its worker meanwhile, as the app does."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        if keep:
            tend(jobs.root)
        if condition(job := jobs.get(id)):
            return job
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {jobs.get(id)}; {place(jobs.root, 'cpu').with_suffix('.log').read_text()}")


def test_a_job_makes_the_study_that_sweep_makes(root: Path, request_small: SweepRequest, small_study: Study) -> None:
    jobs = Jobs(root)
    job = jobs.submit(request_small)
    assert work(root, "cpu", idle=0.2, processes=1)
    done = jobs.get(job.id)
    assert (done.state, done.study) == ("done", small_study.key)
    assert done.done == done.total == 3 * 3 + 3
    assert known_devices(root) == devices()
    assert fast_precisions(root, "cpu") == list(devices_fast("cpu"))
    assert known_devices(root / "another") == ["cpu"]
    assert find_study(small_study.key, root).facts["results"] == small_study.facts["results"]


def test_the_points_of_an_unfinished_sweep_are_the_studys_own(
    root: Path, request_small: SweepRequest, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(root)
    job = jobs.submit(request_small)
    finish, kept = Jobs.finish, tmp_path / "kept"

    def keep(self: Jobs, id: str, study: str) -> None:
        self.folder(id).rename(kept)
        finish(self, id, study)

    monkeypatch.setattr(Jobs, "finish", keep)
    work(root, "cpu", idle=0.2, processes=0)
    assert not jobs.folder(job.id).exists()
    points = pd.read_parquet(kept / UNFINISHED)
    keys = ["source", "block", "sigma"]
    expected = small_study.table("curve").set_index(keys).sort_index()
    found = points.set_index(keys).sort_index()
    pd.testing.assert_series_equal(found.accuracy, expected.accuracy)
    pd.testing.assert_series_equal(found["head"], expected["head"])
    assert list(points.columns) == list(small_study.table("curve").columns)
    assert ((points.ci_low <= points.accuracy) & (points.accuracy <= points.ci_high)).all()


def test_a_request_that_cannot_be_carried_out_fails_with_its_sentence(root: Path, request_small: SweepRequest) -> None:
    jobs = Jobs(root)
    job = jobs.submit(request_small.model_copy(update={"n_test": 10**6}))
    work(root, "cpu", idle=0.2, processes=0)
    assert jobs.get(job.id).state == "failed"
    assert "1000000 test images" in str(jobs.get(job.id).reason)


def test_a_mistake_of_ours_fails_the_job_and_not_the_worker(
    root: Path, request_small: SweepRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, jobs = worker.Bench, Jobs(root)

    def broken(request: SweepRequest, *rest: object) -> worker.Bench:
        if request.seed == 1:
            raise RuntimeError("a mistake")
        return real(request, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "Bench", broken)
    bad = jobs.submit(request_small.model_copy(update={"seed": 1}))
    good = jobs.submit(request_small)
    work(root, "cpu", idle=0.2, processes=0)
    assert "a mistake. This is a mistake in Noisescope" in str(jobs.get(bad.id).reason)
    assert jobs.get(good.id).state == "done"


def test_a_cancelled_job_ends_between_two_batches_and_keeps_what_is_done(
    root: Path, longer: SweepRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = Jobs(root)
    job = jobs.submit(longer)
    told = Jobs.tell

    def tell(self: Jobs, *arguments) -> None:
        told(self, *arguments)
        self.cancel(job.id)

    monkeypatch.setattr(Jobs, "tell", tell)
    monkeypatch.setattr(worker, "LOOK", 0.0)
    work(root, "cpu", idle=0.2, processes=0)
    assert jobs.get(job.id).state == "cancelled"
    assert jobs.get(job.id).done == 1
    levels = {path.parent.name for path in (root / "features").rglob("*.safetensors")}
    assert len(levels) == 1  # nothing of a second level was written
    assert len(pd.read_parquet(jobs.folder(job.id) / UNFINISHED)) > 0


@pytest.mark.slow
def test_a_crew_drops_what_is_not_wanted(root: Path, longer: SweepRequest) -> None:
    jobs = Jobs(root)
    job = jobs.submit(longer)
    start_worker(root)
    until(jobs, job.id, lambda job: job.done >= 2)
    jobs.cancel(job.id)
    other = jobs.submit(longer.model_copy(update={"levels": 3}))
    until(jobs, other.id, lambda job: job.state == "done")
    assert len({path.parent.name for path in (root / "features").rglob("*.safetensors")}) < 9
    assert not list(root.rglob("*.tmp"))


@pytest.mark.slow
def test_a_killed_workers_job_is_finished_by_the_next_one_bit_for_bit(root: Path, longer: SweepRequest, tmp_path: Path) -> None:
    from analysis.sweeping import sweep

    jobs = Jobs(root)
    job = jobs.submit(longer)
    start_worker(root)
    until(jobs, job.id, lambda job: job.done >= 3)
    os.kill(facts(root, "cpu")["pid"], signal.SIGKILL)
    assert jobs.get(job.id).state == "running"
    done = until(jobs, job.id, lambda job: not job.active, keep=True)
    assert done.state == "done", done.reason
    whole = Store(tmp_path / "whole")
    assert sweep(longer, whole).facts["results"] == find_study(str(done.study), root).facts["results"]
    units = {path.relative_to(whole.root): path.read_bytes() for path in whole.root.glob("*/*/*/*.safetensors")}
    assert {path.relative_to(root): path.read_bytes() for path in root.glob("*/*/*/*.safetensors")} == units


@pytest.mark.slow
def test_a_worker_says_what_a_request_costs_while_it_is_at_work_and_ends_when_idle(root: Path, longer: SweepRequest) -> None:
    jobs = Jobs(root)
    job = jobs.submit(longer)
    cost, _ = ask(root, "cpu", {"ask": "cost", "request": longer.model_copy(update={"seed": 5}).canonical()}, WAIT)
    assert cost["seconds"] > 0
    assert cost["share"] == 0
    until(jobs, job.id, lambda job: job.state == "done")
    again, _ = ask(root, "cpu", {"ask": "cost", "request": longer.canonical()}, WAIT)
    assert (again["passes"], again["fits"], again["disk"], again["share"], again["seconds"]) == (0, 0, 0, 1.0, 0.0)
    with pytest.raises(InvalidRequest, match="Unknown backend"):
        ask(root, "cpu", {"ask": "cost", "request": SweepRequest(backend="nope").canonical()}, WAIT)
    with pytest.raises(InvalidRequest, match="allowed: cost, combine, strip"):
        ask(root, "cpu", {"ask": "nonsense"}, WAIT)


def test_who_hangs_up_or_says_nothing_keeps_nobody_waiting(root: Path, request_small: SweepRequest) -> None:
    running = Thread(target=work, args=(root, "cpu", 6.0, 0))
    running.start()
    while not (address := facts(root, "cpu")):
        time.sleep(0.01)
    silent = socket.create_connection(("127.0.0.1", address["port"]))
    socket.create_connection(("127.0.0.1", address["port"])).close()
    said, _ = ask(root, "cpu", {"ask": "strip", "request": request_small.canonical()}, WAIT)
    assert len(said["sigmas"]) == 3
    silent.close()
    running.join(WAIT)


def test_a_worker_that_cannot_open_its_store_counts_as_one_that_did_not_start(root: Path) -> None:
    jobs = Jobs(root)
    job = jobs.submit(SweepRequest())
    (root / "store.json").write_text('{"format": 99}')
    for _ in range(3):
        assert jobs.start("cpu")
        with pytest.raises(StoreUnavailable, match="format 99"):
            work(root, "cpu", 0.1, 0)
        with sqlite3.connect(jobs.path) as connection:
            connection.execute("UPDATE starts SET at = 0")
    assert not jobs.start("cpu")
    assert jobs.get(job.id).state == "failed"


def test_a_table_that_is_locked_for_a_moment_does_not_end_a_job(
    root: Path, request_small: SweepRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, told = Jobs(root), []
    job = jobs.submit(request_small)

    def locked(self: Jobs, *_: object) -> None:
        told.append(1)
        raise StoreUnavailable("locked")

    monkeypatch.setattr(Jobs, "tell", locked)
    work(root, "cpu", 0.2, 0)
    assert told
    assert jobs.get(job.id).state == "done"


@pytest.mark.slow
def test_a_model_that_was_trained_anew_is_read_anew_by_a_warm_crew(
    root: Path, tiny_folder: Path, request_small: SweepRequest, digits: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    jobs, request = Jobs(root), request_small.model_copy(update={"backend": str(folder), "baselines": False})
    start_worker(root)
    identities = []
    for seed in (0, 1):
        shutil.rmtree(folder, ignore_errors=True)
        export(Run(recipe("digits-ddpm", network=TINY, steps=1, seed=seed), digits), folder)
        done = until(jobs, jobs.submit(request).id, lambda job: not job.active)
        assert done.state == "done", done.reason
        identities.append(find_study(str(done.study), root).facts["receipt"]["revision"])
    assert identities[0] != identities[1]


def test_one_image_at_every_level_as_the_network_sees_it_and_what_it_makes_of_it(root: Path, request_small: SweepRequest) -> None:
    import io

    import numpy as np
    import torch
    from PIL import Image

    from analysis.answers import Answers
    from analysis.features import load_x0
    from analysis.noise import add_noise, noise_like
    from analysis.planning import Bench

    answers, bench = Answers(Store(root), "cpu", 1), Bench(request_small, Store(root))
    said, png = answers({"ask": "strip", "request": request_small.canonical(), "image": 3})
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert pixels.shape == (2 * 8, 3 * 8)
    assert said["image"] == f"{int(bench.test[3]):016x}"
    x0 = load_x0(bench.dataset, bench.test[3:4], bench.model)
    sigma = torch.tensor([bench.sigmas[1]], dtype=torch.float64)
    x = add_noise(x0, sigma, noise_like(x0, [int(bench.test[3])], 0, 0))
    with torch.inference_mode():
        made = bench.model.denoise(x, sigma)[0, 0]
    expected = ((made.clamp(-1, 1) + 1) * 127.5).round().numpy()
    np.testing.assert_allclose(pixels[8:, 8:16], expected, atol=1)
    clean = request_small.model_copy(update={"input": "clean"})
    _, png = answers({"ask": "strip", "request": clean.canonical(), "image": 3})
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("L"))[:8, :8]
    scale = bench.model.schedule.input_scale(torch.tensor([bench.sigmas[0]], dtype=torch.float64)).item()
    np.testing.assert_allclose(shown, ((x0[0, 0] * scale).clamp(-1, 1) + 1) * 127.5, atol=1)  # no noise is in it
    with pytest.raises(InvalidRequest, match="image is 80; allowed: a whole number from 0 to 79"):
        answers({"ask": "strip", "request": request_small.canonical(), "image": 80})


def test_a_second_worker_ends_at_once_and_an_idle_one_by_itself(root: Path) -> None:
    first = Thread(target=work, args=(root, "cpu", 4.0, 0))
    first.start()
    while not facts(root, "cpu"):
        time.sleep(0.01)
    mode = place(root, "cpu").with_suffix(".json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert work(root, "cpu", 1.0, 0) is False
    first.join(WAIT)
    assert not worker_runs(root, "cpu")
    assert not facts(root, "cpu")


def test_without_the_key_nothing_is_answered(root: Path) -> None:
    running = Thread(target=work, args=(root, "cpu", 2.0, 0))
    running.start()
    while not (address := facts(root, "cpu")):
        time.sleep(0.01)
    with pytest.raises(AuthenticationError):
        Client(("127.0.0.1", address["port"]), authkey=b"guessed")
    running.join(WAIT)


def test_a_worker_computes_with_one_thread_beside_its_crew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr("analysis.worker.work", lambda *_: seen.append(os.environ["OMP_NUM_THREADS"]))
    done = CliRunner().invoke(app, ["worker", "--store", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert seen == ["1"]


def test_a_worker_is_no_rank_of_torchrun() -> None:
    result = CliRunner().invoke(app, ["worker", "--engine", "torchrun"])
    assert isinstance(result.exception, InvalidRequest)
    assert "allowed for a worker: processes, ray" in str(result.exception)
