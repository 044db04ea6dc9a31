"""What averaging is worth: over levels, over draws of ε, over blocks, each beside the control of equal compute.

An ensemble's logits are the mean of its members' (Li et al., arXiv 2502.05743). Much of what it gains is averaging over noise, so
its control is the best single level under as many draws of ε, and beside it stands the ensemble whose members share one draw. Blocks
side by side under an ε each have a control of as many passes too, and learned fusion one of as many passes and the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from . import dynamics, joint, probing
from .cells import turns
from .ensemble_words import AS_BLOCKS, BLOCKS, DRAWS, FUSED_DRAWS, FUSION, LEVELS, OWN, SHARED, SINGLE, describe
from .ensembling import Plan
from .errors import InvalidData
from .joint import Joint
from .planning import Bench
from .specs import ProbeIdentity
from .tasks import Task

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
    pooling: str | None = None  # where not the plan's own


def mean(logits: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of members' logit vectors, each (n, K), as (n, K) float32: what is said is where it is highest."""
    return np.mean([member.astype(np.float32) for member in logits], axis=0)


def averaged(logits: Callable[[int, int], np.ndarray], plan: Plan, draw: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each variant's name and logits (n, K) at one label draw; `logits(member, ε draw)` are of the probe of a member's level.

    A control is there once for each member's level, as `draws`, a space and the member's place, or `draws, as blocks` likewise. The centre
    has the same ε in `single`, `levels` and `levels, shared ε`, and the members of `levels` have between them the draws of `draws`.
    """
    every, own = range(plan.members), plan.eps_draws(draw)
    turn = draw % plan.members
    yield SINGLE, mean([logits(plan.sigmas.index(plan.centre), turn)])
    yield LEVELS, mean(logits(member, own[member]) for member in every)
    yield SHARED, mean(logits(member, turn) for member in every)
    for member in every:
        yield f"{DRAWS} {member}", mean(logits(member, eps) for eps in every)
        if plan.together and len(plan.blocks) < plan.members:
            yield f"{AS_BLOCKS} {member}", mean(logits(member, (turn + place) % plan.members) for place in range(len(plan.blocks)))


def variants(bench: Bench, plan: Plan) -> tuple[dict[str, Variant], dict[str, str]]:
    """Every variant of a plan, and why others are left out; controls of draws stand at the level of their own best mean validation accuracy.

    Raises DamagedFile, or InvalidData where a member cannot be probed.
    """
    wrong: dict[str, str] = {}
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
        for name in joint.variants(plan):
            one = Joint(plan, draw, name)
            try:
                made = _stored(bench, task, one.identity(bench), one.sigma, one.name, name)
            except InvalidData as error:
                wrong[name] = str(error)
            else:
                found.setdefault(name, []).append(probing.judged(task, made))
    valid, test = ({name: np.stack([pair[k] for pair in pairs]) for name, pairs in found.items()} for k in (0, 1))
    count, each = plan.members, bench.request.average_draws  # passes that one feature takes

    def control(name: str, draws: int) -> Variant:
        best = max(range(count), key=lambda member: float(valid[f"{name} {member}"].mean()))
        return Variant(valid[f"{name} {best}"], test[f"{name} {best}"], (plan.sigmas[best],), draws, draws * each)

    kept = {
        SINGLE: Variant(valid[SINGLE], test[SINGLE], (plan.centre,), passes=each),
        LEVELS: Variant(valid[LEVELS], test[LEVELS], plan.sigmas, count, count * each, DRAWS),
        SHARED: Variant(valid[SHARED], test[SHARED], plan.sigmas, count, count * each, DRAWS),
        DRAWS: control(DRAWS, count),
    }
    if len(found.get(BLOCKS, ())) == plan.draws:
        kept[BLOCKS] = Variant(valid[BLOCKS], test[BLOCKS], (plan.centre,), len(plan.blocks), each, SINGLE, plan.blocks)
    for name in joint.variants(plan):
        if not {name, *((FUSION, FUSED_DRAWS) if name != OWN else ())}.isdisjoint(wrong):
            continue  # neither fusion stands without the other
        one = Joint(plan, 0, name)
        against = {OWN: AS_BLOCKS if f"{AS_BLOCKS} 0" in valid else DRAWS, FUSION: FUSED_DRAWS, FUSED_DRAWS: DRAWS}[name]
        levels = plan.sigmas if name == FUSION else (plan.centre,)
        pooling = None if name == OWN else str(plan.fuse)
        kept[name] = Variant(valid[name], test[name], levels, len(one.cells), one.passes * each, against, plan.blocks, pooling)
        if against == AS_BLOCKS:
            kept[AS_BLOCKS] = control(AS_BLOCKS, len(plan.blocks))
    return kept, wrong


def _logits(bench: Bench, task: Task, eps_draw: int, sigma: float, name: str) -> np.ndarray:
    """Logits (n_validation + n_test, K) of one probe. Raises InvalidData where it says that the cell could not be probed."""
    identity = bench.identify(task, "model", bench.head, eps_draw)
    return _stored(bench, task, identity, sigma, name, f"draw {eps_draw} of ε")


def _stored(bench: Bench, task: Task, identity: ProbeIdentity, sigma: float, name: str, under: str) -> np.ndarray:
    for unit in bench.store.units("probes", identity, sigma):
        if wrong := unit.meta.get(f"{name}/wrong"):
            raise InvalidData(f"{name} at σ = {sigma:.4g} could not be probed under {under}: {wrong}.")
    return bench.store.rows("probes", identity, sigma, f"{name}/logits", np.concatenate([task.validation, task.test]))


def resampled(bench: Bench, plan: Plan) -> dynamics.Resamples:
    """The bootstrap that all variants share. A variant that has every draw of ε in each label draw varies over labels and images alone."""
    drawn = turns(plan.per_class, bench.request.label_noise > 0, plan.draws, plan.members)
    return dynamics.resamples(*drawn, len(bench.test))


def gains(correct: np.ndarray, resamples: dynamics.Resamples) -> Callable[[int, int], Gain]:
    """From `correct` (R, V, N), the paired gain of one variant over another, by their places, with its 95 % interval."""
    middle, spread, unit = correct.mean((0, 2), dtype=np.float64), resamples.spread(correct), np.eye(correct.shape[1])

    def gain(one: int, other: int) -> Gain:
        (error,), (freedom,) = spread.error((unit[one] - unit[other])[None])
        half = student.ppf(0.975, freedom) * error
        found = middle[one] - middle[other]
        return float(found), float(found - half), float(found + half)

    return gain


def rows(bench: Bench, plan: Plan, kept: Mapping[str, Variant], wrong: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(a table row a variant, what is said of them); `wrong` is why others are left out."""
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
                "pooling": variant.pooling or pooling,
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

    def over(name: str, control: str) -> list[float]:
        return list(gain(names.index(name), names.index(control)))

    told: dict[str, Any] = {
        "block": block,
        "pooling": pooling,
        "members": plan.members,
        "levels": list(plan.sigmas),
        "centre": plan.centre,
        "control": kept[DRAWS].sigmas[0],
        "measure": measure,
        "over_single": {name: over(name, SINGLE) for name in names if name != SINGLE},
        "over_control": over(LEVELS, DRAWS),
    }
    if OWN in kept:
        told["own"] = {"blocks": list(plan.blocks), "over_control": over(OWN, str(kept[OWN].control))}
    if FUSION in kept:
        over_both = {"over_control": over(FUSION, FUSED_DRAWS), "over_draws": over(FUSION, DRAWS)}
        told["fusion"] = {"side": plan.fuse, "blocks": list(plan.blocks), **over_both}
    if left_out := {name: why for name, why in wrong.items() if name in (FUSION, FUSED_DRAWS)}:
        told["left_out"] = left_out
    return table, {"sentence": describe(told, kept[BLOCKS].blocks if BLOCKS in kept else ()), **told}


def collect(bench: Bench, plans: Sequence[Plan]) -> tuple[bytes, dict[str, Any]]:
    """The table as Parquet, and by labels a class what is said of it: only why, where a member could not be probed.

    All members' probes must be there. Raises DamagedFile.
    """
    table: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    for plan in plans:
        try:
            kept, wrong = variants(bench, plan)
        except InvalidData as error:
            told[str(plan.per_class)] = {"sentence": f"There is no ensemble: {error}"}
            continue
        found, told[str(plan.per_class)] = rows(bench, plan, kept, wrong)
        table += found
    kinds = dict.fromkeys(("gain", "gain_low", "gain_high"), float)
    return pd.DataFrame(table, columns=list(COLUMNS)).astype(kinds).to_parquet(index=False), told
