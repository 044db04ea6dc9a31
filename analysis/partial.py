"""What an unfinished sweep knows already: a tidy table of the levels that are done, for a page to draw as they come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .planning import Bench, Point
from .store import writing
from .studies import UNFINISHED
from .tables import row, share, tidy


class Partial:
    """Mean accuracies over the draws so far, written to a folder after every unit.

    Intervals are Wilson's, of the test images alone: the study's, over images and draws together, come at the end.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.folder = bench, folder
        self._rows: dict[tuple[str, str, str, float], dict[str, Any]] = {}  # what a row is of does not change as points come
        self._points: dict[tuple[str, str, float], dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))

    def add(self, points: Sequence[Point]) -> None:
        """Take the probes of one unit in, and write the table anew."""
        for point in points:
            self._points[point.labels, point.series, point.sigma][point.head].append(point)
        with writing(self.folder / UNFINISHED) as temporary:
            self.table().to_parquet(temporary, index=False)

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
