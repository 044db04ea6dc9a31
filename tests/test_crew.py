from __future__ import annotations

import os
import signal
import time
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Thread

import pytest

from analysis.crew import Crew, Dropped, still_wanted
from analysis.errors import NoisescopeError


def double(value: int) -> int:
    return 2 * value


def wait_and_leave_a_mark(folder: str, name: int) -> int:
    """Works until it is dropped, as long batches do."""
    Path(folder, f"began-{name}").touch()
    while True:
        time.sleep(0.01)
        still_wanted()


def niceness(_: int) -> int:
    return os.nice(0)


def threads(_: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def end(_: int) -> None:
    os._exit(9)


def own_pid(_: int) -> int:
    return os.getpid()


def too_late(_: int) -> None:
    raise TimeoutError("a server did not answer")


def test_every_call_comes_back_with_its_result_and_calls_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def calls():
        for i in range(5):
            taken.append(i)
            yield (i,)

    with Crew(2) as crew:
        assert sorted(crew.run(double, calls())) == [((i,), 2 * i) for i in range(5)]
        assert taken == list(range(5))
        assert list(crew.run(threads, [(0,)])) == [((0,), "1")]


def test_what_is_not_wanted_any_more_is_dropped_and_the_crew_goes_on(tmp_path: Path) -> None:
    def between() -> None:
        if list(tmp_path.iterdir()):
            raise Dropped

    with Crew(1) as crew:
        with pytest.raises(Dropped):
            list(crew.run(wait_and_leave_a_mark, [(str(tmp_path), 1), (str(tmp_path), 2)], between))
        assert list(crew.run(double, [(4,)])) == [((4,), 8)]
        assert [path.name for path in tmp_path.iterdir()] == ["began-1"]


def test_closing_ends_what_is_at_work(tmp_path: Path) -> None:
    crew, ended = Crew(1), []

    def work() -> None:
        with pytest.raises((Dropped, CancelledError)):
            list(crew.run(wait_and_leave_a_mark, [(str(tmp_path), 1)], lambda: None))
        ended.append(True)

    running = Thread(target=work)
    running.start()
    while not list(tmp_path.iterdir()):
        time.sleep(0.01)
    crew.close()  # returns when its processes have ended
    running.join(60)
    assert ended == [True]


def test_a_process_that_ends_is_said_and_another_takes_its_place() -> None:
    with Crew(1) as crew:
        with pytest.raises(NoisescopeError, match="ended unexpectedly"):
            list(crew.run(end, [(0,)]))
        assert list(crew.run(double, [(4,)])) == [((4,), 8)]


def test_a_process_that_ended_while_idle_is_replaced() -> None:
    with Crew(1) as crew:
        ((_, pid),) = crew.run(own_pid, [(0,)])
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
        assert list(crew.run(double, [(4,)])) == [((4,), 8)]


def test_an_error_of_a_call_is_the_callers_even_when_it_is_about_time() -> None:
    with Crew(1) as crew, pytest.raises(TimeoutError, match="did not answer"):
        list(crew.run(too_late, [(0,)], lambda: None))


def test_a_patient_crew_leaves_the_processor_to_others() -> None:
    with Crew(1, niceness=10) as crew:
        ((_, found),) = crew.run(niceness, [(0,)])
    assert found == min(19, os.nice(0) + 10)
