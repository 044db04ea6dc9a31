"""The one place that chooses a device, and what it is fast in."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from .errors import InvalidRequest


def devices() -> list[str]:
    """What there is to compute on, the fastest first: of `cuda`, `mps`, `cpu`."""
    return [*(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose_device(name: str) -> str:
    """`cpu`, `cuda` or `mps`, if it is here. Raises InvalidRequest."""
    if name not in devices():
        raise InvalidRequest(f"device is {name!r}; allowed on this machine: {', '.join(devices())}.")
    return name


def describe_device(device: str) -> str:
    """What a receipt says of a device."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{platform.machine()} {device.upper()}"


def autocast(device: str) -> AbstractContextManager[Any]:
    """bfloat16 where the device is fast in it, for training; else float32 as it is.

    A CPU's own report of bfloat16 is not asked: without AMX or AVX512_BF16 it is three times slower and still says yes.
    """
    if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def quick_to_compile(device: str) -> bool:
    """Whether compiling a network pays: on a GPU; on a CPU it takes minutes for a few percent."""
    return device.startswith("cuda")
