"""Weight sharing: denoisers that are trained at one noise level each, beside the one network of a study that is trained at all.

arXiv 2502.05743, section 5. Each of them meets as many images as the one network has met at that moment of the study, all of them at its
level; the one network spreads them over all levels, and is therefore also shown at the study's last moment. Labelled and test images,
and ε, are those of the study.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from . import dynamics
from . import memorization_look as looking
from . import memorization_run as running
from .crew import Between, Crew, still_wanted
from .errands import Progress
from .errors import DamagedFile, InvalidRequest
from .memorization import FRESH, Look, MemorizationRequest, Run, apart_path, place_of
from .memorization_curves import read
from .memorization_report import extend, parquet
from .memorization_work import alone
from .memorized import Memorized, open_memorized
from .noise import Schedule

ONE, LATER, APART = "one", "later", "apart"


def carry(request: str, place: str, seed: int, level: int, seen: int, device: str = "cpu", between: Between = still_wanted) -> str:
    """Train one denoiser at the study's level of this number, and look at it there; returns what it is called. What is there is not done again."""
    torch.set_num_threads(1)
    material, folder, path = running.material_of(request), Path(place), apart_path(Path(place), seed, level, seen)
    if path.exists():
        return path.parent.name
    asked, run = material.request, Run(str(material.request.sizes[-1]), seed)
    one = running.open_weights(asked, folder, Look(*run, asked.seen[-1], "ema"), device)
    sigma = looking.sigmas_of(one, asked.levels)[level]
    spec = running.spec_of(asked, run).model_copy(update={"timestep": _timestep(one.schedule, sigma), "steps": seen // asked.spec.batch})
    data = material.dataset if run.size == FRESH else material.training(run)
    for _, training in running.trained(spec, data, path.parent, [seen], device, between):
        running.keep(training, path.parent / "weights.safetensors")
    model = running.opened(path.parent / "weights.safetensors", spec, "ema", path.parent.name, device)
    running.write(path, looking.probes(material, run, model, [sigma], between=between), {"sigma": json.dumps(sigma)})
    (path.parent / "checkpoint.safetensors").unlink(missing_ok=True)
    return path.parent.name


def _timestep(schedule: Schedule, sigma: float) -> int:
    return int(schedule.timestep(torch.tensor([sigma], dtype=torch.float64)))


def check(request: MemorizationRequest, seen: int, seeds: int) -> None:
    """Raises InvalidRequest for a moment or a number of seeds that a study does not have."""
    if seen not in request.seen or not 1 <= seeds <= request.seeds:
        moments = ", ".join(map(str, request.seen))
        raise InvalidRequest(f"sharing is {seen} with {seeds} seeds; allowed: one of {moments}, and 1 to {request.seeds} seeds.")


def share(
    request: MemorizationRequest,
    seen: int,
    seeds: int = 1,
    root: Path | None = None,
    *,
    processes: int = 0,
    device: str = "cpu",
    between: Between = still_wanted,
    progress: Progress | None = None,
) -> Memorized:
    """A finished study with `sharing.parquet`: denoisers of every level after `seen` images beside its own last one of the largest set then.

    Raises InvalidRequest for a moment or a number of seeds that the study does not have, DamagedFile where it is not finished.
    """
    check(request, seen, seeds)
    folder = place_of(request, root)
    study = open_memorized(folder)
    with alone(folder):
        calls = [(request.canonical(), str(folder), seed, level, seen, device) for seed in range(seeds) for level in range(request.levels)]
        if processes and device == "cpu":
            with Crew(processes, niceness=10) as crew:
                for done, _ in enumerate(crew.run(carry, calls, between), start=1):
                    if progress:
                        progress(done, len(calls), "denoisers of one level")
        else:
            for done, call in enumerate(calls, start=1):
                carry(*call, between=between)
                if progress:
                    progress(done, len(calls), "denoisers of one level")
        table = rows(request, folder, study, seen, seeds)
        return extend(folder, {"sharing": {"seen": seen, "seeds": seeds}}, {"sharing.parquet": table})


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is damaged ({error}); delete it, and run the study again: that denoiser is trained anew.") from error


def rows(request: MemorizationRequest, folder: Path, study: Memorized, seen: int, seeds: int) -> bytes:
    """The table: accuracy of each over noise in every block, and their errors on held-out images; leaving the noise in errs by σ²."""
    n_test, sigmas = study.facts["n_test"], [level["sigma"] for level in study.facts["levels"]]
    size, found = str(request.sizes[-1]), []
    apart = [[_read(apart_path(folder, seed, level, seen)) for level in range(len(sigmas))] for seed in range(seeds)]
    bits = {APART: np.concatenate([np.concatenate([part["outside"] for part in levels], 2) for levels in apart], 1)}
    errors = {APART: np.mean([[part["errors/held_out"].mean() for part in levels] for levels in apart], 0)}
    moments = {ONE: seen} | ({LATER: request.seen[-1]} if seen < request.seen[-1] else {})
    for model, moment in moments.items():
        one = [read(folder, Look(size, seed, moment, "ema"), "outside", "errors/held_out") for seed in range(seeds)]
        bits[model] = np.concatenate([part["outside"] for part in one], 1)
        errors[model] = np.mean([part["errors/held_out"].mean(1) for part in one], 0)
    draws = request.label_draws
    resamples = dynamics.resamples(np.arange(seeds * draws), np.repeat(np.arange(seeds), draws), n_test)
    for model, packed in bits.items():
        for place, block in enumerate(study.facts["blocks"]):
            right = np.unpackbits(packed[place], axis=-1, count=n_test).astype(bool)
            for level, (mean, low, high) in enumerate(zip(*dynamics.curve(right, resamples), strict=True)):
                found.append(
                    {
                        **{"model": model, "seed": -1, "block": block["name"], "depth": block["depth"], "sigma": sigmas[level]},
                        **{"accuracy": float(mean), "ci_low": float(low), "ci_high": float(high)},
                        **{
                            "held_out": float(errors[model][level]),
                            "identity": sigmas[level] ** 2,
                            "seen": moments.get(model, seen),
                            "n_test": n_test,
                        },
                    }
                )
    return parquet(pd.DataFrame(found))
