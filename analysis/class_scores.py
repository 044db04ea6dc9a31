"""What one cell's probes say class by class, from a study's confusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .intervals import wilson
from .studies import CONFUSION, Study


@dataclass(frozen=True)
class ClassScores:
    """Of one block and pooling at one level, over all draws; classes that no test image has are left out of `share`."""

    sigma: float
    scores: dict[str, float]  # accuracy and the columns beside it, where there are any
    classes: list[str]
    share: np.ndarray  # (k,) right, of each class
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray  # (K, K): rows are true classes

    @property
    def finding(self) -> str:
        """The best and the worst class, in one sentence."""
        least, most = int(self.share.argmin()), int(self.share.argmax())
        return (
            f"“{self.classes[most]}” is right most often, in {self.share[most]:.0%} of its test images, "
            f"“{self.classes[least]}” least often, in {self.share[least]:.0%}."
        )


def class_scores(study: Study, labels: str, series: str, sigma: float) -> ClassScores | None:
    """Of a curve `source/block/pooling` at the level nearest to σ; None for a study that keeps no confusions.

    Intervals are Wilson's, of the test images alone.
    """
    from safetensors.numpy import load_file

    source, block, pooling = series.split("/")
    kept = load_file(study.path(CONFUSION)) if CONFUSION in study.facts["files"] else {}
    if f"{labels}/{block}/{pooling}" not in kept:
        return None
    table = study.table("curve")
    mine = (table.source == source) & (table.labels_per_class == labels) & (table.block == block) & (table.pooling == pooling)
    rows = table[mine].sort_values("sigma")
    place = int(np.abs(np.log(rows.sigma.to_numpy() / sigma)).argmin())
    row, counts = rows.iloc[place], kept[f"{labels}/{block}/{pooling}"][place]
    total, draws = counts.sum(1), study.result(labels)["draws"]
    there = np.flatnonzero(total)
    share = counts.diagonal()[there] / total[there]
    bounds = np.array([wilson(value * images, images) for value, images in zip(share, total[there] // draws, strict=True)])
    scores = {
        name: float(row[name]) for name in ("accuracy", "balanced_accuracy", "log_loss", "calibration_error") if row[name] == row[name]
    }
    return ClassScores(float(row.sigma), scores, [study.facts["classes"][k] for k in there], share, bounds[:, 0], bounds[:, 1], counts)
