"""A network's repeated layers, compiled while the features of many images are read on a GPU.

Only what a layer's `forward` does is compiled. Hooks stand around it and run as ever, and the exception of the one that ends a pass
never crosses compiled code. A module's own `compile`, which diffusers' `compile_repeated_blocks` calls, takes hooks in instead: these
are then compiled once a block, as far as torch's limit of eight, and those that come later may be left out unsaid.

Compiled layers are in place during one call alone: whoever uses the network between two batches, for one image or with gradients,
meets the plain one. They serve whole batches of one size; the last, smaller one is read plainly, so no shape is compiled twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .backends.base import Backend
from .devices import TOLERANCE, quick_to_compile
from .specs import Precision

REPEATED = ("ResnetBlock2D", "Attention")  # beside what a network says itself; samplers are one convolution each
FEW = 1024  # images of a unit: for fewer, compiling costs more than it brings
COMPILER = "inductor"
log = logging.getLogger(__name__)

Reader = Callable[[Tensor, Tensor], dict[str, Tensor]]  # (x_σ, σ) -> {`block/pooling`: (B, D)}


def pays(device: str, count: int) -> bool:
    """Whether to compile for so many images."""
    return quick_to_compile(device) and count >= FEW


def repeated(backend: Backend) -> list[nn.Module]:
    """The layers that are compiled: none within another, and none with a block inside, whose hook would be compiled too."""
    names = (*(getattr(backend.net, "_repeated_blocks", None) or ()), *REPEATED)
    found: dict[str, nn.Module] = {}
    for path, module in backend.net.named_modules():
        within = any(path.startswith(f"{outer}.") for outer in found)
        around = any(block.module.startswith(f"{path}.") for block in backend.card.blocks)
        if type(module).__name__ in names and not within and not around:
            found[path] = module
    return list(found.values())


class Layers:
    """The compiled layers of one network; `sound` until one fails, or a first batch is not what the plain network gives.

    `checked` has what such a batch was of: precision, batch size, and the names that were read.
    """

    def __init__(self, backend: Backend) -> None:
        self.sound, self.checked = True, set[tuple[Precision, int, frozenset[str]]]()
        self._layers = repeated(backend)  # without the network itself: it would keep itself alive
        self._compiled: list[Callable[..., Any]] = [
            torch.compile(layer.forward, backend=COMPILER, dynamic=False, isolate_recompiles=True)  # type: ignore[call-overload]
            for layer in self._layers
        ]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        for layer, forward in zip(self._layers, self._compiled, strict=True):
            vars(layer)["forward"] = forward
        try:
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)

    def drop(self, reason: object) -> None:
        """Compile no more."""
        self.sound, self._compiled, self._layers = False, [], []
        log.warning(
            "Compiled layers are not used, the plain network is: %s", str(reason).strip().splitlines()[0] if str(reason) else reason
        )


_known: WeakKeyDictionary[nn.Module, Layers] = WeakKeyDictionary()


def quickly(read: Reader, backend: Backend, batch: int) -> Reader:
    """`read`, through compiled layers for whole batches; where these fail in any way, through the plain network, and a warning says it."""

    def reading(x: Tensor, sigma: Tensor) -> dict[str, Tensor]:
        if len(x) != batch:
            return read(x, sigma)
        if (layers := _known.get(backend.net)) is None:
            layers = _known[backend.net] = Layers(backend)
        if not layers.sound:
            return read(x, sigma)
        try:
            with layers.in_place():
                found = read(x, sigma)
        except torch.OutOfMemoryError:  # the batch is halved, as for the plain network
            raise
        except Exception as error:  # whatever a compiler raises; what is wrong with the network itself comes again below
            layers.drop(f"{type(error).__name__}: {error}")
            return read(x, sigma)
        if (what := (backend.precision, batch, frozenset(found))) not in layers.checked:
            layers.checked.add(what)
            plain = read(x, sigma)
            if wrong := [name for name, value in plain.items() if not _apart(found[name], value) <= TOLERANCE[backend.precision]]:
                layers.drop(f"{', '.join(wrong)} would differ by more than {TOLERANCE[backend.precision]:g}")
                return plain
        return found

    return reading


def _apart(found: Tensor, plain: Tensor) -> float:
    """How far apart, relatively, in root mean squares of what is finite; infinite where that is not the same places."""
    finite = plain.isfinite()
    if not torch.equal(found.isfinite(), finite):
        return float("inf")
    return float((found - plain)[finite].float().norm() / plain[finite].float().norm().clamp_min(1e-30))
