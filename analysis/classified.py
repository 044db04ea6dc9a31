"""An image classified by denoising error: which class was lowest, by how much and at which noise levels, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InvalidRequest
from .specs import Card

if TYPE_CHECKING:
    import pandas as pd

LEVELS, DRAWS = 16, 16
CLASS, PROMPT = "class:", "prompt:"


@dataclass(frozen=True)
class Race:
    """How far each class's error is above the lowest, with its interval, each over the draws that both have."""

    best: int
    taken: np.ndarray  # (K,) draws of each class
    error: np.ndarray  # (K,): the lowest's own, plus the excess
    excess: np.ndarray  # (K,), 0 for the lowest
    low: np.ndarray  # (K,)
    high: np.ndarray  # (K,)
    by_level: np.ndarray  # (K, S): the excess at each level
    level_low: np.ndarray  # (K, S), 95 % of this level and class alone
    level_high: np.ndarray  # (K, S)

    @property
    def others(self) -> np.ndarray:
        """(K,) bool: all but the lowest."""
        return np.asarray(np.arange(len(self.excess)) != self.best)

    @property
    def order(self) -> list[int]:
        """The classes, lowest error first."""
        return [self.best, *(int(k) for k in np.argsort(self.excess, kind="stable") if k != self.best)]

    @property
    def lead(self) -> tuple[float, float, float]:
        """(lead, low, high) of the lowest over the next, whichever that is."""
        return tuple(float(part[self.others].min()) for part in (self.excess, self.low, self.high))  # type: ignore[return-value]

    @property
    def out(self) -> np.ndarray:
        """(K,) bool: shown to be above the lowest."""
        return np.asarray(self.low > 0)


@dataclass(frozen=True)
class Classified:
    """What was found, and what was asked for."""

    conditions: tuple[str, ...]  # K
    sigmas: tuple[float, ...]  # S, ascending
    weights: tuple[float, ...]  # S, that sum to 1
    draws: int  # at most, of each class
    seconds: float
    race: Race

    @property
    def answer(self) -> str:
        return self.conditions[self.race.best]

    @property
    def decided(self) -> bool:
        """Whether every other class is shown to be above the answer."""
        return self.race.lead[1] > 0

    @property
    def evaluations(self) -> int:
        """Passes of one noised image under one class."""
        return len(self.sigmas) * int(self.race.taken.sum())

    @property
    def most(self) -> int:
        """Passes that every class under every draw would have taken."""
        return len(self.sigmas) * len(self.conditions) * self.draws

    @property
    def shares(self) -> np.ndarray:
        """(S,): what each level adds to the lead over the runner-up; they sum to it."""
        return np.asarray(self.race.by_level[self.race.order[1]] * self.weights)

    @property
    def lowest(self) -> list[int]:
        """At each level, the class whose error is lowest there."""
        return [int(k) for k in self.race.by_level.argmin(0)]

    @property
    def gaps(self) -> np.ndarray:
        """(S,): how far the answer is below the next at each level, whichever that is; below zero where another is lower."""
        return np.asarray(self.race.by_level[self.race.others].min(0))

    @property
    def made_at(self) -> tuple[int, int, int]:
        """(peak, first, last) of the levels: the one that adds most to the lead, and the shortest run with it that adds half."""
        shares = self.shares
        peak, half = int(shares.argmax()), shares.sum() / 2
        runs = [(first, last) for first in range(peak + 1) for last in range(peak, len(shares)) if shares[first : last + 1].sum() >= half]
        first, last = min(runs, key=lambda run: (run[1] - run[0], -shares[run[0] : run[1] + 1].sum()))
        return peak, first, last

    def levels(self, card: Card) -> list[dict[str, float]]:
        """The levels as figures take them: σ, log-SNR, and the timestep of the model's nearest."""
        near = [min(range(len(card.sigmas)), key=lambda i: abs(np.log(card.sigmas[i] / sigma))) for sigma in self.sigmas]
        of = {"latent": 1.0} if card.space == "latent" else {}
        return [
            {"sigma": sigma, "log_snr": -2 * float(np.log(sigma)), "timestep": card.timesteps[i], **of}
            for sigma, i in zip(self.sigmas, near, strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """What is not an array, for JSON."""
        told = {name: getattr(self, name) for name in ("conditions", "sigmas", "weights", "draws", "seconds")}
        return told | {"best": self.race.best}

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self.race, field.name) for field in fields(Race) if field.name != "best"}


