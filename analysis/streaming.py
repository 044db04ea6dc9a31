"""A sweep without a store: images stream past, running sums and counts are all that stays.

For each σ and draw of ε, the labelled images pass once and are added up (sums.py); ridge regression is solved for all penalties;
validation images pass and choose the penalty of each cell, and test images pass and are counted. Images, ε, scaling and heads are
those of a sweep that keeps features, so its ridge probes of the same labelled images say the same. No file is written.

A process holds the sums of one σ and draw: 8 D² bytes a cell (a block and pooling) and number of labels a class, or the weights of
all its penalties where these are more, and five matrices of 8 D² bytes beside while the largest cell is solved. Where `budget`
bytes would be passed, blocks are taken in groups, and images pass once a group.

Workers take a σ and draw each. Where there are more workers than these, each of them has its images shared among all workers, whose
sums and counts are added here: where the sums of all shares keep the budget, because this process holds them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch

from . import registry
from .combining import combine
from .crew import Crew, Holders, check_same, own_device, still_wanted
from .devices import settle, several
from .errors import InvalidData, InvalidRequest
from .heads.base import FittedHead, Scaler
from .heads.ridge import Ridge
from .passes import Counted, Each, Key, Probes, Share, add_up, alone, count_right, merged
from .planning import Bench
from .resolving import coarse_first
from .specs import SweepRequest
from .store import Store
from .streamed import Cell, LeftOut, Streamed, tables
from .sums import Moments, Sums, effective_rank
from .sweeping import Progress

log = logging.getLogger(__name__)
BUDGET = 2 << 30  # bytes
SOLVING = 5  # matrices (D, D) beside the sums, in which a cell is solved
COMPONENTS = 10  # principal components that are kept of a cell
WITHOUT = ("average_draws", "ensemble", "encoders", "fuse")  # fields of a request that are carried out on kept features alone


def stream(
    request: SweepRequest,
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    budget: int = BUDGET,
    components: int | None = COMPONENTS,
    progress: Progress | None = None,
) -> Streamed:
    """Probe a model by ridge regression over its noise levels and keep no feature; `request.head` is "ridge".

    Draw d of the labelled images is seen with draw d of ε. There are no baselines. Labels may be numbers, whose R² stands where
    accuracy does. On the CPU `processes` single-threaded workers share the work, each with a budget of its own; 0 works in this
    process, and so does any other device; where that is several GPUs and `processes` is not 0, a process each. Of the first draw's
    cells the class means and `components` principal components are given as `moments`, (1 + K + components) D numbers of 4 bytes a
    cell; None gives none.
    Raises InvalidRequest for what needs features that are kept, where one cell's sums alone pass the budget, and where all moments do;
    InvalidData where no block can be probed.
    """
    (found,) = stream_all(
        [request], processes=processes, device=device, batch_size=batch_size, budget=budget, components=components, progress=progress
    )
    return found


def stream_all(
    requests: Sequence[SweepRequest],
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    budget: int = BUDGET,
    components: int | None = COMPONENTS,
    progress: Progress | None = None,
    notice: Callable[[str], object] = log.warning,
) -> list[Streamed]:
    """`stream` of each request, in their order, looked through and told of as `sweeping.sweep_all` does."""
    combined = combine(requests, lambda request, like: prepare(request, device, batch_size, like))
    for bench in combined.benches:
        groups(bench, budget)
        _check_moments(bench, components, budget)
    if combined.said:
        notice(combined.said)
    held = several(device) if processes else ()
    with Holders(held) if held else Crew(processes if device == "cpu" else 0) as crew:
        return [_carry_out(bench, crew, budget, components, progress) for bench in combined.benches]


def _carry_out(bench: Bench, crew: Crew, budget: int, components: int | None, progress: Progress | None) -> Streamed:
    units = [(bench.sigmas[i], draw) for i in coarse_first(len(bench.sigmas)) for draw in range(bench.request.eps_draws)]
    found: list[Cell | LeftOut] = []
    for done, (sigma, cells) in enumerate(work(bench, units, crew, budget, components), start=1):
        found += cells
        if progress:
            progress(done, len(units), f"σ = {sigma:.3g}")
    return tables(bench, found)


def prepare(request: SweepRequest, device: str = "cpu", batch_size: int = 64, like: Bench | None = None) -> Bench:
    """The bench of a request that is to be carried out without a store; `like` lends its images. Raises InvalidRequest."""
    registry.get("heads", request.head)
    if request.head != "ridge":
        raise InvalidRequest(f"head is {request.head!r}; allowed without a store: 'ridge', because the others need the features again.")
    for name in WITHOUT:
        given, default = getattr(request, name), SweepRequest.model_fields[name].default
        if given != default:
            raise InvalidRequest(f"{name} is {given!r}; allowed without a store: {default!r}.")
    if request.label_draws not in (None, request.eps_draws):
        raise InvalidRequest(
            f"label_draws is {request.label_draws}; allowed without a store: as many as eps_draws ({request.eps_draws}), "
            "because each draw of ε is seen with one choice of labelled images."
        )
    fixed = {"baselines": False, "baseline_labels": None, "label_draws": request.eps_draws}
    nowhere = Store(os.devnull)  # what would write a file fails
    return Bench(request.model_copy(update=fixed), nowhere, device, batch_size, like)


def groups(bench: Bench, budget: int) -> list[list[str]]:
    """The tensors `block/pooling`, in groups whose sums keep the budget. Raises InvalidRequest."""
    held, largest = 0, 0
    found: list[list[str]] = [[]]
    for name, size in _sizes(bench).items():
        sums, solving = _bytes(bench, size), SOLVING * 8 * size**2
        if sums + solving > budget:
            raise InvalidRequest(
                f"budget is {budget:,} bytes; {name} has {size:,} features, whose sums need {sums + solving:,}: pool it to fewer, or give more."
            )
        if held + sums + max(largest, solving) > budget:
            found.append([])
            held, largest = 0, 0
        found[-1].append(name)
        held, largest = held + sums, max(largest, solving)
    return found


def _sizes(bench: Bench) -> dict[str, int]:
    """How many features each tensor `block/pooling` has."""
    blocks = {block.name: block for block in bench.card.every}
    return {f"{name}/{pooling}": blocks[name].width(pooling) for name in bench.request.blocks or () for pooling in bench.request.poolings}


def _bytes(bench: Bench, size: int) -> int:
    """What the sums of a tensor of so many features hold, or the weights that are solved from them where these are more."""
    targets = 1 if bench.continuous else len(bench.labels.classes)
    return len(bench.request.labels_per_class) * size * max(8 * size, 4 * len(Ridge.penalties) * targets)


def _check_moments(bench: Bench, components: int | None, budget: int) -> None:
    """Raises InvalidRequest where the moments of all cells pass the budget."""
    if components is None:
        return
    means = 1 if bench.continuous else 1 + len(bench.labels.classes)
    needed = sum(4 * size * (means + min(components, size)) for size in _sizes(bench).values())
    needed *= len(bench.request.labels_per_class) * len(bench.sigmas)
    if components < 0 or needed > budget:
        raise InvalidRequest(
            f"components is {components}, and the class means and components of all cells need {needed:,} bytes; allowed: 0 or more "
            f"that keep the budget of {budget:,}, or None for no moments."
        )


Who = tuple[str, str, int, tuple[str, str]]  # request, device, batch size, identities of the model and of the data


@lru_cache(maxsize=1)
def _bench(request: str, device: str, batch_size: int, of: tuple[str, str]) -> Bench:
    """The crew's own bench, kept between the units of a request; of the model and the data of these identities. Raises InvalidData."""
    torch.set_num_threads(1)
    settle(device)
    bench = prepare(SweepRequest.model_validate_json(request), device, batch_size)
    check_same((bench.card.identity, bench.dataset.identity), of, f"{bench.request.backend} or {bench.request.dataset}")
    return bench


