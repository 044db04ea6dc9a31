"""A crew of Ray actors, on this machine or on many: units of work are planned up front, and each is one call of one actor.

Actors come when work waits for them and the cluster has room, and go when they have been idle; those that wait for room are what
makes a cluster that can grow start machines. An actor that ends costs what it was at: another does that again.

Every machine needs this project with `requirements-ray.txt`, and must see the same models, data and store under the same names.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from importlib.util import find_spec
from typing import Any

from .crew import NOTICE, Between, Crew
from .errors import InvalidRequest, NoisescopeError

TRIES = 3  # actors that may end over the same unit, or one after another before they begin
IDLE = 30.0  # seconds after which an actor without work is ended, while others work on
OBJECTS = 2**27  # bytes of shared memory of a Ray of our own: what is sent is small

Call = tuple[Any, ...]


class _Member:
    """What runs in an actor: it keeps whatever the functions it is given keep, such as an open model."""

    def begin(self) -> None:
        """Answered as soon as the actor is there."""

    def do(self, function: Callable[..., Any], call: Call) -> Any:
        return function(*call)


class Actors(Crew):
    """Up to `count` actors with these resources each, started when there is something to do."""

    def __init__(self, count: int, device: str = "cpu") -> None:
        self.count, self.device = count, device
        self.resources = {"num_cpus": 1, "num_gpus": 0} if device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        self._idle: dict[Any, float] = {}  # since when
        self._starting: dict[Any, Any] = {}  # by what `begin` will answer
        self._busy: dict[Any, tuple[Any, Call]] = {}

    @property
    def size(self) -> int:
        """Actors that are there or on their way."""
        return len(self._idle) + len(self._starting) + len(self._busy)

    def close(self) -> None:
        import ray

        actors = [*self._idle, *self._starting.values(), *(actor for actor, _ in self._busy.values())]
        if ray.is_initialized():
            for actor in actors:
                ray.kill(actor)
        self._idle, self._starting, self._busy = {}, {}, {}

    def run(self, function: Callable[..., Any], calls: Iterable[Call], between: Between | None = None) -> Iterator[tuple[Call, Any]]:
        """As `Crew.run`; a call whose actor ended is done again by another. Ending this early ends the actors that are at work.

        Raises NoisescopeError where actors keep ending.
        """
        import ray

        coming, waiting, left = iter(calls), deque[Call](), True
        lost: Counter[str] = Counter()
        try:
            while True:
                while left and len(waiting) < self.count - len(self._busy) - len(self._starting):
                    try:
                        waiting.append(next(coming))
                    except StopIteration:
                        left = False
                        break
                    self._give(function, waiting)
                self._give(function, waiting)
                if not (left or waiting or self._busy):
                    return
                if refs := [*self._busy, *self._starting]:
                    done, _ = ray.wait(refs, timeout=NOTICE if between else 1.0)
                    for ref in done:
                        yield from self._settle(ref, waiting, lost)
                if between:
                    between()
                self._shrink(len(waiting))
        finally:
            for actor, _ in self._busy.values():
                ray.kill(actor)
            self._busy = {}

    def _give(self, function: Callable[..., Any], waiting: deque[Call]) -> None:
        """Hand what waits to idle actors, and ask for more of these where that is not enough."""
        import ray

        while waiting and self._idle:
            actor, _ = self._idle.popitem()
            call = waiting.popleft()
            self._busy[actor.do.remote(function, call)] = (actor, call)
        while len(self._starting) < len(waiting) and self.size < self.count:
            actor = ray.remote(_Member).options(max_restarts=0, **self.resources).remote()
            self._starting[actor.begin.remote()] = actor

    def _settle(self, ref: Any, waiting: deque[Call], lost: Counter[str]) -> Iterator[tuple[Call, Any]]:
        """What came of something that is done: (call, result), or a call that waits again."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        actor, call = self._busy.pop(ref) if ref in self._busy else (self._starting.pop(ref), None)
        what = "" if call is None else repr(call)
        try:
            result = ray.get(ref)
        except RayActorError as error:
            lost[what] += 1
            if call is not None:
                waiting.appendleft(call)
            if lost[what] >= TRIES:
                raise NoisescopeError(
                    f"{TRIES} Ray actors ended {'over one unit' if call is not None else 'before they began'}, perhaps for want of memory "
                    f"or of this project on their machine: {str(error).splitlines()[0]} Ask for less, or look at Ray's logs, and run again."
                ) from error
        except RayTaskError as error:
            self._idle[actor] = time.monotonic()
            raise error.cause from error
        else:
            self._idle[actor] = time.monotonic()
            if call is None:
                lost[""] = 0
            else:
                yield call, result

    def _shrink(self, waiting: int) -> None:
        import ray

        if not waiting:
            for actor in [actor for actor, since in self._idle.items() if time.monotonic() - since > IDLE]:
                del self._idle[actor]
                ray.kill(actor)


