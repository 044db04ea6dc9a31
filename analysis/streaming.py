"""A sweep without a store: images stream past, running sums and counts are all that stays.

For each σ and draw of ε, the labelled images pass once and are added up (sums.py); ridge regression is solved for all penalties;
validation images pass and choose the penalty of each cell, and test images pass and are counted. Images, ε, scaling and heads are
those of a sweep that keeps features, so its ridge probes of the same labelled images say the same. No file is written.

A process holds the sums of one σ and draw: 8 D² bytes a cell (a block and pooling) and number of labels a class, or the weights of
all its penalties where these are more, and five matrices of 8 D² bytes beside while the largest cell is solved. Where `budget`
bytes would be passed, blocks are taken in groups, and images pass once a group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast

import numpy as np
import torch

from . import registry
from .crew import Between, Crew, still_wanted
from .errors import InvalidData, InvalidRequest, NoisescopeError
from .features import load_x0, read_features
from .heads.base import FittedHead, Scaler
from .heads.ridge import Ridge
from .noise import noise_like
from .planning import Bench
from .resolving import coarse_first
from .specs import SweepRequest
from .store import Store
from .streamed import Cell, LeftOut, Streamed, tables
from .sums import Sums, effective_rank
from .sweeping import Progress

BUDGET = 2 << 30  # bytes
SOLVING = 5  # matrices (D, D) beside the sums, in which a cell is solved
BATCHES = 8  # that are added up at a time: one large product is faster than several small ones
WITHOUT = ("pca", "average_draws", "ensemble", "encoders", "fuse")  # fields of a request that are carried out on kept features alone

Key = tuple[int | str, str]  # labels a class, `block/pooling`
Probes = Mapping[Key, tuple[Scaler, Sequence[FittedHead]]]


def stream(
    request: SweepRequest,
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Streamed:
    """Probe a model by ridge regression over its noise levels and keep no feature; `request.head` is "ridge".

    Draw d of the labelled images is seen with draw d of ε. There are no baselines. On the CPU `processes` single-threaded workers
    share the units, each with a budget of its own; 0 works in this process, and so does any other device.
    Raises InvalidRequest for what needs features that are kept, and where one cell's sums alone pass the budget; InvalidData where
    no block can be probed.
    """
    (found,) = stream_all([request], processes=processes, device=device, batch_size=batch_size, budget=budget, progress=progress)
    return found


def stream_all(
    requests: Sequence[SweepRequest],
    *,
    processes: int = 0,
    device: str = "cpu",
    batch_size: int = 64,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> list[Streamed]:
    """`stream` of each request, in their order; all are looked through before the first is carried out."""
    benches: list[Bench] = []
    for request in requests:
        benches.append(prepare(request, device, batch_size, benches[-1] if benches else None))
        groups(benches[-1], budget)
    with Crew(processes if device == "cpu" else 0) as crew:
        return [_carry_out(bench, crew, budget, progress) for bench in benches]


def _carry_out(bench: Bench, crew: Crew, budget: int, progress: Progress | None) -> Streamed:
    units = [(bench.sigmas[i], draw) for i in coarse_first(len(bench.sigmas)) for draw in range(bench.request.eps_draws)]
    found: list[Cell | LeftOut] = []
    for done, (sigma, cells) in enumerate(_work(bench, units, crew, budget), start=1):
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
    alone = {"baselines": False, "baseline_labels": None, "label_draws": request.eps_draws}
    nowhere = Store(os.devnull)  # what would write a file fails
    bench = Bench(request.model_copy(update=alone), nowhere, device, batch_size, like)
    if bench.continuous:
        raise InvalidRequest(
            f"label set {bench.labels.name!r} is a number; allowed without a store: classes, whose right answers are counted."
        )
    return bench


def groups(bench: Bench, budget: int) -> list[list[str]]:
    """The tensors `block/pooling`, in groups whose sums keep the budget. Raises InvalidRequest."""
    request, held, largest = bench.request, 0, 0
    found: list[list[str]] = [[]]
    blocks = {block.name: block for block in bench.card.blocks}
    weights = 4 * len(Ridge.penalties) * len(bench.labels.classes)
    for name in (f"{block}/{pooling}" for block in request.blocks or () for pooling in request.poolings):
        block, _, pooling = name.rpartition("/")
        size = blocks[block].width(pooling)
        sums, solving = len(request.labels_per_class) * size * max(8 * size, weights), SOLVING * 8 * size**2
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


@lru_cache(maxsize=1)
def _bench(request: str, device: str, batch_size: int, _of: tuple[str, str]) -> Bench:
    """The crew's own bench, kept between the units of a request; of the model and the data of these identities."""
    torch.set_num_threads(1)
    return prepare(SweepRequest.model_validate_json(request), device, batch_size)


def _unit(request: str, device: str, batch_size: int, of: tuple[str, str], budget: int, sigma: float, draw: int) -> list[Cell | LeftOut]:
    return probe(_bench(request, device, batch_size, of), sigma, draw, budget)


def _work(bench: Bench, units: Sequence[tuple[float, int]], crew: Crew, budget: int) -> Iterator[tuple[float, list[Cell | LeftOut]]]:
    """(σ, cells) of every unit, as they end."""
    if crew.count == 0:
        for sigma, draw in units:
            yield sigma, probe(bench, sigma, draw, budget)
        return
    of = (bench.card.identity, bench.dataset.identity)
    shared = (bench.request.canonical(), bench.device, bench.settings["batch_size"], of, budget)
    for (*_, sigma, _draw), cells in crew.run(_unit, ((*shared, sigma, draw) for sigma, draw in units)):
        yield sigma, cells