def of(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Classified:
    """From `facts` and `arrays`."""
    race = Race(best=facts["best"], **{field.name: arrays[field.name] for field in fields(Race) if field.name != "best"})
    return Classified(tuple(facts["conditions"]), tuple(facts["sigmas"]), tuple(facts["weights"]), facts["draws"], facts["seconds"], race)


def classes(card: Card) -> list[str]:
    """The conditions that are classes."""
    return [name for name in card.conditions if name.startswith(CLASS)]


def takes_text(card: Card) -> bool:
    """Whether any text may be a condition."""
    return any(name in (PROMPT, PROMPT.rstrip(":")) for name in card.conditions)


def check(card: Card, conditions: Sequence[str]) -> None:
    """Raises InvalidRequest where the model has no classes, or cannot be told these, or where fewer than two differ."""
    known, text = set(classes(card)), takes_text(card)
    if len(known) < 2 and not text:
        raise InvalidRequest(
            f"{card.name} was trained without classes and takes no text, so it cannot be asked which class an image is; choose a model with "
            "classes, such as digits-ddpm-classes."
        )
    wrong = [name for name in conditions if not (name in known or (text and name.startswith(PROMPT) and name != PROMPT))]
    if wrong:
        allowed = [name for name in card.said_conditions if name.startswith(CLASS)] + (["prompt:TEXT"] if text else [])
        raise InvalidRequest(f"The candidate {wrong[0]!r} cannot be told to {card.name}; allowed: {', '.join(allowed)}.")
    if len(set(conditions)) < 2 or len(set(conditions)) < len(conditions):
        such = ", such as 'prompt:a cat' and 'prompt:a dog'" if text else ""
        raise InvalidRequest(f"Candidates are {', '.join(conditions) or 'none'}; allowed: two or more that differ{such}.")


def name_of(card: Card, condition: str) -> str:
    """A condition as people say it: the class's name where the card knows it, or the prompt."""
    kind, _, what = condition.partition(":")
    names = card.training.get("classes", [])
    if kind == "prompt":
        return f"“{what}”"
    return str(names[int(what)]) if int(what) < len(names) else f"class {what}"


def sentence(found: Classified, names: Sequence[str]) -> str:
    """The answer in words; `names` (K,) are the classes'."""
    lead, low, high = found.race.lead
    best, second = (names[k] for k in found.race.order[:2])
    told = f"{number(lead)} (95 % interval {number(low)} to {number(high)})"
    if found.decided:
        return f"The answer is **{best}**: its denoising error is lowest, {told} below that of {second}, the next."
    near = [names[k] for k in found.race.order[1:] if not found.race.out[k]]
    others = f" and {len(near) - 3} others" if len(near) > 3 else ""
    return (
        f"Lowest is the denoising error of **{best}**, but it is not told apart from {', '.join(near[:3])}{others}: it is {told} below that of "
        f"{second}, the next."
    )


def number(value: float) -> str:
    """An error, short: two digits that count, or four decimals."""
    return f"{value:.2g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"


def where(found: Classified, names: Sequence[str]) -> str:
    """At which levels the decision is made, in words."""
    peak, first, last = found.made_at
    run = (
        f"between σ = {found.sigmas[first]:.2g} and {found.sigmas[last]:.2g}" if first < last else f"at σ = {found.sigmas[first]:.2g} alone"
    )
    wins = sum(k == found.race.best for k in found.lowest)
    return (
        f"Half of the lead over {names[found.race.order[1]]} is made {run}; σ = {found.sigmas[peak]:.2g} adds most. "
        f"At {wins} of {len(found.sigmas)} levels {names[found.race.best]} is lowest."
    )


def saved(found: Classified) -> str:
    """What the early end for clear losers saved, in words."""
    taken, share = found.race.taken, found.evaluations / found.most
    if share == 1:
        return f"All {found.most:,} passes were made: no candidate could be left out early."
    if (last := int(taken.max())) < found.draws:
        told = f"after {last} of {found.draws} draws every other candidate had fallen out"
    else:
        told = f"{int((taken < last).sum()):,} of {len(taken):,} candidates fell out early"
    return f"{found.evaluations:,} of {found.most:,} passes were made ({100 * share:.0f} %): {told}."


def summary(found: Classified, card: Card, image: str = "") -> dict[str, Any]:
    """The answer, its lead with interval, and where it was made, as plain numbers."""
    lead, low, high = found.race.lead
    peak, first, last = found.made_at
    return {
        "backend": card.name,
        "image": image,
        "answer": found.answer,
        "class": name_of(card, found.answer),
        "decided": found.decided,
        "runner_up": found.conditions[found.race.order[1]],
        "lead": lead,
        "lead_ci": [low, high],
        "excess": dict(zip(found.conditions, found.race.excess.tolist(), strict=True)),
        "draws": dict(zip(found.conditions, found.race.taken.tolist(), strict=True)),
        "sigmas": list(found.sigmas),
        "lowest_at_level": [found.conditions[k] for k in found.lowest],
        "gap_at_level": found.gaps.tolist(),
        "made_at": {"peak": found.sigmas[peak], "half": [found.sigmas[first], found.sigmas[last]]},
        "evaluations": found.evaluations,
        "of": found.most,
        "seconds": found.seconds,
    }


def table(found: Classified, card: Card, image: str = "") -> pd.DataFrame:
    """A row for each class at each level, and one with an empty σ for all levels together, whose interval is of all classes at once."""
    import pandas as pd

    race, levels, rows = found.race, found.levels(card), []
    for k in race.order:
        common = {
            "backend": card.name,
            "image": image,
            "condition": found.conditions[k],
            "class": name_of(card, found.conditions[k]),
            "answer": k == race.best,
            "draws": int(race.taken[k]),
        }
        rows.append({**common, "error": race.error[k], "excess": race.excess[k], "ci_low": race.low[k], "ci_high": race.high[k]})
        for s, level in enumerate(levels):
            rows.append(
                {
                    **common,
                    **level,
                    "weight": found.weights[s],
                    "excess": race.by_level[k, s],
                    "ci_low": race.level_low[k, s],
                    "ci_high": race.level_high[k, s],
                }
            )
    first = ["backend", "image", "condition", "class", "answer", "draws", "sigma", "log_snr", "timestep", "weight"]
    return pd.DataFrame(rows)[[*first, "error", "excess", "ci_low", "ci_high"]]
