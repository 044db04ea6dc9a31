"""What it costs to choose a cell without labels: by scores of its features alone, beside the cell that a probe's validation images chose."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import spearmanr
from scipy.stats import t as student

from . import cells
from .advice import Choice, Recipe, lacks
from .studies import UNLABELLED, Study

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Score:
    """What a score is called and does, which way is better by its paper (1: the higher), and whether it needs two draws of ε."""

    title: str
    better: int
    paired: bool
    about: str
    source: str


# The directions were fixed before any accuracy was looked at, and stay as they are where they choose badly.
SCORES = {
    "effective_rank": Score(
        "Effective rank",
        1,
        False,
        "how many directions the features really use: the exponential of the entropy of their singular values",
        "Roy and Vetterli, EUSIPCO 2007; higher is better after Garrido et al., arXiv 2210.02885",
    ),
    "invariance": Score(
        "Noise invariance",
        1,
        True,
        "the share of the features' variance that is the image's and not the noise's, from two draws of ε",
        "intraclass correlation, Shrout and Fleiss, Psychol. Bull. 86 (1979); what ignores the noise is better",
    ),
    "alignment": Score(
        "Alignment",
        -1,
        True,
        "the mean squared distance of an image's two unit vectors under two draws of ε",
        "Wang and Isola, arXiv 2005.10242; lower is better",
    ),
    "uniformity": Score(
        "Uniformity",
        -1,
        False,
        "how evenly different images' unit vectors are spread over the sphere (t = 2)",
        "Wang and Isola, arXiv 2005.10242; lower is better",
    ),
    "agreement": Score(
        "Clusters agree over σ",
        1,
        False,
        "how alike the clusters of k-means are with those at the neighbouring levels under another ε (adjusted Rand index)",
        "Hubert and Arabie, J. Classif. 2 (1985), as a measure of stability: Ben-Hur et al., PSB 2002; higher is better",
    ),
}
BLIND = "any"  # the mean over all cells: what one gets who chooses without looking


@dataclass(frozen=True)
class Regret:
    """What choosing by a score costs: shares of 1, the interval of 95 %.

    `accuracy` is R² where labels are numbers. `regret` is that of the probe's best cell less that of the chosen one, paired. `correlation` is Spearman's, over the
    `cells` that have the score, between it and the accuracy: 1 where it ranks them as the probe does, whichever way is better.
    """

    score: str
    chosen: Choice | None  # None for BLIND
    accuracy: float
    regret: tuple[float, float, float]
    correlation: float | None
    cells: int

    @property
    def failed(self) -> bool:
        """Whether the chosen cell is shown to be worse than the probe's."""
        return self.regret[1] > 0


def kept(study: Study) -> pd.DataFrame | None:
    """The scores that are kept with a study, a row a cell, or None. Raises DamagedFile."""
    return read(study.path(UNLABELLED).read_bytes()) if UNLABELLED in study.facts["files"] else None


def read(data: bytes) -> pd.DataFrame:
    """The table of scores from its file."""
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))


def values(table: pd.DataFrame, score: str) -> dict[cells.Cell, float]:
    """A score of every cell, by curve and place of its level; nan where it cannot be told."""
    found: dict[cells.Cell, float] = {}
    for (block, pooling), rows in table.groupby(["block", "pooling"]):
        for level, value in enumerate(rows.sort_values("sigma")[score]):
            found[f"model/{block}/{pooling}", level] = float(value)
    return found


def regrets(study: Study, recipe: Recipe, table: pd.DataFrame) -> list[Regret]:
    """Of each score the cell that it chooses and what that costs, and of BLIND, the least regret first.

    A score that no cell has, such as one of two draws on clean input, is left out.
    """
    found = [_blind(study, recipe)]
    for name, score in SCORES.items():
        every = {cell: value for cell, value in values(table, name).items() if cell in recipe.every}
        known = {cell: value for cell, value in every.items() if np.isfinite([value, recipe.every[cell].accuracy]).all()}
        if not known:
            continue
        chosen = recipe.every[max(known, key=lambda cell: score.better * known[cell])]
        ranked = np.array([[score.better * value, recipe.every[cell].accuracy] for cell, value in known.items()])
        told = spearmanr(*ranked.T).statistic if (np.ptp(ranked, axis=0) > 0).all() else None
        found.append(Regret(name, chosen, chosen.accuracy, chosen.below, None if told is None else float(told), len(known)))
    return sorted(found, key=lambda one: one.regret[0])


def _blind(study: Study, recipe: Recipe) -> Regret:
    """What the mean over all cells costs."""
    right, names = study.correct(), list(cells.on_validation(study, recipe.labels))
    resamples = cells.resampled(study, recipe.labels)
    every = [right[f"{recipe.labels}/{name}"] for name in names]
    mean = np.sum([one.sum(1, dtype=np.float64) for one in every], 0) / sum(one.shape[1] for one in every)  # (R, N)
    series, level = recipe.best.cell
    (error,), (freedom,) = resamples.spread((right[f"{recipe.labels}/{series}"][:, level] - mean)[:, None]).error()
    accuracy = float(np.mean([choice.accuracy for choice in recipe.every.values()]))
    gap, half = recipe.best.accuracy - accuracy, float(student.ppf(0.975, freedom) * error)
    return Regret(BLIND, None, accuracy, (gap, gap - half, gap + half), None, len(recipe.every))


def rows(found: list[Regret]) -> list[dict[str, Any]]:
    """The regrets in words, a row each."""
    told = []
    for one in found:
        gap, low, high = (100 * value for value in one.regret)
        told.append(
            {
                "chosen by": SCORES[one.score].title if one.chosen else "nothing: the mean of all cells",
                "block": one.chosen.block if one.chosen else "",
                "pooling": one.chosen.pooling if one.chosen else "",
                "σ": f"{one.chosen.sigma:.2g}" if one.chosen else "",
                "accuracy": f"{100 * one.accuracy:.1f} %",
                "regret, points": f"{gap:.1f} ({low:.1f} to {high:.1f})",
                "rank correlation": "" if one.correlation is None else f"{one.correlation:+.2f}",
                "the cell": "shown to be worse" if one.failed else "not shown to be worse",
            }
        )
    return told


def sentence(found: list[Regret]) -> str:
    """The finding in words, failures too."""
    guess = next(one for one in found if one.chosen is None)
    scores = [one for one in found if one.chosen]
    good = [SCORES[one.score].title.lower() for one in scores if not one.failed]
    worse = [SCORES[one.score].title.lower() for one in scores if one.regret[0] > guess.regret[0]]
    best = scores[0]
    says = (
        f"Of {len(scores)} scores without labels {SCORES[best.score].title.lower()} chooses best, {lacks(best.regret)}; "
        f"a cell taken without looking lies {100 * guess.regret[0]:.1f} below on average."
    )
    says += f" Not shown to cost anything: {', '.join(good)}." if good else " All of them are shown to choose a worse cell."
    return says + (f" Worse than not looking: {', '.join(worse)}." if worse else "")
