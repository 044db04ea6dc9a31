"""Images stream past: labelled ones are added up, the others are counted, and nothing else stays.

What is found of some images and of others can be added, so that one σ and draw can be shared among workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar, cast

import numpy as np
import torch

from .errors import NoisescopeError
from .features import load_x0, read_features
from .heads.base import FittedHead, Scaler
from .noise import noise_like
from .planning import Bench
from .sums import Sums

BATCHES = 8  # that are added up at a time: one large product is faster than several small ones

Key = tuple[int | str, str]  # labels a class, `block/pooling`
Probes = Mapping[Key, tuple[Scaler, Sequence[FittedHead]]]


class Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Found = TypeVar("Found", bound=Addable)


def merged(parts: Iterable[Mapping[Key, Found]]) -> dict[Key, Found]:
    """What was found in parts of the images, added in the order of the parts."""
    found: dict[Key, Found] = {}
    for part in parts:
        for key, one in part.items():
            found[key] = found[key] + one if key in found else one
    return found


class Share(NamedTuple):
    """Part `place` of `of` parts of some images, as even as whole batches can be: no image's batch is another than without shares."""

    place: int = 0
    of: int = 1

    def bounds(self, count: int, batch: int) -> tuple[int, int]:
        """(first, end) of `count` images; the same where there are fewer batches than parts and none is left."""
        batches = -(-count // batch)
        first, end = (min(count, batch * (place * batches // self.of)) for place in (self.place, self.place + 1))
        return first, end


WHOLE = Share()


def passing(
    bench: Bench, sigma: float, draw: int, names: Sequence[str], ids: np.ndarray, share: Share = WHOLE
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """(Which of `ids` (n,), {`block/pooling`: features (m, D) float32}) of a share of them, some batches at a time."""
    identity, batch = bench.features("model", draw), cast(int, bench.settings["batch_size"])
    first, end = share.bounds(len(ids), batch)
    for start in range(first, end, batch * BATCHES):
        part = slice(start, min(start + batch * BATCHES, end))
        x0 = load_x0(bench.dataset, ids[part], bench.model, bench.store)
        eps = noise_like(x0, ids[part].tolist(), identity.seed, identity.draw) if identity.input == "noisy" else None
        try:
            values = read_features(bench.model, names, x0, eps, sigma, batch, identity.condition)
        except torch.OutOfMemoryError as error:
            raise NoisescopeError(f"The device has too little memory for {batch} images at once; give a smaller batch size.") from error
        yield part, {name: value.numpy() for name, value in values.items()}


def add_up(bench: Bench, sigma: float, draw: int, names: Sequence[str], share: Share = WHOLE) -> dict[Key, Sums]:
    """Sums over a share of a draw's labelled images at one σ, by number of labels a class and tensor; each image passes once."""
    tasks = {per_class: bench.task(per_class, draw) for per_class in bench.request.labels_per_class}
    ids = np.unique(np.concatenate([task.train for task in tasks.values()]))
    given = {}  # which images are labelled, and what a probe is told of them
    for per_class, task in tasks.items():
        told, labels, place = np.zeros(len(ids), bool), np.zeros(len(ids), task.given.dtype), np.searchsorted(ids, task.train)
        told[place], labels[place] = True, task.given
        given[per_class] = told, labels

    def parts() -> Iterator[dict[Key, Sums]]:
        for part, features in passing(bench, sigma, draw, names, ids, share):
            for per_class, (told, labels) in given.items():
                here, known = told[part], labels[part][told[part]]
                for name, values in features.items():
                    yield {(per_class, name): Sums.of(values[here], known, len(bench.labels.classes))}

    return merged(parts())


@dataclass(frozen=True)
class Counted:
    """What H heads say of some images; NaN where features are not finite. `a + b` is of the images of both.

    Where logits are rounded, it is to float16, as the probes of a store are.
    """

    exact: np.ndarray  # (H,): images that are right; of numbers the sum of squared errors, less than 0
    kept: np.ndarray  # (H, K): those of each class, of rounded logits; of numbers (H, 3), as `streamed.r2` reads them

    @classmethod
    def of(cls, logits: Sequence[np.ndarray], truth: np.ndarray, middle: float = 0.0) -> Counted:
        """Of each head's logits (n, K), and classes (n,) or numbers, the mean of all of which is `middle`."""
        exact, kept = zip(*(_counts(one, truth, middle) for one in logits), strict=True)
        return cls(np.array(exact, float), np.array(kept, float))

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.exact + other.exact, self.kept + other.kept)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.exact).all())


def _counts(logits: np.ndarray, truth: np.ndarray, middle: float) -> tuple[float, np.ndarray]:
    rounded = np.clip(logits, -60000, 60000).astype(np.float16)
    if truth.dtype.kind == "i":
        right = rounded.argmax(1) == truth
        return (logits.argmax(1) == truth).sum(), np.bincount(truth[right], minlength=logits.shape[1])
    exact, kept = ((values[:, 0].astype(np.float64) - truth) ** 2 for values in (logits, rounded))
    return -exact.sum(), np.array([kept.sum(), kept @ kept, kept @ (truth - middle) ** 2])


def count_right(bench: Bench, sigma: float, draw: int, ids: np.ndarray, probes: Probes, share: Share = WHOLE) -> dict[Key, Counted]:
    """How many of a share of the images `ids` (n,) each head says right, or how far from the numbers it is."""
    truth = bench.task(bench.request.labels_per_class[0], draw).values(ids)
    names, middle = list(dict.fromkeys(name for _, name in probes)), float(truth.mean())

    def parts() -> Iterator[dict[Key, Counted]]:
        for part, features in passing(bench, sigma, draw, names, ids, share):
            finite = {name: np.isfinite(values).all() for name, values in features.items()}
            for key, (scaler, heads) in probes.items():
                if not finite[key[1]]:
                    yield {key: Counted(np.full(len(heads), np.nan), np.full((len(heads), 1), np.nan))}
                    continue
                scaled = scaler(features[key[1]])
                yield {key: Counted.of([head.predict_logits(scaled) for head in heads], truth[part], middle)}

    return merged(parts()) if names else {}


class Each(Protocol):
    """What `add_up` or `count_right` of these arguments finds in every share of the images, in the order of the shares."""

    def __call__(self, function: Any, *given: Any) -> list[dict[Key, Any]]: ...


def alone(bench: Bench) -> Each:
    """All images in this process."""
    return lambda function, *given: [function(bench, *given)]
