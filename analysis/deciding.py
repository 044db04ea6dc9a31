"""When a model makes up its mind: samples watched on their way from noise, and what a study's probes say at every level.

The features are those of the sampler's own passes, so nothing is run twice and nothing is out of distribution. Both
samplers add no noise on the way: the first ε alone decides the picture, and what is watched is when the features say so.
How open a level still leaves the class is told by forks: a finished sample, noised back to it with many ε.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .errors import InvalidRequest
from .features import Taps, capture, pooled
from .intervals import wilson
from .noise import add_noise, nearest, noise_like
from .readout import Readout, of_study
from .sampling import Sampler, descend, first_noise, seen, visited
from .studies import Study

FORKED = 1  # the draw of a fork's ε: samples begin with draw 0


@dataclass(frozen=True)
class Asked:
    """A question that is asked at every level: a label set's probes, in one block."""

    name: str
    readout: Readout
    block: str


def ask(study: Study) -> Asked:
    """A study's label set and probes, in the block of its headline. Raises InvalidRequest if that has no linear probe."""
    block, pooling = study.result()["headline"].removeprefix("model/").rsplit("/", 1)
    return Asked(study.facts["receipt"]["label_set"], of_study(study, pooling), block)


@dataclass(frozen=True)
class Reading:
    """What one question's probes said of n samples at T levels: at each, those nearest in log σ."""

    classes: tuple[str, ...]
    logits: np.ndarray  # (T, n, K)
    probed: np.ndarray  # (T,) the σ of the probes that were asked
    outside: np.ndarray  # (T,) whether σ is beyond the probes' levels, where the outermost stand in

    @property
    def final(self) -> np.ndarray:
        """The class at the last level, (n,)."""
        return self.logits[-1].argmax(-1)


@dataclass(frozen=True)
class Trajectory:
    """n samples on their way from noise, over T levels of descending σ."""

    sigmas: np.ndarray  # (T,) as the network saw them
    x0: np.ndarray  # (n, c, h, w) float32, finished
    readings: Mapping[str, Reading]  # by question
    noisy: np.ndarray | None  # (T, n, h, w, 3) uint8, as the network sees them; None without pictures
    clean: np.ndarray | None  # (T, n, h, w, 3) uint8, D(x; σ)


@dataclass(frozen=True)
class Fork:
    """A finished sample noised back to a level, and what becomes of it from there, many times."""

    sigma: float
    made: Trajectory
    kept: Mapping[str, tuple[float, float, float]]  # by question: share that keep the class, Wilson's 95 % interval