def probe(bench: Bench, sigma: float, draw: int, budget: int = BUDGET, between: Between = still_wanted) -> list[Cell | LeftOut]:
    """What the probes of one σ with one draw say: a cell a number of labels a class and tensor."""
    return [cell for names in groups(bench, budget) for cell in _probe(bench, sigma, draw, names, between)]


def _probe(bench: Bench, sigma: float, draw: int, names: Sequence[str], between: Between) -> list[Cell | LeftOut]:
    summed = add_up(bench, sigma, draw, names, between)
    probes: dict[Key, tuple[Scaler, Sequence[FittedHead]]] = {}
    facts: dict[Key, dict[str, float]] = {}
    wrong = dict.fromkeys(summed, "features are not finite")  # of the images that still have to pass
    for key in list(summed):
        between()
        one = summed.pop(key)
        try:
            probes[key], facts[key] = one.ridge(), describe(one)
        except InvalidData as error:
            wrong[key] = str(error)
    valid = count_right(bench, sigma, draw, bench.validation, probes, between)
    place = {key: int(counted.exact.argmax()) for key, counted in valid.items()}  # the most penalised one of equals
    chosen = {key: (probes[key][0], [probes[key][1][place[key]]]) for key in valid}
    tested = count_right(bench, sigma, draw, bench.test, chosen, between)
    found: list[Cell | LeftOut] = [LeftOut(*key, sigma, draw, wrong[key]) for key in wrong if key not in tested]
    for key, counted in tested.items():
        penalty, right = chosen[key][1][0].penalty, int(valid[key].kept[place[key]].sum())
        found.append(Cell(*key, sigma, draw, penalty, right, counted.kept[0], facts[key]))
    return found


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


def passing(
    bench: Bench, sigma: float, draw: int, names: Sequence[str], ids: np.ndarray, between: Between = still_wanted
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """(Which of `ids` (n,), {`block/pooling`: features (m, D) float32}) of the model, some batches at a time."""
    identity, batch = bench.features("model", draw), cast(int, bench.settings["batch_size"])
    for start in range(0, len(ids), batch * BATCHES):
        part = slice(start, start + batch * BATCHES)
        x0 = load_x0(bench.dataset, ids[part], bench.model)
        eps = noise_like(x0, ids[part].tolist(), identity.seed, identity.draw) if identity.input == "noisy" else None
        try:
            values = read_features(bench.model, names, x0, eps, sigma, batch, identity.condition, between)
        except torch.OutOfMemoryError as error:
            raise NoisescopeError(f"The device has too little memory for {batch} images at once; give a smaller batch size.") from error
        yield part, {name: value.numpy() for name, value in values.items()}


def add_up(bench: Bench, sigma: float, draw: int, names: Sequence[str], between: Between = still_wanted) -> dict[Key, Sums]:
    """Sums over a draw's labelled images at one σ, by number of labels a class and tensor; each image passes once."""
    tasks = {per_class: bench.task(per_class, draw) for per_class in bench.request.labels_per_class}
    ids = np.unique(np.concatenate([task.train for task in tasks.values()]))
    given = {}  # the label of each image as a probe is told it, -1 where it is not labelled
    for per_class, task in tasks.items():
        given[per_class] = np.full(len(ids), -1)
        given[per_class][np.searchsorted(ids, task.train)] = task.given
    found: dict[Key, Sums] = {}
    for part, features in passing(bench, sigma, draw, names, ids, between):
        for per_class, labels in given.items():
            told = labels[part] >= 0
            for name, values in features.items():
                new = Sums.of(values[told], labels[part][told], len(bench.labels.classes))
                key = per_class, name
                found[key] = found[key] + new if key in found else new
    return found


class Counted(NamedTuple):
    """Of H heads and K classes."""

    exact: np.ndarray  # (H,): images that are right
    kept: np.ndarray  # (H, K): the same of each class, with logits rounded to float16 as the probes of a store are


def count_right(
    bench: Bench, sigma: float, draw: int, ids: np.ndarray, probes: Probes, between: Between = still_wanted
) -> dict[Key, Counted]:
    """How many of the images `ids` (n,) each head says right; a tensor that is not finite for all of them is left out."""
    truth, classes = bench.labels.values[bench.dataset.rows(ids)], len(bench.labels.classes)
    found = {key: Counted(np.zeros(len(heads), int), np.zeros((len(heads), classes), int)) for key, (_, heads) in probes.items()}
    names = list(dict.fromkeys(name for _, name in probes))
    if not names:
        return found
    for part, features in passing(bench, sigma, draw, names, ids, between):
        finite = {name: np.isfinite(values).all() for name, values in features.items()}
        found = {key: counted for key, counted in found.items() if finite[key[1]]}
        for key in found:
            scaler, heads = probes[key]
            scaled = scaler(features[key[1]])
            for place, head in enumerate(heads):
                logits = head.predict_logits(scaled)
                found[key].exact[place] += (logits.argmax(1) == truth[part]).sum()
                right = logits.astype(np.float16).argmax(1) == truth[part]
                found[key].kept[place] += np.bincount(truth[part][right], minlength=classes)
    return found
