"""A sweep whose units several devices share, a process each; on a machine without GPUs two names of its CPU stand for them."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from analysis import costs, devices, streaming, sweeping
from analysis.crew import Between, Crew, Dropped, Holders, own_device, still_wanted
from analysis.engines import open_crew
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.streamed import Cell
from analysis.studies import Study
from analysis.timing import Timed
from analysis.worker import Worker

from .conftest import SMALL
from .engines import features, same

TWO = ("cpu:0", "cpu:1")
PATIENCE = 120.0  # seconds for a process to begin
real_extract = sweeping._extract


def comes(folder: Path, name: str) -> bool:
    """Whether a file comes to be there."""
    until = time.monotonic() + PATIENCE
    while not (folder / name).exists() and time.monotonic() < until:
        time.sleep(0.01)
    return (folder / name).exists()


def device_and_pid(_: int) -> tuple[str | None, int]:
    return own_device(), os.getpid()


def waiting_for_both(log: str, *call: Any) -> int:
    """What a device's process does, told in a log, and not before both are there."""
    Path(log, f"begun-{own_device()}").touch()
    for device in TWO:
        comes(Path(log), f"begun-{device}")
    with Path(log, "units").open("a") as told:
        told.write(f"{own_device()}\t{os.getpid()}\t{call[-1]}\n")
    return real_extract(*call)


def refusing(log: str, *call: Any) -> int:
    if own_device() == TWO[1]:
        comes(Path(log), f"at-work-{TWO[0]}")
        raise InvalidRequest(f"{own_device()} cannot do that")
    return waiting_until_dropped(log, *call)


def waiting_until_dropped(log: str, *call: Any) -> int:
    """A unit that ends as a batch does where the work is not wanted any more, and otherwise not at all."""
    Path(log, f"at-work-{own_device()}").touch()
    try:
        while True:
            time.sleep(0.01)
            still_wanted()
    except Dropped:
        Path(log, f"dropped-{own_device()}").touch()
        raise


def doing(_log: str, *call: Any) -> int:
    return real_extract(*call)


def ending(log: str, *call: Any) -> int:
    """Two units are done; at the third its process is killed."""
    with Path(log, "begun").open("a") as told:
        told.write("x")
    if Path(log, "begun").stat().st_size > 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return real_extract(*call)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """One for all, because a process takes seconds to start."""
    with Crew(1, devices=TWO) as crew:
        yield crew


@pytest.fixture(scope="module")
def request_few(tiny_folder: Path) -> SweepRequest:
    asked: dict[str, Any] = SMALL | {
        "n_train": 200,
        "n_validation": 30,
        "n_test": 40,
        "label_draws": 3,
        "labels_per_class": (3,),
        "baselines": False,
    }
    return SweepRequest(backend=str(tiny_folder), **asked)


