"""Who carries out a sweep's units: processes of this machine, actors of a Ray cluster, or the ranks that torchrun started."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, get_args

from .errors import InvalidRequest, UnknownName

if TYPE_CHECKING:
    from .crew import Crew

Engine = Literal["processes", "ray", "torchrun"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


def open_crew(engine: str = "processes", processes: int = 0, address: str | None = None, niceness: int = 0, device: str = "cpu") -> Crew:
    """The crew of an engine; what it needs is imported here. With Ray, 0 processes are as many as the cluster has devices.

    Processes of this machine have further ones beside them, one a GPU, where `device` means several (`devices.several`).

    Raises UnknownName, or InvalidRequest for an engine that is not installed or not started.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if address and engine != "ray":
        raise InvalidRequest(f"address is {address!r} and engine {engine!r}; an address is of a Ray cluster: give engine 'ray' with it.")
    if engine == "ray":
        from .raycrew import RayCrew

        return RayCrew(processes, address)
    if engine == "torchrun":
        from .ranks import Ranks

        return Ranks()
    from .crew import Crew
    from .devices import describe_device, several

    held = several(device) if processes else ()
    crew = Crew(processes, niceness, held)
    if held:
        crew.facts = {"device": f"{len(held)} × {describe_device(held[0])}"}
    return crew


def leads(engine: str) -> bool:
    """Whether this process is the one that tells of the results: of torchrun's ranks the first."""
    return engine != "torchrun" or os.environ.get("RANK", "0") == "0"
