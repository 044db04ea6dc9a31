"""Several questions (label sets) asked of one model and its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class Question:
    """What one label set asks, and how the block that validation chose for it answers at every level."""

    name: str
    block: str
    curve: tuple[Sequence[float], Sequence[float], Sequence[float]]  # accuracy: mean, low, high
    chance: float
    verdict: Mapping[str, Any]

    def relative(self) -> tuple[list[float], list[float], list[float]]:
        """The curve with chance at 0 and its own best level at 1."""
        reach = max(max(self.curve[0]) - self.chance, 0.01)  # a curve at chance stays at 0
        mean, low, high = ([(value - self.chance) / reach for value in row] for row in self.curve)
        return mean, low, high


def ask(results: Mapping[str, Mapping[str, Any]], chances: Mapping[str, float]) -> list[Question]:
    """The questions of several studies' results, by name, in the order of their best level."""
    found = [
        Question(name, result["headline"].split("/")[1], tuple(result["short"]["curves"]["model"]), chances[name], result["verdict"])
        for name, result in results.items()
    ]
    return sorted(found, key=lambda question: question.verdict["peak_sigma"])


def finding(questions: Sequence[Question]) -> str:
    """One sentence: each question's best level, and whether the run tells these levels apart."""
    told = [f"{q.name} near σ = {q.verdict['peak_sigma']:.2g} (block {q.block})" for q in questions]
    listed = f"{', '.join(told[:-1])} and {told[-1]}"
    if all(low.verdict["peak_ci"][1] < high.verdict["peak_ci"][0] for low, high in pairwise(questions)):
        return f"The same network, the same images, and each question has its own best noise level: {listed}."
    return f"The same network, the same images: {listed}. Intervals of the levels overlap, so this run does not tell all of them apart."
