"""Which images every probe got right: read from the store, for all draws and levels of a request."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from . import dynamics
from .planning import CLEAN, Bench, Series
from .probing import score


class Gathered:
    """Which images every probe got right, at one number of labels a class.

    correct {series name: (R, S, N)}, validation {series name: (R, S)}, heads {series name: the head of each level}. Of a
    baseline's heads, the one with the best mean validation accuracy stands at each level.
    """

    def __init__(self, bench: Bench, per_class: int | str) -> None:
        self.per_class = per_class
        self.draws = bench.request.draws(per_class)  # type: ignore[arg-type]
        self.eps_draws = bench.request.eps_draws
        self.mislabelled = bench.request.label_noise > 0
        self.n_train = len(bench.task(per_class, 0).train)
        options: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        groups: dict[tuple[str, str], list[Series]] = {}
        for series in bench.series(per_class):
            groups.setdefault((series.source, series.head), []).append(series)
        for (source, head), members in groups.items():
            for name, arrays in self._read(bench, source, head, members).items():
                options.setdefault(name, {})[head] = arrays
        self.correct: dict[str, np.ndarray] = {}
        self.validation: dict[str, np.ndarray] = {}
        self.heads: dict[str, list[str]] = {}
        for name, by_head in options.items():
            heads = list(by_head)
            right, valid = (np.stack([by_head[head][k] for head in heads]) for k in (0, 1))  # (H, R, S, …)
            best = valid.mean(1).argmax(0)
            levels = range(valid.shape[-1])
            self.heads[name] = [heads[i] for i in best]
            self.correct[name] = np.stack([right[best[s], :, s] for s in levels], 1)
            self.validation[name] = np.stack([valid[best[s], :, s] for s in levels], 1)

    def _read(self, bench: Bench, source: str, head: str, members: list[Series]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        sigmas = [CLEAN] if source == "clean" else list(bench.sigmas)
        shape = (self.draws, len(sigmas))
        right = {s.name: np.zeros((*shape, len(bench.test)), dtype=bool) for s in members}
        valid = {s.name: np.zeros(shape) for s in members}
        for draw in range(self.draws):
            task, identity = bench.probe_identity(self.per_class, draw, source, head)
            for level, sigma in enumerate(sigmas):
                scored = score(bench.store, task, identity, sigma, [s.tensor for s in members])
                for series in members:
                    right[series.name][draw, level] = scored[series.tensor].test
                    valid[series.name][draw, level] = scored[series.tensor].validation.mean()
        return {s.name: (right[s.name], valid[s.name]) for s in members}

    @cached_property
    def resamples(self) -> dynamics.Resamples:
        """The bootstrap that all curves share; with all labels, every draw has the same labelled images, unless other labels are wrong in each."""
        draw = np.arange(self.draws)
        label_draw = np.zeros_like(draw) if self.per_class == "all" and not self.mislabelled else draw
        return dynamics.resamples(label_draw, draw % self.eps_draws, next(iter(self.correct.values())).shape[-1])
