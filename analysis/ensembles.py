"""What averaging is worth: over levels, over draws of ε, over blocks, each beside the control of equal compute.

An ensemble's logits are the mean of its members' (Li et al., arXiv 2502.05743). Much of what it gains is averaging over noise, so
its control is the best single level under as many draws of ε, and beside it stands the ensemble whose members share one draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from . import dynamics, probing
from .ensembling import Plan
from .planning import Bench

SINGLE, LEVELS, SHARED, DRAWS, BLOCKS = "single", "levels", "levels, shared ε", "draws", "blocks"
COLUMNS = (
    *("labels_per_class", "variant", "blocks", "pooling", "levels", "members", "passes"),
    *("accuracy", "ci_low", "ci_high", "control", "gain", "gain_low", "gain_high", "validation_accuracy", "draws", "n_test"),
)
Gain = tuple[float, float, float]


@dataclass(frozen=True)
class Variant:
    """One way to read an image: which images it got right, bool (R, n_validation + n_test), and what it takes."""

    right: np.ndarray
    sigmas: tuple[float, ...]
    members: int = 1
    passes: int = 1  # of an image through the network
    control: str | None = None
    blocks: tuple[str, ...] = ()


def said(logits: Iterable[np.ndarray]) -> np.ndarray:
    """The class (n,) whose mean logit is highest; of members' logits, each (n, K)."""
    return np.mean([member.astype(np.float32) for member in logits], axis=0).argmax(1)


def predicted(logits: Callable[[int, int], np.ndarray], plan: Plan, draw: int) -> dict[str, np.ndarray]:
    """What each variant says of every image at one label draw, (n,); `logits(member, ε draw)` are of the probe of a member's level.

    The control is there once for each member's level, as `draws`, a space and the member's place. The centre has the same ε in
    `single`, `levels` and `levels, shared ε`, and the members of `levels` have between them the draws of `draws`.
    """
    every, own = range(plan.members), plan.eps_draws(draw)
    turn = draw % plan.members
    return {
        SINGLE: said([logits(plan.sigmas.index(plan.centre), turn)]),
        LEVELS: said(logits(member, own[member]) for member in every),
        SHARED: said(logits(member, turn) for member in every),
        **{f"{DRAWS} {member}": said(logits(member, eps) for eps in every) for member in every},
    }


def variants(bench: Bench, plan: Plan) -> dict[str, Variant]:
    """Every variant of a plan; the control stands at the level where its own mean validation accuracy is best. Raises DamagedFile."""
    ids = np.concatenate([bench.validation, bench.test])
    truth = bench.labels.values[bench.dataset.rows(ids)]
    found: dict[str, list[np.ndarray]] = {}
    for draw in range(plan.draws):
        task, turn = bench.task(plan.per_class, draw), draw % plan.members

        def logits(member: int, eps: int, task: probing.Task = task) -> np.ndarray:
            return _logits(bench, task, eps, plan.sigmas[member], plan.tensor, ids)

        answers = predicted(logits, plan, draw)
        if plan.together:
            answers[BLOCKS] = said([_logits(bench, task, turn, plan.centre, plan.together, ids)])
        for name, answer in answers.items():
            found.setdefault(name, []).append(answer == truth)
    right = {name: np.stack(rows) for name, rows in found.items()}
    cut, count = len(bench.validation), plan.members
    best = int(np.argmax([right[f"{DRAWS} {member}"][:, :cut].mean() for member in range(count)]))
    each = bench.request.average_draws  # passes that one feature takes
    kept = {
        SINGLE: Variant(right[SINGLE], (plan.centre,), passes=each),
        LEVELS: Variant(right[LEVELS], plan.sigmas, count, count * each, DRAWS),
        SHARED: Variant(right[SHARED], plan.sigmas, count, count * each, DRAWS),
        DRAWS: Variant(right[f"{DRAWS} {best}"], (plan.sigmas[best],), count, count * each),
    }
    if plan.together:
        blocks = tuple(part.rpartition("/")[0] for part in probing.parts(plan.together))
        kept[BLOCKS] = Variant(right[BLOCKS], (plan.centre,), len(blocks), each, SINGLE, blocks)
    return kept


def _logits(bench: Bench, task: probing.Task, eps_draw: int, sigma: float, name: str, ids: np.ndarray) -> np.ndarray:
    identity = bench.identify(task, "model", bench.request.head, eps_draw)
    return bench.store.rows("probes", identity, sigma, f"{name}/logits", ids)


def resampled(bench: Bench, plan: Plan) -> dynamics.Resamples:
    """The bootstrap that all variants share. A variant that has every draw of ε in each label draw varies over labels and images alone."""
    draw = np.arange(plan.draws)
    same = plan.per_class == "all" and not bench.request.label_noise
    return dynamics.resamples(np.zeros_like(draw) if same else draw, draw % plan.members, len(bench.test))


def gains(correct: np.ndarray, resamples: dynamics.Resamples) -> Callable[[int, int], Gain]:
    """From `correct` (R, V, N), the paired gain of one variant over another, by their places, with its 95 % interval."""
    mean, curves = correct.mean((0, 2)), resamples.curves(correct)

    def gain(one: int, other: int) -> Gain:
        half = student.ppf(0.975, resamples.freedom) * (curves[:, one] - curves[:, other]).std()
        found = mean[one] - mean[other]
        return float(found), float(found - half), float(found + half)

    return gain


def rows(bench: Bench, plan: Plan, kept: Mapping[str, Variant]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """(a table row a variant, what is said of them)."""
    cut, names = len(bench.validation), list(kept)
    correct = np.stack([variant.right[:, cut:] for variant in kept.values()], 1)
    resamples = resampled(bench, plan)
    mean, low, high = dynamics.curve(correct, resamples)
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
                **dict(zip(("accuracy", "ci_low", "ci_high"), (mean[place], low[place], high[place]), strict=True)),
                "control": variant.control,
                **dict(zip(("gain", "gain_low", "gain_high"), gained, strict=True)),
                "validation_accuracy": variant.right[:, :cut].mean(),
                "draws": plan.draws,
                "n_test": correct.shape[-1],
            }
        )
    told = {
        "block": block,
        "pooling": pooling,
        "members": plan.members,
        "levels": list(plan.sigmas),
        "centre": plan.centre,
        "control": kept[DRAWS].sigmas[0],
        "over_single": {name: list(gain(names.index(name), names.index(SINGLE))) for name in names if name != SINGLE},
        "over_control": list(gain(names.index(LEVELS), names.index(DRAWS))),
    }
    return table, {"sentence": describe(told, kept[BLOCKS].blocks if BLOCKS in kept else ()), **told}


def describe(told: Mapping[str, Any], blocks: Sequence[str] = ()) -> str:
    """What is found, the gain over the control first, then that over one pass."""
    over, count = told["over_single"], told["members"]
    _, low, high = told["over_control"]
    meaning = (
        "the levels add to what averaging over noise gives"
        if low > 0
        else "draws at one level are the better use of as many passes"
        if high < 0
        else "nothing beyond averaging over noise is shown"
    )
    found = (
        f"In block {told['block']}, {count} neighbouring levels, each with its own ε, gain {_points(told['over_control'])} over {count} draws "
        f"of ε at one level (σ = {told['control']:.2g}), which take as many passes: {meaning}. Over one pass at σ = {told['centre']:.2g} the "
        f"levels gain {_points(over[LEVELS])} and the draws {_points(over[DRAWS])}; levels that share one ε gain {_points(over[SHARED])}."
    )
    if blocks:
        found += f" {len(blocks)} blocks side by side ({', '.join(blocks)}) gain {_points(over[BLOCKS])} in that one pass."
    return found


def _points(gain: Sequence[float]) -> str:
    value, low, high = (100 * part for part in gain)
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def collect(bench: Bench, plans: Sequence[Plan]) -> tuple[bytes, dict[str, Any]]:
    """The table as Parquet, and by labels a class what is said of it; all members' probes must be there. Raises DamagedFile."""
    table: list[dict[str, Any]] = []
    told: dict[str, Any] = {}
    for plan in plans:
        found, told[str(plan.per_class)] = rows(bench, plan, variants(bench, plan))
        table += found
    kinds = dict.fromkeys(("gain", "gain_low", "gain_high"), float)
    return pd.DataFrame(table, columns=list(COLUMNS)).astype(kinds).to_parquet(index=False), told