class RayCrew(Actors):
    """Actors of a cluster, or of a Ray of our own on this machine; one that this process is in already is used and left running.

    Where the cluster has GPUs, `devices` are actors with one each, which hold the model and extract; probes are fitted beside them by
    actors on the CPU. Where `count` is more than there are GPUs, as many actors wait for one, so that a cluster that can grow does.
    """

    def __init__(self, count: int = 0, address: str | None = None) -> None:
        """Up to `count` actors on the CPU, 0 for as many as the cluster has. Raises InvalidRequest where Ray is not installed."""
        if find_spec("ray") is None:
            raise InvalidRequest("engine is 'ray', which is not installed; run `pip install -r requirements-ray.txt` and try again.")
        super().__init__(count or 1)
        self._all, self._address = count == 0, address
        self._place: str | None = None
        self._gpus: Actors | None = None
        self._joined = False

    def join(self) -> None:
        """Be in a Ray, from the first work on. Raises InvalidRequest where none answers."""
        if self._joined:
            return
        self._place = _connect(0 if self._all else self.count, self._address)
        self._joined = True
        import ray

        there = ray.cluster_resources()
        if self._all:
            self.count = max(1, int(there.get("CPU", 1)))
        if gpus := int(there.get("GPU", 0)):
            self._gpus = Actors(gpus if self._all else max(gpus, self.count), "cuda")

    @property
    def facts(self) -> dict[str, Any]:  # type: ignore[override]
        on = {"device": f"up to {self._gpus.count} GPUs of a Ray cluster"} if self._gpus else {}
        return {"engine": f"ray, up to {self.count} actors", **on}

    @property
    def devices(self) -> Crew | None:  # type: ignore[override]
        self.join()
        return self._gpus

    def run(self, function: Callable[..., Any], calls: Iterable[Call], between: Between | None = None) -> Iterator[tuple[Call, Any]]:
        self.join()
        return super().run(function, calls, between)

    def start(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """One thing as a Ray task, such as a layout; it asks for no processor of its own, because idle actors keep theirs."""
        self.join()
        import ray

        return ray.remote(_at_once).options(num_cpus=0).remote(function, arguments).future()

    def close(self) -> None:
        """End the actors, and Ray where it is our own."""
        if not self._joined:
            return
        import ray

        if self._gpus:
            self._gpus.close()
        super().close()
        if self._place is not None:
            ray.shutdown()
            if self._place:
                shutil.rmtree(self._place, ignore_errors=True)
        self._joined = False


def _at_once(function: Callable[..., Any], arguments: Call) -> Any:
    return function(*arguments)


def _connect(count: int, address: str | None) -> str | None:
    """Be in a Ray: the one at `address`, else the one this process is in, else one of our own, whose folder is returned ("" at an address)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    if ray.is_initialized():
        return None
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise InvalidRequest(f"address is {address!r}, where no Ray answers ({error}); start one with `ray start --head`.") from error
        return ""
    folder = tempfile.mkdtemp(prefix="ns-")  # short: the names of sockets are made of it
    if not any(name.startswith("RAY_AUTH_") for name in os.environ):  # else Ray would keep one in the home folder
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    own = {"address": "local", "num_cpus": count or os.cpu_count(), "object_store_memory": OBJECTS, "include_dashboard": False}
    try:
        ray.init(_temp_dir=folder, **own, **quiet)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder
