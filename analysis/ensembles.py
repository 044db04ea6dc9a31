"""What averaging is worth: over levels, over draws of ε, over blocks, each beside the control of equal compute.

An ensemble's logits are the mean of its members' (Li et al., arXiv 2502.05743). Much of what it gains is averaging over noise, so
its control is the best single level under as many draws of ε, and beside it stands the ensemble whose members share one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from . import dynamics, probing
from .ensembling import Plan
from .errors import InvalidData
from .planning import Bench
from .tasks import Task
from .verdict import MEASURES

SINGLE, LEVELS, SHARED, DRAWS, BLOCKS = "single", "levels", "levels, shared ε", "draws", "blocks"
COLUMNS = (
    *("labels_per_class", "variant", "blocks", "pooling", "levels", "members", "passes"),
    *("accuracy", "ci_low", "ci_high", "control", "gain", "gain_low", "gain_high", "validation_accuracy", "draws", "n_test"),
    *("chance", "measure"),
)
Gain = tuple[float, float, float]


@dataclass(frozen=True)
class Variant:
    """One way to read an image: of each validation and test image whether it is right, or of numbers what R² is the mean of."""

    validation: np.ndarray  # (R, n_validation)
    test: np.ndarray  # (R, n_test)
    sigmas: tuple[float, ...]
    members: int = 1
    passes: int = 1  # of an image through the network
    control: str | None = None
    blocks: tuple[str, ...] = ()


def mean(logits: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of members' logit vectors, each (n, K), as (n, K) float32: what is said is where it is highest."""
    return np.mean([member.astype(np.float32) for member in logits], axis=0)


