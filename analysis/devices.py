"""The one place that chooses a device."""

from __future__ import annotations

import platform

import torch

from .errors import InvalidRequest


def choose_device(name: str) -> str:
    """`cpu`, `cuda` or `mps`, if it is here. Raises InvalidRequest."""
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.backends.mps.is_available() else [])]
    if name not in there:
        raise InvalidRequest(f"device is {name!r}; allowed on this machine: {', '.join(there)}.")
    return name


def describe_device(device: str) -> str:
    """What a receipt says of a device."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{platform.machine()} {device.upper()}"
