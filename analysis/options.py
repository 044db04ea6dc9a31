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


class PrecisionName(StrEnum):
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


DeviceOption = Annotated[str, typer.Option(help="Where to compute: cuda, mps or cpu.")]
PrecisionOption = Annotated[PrecisionName, typer.Option(help="What the network computes in; lower ones are faster on most GPUs.")]
ConditionOption = Annotated[
    str, typer.Option(help="What the model is told: `none` (null where it was trained, else the mean of the classes) or class:NUMBER.")
]
EngineOption = Annotated[EngineName, typer.Option(help="Who does the work: processes of this machine, Ray actors, or torchrun's ranks.")]
AddressOption = Annotated[str | None, typer.Option(help="Ray cluster, as HOST:6379 or auto; default: a Ray of its own on this machine.")]
