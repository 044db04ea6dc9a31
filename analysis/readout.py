"""Linear probes at hand: what reads classes from any block's features at any noise level, with the scaler folded in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from safetensors.numpy import load_file

from .errors import InvalidRequest, UnknownName
from .studies import Study

PARTS = ("mean", "spread", "weight", "bias")


@dataclass(frozen=True)
class Readout:
    """The probes of one pooling, {(level, block): (weight (K, D), bias (K,))} for unscaled features; levels index `sigmas`."""

    classes: tuple[str, ...]
    sigmas: tuple[float, ...]
    pooling: str
    condition: str  # under which the features were read
    probes: Mapping[tuple[int, str], tuple[np.ndarray, np.ndarray]]

    @property
    def blocks(self) -> list[str]:
        return list(dict.fromkeys(block for _, block in self.probes))

    @cached_property
    def stacks(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The probes of each block at every level: weights (S, K, D), biases (S, K)."""
        levels = range(len(self.sigmas))
        return {
            block: (np.stack([self.probe(i, block)[0] for i in levels]), np.stack([self.probe(i, block)[1] for i in levels]))
            for block in self.blocks
        }

    def probe(self, level: int, block: str) -> tuple[np.ndarray, np.ndarray]:
        """logits = f Wᵀ + b of a pooled feature f (n, D). Raises UnknownName for a block that was not probed."""
        if (level, block) not in self.probes:
            raise UnknownName("block of these probes", block, self.blocks)
        return self.probes[level, block]

    def logits(self, level: int, block: str, features: np.ndarray) -> np.ndarray:
        """(n, D) -> (n, K)."""
        weight, bias = self.probe(level, block)
        return np.asarray(features @ weight.T + bias)

    def arrays(self) -> dict[str, np.ndarray]:
        """The probes by `probe/level/block/weight` and `…/bias`, to be sent."""
        parts = {f"probe/{level}/{block}": pair for (level, block), pair in self.probes.items()}
        return {f"{name}/{what}": array for name, pair in parts.items() for what, array in zip(("weight", "bias"), pair, strict=True)}


def of_arrays(arrays: Mapping[str, np.ndarray], classes: Sequence[str], study: Study) -> Readout | None:
    """The probes at a study's levels that `Readout.arrays` gave, found among other arrays; None where there are none."""
    probes = {}
    for name in arrays:
        if name.startswith("probe/") and name.endswith("/weight"):
            _, level, block, _ = name.split("/")
            probes[int(level), block] = (arrays[name], arrays[f"probe/{level}/{block}/bias"])
    return _readout(study, tuple(classes), "1", probes) if probes else None


def fold(mean: np.ndarray, spread: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((f - mean) / spread) Wᵀ + b as f Vᵀ + c: V (K, D), c (K,) float32."""
    folded = weight.astype(np.float64) / spread
    return folded.astype(np.float32), (bias - folded @ mean).astype(np.float32)


def of_study(study: Study, pooling: str = "1") -> Readout:
    """The probes that a study kept: the first draw's, at its smallest number of labels a class.

    Raises InvalidRequest for a study whose head has no weights, or that lacks this pooling.
    """
    kept = load_file(study.path("heads.safetensors"))
    probes = {}
    for name in kept:
        level, _, rest = name.partition("/")
        if rest.endswith(f"/{pooling}/weight"):
            stem = name.removesuffix("/weight")
            mean, spread, weight, bias = (kept[f"{stem}/{part}"] for part in PARTS)
            probes[int(level), rest.removesuffix(f"/{pooling}/weight")] = fold(mean, spread, weight, bias)
    if not probes:
        raise InvalidRequest(
            f"The study {study.key} keeps no linear probe of pooling {pooling!r}; measure one with head logistic and that pooling."
        )
    order = {block.name: block.depth for block in study.card.every}
    probes = dict(sorted(probes.items(), key=lambda item: (item[0][0], order[item[0][1]])))
    return _readout(study, tuple(study.facts["classes"]), pooling, probes)


def _readout(
    study: Study, classes: tuple[str, ...], pooling: str, probes: Mapping[tuple[int, str], tuple[np.ndarray, np.ndarray]]
) -> Readout:
    sigmas = tuple(level["sigma"] for level in study.facts["levels"])
    return Readout(classes, sigmas, pooling, study.facts["request"]["condition"], probes)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))
