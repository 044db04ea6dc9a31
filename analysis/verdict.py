"""What is concluded of one curve, and the sentence that says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Shape = Literal["unimodal", "decreasing", "flat", "increasing", "multimodal", "undecided"]
MARGIN = 0.01  # a rise or fall below one point of accuracy counts as none


@dataclass(frozen=True)
class Verdict:
    """Accuracies are shares of 1; intervals are 95 %; `gain` is over the lowest level."""

    shape: Shape
    peak_sigma: float
    peak_ci: tuple[float, float]
    peak_accuracy: float
    gain: float
    gain_ci: tuple[float, float]
    p_value: float  # one-sided, of the rise
    p_holm: float
    detectable: float  # the smallest rise that this run would have seen four times in five
    lowest_sigma: float
    draws: int
    n_test: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {"peak_ci": list(self.peak_ci), "gain_ci": list(self.gain_ci)}


MEASURES = {"accuracy": "accuracy", "r2": "the share of variance explained (R²)"}
Beside = Mapping[str, tuple[Verdict, tuple[float, float, float]]]


def _p(value: float) -> str:
    return "p < .001" if value < 0.001 else f"p = {value:.3f}".replace("0.", ".")


def _points(low: float, high: float) -> str:
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f}"


def _shape(verdict: Verdict, block: str, subject: str, measured: str) -> str:
    rise = f"{100 * verdict.gain:.1f} points ({_points(*verdict.gain_ci)}; {_p(verdict.p_holm)})"
    peak = (
        f"{100 * verdict.peak_accuracy:.1f} % near σ = {verdict.peak_sigma:.2g} "
        f"(95 % interval {verdict.peak_ci[0]:.2g} to {verdict.peak_ci[1]:.2g})"
    )
    lowest = f"σ = {verdict.lowest_sigma:.2g}, the lowest level"
    opening = f"In block {block} of {subject}, {measured}"
    return {
        "unimodal": f"{opening} is unimodal: it rises by {rise} from {lowest}, to a peak of {peak}, and falls after it.",
        "increasing": f"{opening} is increasing: it rises by {rise} from {lowest}, to {peak}, and no later fall reaches one point.",
        "decreasing": f"{opening} is decreasing: it falls from {lowest}, and every rise is shown to be below one point.",
        "flat": f"{opening} is flat: every rise and fall from {lowest} is shown to be below one point.",
        "multimodal": f"{opening} is multimodal: it has a valley between two higher levels; the highest is {peak}.",
        "undecided": (
            f"For block {block} of {subject} the shape is undecided: {measured} changes by {rise} from {lowest}; "
            f"this run would have seen a rise of {100 * verdict.detectable:.1f} points four times in five."
        ),
    }[verdict.shape]


def describe(verdict: Verdict, block: str, beside: Beside | None = None, subject: str = "this network", measure: str = "accuracy") -> str:
    """One or two sentences: the shape of a measure's curve and how sure it is, and every baseline that rises too.

    `beside` gives for each baseline its verdict and (model minus baseline, low, high) of the gain at the model's peak.
    """
    sentences = [_shape(verdict, block, subject, MEASURES[measure])]
    for name, (other, (gap, low, high)) in (beside or {}).items():
        if other.p_holm < 0.05 and other.gain > 0:
            sentences.append(
                f"The curve of {name} also rises, by {100 * other.gain:.1f} points ({_points(*other.gain_ci)}) to a best level of its "
                f"own; at this block's, the gain of this network less that one's is {100 * gap:+.1f} points ({_points(low, high)})."
            )
    return " ".join(sentences)
