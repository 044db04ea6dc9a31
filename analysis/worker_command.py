"""The command that is a device's worker. Heavy imports stay inside it."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import typer

from .console import StoreOption
from .errors import InvalidRequest
from .options import CORES, AddressOption, EngineName, EngineOption


def worker(
    device: Annotated[str, typer.Option(help="The device that it owns.")] = "cpu",
    idle: Annotated[float, typer.Option(min=0, help="Seconds after which it ends when nobody needs it.")] = 300.0,
    processes: Annotated[int, typer.Option(min=1, help="Single-threaded processes beside it.")] = CORES,
    engine: EngineOption = EngineName.processes,
    address: AddressOption = None,
    store: StoreOption = None,
) -> None:
    """Carry out what the dashboard submits; one a store and device, started when needed."""
    if engine is EngineName.torchrun:
        raise InvalidRequest("engine is 'torchrun', whose ranks carry out one sweep; allowed for a worker: processes, ray.")
    os.environ["OMP_NUM_THREADS"] = "1"  # read once, when numpy is loaded: beside its crew, one thread beats several
    from .store import default_root
    from .workers import only_worker, work

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    root = store or default_root()
    with only_worker(root, device, timeout=2.0) as free:  # before what takes long to load, so that nobody starts another meanwhile
        if not free:
            typer.echo(f"There is a worker for {device} already.")
            return
        work(root, device, idle, processes, engine.value, address)
