"""The one place that chooses a device, and what it is fast in."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from .errors import InvalidRequest
from .specs import Card, Precision

# How far a block's features may be from those of float32 on a CPU, relatively, in root mean squares. Over all families' tiny models and
# the bundled ones, at four levels from the lowest to the highest, the worst that was measured was 0.0135 in bfloat16 and 0.0010 in float16.
TOLERANCE: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 0.03, "float16": 0.003}


def devices() -> list[str]:
    """What there is to compute on, the fastest first: of `cuda`, `mps`, `cpu`. Of several GPUs `cuda` is all, `cuda:1` one of them."""
    gpus = ["cuda", *several("cuda")] if torch.cuda.is_available() else []
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def several(device: str) -> tuple[str, ...]:
    """The GPUs that share the work on `cuda`, where there are several; for any other device none."""
    count = torch.cuda.device_count() if device == "cuda" else 0
    return tuple(f"cuda:{place}" for place in range(count)) if count > 1 else ()


def choose_device(name: str) -> str:
    """`cpu`, `cuda`, `mps`, or one of several GPUs such as `cuda:1`, if it is here. Raises InvalidRequest."""
    if name not in devices():
        raise InvalidRequest(f"device is {name!r}; allowed on this machine: {', '.join(devices())}.")
    return name


def settle(device: str) -> None:
    """Make one of several GPUs what this process means by a GPU, so that it takes no memory of another."""
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)


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
    """Matrix products and convolutions in this precision, norms and sums in float32.

    A GPU's convolutions are in float32 only if that is asked for: left alone they round to TF32, which has three digits.
    """
    if precision != "float32":
        return torch.autocast(device, getattr(torch, precision))
    return _exact() if device.startswith("cuda") else nullcontext()


@contextmanager
def _exact() -> Iterator[None]:
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


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
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # free for whoever asks in this process
        return int(torch.cuda.mem_get_info(device)[0]) + int(cached)
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


def too_little(device: str, precision: Precision) -> str:
    """What is said where a device has no memory even for one image. What is offered is another run: precisions are never mixed."""
    lower = [name for name in fast_precisions(device) if name != precision] if precision == "float32" else []
    offered = [
        *([f"precision {' or '.join(lower)}"] if lower else []),
        "another device" if device == "cpu" else "another device, such as cpu",
    ]
    return f"{device} has too little memory for one image in {precision}; ask for {', or '.join(offered)}, which is a run of its own."


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2g} GB"


def quick_to_compile(device: str) -> bool:
    """Whether compiling a network can pay: on a GPU; on a CPU it takes minutes for a few percent."""
    return device.startswith("cuda")
