"""Options that commands share: who does the work."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class EngineName(StrEnum):
    processes = "processes"
    ray = "ray"
    torchrun = "torchrun"


EngineOption = Annotated[EngineName, typer.Option(help="Who does the work: processes of this machine, Ray actors, or torchrun's ranks.")]
AddressOption = Annotated[str | None, typer.Option(help="Ray cluster, as HOST:6379 or auto; default: a Ray of its own on this machine.")]
