"""Single-threaded processes for work on the CPU, beside the process that holds the model, or that hold it on a device each.

They are kept warm between requests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from platform import node
from threading import Thread
from typing import Any, TypeVar

from .errors import InvalidData, NoisescopeError

Between = Callable[[], None]
Found = TypeVar("Found")
NOTICE = 0.03  # seconds between two looks at what the caller wants, while the crew works


class Dropped(Exception):
    """The work is not wanted any more: raised between two batches."""


_turn: Any = None  # in a crew's process: the number of the work that is wanted
_mine = 0
_device: str | None = None


def own_device() -> str | None:
    """The device that is this process's own among those of `Holders`; None in any other process."""
    return _device


def check_same(here: Sequence[str], asked: Sequence[str], names: str) -> None:
    """Raises InvalidData where what this process has opened, by its identities, is not what it is asked to work on."""
    if tuple(here) != tuple(asked):
        raise InvalidData(f"{names} is not the same on {node()} as where the sweep was asked for; give every machine the same files.")


def _begin(turn: Any, niceness: int, left: Any) -> None:
    """What a process of the crew does first: it ends when the process that started it has, however that came about."""
    global _turn, _device
    _turn = turn
    if left is not None:
        _device = left.get()
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def still_wanted() -> None:
    """To be called between two batches of a crew's work. Raises Dropped."""
    if _turn is not None and _turn.value != _mine:
        raise Dropped


def _do(turn: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    global _mine
    _mine = turn
    still_wanted()
    return function(*arguments)


class Crew:
    """`count` processes with one thread each, started when there is first something to do.

    `niceness` above 0 leaves the processor to others first, such as to the process that answers people. With `devices` there are
    processes beside these that hold the model on one of them each.
    """

    device: str | None = None  # that a sweep's model is opened on; None is the caller's choice
    inside = False  # whether work is done in this process
    facts: Mapping[str, Any] = {}  # what a receipt says of who did the work
    devices: Crew | None = None  # processes that hold the model on a device each, beside these on the CPU

    def __init__(self, count: int, niceness: int = 0, devices: Sequence[str] = ()) -> None:
        self.count, self.niceness = count, niceness
        self.devices = Holders(devices) if devices else None
        self._context = get_context("spawn")
        self._turn = self._context.Value("i", 0, lock=False)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what they are at is dropped between two batches."""
        if self.devices is not None:
            self.devices.close()
        self._turn.value += 1
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def run(
        self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]], between: Between | None = None
    ) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """(call, function(*call)) for every call, as they end; calls are taken one by one, `between` many times a second.

        Whatever ends this early, an exception of a call, of `between` or of the caller, drops the rest.
        Raises NoisescopeError where a process ended unexpectedly.
        """
        futures: dict[Future[Any], tuple[Any, ...]] = {}
        waiting: set[Future[Any]] = set()
        try:
            for call in calls:
                future = self._submit(function, call)
                futures[future] = call
                done, waiting = wait({*waiting, future}, 0)
                for future in done:
                    yield futures[future], future.result()
            while waiting:
                done, waiting = wait(waiting, NOTICE if between else None, FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
                if between:
                    between()
        except BrokenProcessPool as error:
            self._pool = None
            raise NoisescopeError(
                "A process of the crew ended unexpectedly, perhaps for want of memory; ask for less, or use fewer processes, and run again."
            ) from error
        finally:
            if not all(future.done() for future in futures):
                self._turn.value += 1
                for future in futures:
                    future.cancel()

    def once(self, function: Callable[[], Found]) -> Found:
        """What is done a single time, however many processes come here."""
        return function()

    def start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have one thing done; whoever asked looks whether it is, and `result()` raises what went wrong.

        A process that ended unexpectedly raises BrokenProcessPool there, and the next start has a new one.
        """
        return self._submit(function, arguments)

    def _submit(self, function: Callable[..., Any], call: tuple[Any, ...]) -> Future[Any]:
        if self._pool is None:
            self._pool = self._open()
        with _one_thread():  # the pool starts its processes when work comes
            try:
                return self._pool.submit(_do, self._turn.value, function, call)
            except BrokenProcessPool:  # a process ended while it had nothing to do
                self._pool = self._open()
                return self._pool.submit(_do, self._turn.value, function, call)

    def _open(self, left: Any = None) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.count, self._context, _begin, (self._turn, self.niceness, left))


class Holders(Crew):
    """A process for each of some devices, such as `cuda:0` and `cuda:1`, which it knows as `own_device`."""

    def __init__(self, held: Sequence[str]) -> None:
        super().__init__(len(held))
        self.held = tuple(held)

    def _open(self, left: Any = None) -> ProcessPoolExecutor:
        left = self._context.SimpleQueue()  # each process takes one
        for device in self.held:
            left.put(device)
        return super()._open(left)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A process reads OMP_NUM_THREADS once, when it starts: several with one thread beat one with several."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
