"""Sweeps on Ray's actors: one Ray of six logical processors for all of these, in a folder of its own, and ended with them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from analysis import worker
from analysis.datasets import open_dataset
from analysis.engines import open_crew
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.jobs import Jobs
from analysis.planning import Bench
from analysis.remote import RemoteStore
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import find_study
from analysis.sweeping import carry_out, sweep
from analysis.workers import only_worker

from .engines import command, features, same, whole
from .test_hub import own_cache, png, write  # noqa: F401

ray = pytest.importorskip("ray", reason="ray is optional: pip install -r requirements-ray.txt")
from analysis.raycrew import TRIES, Actors, RayCrew  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    folder = tempfile.mkdtemp(prefix="ns-")
    kept = dict(os.environ)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_TOKEN": "7" * 64, "NOISESCOPE_STORE": f"{folder}/own"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    server = None
    try:
        if shutil.which("moto_server") or (Path(sys.executable).parent / "moto_server").exists():
            from moto.server import ThreadedMotoServer

            server = ThreadedMotoServer("127.0.0.1", 0)
            server.start()
            os.environ["AWS_ENDPOINT_URL"] = "http://{}:{}".format(*server.get_host_and_port())
        ray.init(
            address="local",
            num_cpus=6,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=2**27,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        if server:
            server.stop()
        os.environ.clear()
        os.environ |= kept
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def crew(cluster: None) -> Iterator[RayCrew]:
    """One for all, because an actor takes seconds to start."""
    with RayCrew(2) as crew:
        yield crew


def double(value: int) -> int:
    return 2 * value


def refuse(_: int) -> None:
    raise InvalidRequest("that cannot be done")


def log_and_end_once(folder: str, number: int) -> int:
    """Leaves a line, and ends its process over number 3 unless one has ended over it before."""
    with Path(folder, "log").open("a") as log:
        log.write(f"{number} {os.getpid()}\n")
    if number == 3 and not Path(folder, "ended").exists():
        Path(folder, "ended").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def end(_: int) -> None:
    os._exit(9)


def write_pid_and_wait(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


def test_every_call_comes_back_once_and_what_is_wrong_is_said_as_it_was(crew: RayCrew) -> None:
    assert sorted(crew.run(double, ((i,) for i in range(7)))) == [((i,), 2 * i) for i in range(7)]
    with pytest.raises(InvalidRequest, match="cannot be done"):
        list(crew.run(refuse, [(0,)]))
    assert crew.start(double, 4).result(timeout=120) == 8


def test_there_are_no_more_actors_than_work_and_idle_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.raycrew.IDLE", 0.0)
    with Actors(5) as actors:
        sizes = []
        for _ in actors.run(double, [(0,), (1,)]):
            sizes.append(actors.size)
        assert max(sizes) <= 2
        assert list(actors.run(double, [(2,)])) == [((2,), 4)]
        assert actors.size <= 2


def test_actors_that_find_no_room_wait_and_do_no_harm() -> None:
    with Actors(9) as actors:  # of six processors
        found = dict(actors.run(double, ((i,) for i in range(20))))
        assert actors._starting
    assert found == {(i,): 2 * i for i in range(20)}


def test_more_actors_may_wait_for_a_gpu_than_there_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 6.0, "GPU": 2.0})
    wished = {}
    for count in (0, 1, 5):
        crew = RayCrew(count)
        assert crew.devices
        wished[count] = crew.devices.count
        crew.close()
    assert wished == {0: 2, 1: 2, 5: 5}


def test_an_actor_that_is_killed_costs_the_unit_it_was_at(crew: RayCrew, tmp_path: Path) -> None:
    found = sorted(result for _, result in crew.run(log_and_end_once, ((str(tmp_path), i) for i in range(8))))
    assert found == list(range(8))
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(int(number) for number, _ in lines) == Counter(range(8)) + Counter([3])
    first, second = (pid for number, pid in lines if number == "3")
    assert first != second


def test_a_unit_that_ends_every_actor_ends_the_run_with_a_sentence(crew: RayCrew) -> None:
    with pytest.raises(NoisescopeError, match=f"{TRIES} Ray actors ended over one unit"):
        list(crew.run(end, [(0,)]))


def test_what_ends_early_ends_the_actors_at_work(crew: RayCrew, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def between() -> None:
        if any(tmp_path.iterdir()):
            raise Enough

    with pytest.raises(Enough):
        list(crew.run(write_pid_and_wait, [(str(tmp_path),)], between))
    pid = int(next(tmp_path.iterdir()).name)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)


def test_two_actors_give_the_features_of_one_process(crew: RayCrew, request_small: SweepRequest, tmp_path: Path) -> None:
    one = sweep(request_small, Store(tmp_path / "one"))
    told: list[tuple[int, int]] = []
    two = carry_out(Bench(request_small, Store(tmp_path / "two")), crew, progress=lambda done, total, _: told.append((done, total)))
    same(features(tmp_path / "one"), features(tmp_path / "two"))
    assert two.facts["results"] == one.facts["results"]
    assert two.facts["receipt"]["passes"] == one.facts["receipt"]["passes"]
    assert told == [(done, 12) for done in range(1, 13)]


def test_devices_extract_and_others_probe_beside_them(crew: RayCrew, request_small: SweepRequest, tmp_path: Path) -> None:
    one = sweep(request_small, Store(tmp_path / "one"))
    assert crew.devices is None  # where the cluster has no GPU
    with Actors(2) as crew._gpus:  # their like, on the processor
        two = carry_out(Bench(request_small, Store(tmp_path / "two")), crew)
    crew._gpus = None
    same(features(tmp_path / "one"), features(tmp_path / "two"))
    assert two.facts["receipt"]["passes"] == one.facts["receipt"]["passes"]


def test_a_sweep_whose_actor_is_killed_says_the_same(crew: RayCrew, request_small: SweepRequest, tmp_path: Path) -> None:
    one = sweep(request_small, Store(tmp_path / "one"))
    killed: list[Any] = []

    def progress(done: int, _total: int, _message: str) -> None:
        if done >= 3 and not killed:
            for actor, _ in list(crew._busy.values())[:1]:
                ray.kill(actor)
                killed.append(actor)

    two = carry_out(Bench(request_small, Store(tmp_path / "two")), crew, progress=progress)
    assert killed
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(killed[0].begin.remote())
    same(features(tmp_path / "one"), features(tmp_path / "two"))
    assert two.facts["results"] == one.facts["results"]


def test_a_killed_driver_goes_on_where_it_was_and_leaves_no_process(tiny_folder: Path, tmp_path: Path) -> None:
    place = tempfile.mkdtemp(prefix="ns-")
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {"TMPDIR": place, "HOME": place}
    words, store = command(tiny_folder, tmp_path / "store", "--engine", "ray", "--processes", "2"), tmp_path / "store"
    driver = subprocess.Popen(words, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        deadline = time.monotonic() + 240
        while len(list(store.rglob("*.safetensors"))) < 8 and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.05)
        began = psutil.Process(driver.pid).children(recursive=True)
        driver.kill()
        driver.wait()
        there = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in whole(store)}
        assert len(there) >= 8
        again = subprocess.run(words, env=own, capture_output=True, text=True, timeout=300)
        assert again.returncode == 0, again.stderr
        assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in there} == there
        fresh = subprocess.run(command(tiny_folder, tmp_path / "plain"), capture_output=True, text=True, timeout=300, check=True)
        assert again.stdout == fresh.stdout
        same(features(tmp_path / "plain"), features(store))
        left = [path.name for path in Path(place).iterdir() if path.name.startswith("ns-")]
        assert len(left) <= 1  # the killed driver's; the other has cleared its own away
        _, alive = psutil.wait_procs(began, timeout=150)  # Ray's agents look for its dead centre for a minute before they end
        assert not alive
    finally:
        if driver.poll() is None:
            driver.kill()
        shutil.rmtree(place, ignore_errors=True)


def test_damaged_images_are_counted_and_listed(crew: RayCrew, request_small: SweepRequest, tmp_path: Path) -> None:
    images = open_dataset("digits").images[:200]
    files = [png(image) for image in images]
    files[5], files[77] = b"no image", files[77][:40]
    write(tmp_path / "data" / "train.parquet", files, label=([str(i) for i in range(4)], [i % 4 for i in range(200)]))
    asked = {"dataset": str(tmp_path / "data"), "n_train": 80, "n_validation": None, "n_test": None, "labels_per_class": (5,)}
    study = carry_out(Bench(request_small.model_copy(update=asked), Store(tmp_path / "store")), crew)
    receipt = study.facts["receipt"]
    assert receipt["skipped_count"] == len(receipt["skipped"]) == 2


def test_a_machine_with_other_data_is_told_so(crew: RayCrew, request_small: SweepRequest, store: Store) -> None:
    bench = Bench(request_small, store)
    bench.dataset.identity = "another"
    with pytest.raises(NoisescopeError, match="is not the same on"):
        carry_out(bench, crew)


def test_a_job_of_the_dashboard_is_carried_out_by_actors(request_small: SweepRequest, tmp_path: Path) -> None:
    root, jobs = tmp_path / "store", Jobs(tmp_path / "store")
    job = jobs.submit(request_small)
    with only_worker(root, "cpu") as free:
        assert free
        worker.work(root, "cpu", 0.2, 2, "ray")
    done = jobs.get(job.id)
    assert (done.state, done.done, done.total) == ("done", 12, 12)
    assert find_study(done.study or "", root).facts["results"]


def test_actors_and_driver_meet_in_object_storage(crew: RayCrew, request_small: SweepRequest, tmp_path: Path) -> None:
    pytest.importorskip("moto", reason="moto stands in for object storage: pip install -r requirements-ray.txt")
    import fsspec

    fsspec.filesystem("s3").mkdir("noisescope")
    url = "s3://noisescope/swept"
    one = sweep(request_small, Store(tmp_path / "one"))
    two = carry_out(Bench(request_small, RemoteStore(url, tmp_path / "driver")), crew)
    assert two.facts["results"] == one.facts["results"]
    assert not list((tmp_path / "driver" / "features").rglob("*.safetensors"))  # the driver needs no feature
    fsspec.filesystem("s3", use_listings_cache=False).get(f"{url}/", f"{tmp_path}/all/", recursive=True)
    same(features(tmp_path / "one"), features(tmp_path / "all"))
    assert find_study(two.key, tmp_path / "all").facts["results"] == one.facts["results"]
    again = carry_out(Bench(request_small, RemoteStore(url, tmp_path / "other")), crew)
    assert again.facts["receipt"]["passes"] == 0


def test_a_bucket_that_is_not_there_is_one_sentence(request_small: SweepRequest, tmp_path: Path) -> None:
    pytest.importorskip("moto", reason="moto stands in for object storage: pip install -r requirements-ray.txt")
    with pytest.raises(NoisescopeError, match="cannot be reached"):
        sweep(request_small, RemoteStore("s3://nowhere/swept", tmp_path / "copy"))


def test_the_first_machines_settings_stand_in_object_storage(tmp_path: Path) -> None:
    pytest.importorskip("moto", reason="moto stands in for object storage: pip install -r requirements-ray.txt")
    import fsspec

    from .test_remote import WHAT

    fsspec.filesystem("s3").mkdir("settings")
    one, two = (RemoteStore("s3://settings/a", tmp_path / name) for name in ("one", "two"))
    assert one.settings("features", WHAT, {"batch_size": 8})["batch_size"] == 8
    assert two.settings("features", WHAT, {"batch_size": 64})["batch_size"] == 8


def test_an_address_is_of_ray_alone() -> None:
    with pytest.raises(InvalidRequest, match="address"):
        open_crew("processes", 2, "auto")
