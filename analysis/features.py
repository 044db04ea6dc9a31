"""Image -> encode -> add noise -> network -> pool -> store: fills the store with what a request lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from .backends.base import Backend, in_order
from .compiling import pays, quickly
from .crew import Between, still_wanted
from .datasets.base import Dataset
from .devices import lowered
from .encoders.base import Encoder
from .errors import InvalidRequest
from .halving import halving as halving
from .noise import add_noise, noise_like
from .specs import FeatureIdentity
from .store import Store
from .x0 import load_x0 as load_x0

HELD = 1 << 22  # bytes of x_0 in memory at once, as float32 in colour; one batch, where that is more
HELD_ELSEWHERE = 1 << 28  # the same on a device that waits for each copy to this one

Reduce = Callable[[Tensor], Any]
Found = TypeVar("Found")


class _Stop(Exception):
    """The last wanted block has run; what follows it would be thrown away."""


class Taps:
    """The reduced outputs of chosen blocks, {name: reduce(map)}, of one call of the network."""

    def __init__(self, backend: Backend, reduce: Reduce, last: str) -> None:
        self._backend, self._reduce, self._last = backend, reduce, last
        self._taken: dict[str, Any] = {}
        self.made: Tensor | None = None  # D(x; σ) of the last call, where it went to its end
        self._listening = False  # the network may serve others between two calls

    def hook(self, name: str, stop: bool) -> Callable[[nn.Module, Any, Any], None]:
        block = self._backend.block(name)

        def take(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not self._listening:
                return
            self._taken[name] = self._reduce(self._backend.as_map(block, output))
            if stop and name == self._last:
                raise _Stop

        return take

    def __call__(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> dict[str, Any]:
        """(B, c, h, w) x_σ, (B,) -> the blocks' reduced outputs."""
        self._taken, self._listening, self.made = {}, True, None
        try:
            with suppress(_Stop), lowered(self._backend.device.type, self._backend.precision):
                self.made = self._backend.denoise(x, sigma, condition)
        finally:
            self._listening = False
        return self._taken


@contextmanager
def capture(backend: Backend, blocks: Sequence[str], reduce: Reduce | None = None, stop: bool = True) -> Iterator[Taps]:
    """A callable that runs the network and returns its blocks' maps (B, C, h, w), reduced if asked.

    Hooks are registered once and gone afterwards, also after an exception. With `stop` the pass ends after the last
    wanted block. Raises UnknownName for a block that the model does not have.
    """
    wanted = in_order(backend, blocks)
    if not wanted:
        raise InvalidRequest("blocks is empty; allowed: at least one block of the model.")
    taps = Taps(backend, reduce or (lambda value: value), wanted[-1].name)
    handles = []
    try:
        for block in wanted:
            module = backend.net.get_submodule(block.module)
            handles.append(module.register_forward_hook(taps.hook(block.name, stop)))
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def pool(feature_map: Tensor, side: int) -> Tensor:
    """Adaptive average to side × side, flattened: (B, C, h, w) -> (B, C·side²), summed and given in float32 or finer."""
    dtype = torch.promote_types(feature_map.dtype, torch.float32)
    if side == 1:
        return feature_map.mean((-2, -1), dtype=dtype)
    return functional.adaptive_avg_pool2d(feature_map.to(dtype), side).flatten(1)


def pooled(feature_map: Tensor, pooling: str) -> Tensor:
    """(B, C, h, w) -> (B, D) by name: the side of an average grid, "max", or "gem".

    GeM is the generalised mean with exponent 3 of what is positive (Radenović et al., arXiv 1711.02512). Raises InvalidRequest.
    """
    if pooling == "max":
        return feature_map.amax((-2, -1))
    if pooling == "gem":
        return feature_map.to(torch.promote_types(feature_map.dtype, torch.float32)).clamp_min(1e-6).pow(3).mean((-2, -1)).pow(1 / 3)
    return pool(feature_map, pooling_side(pooling))


def pooling_side(pooling: str) -> int:
    """The side of a pooling's grid, from its name: 1 for max and gem. Raises InvalidRequest."""
    if pooling in ("max", "gem"):
        return 1
    if not pooling.isdecimal() or int(pooling) < 1:
        raise InvalidRequest(f"pooling {pooling!r}; allowed: the side of an average grid, such as '1', '2' or '4', 'max' or 'gem'.")
    return int(pooling)


Reader = Callable[[Tensor, Tensor], dict[str, Tensor]]


