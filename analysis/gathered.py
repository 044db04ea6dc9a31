"""What every probe said of the test images: read from the store, for all draws and levels of a request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from . import dynamics
from .cells import turns
from .errors import InvalidData
from .planning import CLEAN, Bench
from .probing import Scored, score
from .series import Series
from .sources import LINES, kind

SCORES = ("balanced_accuracy", "log_loss", "calibration_error", "converged")


@dataclass(frozen=True)
class Cells:
    """One curve read by one head, over R draws and S levels."""

    right: np.ndarray  # (R, S, N): whether a test image is right, bool; of numbers what R² is the mean of, float32
    validation: np.ndarray  # (R, S): accuracy or R²
    scores: np.ndarray  # (R, S, 4), as `SCORES`; nan where there is none
    confusion: np.ndarray | None  # (S, K, K) counts over all draws: rows are true classes

    def mean(self, level: int) -> float:
        return float(self.validation[:, level].mean())


class Gathered:
    """What every probe said, at one number of labels a class.

    By series name: correct (R, S, N), validation (R, S), scores (R, S, 4), confusion (S, K, K), heads (the head of each level).
    Of a baseline's heads, the one that is best on validation images stands at each level. `left_out` are the cells that could not
    be probed, {series, head, sigma, why}; a series none of whose heads is left is in nothing else. Raises InvalidData where no series of the model is left.
    """

    def __init__(self, bench: Bench, per_class: int | str) -> None:
        self.per_class = per_class
        self.draws = bench.request.draws(per_class)  # type: ignore[arg-type]
        self.eps_draws = bench.request.eps_draws
        self.mislabelled = bench.request.label_noise > 0
        self.n_train = len(bench.task(per_class, 0).train)
        self.left_out: list[dict[str, object]] = []
        options: dict[str, dict[str, Cells]] = {}
        groups: dict[tuple[str, str], list[Series]] = {}
        for series in bench.series(per_class):
            groups.setdefault((series.source, series.head), []).append(series)
        for (source, head), members in groups.items():
            for name, cells in self._read(bench, source, head, members).items():
                options.setdefault(name, {})[head] = cells
        if not any(name.startswith("model/") for name in options):
            wrong = self.left_out[0]
            raise InvalidData(f"No block could be probed: {wrong['series']} at σ = {wrong['sigma']:.4g}: {wrong['why']}.")
        self.correct: dict[str, np.ndarray] = {}
        self.validation: dict[str, np.ndarray] = {}
        self.scores: dict[str, np.ndarray] = {}
        self.confusion: dict[str, np.ndarray] = {}
        self.heads: dict[str, list[str]] = {}
        for name, by_head in options.items():
            levels = range(next(iter(by_head.values())).validation.shape[1])
            self.heads[name] = [max(by_head, key=lambda head: by_head[head].mean(level)) for level in levels]
            best = [by_head[head] for head in self.heads[name]]
            self.correct[name] = np.stack([cells.right[:, level] for level, cells in enumerate(best)], 1)
            self.validation[name] = np.stack([cells.validation[:, level] for level, cells in enumerate(best)], 1)
            self.scores[name] = np.stack([cells.scores[:, level] for level, cells in enumerate(best)], 1)
            tables = [cells.confusion[level] for level, cells in enumerate(best) if cells.confusion is not None]
            if tables:
                self.confusion[name] = np.stack(tables)

    def _read(self, bench: Bench, source: str, head: str, members: list[Series]) -> dict[str, Cells]:
        sigmas = [CLEAN] if kind(source) in LINES else list(bench.sigmas)
        every: dict[str, list[list[Scored]]] = {series.name: [] for series in members}
        counts: dict[str, list[np.ndarray | int]] = {series.name: [0] * len(sigmas) for series in members}
        for draw in range(self.draws):
            task, identity = bench.probe_identity(self.per_class, draw, source, head)
            for series in members:
                every[series.name].append([])
            for level, sigma in enumerate(sigmas):
                scored = score(bench.store, task, identity, sigma, [s.tensor for s in members], whole=True)
                for series in members:
                    one = scored[series.tensor]
                    if one.said and one.said.confusion is not None:
                        counts[series.name][level] = counts[series.name][level] + one.said.confusion
                        one = replace(one, said=replace(one.said, confusion=None))
                    every[series.name][-1].append(one)
        found = {}
        for name, draws in every.items():
            wrong = {(sigmas[level], one.wrong) for row in draws for level, one in enumerate(row) if one.wrong}
            if wrong:
                self.left_out += [{"series": name, "head": head, "sigma": sigma, "why": why} for sigma, why in sorted(wrong)]
            else:
                tables = [table for table in counts[name] if isinstance(table, np.ndarray)]
                found[name] = _cells(draws, np.stack(tables) if len(tables) == len(sigmas) and source == "model" else None)
        return found

    @cached_property
    def resamples(self) -> dynamics.Resamples:
        """What the intervals of all curves are over."""
        drawn = turns(self.per_class, self.mislabelled, self.draws, self.eps_draws)
        return dynamics.resamples(*drawn, next(iter(self.correct.values())).shape[-1])


def _cells(draws: list[list[Scored]], confusion: np.ndarray | None) -> Cells:
    """Of what is read for each draw and level."""
    right = np.asarray([[one.test for one in row] for row in draws])
    validation = np.asarray([[one.validation.mean() for one in row] for row in draws])
    scores = np.full((*validation.shape, len(SCORES)), np.nan)
    for draw, row in enumerate(draws):
        for level, one in enumerate(row):
            scores[draw, level, 3] = one.converged
            if one.said:
                scores[draw, level, :3] = one.said.balanced_accuracy, one.said.log_loss, one.said.calibration_error
    return Cells(right, validation, scores, confusion)