def _here(who: Who) -> Bench:
    request, device, batch_size, of = who
    return _bench(request, own_device() or device, batch_size, of)


def _unit(who: Who, budget: int, components: int | None, sigma: float, draw: int) -> list[Cell | LeftOut]:
    return probe(_here(who), sigma, draw, budget, components)


def _part(who: Who, function: Callable[..., Any], given: tuple[Any, ...], share: Share) -> Any:
    return function(_here(who), *given, share)


def _shared(crew: Crew, who: Who) -> Each:
    """A share of the images for every worker."""

    def each(function: Callable[..., Any], *given: Any) -> list[Any]:
        calls = ((who, function, given, Share(place, crew.count)) for place in range(crew.count))
        found = {call[-1]: part for call, part in crew.run(_part, calls)}
        return [found[share] for share in sorted(found)]

    return each


def work(
    bench: Bench, units: Sequence[tuple[float, int]], crew: Crew, budget: int, components: int | None
) -> Iterator[tuple[float, list[Cell | LeftOut]]]:
    """(σ, cells) of every unit, as they end."""
    who = (bench.request.canonical(), bench.device, cast(int, bench.settings["batch_size"]), (bench.card.identity, bench.dataset.identity))
    sizes = _sizes(bench)
    held = max(sum(_bytes(bench, sizes[name]) for name in names) for names in groups(bench, budget))
    if crew.count == 0 or (len(units) < crew.count and held * (crew.count + 1) <= budget):
        each = _shared(crew, who) if crew.count else alone(bench)
        for sigma, draw in units:
            yield sigma, probe(bench, sigma, draw, budget, components, each)
        return
    for (*_, sigma, _draw), cells in crew.run(_unit, ((who, budget, components, sigma, draw) for sigma, draw in units)):
        yield sigma, cells


