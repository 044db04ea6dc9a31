"""What an unfinished sweep knows already: a tidy table of the levels that are done, for a page to draw as they come."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from .errors import StoreUnavailable
from .planning import Bench
from .series import Point
from .store import writing
from .studies import UNFINISHED
from .tables import row, share, tidy

PAUSE = 1.0  # seconds between two writings


class Partial:
    """Mean accuracies over the draws so far, written to a folder once a second at most, and when the sweep ends.

    Intervals are Wilson's, of the test images alone: the study's, over images and draws together, come at the end.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self._rows: dict[tuple[str, str, str, float], dict[str, Any]] = {}  # what a row is of does not change as points come
        self._points: dict[tuple[str, str, float], dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))

        self._fresh, self._written = False, -PAUSE

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fresh and self.folder.exists():  # not where the job has been deleted meanwhile
            with suppress(StoreUnavailable):  # how the sweep ended matters more
                self._write()

    def add(self, points: Sequence[Point]) -> None:
        """Take the probes of one unit in."""
        for point in points:
            self._points[point.labels, point.series, point.sigma][point.head].append(point)
        self._fresh = True
        self.look()

    def look(self) -> None:
        """Write the table where it is time: to be called often."""
        if self._fresh and time.monotonic() - self._written >= PAUSE:
            self._write()

    def _write(self) -> None:
        with writing(self.folder / UNFINISHED) as temporary:
            self.table().to_parquet(temporary, index=False)
        self._fresh, self._written = False, time.monotonic()

    def table(self) -> pd.DataFrame:
        """A row a series and level that has a probe, as in a study's `curve`; of several heads the best on validation images."""
        rows, count = [], len(self.bench.test)
        for (labels, series, sigma), heads in sorted(self._points.items()):
            validation = {head: sum(point.validation for point in points) / len(points) for head, points in heads.items()}
            head = max(validation, key=validation.__getitem__)
            accuracy = sum(point.accuracy for point in heads[head]) / len(heads[head])
            if (labels, series, head, sigma) not in self._rows:
                n_train = len(self.bench.task(int(labels) if labels.isdecimal() else labels, 0).train)
                self._rows[labels, series, head, sigma] = row(self.bench, labels, series, head, sigma, n_train)
            rows.append(
                self._rows[labels, series, head, sigma]
                | share(accuracy * count, count)
                | {"draw": None, "validation_accuracy": validation[head]}
            )
        return tidy(rows)