@dataclass(frozen=True)
class Watcher:
    """How samples are watched: a model, the questions read from its passes, a sampler.

    Raises InvalidRequest for questions of one name, UnknownName for a block without probes.
    """

    backend: Backend
    asked: Sequence[Asked]
    sampler: Sampler = "ddim"
    steps: int = 19
    batch: int = 64
    pictures: bool = True

    def __post_init__(self) -> None:
        names = [one.name for one in self.asked]
        if not names or len(set(names)) < len(names):
            raise InvalidRequest(f"asked has the questions {names}; allowed: at least one, each of a name of its own.")
        for one in self.asked:
            one.readout.probe(0, one.block)

    def watch(self, ids: range, seed: int = 0) -> Iterator[Trajectory]:
        """The samples of these numbers, a batch at a time; sample i is that of `sample`, a function of (seed, i) alone."""
        return self._batches(ids, lambda part: (first_noise(self.backend, part, seed), None))

    def fork(self, x0: np.ndarray, classes: Mapping[str, int], sigma: float, count: int = 16, seed: int = 0) -> Fork:
        """What becomes of a finished sample (1, c, h, w), noised back to σ with `count` new ε and generated from there.

        σ is that of the sampler's levels which is nearest in log σ. `classes` are the sample's own by question, read at
        its last level as the new ones' are. Fork i's ε is a function of (seed, i) alone, at every σ the same.
        """
        if count < 1:
            raise InvalidRequest(f"count is {count}; allowed: at least 1.")
        level = self._visited(sigma)

        def start(part: range) -> tuple[Tensor, float]:
            many = torch.from_numpy(x0).expand(len(part), *x0.shape[1:])
            return add_noise(many, torch.full((len(part),), level), noise_like(many, list(part), seed, FORKED)), level

        made = join(self._batches(range(count), start))
        hits = {name: int((reading.final == classes[name]).sum()) for name, reading in made.readings.items()}
        return Fork(level, made, {name: (right / count, *wilson(right, count)) for name, right in hits.items()})

    def forks(self, x0: np.ndarray, classes: Mapping[str, int], sigmas: Iterable[float], count: int = 16, seed: int = 0) -> Iterator[Fork]:
        """A `fork` at the sampler's level nearest to each σ, every level once: the share that keep the class, over σ."""
        for level in dict.fromkeys(self._visited(sigma) for sigma in sigmas):
            yield self.fork(x0, classes, level, count, seed)

    def _visited(self, sigma: float) -> float:
        levels = visited(self.backend.schedule, self.sampler, self.steps)
        return float(levels[nearest(levels, sigma)])

    def _batches(self, ids: range, start: Callable[[range], tuple[Tensor, float | None]]) -> Iterator[Trajectory]:
        """Batches from where `start` puts them, (x, σ) as `descend` takes them, to their end."""
        poolings = {one.readout.pooling for one in self.asked}
        blocks = list(dict.fromkeys(one.block for one in self.asked))

        def reduce(value: Tensor) -> dict[str, Tensor]:
            return {pooling: pooled(value, pooling) for pooling in poolings}

        with capture(self.backend, blocks, reduce, stop=False) as taps:
            for at in range(0, len(ids), self.batch):
                x, sigma = start(ids[at : at + self.batch])
                yield self._down(taps, x.to(self.backend.device), sigma)

    @torch.inference_mode()
    def _down(self, taps: Taps, x: Tensor, sigma: float | None) -> Trajectory:
        held: dict[str, dict[str, Tensor]] = {}

        def network(x: Tensor, level: Tensor, condition: str) -> Tensor:
            held.update(taps(x, level, condition))
            assert taps.made is not None
            return taps.made

        sigmas: list[float] = []
        logits: dict[str, list[np.ndarray]] = defaultdict(list)
        pictures: list[tuple[np.ndarray, np.ndarray]] = []
        for level, noisy, clean in descend(self.backend, x, self.sampler, self.steps, sigma, network):
            if level == 0:
                x = clean
                break
            sigmas.append(level)
            for one in self.asked:
                features = held[one.block][one.readout.pooling].float().cpu().numpy()
                logits[one.name].append(one.readout.logits(nearest(one.readout.sigmas, level), one.block, features))
            if self.pictures:
                scale = float(self.backend.schedule.input_scale(torch.tensor(level)))
                pictures.append((seen(self.backend, noisy * scale), seen(self.backend, clean)))
        readings = {one.name: _reading(one.readout, np.array(sigmas), np.stack(logits[one.name])) for one in self.asked}
        pages = [np.stack(part) for part in zip(*pictures, strict=True)] if self.pictures else [None, None]
        return Trajectory(np.array(sigmas), x.float().cpu().numpy(), readings, *pages)


def _reading(probes: Readout, sigmas: np.ndarray, logits: np.ndarray) -> Reading:
    probed = np.array([probes.sigmas[nearest(probes.sigmas, sigma)] for sigma in sigmas])
    return Reading(probes.classes, logits, probed, (sigmas < min(probes.sigmas)) | (sigmas > max(probes.sigmas)))


def join(parts: Iterable[Trajectory]) -> Trajectory:
    """Several batches of samples as one."""
    whole = list(parts)

    def over(pages: list[np.ndarray | None]) -> np.ndarray | None:
        there = [page for page in pages if page is not None]
        return np.concatenate(there, 1) if there else None

    readings = {
        name: replace(first, logits=np.concatenate([part.readings[name].logits for part in whole], 1))
        for name, first in whole[0].readings.items()
    }
    x0 = np.concatenate([part.x0 for part in whole])
    return Trajectory(whole[0].sigmas, x0, readings, over([part.noisy for part in whole]), over([part.clean for part in whole]))
