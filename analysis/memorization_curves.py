"""The curves of a study of memorization: what its looks found, joined over seeds, judged, and compared with the smallest set's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from . import dynamics
from .errors import DamagedFile
from .memorization import Labelled, Look, MemorizationRequest, Weights, found_path
from .memorized import WATCHED
from .noise import Schedule
from .specs import Block

ALL = -1  # seeds together


class Kind(NamedTuple):
    """The curves that are compared: of one moment, one kind of weights, and labelled images from one place."""

    seen: int
    weights: Weights
    labelled: Labelled


def kinds(request: MemorizationRequest) -> list[Kind]:
    """Every moment with mean weights; the last also with the weights as they are, and with labelled images of the training set itself."""
    last = request.seen[-1]
    return [*(Kind(seen, "ema", "outside") for seen in request.seen), Kind(last, "raw", "outside"), Kind(last, "ema", "subset")]


def read(folder: Path, look: Look, *names: str) -> dict[str, np.ndarray]:
    """What a look found, by name, of these names where they are there. Raises DamagedFile."""
    path = found_path(folder, look)
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in names if name in set(file.keys())}
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is not there or damaged ({error}); delete it, and run the study again: it is made anew.") from error


def sigmas_of(folder: Path, look: Look) -> list[float]:
    """The noise levels of a look, ascending. Raises DamagedFile."""
    try:
        with safe_open(found_path(folder, look), "np") as file:
            return list(json.loads(file.metadata()["sigmas"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"{found_path(folder, look)} is not there or damaged ({error}); delete it, and run the study again.") from error


class Curves:
    """Which test images were read right: bool (seeds · draws, S, n_test), by size, kind and block."""

    def __init__(self, request: MemorizationRequest, folder: Path, blocks: tuple[Block, ...], n_test: int) -> None:
        """Raises DamagedFile where a look is not there."""
        self.request, self.folder, self.blocks = request, folder, blocks
        self.sizes = [str(size) for size in request.sizes]
        self.sigmas = np.asarray(sigmas_of(folder, next(request.looks())))
        draws = request.label_draws
        self.resamples = _resamples(request.seeds, draws, n_test)
        self.one = dynamics.resamples(np.arange(draws), np.zeros(draws, int), n_test) if draws > 1 else None
        self.right: dict[tuple[str, Kind], np.ndarray] = {}  # (B, R, S, ⌈n/8⌉) bits
        self.validation: dict[tuple[str, Kind], np.ndarray] = {}  # (B, R, S)
        self.n_test = n_test
        for size in self.sizes:
            for kind in kinds(request):
                looks = [Look(size, seed, kind.seen, kind.weights) for seed in range(request.seeds)]
                found = [read(folder, look, kind.labelled, f"{kind.labelled}/validation") for look in looks]
                self.right[size, kind] = np.concatenate([one[kind.labelled] for one in found], 1)
                self.validation[size, kind] = np.concatenate([one[f"{kind.labelled}/validation"] for one in found], 1)

    @property
    def last(self) -> Kind:
        """The curves that the study is about: of the last moment, with mean weights and labelled images that no network was trained on."""
        return Kind(self.request.seen[-1], "ema", "outside")

    def headline(self) -> int:
        """The place of the block whose probes read validation images best at their best level, in the networks of the largest set."""
        found = self.validation[self.sizes[-1], self.last]
        return int(found.max(2).mean(1).argmax())

    def rising(self) -> int:
        """The place of the block in which validation images gain most over the lowest level, in the networks of the largest set."""
        found = self.validation[self.sizes[-1], self.last].mean(1)  # (B, S), over draws and seeds
        return int((found.max(1) - found[:, 0]).argmax())

    def kept(self, *blocks: int) -> bytes:
        """The answers of some blocks' probes as safetensors: `size/seen/weights/labelled/block` (R, S, ⌈n/8⌉) bits."""
        return save(
            {
                "/".join([size, *map(str, kind), self.blocks[place].name]): np.ascontiguousarray(right[place])
                for (size, kind), right in self.right.items()
                for place in sorted(set(blocks))
            }
        )

    def correct(self, size: str, kind: Kind, block: int) -> np.ndarray:
        """(R, S, n_test) bool."""
        return np.unpackbits(self.right[size, kind][block], axis=-1, count=self.n_test).astype(bool)

    def rows(self, schedule: Schedule) -> Iterator[dict[str, Any]]:
        """The tidy table: every block over all seeds, and the headline's of each seed."""
        import torch

        steps = schedule.timestep(torch.tensor(self.sigmas, dtype=torch.float64)).tolist()
        head, draws = self.headline(), self.request.label_draws
        for (size, kind), _ in self.right.items():
            for place, block in enumerate(self.blocks):
                correct = self.correct(size, kind, place)
                parts = [(ALL, correct, self.resamples)]
                if place == head and self.one is not None and self.request.seeds > 1:
                    parts += [(seed, correct[seed * draws : (seed + 1) * draws], self.one) for seed in range(self.request.seeds)]
                for seed, part, resamples in parts:
                    mean, low, high = dynamics.curve(part, resamples)
                    for level, sigma in enumerate(self.sigmas):
                        yield {
                            **{"size": size, **kind._asdict(), "seed": seed, "block": block.name, "depth": block.depth},
                            **{"sigma": sigma, "timestep": steps[level], "log_snr": -2 * float(np.log(sigma))},
                            **{"accuracy": float(mean[level]), "ci_low": float(low[level]), "ci_high": float(high[level])},
                            "n_test": self.n_test,
                        }

    def verdicts(self, block: int) -> list[dict[str, Any]]:
        """The verdict of every curve of a block over all seeds; those of one kind, which are shown together, are corrected together."""
        found = []
        for kind in kinds(self.request):
            correct = {size: self.correct(size, kind, block) for size in self.sizes}
            for size, verdict in dynamics.judge_all(correct, self.sigmas, self.resamples).items():
                mean, low, high = dynamics.curve(correct[size], self.resamples)
                peak = int(mean.argmax())
                told = verdict.to_dict() | {"peak_accuracy_ci": [float(low[peak]), float(high[peak])]}
                found.append({"block": self.blocks[block].name, "size": size, **kind._asdict(), **told})
        return found

    def differences(self, block: int) -> list[dict[str, Any]]:
        """Each larger set's gain less the smallest's, which is its matched control, at the levels that the larger selects; paired."""
        found, smallest = [], self.sizes[0]
        for kind in kinds(self.request):
            control = self.correct(smallest, kind, block)
            for size in self.sizes[1:]:
                difference, low, high = dynamics.gain_difference(self.correct(size, kind, block), control, self.resamples)
                told = {"difference": difference, "low": low, "high": high}
                found.append({"block": self.blocks[block].name, "size": size, "against": smallest, **kind._asdict(), **told})
        return found

    def by_seed(self, block: int) -> list[float]:
        """The largest set's gain less the smallest's at the last moment, of each seed by itself; none with one draw of labels."""
        if self.one is None or len(self.sizes) < 2:
            return []
        draws, (small, large) = self.request.label_draws, (self.correct(size, self.last, block) for size in (self.sizes[0], self.sizes[-1]))
        parts = [slice(seed * draws, (seed + 1) * draws) for seed in range(self.request.seeds)]
        return [dynamics.gain_difference(large[part], small[part], self.one)[0] for part in parts]

    def watched(self) -> dict[tuple[str, int], int]:
        """(size, moment) -> the block that validation images choose in these networks then, for a rule that knows nothing of later moments."""
        every = [(size, seen) for size in self.sizes for seen in self.request.seen]
        return {(size, seen): int(self.validation[size, Kind(seen, "ema", "outside")].max(2).mean(1).argmax()) for size, seen in every}

    def peaks(self) -> list[dict[str, Any]]:
        """The interval of the later of two moments' peak accuracy less the earlier's, paired, in the blocks that are watched."""
        found, watched = [], self.watched()
        for size in self.sizes:
            curves = {seen: self.correct(size, Kind(seen, "ema", "outside"), watched[size, seen]) for seen in self.request.seen}
            tops = {seen: value[:, [int(value.mean((0, 2)).argmax())]] for seen, value in curves.items()}
            for before in self.request.seen:
                for later in (seen for seen in self.request.seen if seen > before):
                    pair = np.concatenate([tops[before], tops[later]], 1)
                    _, low, high = dynamics.change(pair, self.resamples)
                    told = {"size": size, "before": before, "seen": later, "low": float(low[1]), "high": float(high[1])}
                    found.append({"block": WATCHED, **told})
        return found


def _resamples(seeds: int, draws: int, n_test: int) -> dynamics.Resamples:
    """A seed has one ε and its own label draws: seeds are the groups that differ."""
    return dynamics.resamples(np.arange(seeds * draws), np.repeat(np.arange(seeds), draws), n_test)


def table(curves: Curves, schedule: Schedule, chance: float) -> pd.DataFrame:
    """`Curves.rows` as a table."""
    return pd.DataFrame(list(curves.rows(schedule))).assign(chance=chance)