def reader(source: Backend | Encoder, names: Sequence[str], condition: str = "none") -> AbstractContextManager[Reader]:
    """A callable from (x_σ, σ) to {`block/pooling`: (B, D)} for the named tensors.

    An encoder is one block of its own name, its vector the pooling `flat`.
    """
    if isinstance(source, Encoder):
        return nullcontext(lambda x, _sigma: {f"{source.name}/flat": source(x)})
    wanted: dict[str, list[str]] = {}
    for name in names:
        block, _, pooling = name.rpartition("/")
        wanted.setdefault(block, []).append(pooling)
    every = {pooling for poolings in wanted.values() for pooling in poolings}
    for pooling in every:
        pooling_side(pooling)

    @contextmanager
    def reading() -> Iterator[Reader]:
        def reduce(value: Tensor) -> dict[str, Tensor]:
            return {pooling: pooled(value, pooling) for pooling in every}

        with capture(source, list(wanted), reduce) as taps:

            def read(x: Tensor, sigma: Tensor) -> dict[str, Tensor]:
                taken = taps(x, sigma, condition)
                return {f"{block}/{pooling}": taken[block][pooling] for block, ps in wanted.items() for pooling in ps}

            yield read

    return reading()


def read_features(
    source: Backend | Encoder,
    names: Sequence[str],
    x0: Tensor,
    eps: Tensor | None,
    sigma: float,
    batch: int,
    condition: str = "none",
    between: Between = still_wanted,
    compiled: bool = False,
) -> dict[str, Tensor]:
    """Features of images at one σ: {`block/pooling`: (n, D) float32 on the CPU}; without ε, of the clean images.

    `compiled` may read a model through compiled layers (compiling.quickly).
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.inference_mode(), reader(source, names, condition) as read:
        if compiled and isinstance(source, Backend) and not _inside(source, names):
            read = quickly(read, source, batch)
        for start in range(0, len(x0), batch):
            between()
            x = x0[start : start + batch]
            level = torch.full((len(x),), sigma, dtype=torch.float64)
            if eps is not None:
                x = add_noise(x, level, eps[start : start + batch].to(x.device))
            for name, value in read(x, level).items():
                parts[name].append(value.float())
    return {name: torch.cat(parts.pop(name)).cpu() for name in list(parts)}  # what is whole is not held in parts too


def _inside(backend: Backend, names: Sequence[str]) -> bool:
    """Whether any tensor is of what lies inside a block: its hook would be compiled with the layer around it."""
    inner = {block.name for block in backend.card.inside}
    return any(name.rpartition("/")[0] in inner for name in names)


def gflop(backend: Backend, blocks: Sequence[str], condition: str = "none") -> dict[str, float]:
    """Billions of floating-point operations of one image's pass that ends after a block, by block; a product counts as two."""
    card, found = backend.card, {}
    x0 = torch.zeros(1, *card.x0_shape, device=backend.device)
    for name in blocks:  # in inference mode the counter sees nothing of composite operations
        with torch.no_grad(), capture(backend, [name]) as taps, FlopCounterMode(display=False) as counter:
            taps(x0, torch.tensor([card.sigmas[len(card.sigmas) // 2]], dtype=torch.float64), condition)
        found[name] = counter.get_total_flops() / 1e9
    return found


def extract(
    store: Store,
    source: Backend | Encoder,
    backend: Backend,
    dataset: Dataset,
    identity: FeatureIdentity,
    names: Sequence[str],
    sigmas: Sequence[float],
    ids: np.ndarray,
    settings: Mapping[str, Any],
    between: Between = still_wanted,
    noise: Callable[[Tensor, list[int], int, int], Tensor] = noise_like,
) -> int:
    """Fill the store with the features of `source` that are not there; returns how many passes of an image it took.

    `backend` gives x_0 and is `source` itself for a model; `noise` may keep the ε that it drew (noise.Drawn). `between` is called before every batch; what it raises ends the work. Batches are halved as in
    `halving`. What is not finite is kept as it is.
    """
    lacking = [(sigma, group, part) for sigma in sigmas for group, part in store.missing("features", identity, sigma, names, ids)]

    @lru_cache(maxsize=1)
    def drawn(some: bytes) -> tuple[Tensor, Tensor | None]:
        x0 = load_x0(dataset, held := np.frombuffer(some, ids.dtype), backend, store)
        return x0, noise(x0, held.tolist(), identity.seed, identity.draw) if identity.input == "noisy" else None

    def read(sigma: float, group: Sequence[str], part: np.ndarray, compiled: bool, batch: int) -> dict[str, Tensor]:
        most, found = HELD if backend.device.type == "cpu" else HELD_ELSEWHERE, dict[str, Tensor]()
        step = batch * max(1, most // (batch * 4 * dataset.images[0].nbytes))
        for start in range(0, len(part), step):
            some = drawn(part[start : start + step].tobytes())
            values = read_features(source, group, *some, sigma, batch, identity.condition, between, compiled)
            if step >= len(part):
                return values
            for name, value in values.items():
                found.setdefault(name, torch.empty(len(part), *value.shape[1:]))[start : start + step] = value
        return found

    passes = 0
    for sigma, group, part in sorted(lacking, key=lambda item: item[2].tobytes()):
        compiled = pays(backend.device.type, len(part))
        told = {**settings, "compiled": True} if compiled else settings
        values = halving(store, "features", identity, told, partial(read, sigma, group, part, compiled))
        store.put("features", identity, sigma, part, {name: value.numpy() for name, value in values.items()})
        passes += len(part)
    return passes