@pytest.fixture(scope="module")
def plain(request_few: SweepRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """The same in this process alone, and where it is."""
    place = tmp_path_factory.mktemp("plain")
    return sweeping.sweep(request_few, Store(place)), place


@pytest.fixture
def instead(crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Units are done by another function, which is given a folder first."""
    assert crew.devices is not None
    run = crew.devices.run

    def use(other: Callable[..., Any]) -> None:
        def running(_: Any, calls: Iterable[tuple[Any, ...]], between: Between | None = None) -> Iterator[Any]:
            for call, found in run(other, ((str(tmp_path), *call) for call in calls), between):
                yield call[1:], found

        monkeypatch.setattr(crew.devices, "run", running)

    return use


Instead = Callable[[Callable[..., Any]], None]


def units(folder: Path) -> list[list[str]]:
    """(device, process, unit) of every unit that was begun."""
    return [line.split("\t") for line in (folder / "units").read_text().splitlines()]


@pytest.mark.slow
def test_every_process_has_a_device_of_its_own(crew: Crew) -> None:
    assert crew.devices is not None
    found = [told for _, told in crew.devices.run(device_and_pid, ((i,) for i in range(8)))]
    by_device = {device: {pid for name, pid in found if name == device} for device, _ in found}
    assert set(by_device) <= set(TWO)
    assert all(len(pids) == 1 for pids in by_device.values())
    assert next(told for _, told in crew.run(device_and_pid, [(0,)]))[0] is own_device() is None


def test_two_devices_give_the_features_of_one_every_unit_once(
    crew: Crew, instead: Instead, plain: tuple[Study, Path], request_few: SweepRequest, tmp_path: Path
) -> None:
    instead(waiting_for_both)
    both = sweeping.carry_out(Bench(request_few, Store(tmp_path)), crew)
    assert both.facts["results"] == plain[0].facts["results"]
    assert both.facts["receipt"]["passes"] == plain[0].facts["receipt"]["passes"]
    one, two = features(plain[1]), features(tmp_path)
    same(one, two)
    assert all(np.array_equal(rows[i], two[key][i]) for key, rows in one.items() for i in rows)  # batches are the same
    assert {device for device, *_ in units(tmp_path)} == set(TWO)  # each really worked
    assert len({pid for _, pid, _ in units(tmp_path)}) == 2
    assert set(Counter(unit for *_, unit in units(tmp_path)).values()) == {1}


def test_the_worker_shares_units_between_its_devices(
    crew: Crew, instead: Instead, request_few: SweepRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "several", lambda device: TWO)
    instead(waiting_for_both)
    worker = Worker(tmp_path, "cpu", 1)
    try:
        assert isinstance(worker.crew.devices, Holders)
        worker.crew = crew  # whose processes are there
        job = worker.jobs.submit(request_few)
        worker.carry_out(worker.jobs.take("cpu"))  # type: ignore[arg-type]
        assert worker.jobs.get(job.id).state == "done"
    finally:
        worker.lane.close()
    assert {device for device, *_ in units(tmp_path)} == set(TWO)


def test_without_a_store_devices_share_the_levels_too(crew: Crew, request_few: SweepRequest) -> None:
    asked = request_few.model_copy(update={"head": "ridge", "label_draws": None})
    bench = streaming.prepare(asked)
    units = [(sigma, 0) for sigma in bench.sigmas]
    alone = dict(streaming.work(bench, units, Crew(0), streaming.BUDGET, None))
    assert crew.devices is not None
    shared = dict(streaming.work(bench, units, crew.devices, streaming.BUDGET, None))
    assert shared.keys() == alone.keys() == set(bench.sigmas)
    for sigma, cells in alone.items():
        for one, other in zip(cells, shared[sigma], strict=True):
            assert isinstance(one, Cell)
            assert isinstance(other, Cell)
            assert one.tested.tolist() == other.tested.tolist()


def test_what_is_wrong_on_one_device_is_said_and_ends_the_others_work(
    crew: Crew, instead: Instead, request_few: SweepRequest, tmp_path: Path
) -> None:
    instead(refusing)
    with pytest.raises(InvalidRequest, match="cpu:1 cannot do that"):
        sweeping.carry_out(Bench(request_few, Store(tmp_path / "store")), crew)
    assert comes(tmp_path, f"dropped-{TWO[0]}")


def test_a_probe_that_fails_ends_the_work_of_the_devices(request_few: SweepRequest, tmp_path: Path) -> None:
    ended: list[bool] = []

    class Devices(Crew):
        def run(self, function: Any, calls: Iterable[tuple[Any, ...]], between: Between | None = None) -> Iterator[Any]:
            try:
                yield from ((call, 0) for call in calls)
            finally:
                ended.append(True)

    class Probes(Crew):
        def run(self, function: Any, calls: Iterable[tuple[Any, ...]], between: Between | None = None) -> Iterator[Any]:
            yield next(iter(calls)), (0, [])
            raise InvalidRequest("that probe cannot be fitted")

    crew = Probes(1)
    crew.devices = Devices(2)
    with pytest.raises(InvalidRequest, match="cannot be fitted") as told:
        sweeping.carry_out(Bench(request_few, Store(tmp_path)), crew)
    assert told.tb is not None  # which holds on to all that was at work
    assert ended == [True]


def test_a_cancelled_sweep_ends_on_every_device_within_a_batch(
    crew: Crew, instead: Instead, request_few: SweepRequest, tmp_path: Path
) -> None:
    def between() -> None:
        if len(list(tmp_path.glob("at-work-*"))) == 2:
            raise Dropped

    instead(waiting_until_dropped)
    with pytest.raises(Dropped):
        sweeping.carry_out(Bench(request_few, Store(tmp_path / "store")), crew, between=between)
    assert all(comes(tmp_path, f"dropped-{device}") for device in TWO)


@pytest.mark.slow
def test_a_device_whose_process_is_killed_costs_what_it_was_at(
    crew: Crew, instead: Instead, plain: tuple[Study, Path], request_few: SweepRequest, tmp_path: Path
) -> None:
    instead(ending)
    store = Store(tmp_path / "store")
    with pytest.raises(NoisescopeError, match="A process of the crew ended unexpectedly"):
        sweeping.carry_out(Bench(request_few, store), crew)
    assert features(store.root)  # of the units before
    instead(doing)
    again = sweeping.carry_out(Bench(request_few, store), crew)
    assert again.facts["results"] == plain[0].facts["results"]
    assert 0 < again.facts["receipt"]["passes"] < plain[0].facts["receipt"]["passes"]
    same(features(plain[1]), features(store.root))


def test_of_several_gpus_cuda_is_all_and_one_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    assert devices.devices() == ["cuda", "cuda:0", "cuda:1", "cpu"]
    assert devices.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(InvalidRequest, match="device is 'cuda:2'; allowed on this machine: cuda, cuda:0, cuda:1, cpu"):
        devices.choose_device("cuda:2")
    with open_crew(processes=2, device="cuda") as crew:
        assert isinstance(crew.devices, Holders)
        assert crew.devices.held == ("cuda:0", "cuda:1")
        assert crew.facts == {"device": "2 × a GPU"}
    for device, processes in (("cuda:1", 2), ("cpu", 2), ("cuda", 0)):  # one chosen, none, and no processes at all
        with open_crew(processes=processes, device=device) as crew:
            assert crew.devices is None
    settled: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", settled.append)
    for device in ("cpu", "cpu:1", "cuda", "cuda:1"):
        devices.settle(device)
    assert settled == ["cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.devices() == ["cuda", "cpu"]
    with open_crew(processes=2, device="cuda") as crew:
        assert crew.devices is None


def test_gpus_share_the_passes_that_are_foreseen(request_few: SweepRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(request_few, Store(tmp_path))
    assert bench.sources
    bench.device = "cuda"
    monkeypatch.setattr(costs, "timed_parts", lambda _: Timed(passing=1.0, probe=0.0, other=0.0, memory=0))
    seconds = {}
    for count in (0, 2):
        monkeypatch.setattr(costs, "several", lambda _, count=count: TWO[:count])
        seconds[count] = costs.estimate(bench, 1).seconds
    assert seconds[0] == costs.count(bench).passes == 2 * seconds[2] > 0
    assert costs.estimate(bench, 0).seconds == seconds[0]  # without processes one works alone


@pytest.mark.gpu
def test_two_processes_on_one_gpu_give_the_cpus_features(request_few: SweepRequest, plain: tuple[Study, Path], tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    with Crew(1, devices=("cuda:0", "cuda:0")) as crew:
        sweeping.carry_out(Bench(request_few, Store(tmp_path), "cuda"), crew)
    same(features(plain[1]), features(tmp_path))


LEADER = """
import sys
from analysis.crew import Crew
from tests.test_holders import TWO, waiting_until_dropped

if __name__ == "__main__":
    with Crew(1, devices=TWO) as crew:
        list(crew.devices.run(waiting_until_dropped, [(sys.argv[1], 0), (sys.argv[1], 1)]))
"""


@pytest.mark.slow
def test_processes_of_devices_end_with_a_leader_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "leader.py").write_text(LEADER)
    given = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    leader = psutil.Popen([sys.executable, str(tmp_path / "leader.py"), str(tmp_path)], env=given)
    assert all(comes(tmp_path, f"at-work-{device}") for device in TWO)
    children = leader.children(recursive=True)
    leader.kill()
    _, alive = psutil.wait_procs([leader, *children], timeout=60)
    assert len(children) >= 2
    assert not alive


def test_processes_of_devices_end_with_the_crew() -> None:
    crew = Crew(1, devices=TWO[:1])
    assert crew.devices is not None
    ((_, (_, pid)),) = crew.devices.run(device_and_pid, [(0,)])
    crew.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
