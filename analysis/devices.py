"""The one place that chooses a device, and what it is fast in."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from .errors import InvalidRequest
from .specs import Card, Precision


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


def lowered(device: str, precision: Precision) -> AbstractContextManager[Any]:
    """Matrix products and convolutions in this precision, norms and sums in float32; float32 leaves all as it is."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device, getattr(torch, precision))


def fast_precisions(device: str) -> tuple[Precision, ...]:
    """Precisions below float32 in which a device is faster, the more exact range first.

    Asked of what the hardware has: that an operation can be carried out says nothing, for it may be emulated.
    """
    if device.startswith("cuda"):
        return (*(("bfloat16",) if torch.cuda.is_bf16_supported(including_emulation=False) else ()), "float16")
    if device == "mps":
        return ("float16",)
    return ("bfloat16",) if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else ()


def room(device: str) -> int | None:
    """Bytes that are free on a device; None where that cannot be told."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    if device == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)


def check_fits(card: Card, device: str) -> None:
    """Refuse a model whose weights, and one image's maps, a device has no room for: told from its Card, before it is loaded.

    Raises InvalidRequest.
    """
    free = room(device)
    needed = card.parameter_bytes + card.map_bytes
    if free is not None and needed > free:
        raise InvalidRequest(
            f"{card.name} takes {_gigabytes(needed)} ({_gigabytes(card.parameter_bytes)} of weights, and the maps of one image); "
            f"{device} has {_gigabytes(free)} free: choose another device, or free memory there."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB"


def quick_to_compile(device: str) -> bool:
    """Whether compiling a network pays: on a GPU; on a CPU it takes minutes for a few percent."""
    return device.startswith("cuda")