def averaged(logits: Callable[[int, int], np.ndarray], plan: Plan, draw: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each variant's name and logits (n, K) at one label draw; `logits(member, ε draw)` are of the probe of a member's level.

    The control is there once for each member's level, as `draws`, a space and the member's place. The centre has the same ε in
    `single`, `levels` and `levels, shared ε`, and the members of `levels` have between them the draws of `draws`.
    """
    every, own = range(plan.members), plan.eps_draws(draw)
    turn = draw % plan.members
    yield SINGLE, mean([logits(plan.sigmas.index(plan.centre), turn)])
    yield LEVELS, mean(logits(member, own[member]) for member in every)
    yield SHARED, mean(logits(member, turn) for member in every)
    for member in every:
        yield f"{DRAWS} {member}", mean(logits(member, eps) for eps in every)


def variants(bench: Bench, plan: Plan) -> dict[str, Variant]:
    """Every variant of a plan; the control stands at the level where its own mean validation accuracy is best.

    Blocks side by side are left out where they cannot be probed. Raises DamagedFile, or InvalidData where a member cannot be.
    """
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for draw in range(plan.draws):
        task, turn = bench.task(plan.per_class, draw), draw % plan.members

        def logits(member: int, eps: int, task: Task = task) -> np.ndarray:
            return _logits(bench, task, eps, plan.sigmas[member], plan.tensor)

        for name, made in averaged(logits, plan, draw):
            found.setdefault(name, []).append(probing.judged(task, made))
        if plan.together:
            with suppress(InvalidData):
                made = _logits(bench, task, turn, plan.centre, plan.together)
                found.setdefault(BLOCKS, []).append(probing.judged(task, made))
    valid, test = ({name: np.stack([pair[k] for pair in pairs]) for name, pairs in found.items()} for k in (0, 1))
    count, each = plan.members, bench.request.average_draws  # passes that one feature takes
    best = max(range(count), key=lambda member: float(valid[f"{DRAWS} {member}"].mean()))
    control = f"{DRAWS} {best}"
    kept = {
        SINGLE: Variant(valid[SINGLE], test[SINGLE], (plan.centre,), passes=each),
        LEVELS: Variant(valid[LEVELS], test[LEVELS], plan.sigmas, count, count * each, DRAWS),
        SHARED: Variant(valid[SHARED], test[SHARED], plan.sigmas, count, count * each, DRAWS),
        DRAWS: Variant(valid[control], test[control], (plan.sigmas[best],), count, count * each),
    }
    if plan.together and len(found.get(BLOCKS, ())) == plan.draws:
        blocks = tuple(cell.rpartition("/")[0] for cell in probing.cells_of(plan.together))
        kept[BLOCKS] = Variant(valid[BLOCKS], test[BLOCKS], (plan.centre,), len(blocks), each, SINGLE, blocks)
    return kept


def _logits(bench: Bench, task: Task, eps_draw: int, sigma: float, name: str) -> np.ndarray:
    """Logits (n_validation + n_test, K) of one probe. Raises InvalidData where it says that the cell could not be probed."""
    identity = bench.identify(task, "model", bench.head, eps_draw)
    for unit in bench.store.units("probes", identity, sigma):
        if wrong := unit.meta.get(f"{name}/wrong"):
            raise InvalidData(f"{name} at σ = {sigma:.4g} could not be probed under draw {eps_draw} of ε: {wrong}.")
    return bench.store.rows("probes", identity, sigma, f"{name}/logits", np.concatenate([task.validation, task.test]))


def resampled(bench: Bench, plan: Plan) -> dynamics.Resamples:
    """The bootstrap that all variants share. A variant that has every draw of ε in each label draw varies over labels and images alone."""
    draw = np.arange(plan.draws)
    same = plan.per_class == "all" and not bench.request.label_noise
    return dynamics.resamples(np.zeros_like(draw) if same else draw, draw % plan.members, len(bench.test))


def gains(correct: np.ndarray, resamples: dynamics.Resamples) -> Callable[[int, int], Gain]:
    """From `correct` (R, V, N), the paired gain of one variant over another, by their places, with its 95 % interval."""
    middle, spread, unit = correct.mean((0, 2), dtype=np.float64), resamples.spread(correct), np.eye(correct.shape[1])

    def gain(one: int, other: int) -> Gain:
        (error,), (freedom,) = spread.error((unit[one] - unit[other])[None])
        half = student.ppf(0.975, freedom) * error
        found = middle[one] - middle[other]
        return float(found), float(found - half), float(found + half)

    return gain


def rows(bench: Bench, plan: Plan, kept: Mapping[str, Variant]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(a table row a variant, what is said of them)."""
    names, measure = list(kept), "r2" if bench.continuous else "accuracy"
    correct = np.stack([variant.test for variant in kept.values()], 1)
    resamples = resampled(bench, plan)
    middle, low, high = dynamics.curve(correct, resamples)
    gain = gains(correct, resamples)
    block, _, pooling = plan.tensor.rpartition("/")
    table = []
    for place, (name, variant) in enumerate(kept.items()):
        gained = gain(place, names.index(variant.control)) if variant.control else (None, None, None)
        table.append(
            {
                "labels_per_class": str(plan.per_class),
                "variant": name,
                "blocks": " + ".join(variant.blocks or (block,)),
                "pooling": pooling,
                "levels": ", ".join(f"{sigma:.4g}" for sigma in variant.sigmas),
                "members": variant.members,
                "passes": variant.passes,
                **dict(zip(("accuracy", "ci_low", "ci_high"), (middle[place], low[place], high[place]), strict=True)),
                "control": variant.control,
                **dict(zip(("gain", "gain_low", "gain_high"), gained, strict=True)),
                "validation_accuracy": variant.validation.mean(),
                "draws": plan.draws,
                "n_test": correct.shape[-1],
                "chance": bench.chance,
                "measure": measure,
            }
        )
    told = {
        "block": block,
        "pooling": pooling,
        "members": plan.members,
        "levels": list(plan.sigmas),
        "centre": plan.centre,
        "control": kept[DRAWS].sigmas[0],
        "measure": measure,
        "over_single": {name: list(gain(names.index(name), names.index(SINGLE))) for name in names if name != SINGLE},
        "over_control": list(gain(names.index(LEVELS), names.index(DRAWS))),
    }
    return table, {"sentence": describe(told, kept[BLOCKS].blocks if BLOCKS in kept else ()), **told}


def describe(told: Mapping[str, Any], blocks: Sequence[str] = ()) -> str:
    """What is found, the gain over the control first, then that over one pass."""
    over, count, measured = told["over_single"], told["members"], MEASURES[told["measure"]]
    _, low, high = told["over_control"]
    meaning = (
        "the levels add to what averaging over noise gives"
        if low > 0
        else "draws at one level are the better use of as many passes"
        if high < 0
        else "nothing beyond averaging over noise is shown"
    )
    found = (
        f"In block {told['block']}, {count} neighbouring levels, each with its own ε, gain {_points(told['over_control'])} of {measured} over "
        f"{count} draws of ε at one level (σ = {told['control']:.2g}), which take as many passes: {meaning}. Over one pass at "
        f"σ = {told['centre']:.2g} the levels gain {_points(over[LEVELS])} and the draws {_points(over[DRAWS])}; levels that share one ε "
        f"gain {_points(over[SHARED])}."
    )
    if blocks:
        found += f" {len(blocks)} blocks side by side ({', '.join(blocks)}) gain {_points(over[BLOCKS])} in that one pass."
    return found


def _points(gain: Sequence[float]) -> str:
    value, low, high = (100 * part for part in gain)
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def collect(bench: Bench, plans: Sequence[Plan]) -> tuple[bytes, dict[str, Any]]:
    """The table as Parquet, and by labels a class what is said of it: only why, where a member could not be probed.

    All members' probes must be there. Raises DamagedFile.
    """
    table: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    for plan in plans:
        try:
            kept = variants(bench, plan)
        except InvalidData as error:
            told[str(plan.per_class)] = {"sentence": f"There is no ensemble: {error}"}
            continue
        found, told[str(plan.per_class)] = rows(bench, plan, kept)
        table += found
    kinds = dict.fromkeys(("gain", "gain_low", "gain_high"), float)
    return pd.DataFrame(table, columns=list(COLUMNS)).astype(kinds).to_parquet(index=False), told