def probe(
    bench: Bench, sigma: float, draw: int, budget: int = BUDGET, components: int | None = None, each: Each | None = None
) -> list[Cell | LeftOut]:
    """What the probes of one σ with one draw say, a cell a number of labels a class and tensor; `each` shares the images."""
    each = each or alone(bench)
    return [cell for names in groups(bench, budget) for cell in _probe(bench, sigma, draw, names, components, each)]


def _probe(bench: Bench, sigma: float, draw: int, names: Sequence[str], components: int | None, each: Each) -> list[Cell | LeftOut]:
    summed: dict[Key, Sums] = merged(each(add_up, sigma, draw, names))
    probes: dict[Key, tuple[Scaler, Sequence[FittedHead]]] = {}
    facts: dict[Key, dict[str, float]] = {}
    moments: dict[Key, Moments] = {}
    wrong = dict.fromkeys(summed, "features are not finite")  # of the images that still have to pass
    for key in list(summed):
        still_wanted()
        one = summed.pop(key)
        try:
            probes[key], facts[key] = one.ridge(bench.request.pca), describe(one)
        except InvalidData as error:
            wrong[key] = str(error)
            continue
        if draw == 0 and components is not None:
            moments[key] = one.moments(components)
    valid = _count(each, sigma, draw, bench.validation, probes)
    place = {key: int(counted.exact.argmax()) for key, counted in valid.items()}  # the most penalised one of equals
    chosen = {key: (probes[key][0], [probes[key][1][place[key]]]) for key in valid}
    tested = _count(each, sigma, draw, bench.test, chosen)
    found: list[Cell | LeftOut] = [LeftOut(*key, sigma, draw, wrong[key]) for key in wrong if key not in tested]
    for key, counted in tested.items():
        said = valid[key].kept[place[key]], counted.kept[0]
        found.append(Cell(*key, sigma, draw, chosen[key][1][0].penalty, *said, facts[key], moments.get(key)))
    return found


def _count(each: Each, sigma: float, draw: int, ids: np.ndarray, probes: Probes) -> dict[Key, Counted]:
    """As `count_right`, without tensors that are not finite for all images."""
    found: dict[Key, Counted] = merged(each(count_right, sigma, draw, ids, probes))
    return {key: counted for key, counted in found.items() if counted.finite}


def describe(sums: Sums) -> dict[str, float]:
    """What is said of a cell's labelled images beside its accuracy."""
    variances = np.maximum(np.linalg.eigvalsh(sums.covariance), 0)
    whole = variances.sum()
    return {
        "n_train": sums.count,
        "features": len(sums.mean),
        "effective_rank": effective_rank(variances),
        "first_component": float(variances.max() / whole) if whole > 0 else float("nan"),
        "between_classes": sums.between,
    }
