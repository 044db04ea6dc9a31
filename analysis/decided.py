"""At which noise level the class of what a model makes is settled, by label set, kept with the studies as `deciding.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch

from .backends.base import Backend
from .deciding import Reading, Trajectory, Watcher, ask, join
from .devices import describe_device
from .errors import InvalidRequest
from .generated import Progress, model_of
from .sampling import Sampler
from .settling import Settled, settled
from .steps import finish
from .studies import DECIDING, Study, write_study


def measure(
    studies: Sequence[Study],
    model: Backend,
    count: int = 1000,
    seed: int = 0,
    sampler: Sampler = "ddim",
    steps: int = 19,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """By study key, what goes to JSON: agreement with the final class at every level, and where the class is settled.

    All studies' questions are read from the same passes, each in its headline's block by the probes that the study kept:
    `labels_per_class` are what those had. `settling.settled` says what the numbers mean, and that they hold the probes'
    errors too. At each level those of `probe_sigma` were asked; `outside` is beyond them all. Raises InvalidRequest for
    fewer than two samples, two studies of one label set, or a study whose probes read other passes than a sampler makes.
    """
    return finish(measuring(studies, model, count, seed, sampler, steps), lambda done: progress and progress(done, count, ""))


def measuring(
    studies: Sequence[Study], model: Backend, count: int, seed: int, sampler: Sampler, steps: int, batch: int = 64
) -> Generator[int, None, dict[str, dict[str, Any]]]:
    """What `measure` gives, a batch of samples at a time: yields how many are done."""
    if count < 2:
        raise InvalidRequest(f"count is {count}; allowed: at least 2.")
    for study in studies:
        check(study, model)
    watcher = Watcher(model, [ask(study) for study in studies], sampler, steps, batch, pictures=False)
    spent, parts = 0.0, list[Trajectory]()
    for at in range(0, count, batch):
        began, end = time.perf_counter(), min(count, at + batch)
        parts += watcher.watch(range(at, end), seed)
        spent += time.perf_counter() - began
        yield end
    whole = join(parts)
    common: dict[str, Any] = {"count": count, "seed": seed, "sampler": sampler, "steps": steps}
    common |= {"device": describe_device(str(model.device)), "seconds": round(spent, 1)}
    found = {}
    for study, one in zip(studies, watcher.asked, strict=True):
        reading = whole.readings[one.name]
        probes = {"label_set": one.name, "classes": list(reading.classes), "block": one.block, "pooling": one.readout.pooling}
        probes["labels_per_class"] = next(iter(study.facts["results"]))
        found[study.key] = probes | common | _said(reading, settled(reading.logits, whole.sigmas, seed), model)
    return found


def check(study: Study, model: Backend) -> None:
    """Raises InvalidRequest where the study's probes read other passes than a sampler makes."""
    request, condition = study.facts["request"], model.card.unconditional
    if (request["input"], request["condition"]) != ("noisy", condition):
        raise InvalidRequest(
            f"The study {study.key} is of {request['input']} input and condition {request['condition']!r}; "
            f"a sampler of {model.card.name} makes noisy input and condition {condition!r}: give a study of these."
        )


def _said(reading: Reading, found: Settled, model: Backend) -> dict[str, Any]:
    """The result as plain numbers: the median, how many samples ended in each class, and a row a level, σ descending."""
    columns = {
        "sigma": found.sigmas,
        "timestep": model.schedule.timestep(torch.from_numpy(found.sigmas)).numpy(),
        "log_snr": -2 * np.log(found.sigmas),
        "probe_sigma": reading.probed,
        "outside": reading.outside,
        **dict(zip(("agreement", "agreement_low", "agreement_high"), found.agreement, strict=True)),
        **dict(zip(("settled", "settled_low", "settled_high"), found.share, strict=True)),
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*(column.tolist() for column in columns.values()), strict=True)]
    finals = np.bincount(reading.final, minlength=len(reading.classes)).tolist()
    return {"median": found.median, "median_ci": list(found.median_ci), "finals": finals, "levels": rows}


def decide(
    studies: Sequence[Study],
    backend: str,
    count: int = 1000,
    seed: int = 0,
    sampler: Sampler = "ddim",
    steps: int = 19,
    progress: Progress | None = None,
) -> list[tuple[Study, dict[str, Any]]]:
    """Each study with its `deciding.json`, and what that says; all of one model, which `backend` names or is the folder of.

    Raises InvalidRequest for a study of another model, and as `measure` does.
    """
    found = measure(studies, model_of(backend, studies), count, seed, sampler, steps, progress)
    kept = []
    for study in studies:
        files = {name: study.path(name).read_bytes() for name in study.facts["files"]}
        files[DECIDING] = (json.dumps(found[study.key], indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
        facts = {key: value for key, value in study.facts.items() if key != "files"}
        kept.append((write_study(study.folder, facts, files), found[study.key]))
    return kept
