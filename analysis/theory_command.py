"""`python -m analysis theory`: the SNR of a mixture's posterior mean over σ, beside the theorem and a linear probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .console import InputName, check_out, save_table
from .errors import InvalidRequest

SIGMAS = "0.008,0.023,0.06,0.14,0.296,0.585,1.088,1.923"


def numbers(name: str, given: str) -> list[float]:
    """Numbers between commas. Raises InvalidRequest."""
    try:
        return [float(part) for part in given.split(",") if part.strip()]
    except ValueError as error:
        raise InvalidRequest(f"{name} is {given!r}; allowed: numbers with commas between them.") from error


def whole(name: str, given: str) -> list[int]:
    """Whole numbers between commas. Raises InvalidRequest."""
    found = numbers(name, given)
    if any(value != int(value) for value in found if value == value and abs(value) < 1e9) or any(abs(v) >= 1e9 or v != v for v in found):
        raise InvalidRequest(f"{name} is {given!r}; allowed: whole numbers with commas between them.")
    return [int(value) for value in found]


def theory(
    ambient: Annotated[int, typer.Option(help="Ambient dimension n.")] = 50,
    dims: Annotated[str, typer.Option(help="Dimension of each class's subspace, with commas between.")] = "5,5",
    weights: Annotated[str, typer.Option(help="Proportion of each class; default: equal.")] = "",
    delta: Annotated[float, typer.Option(help="Size δ of the class-irrelevant noise.")] = 0.2,
    angle: Annotated[float, typer.Option(help="Every principal angle between two classes' subspaces, in degrees.")] = 90.0,
    separation: Annotated[float, typer.Option(help="Length of the class means; the model has 0, more is a negative control.")] = 0.0,
    sigmas: Annotated[str, typer.Option(help="Noise levels σ, with commas between.")] = SIGMAS,
    samples: Annotated[int, typer.Option(help="Samples, the same at every level.")] = 20_000,
    input_: Annotated[InputName, typer.Option("--input", help="What the posterior mean is taken at: x_σ or x_0.")] = InputName.noisy,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write every number with its interval, .csv or .parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Where the SNR of the exact posterior mean peaks in a noisy mixture of low-rank Gaussians, and why."""
    import numpy as np

    from . import theory_words as words
    from .theorem import theorem1
    from .theory import MoLRG, draw
    from .theory_probe import probe
    from .theory_snr import levels_of, snr

    if out is not None:
        check_out(out, ".csv", ".parquet")
    spec = MoLRG(ambient, tuple(whole("dims", dims)), tuple(numbers("weights", weights)), delta, angle, separation)
    levels, name = levels_of(numbers("sigmas", sigmas)), input_.value
    levels = levels if as_json else np.sort(levels)  # sentences are of a curve; programs get what they asked for, in that order
    drawn = draw(spec, samples, seed)
    found = snr(spec, levels, samples, seed, name, drawn)
    probed = probe(spec, levels, samples, seed, name, drawn)
    formula = theorem1(spec, levels, name)
    if out is not None:
        save_table(words.table(spec, found, probed), out)
    if as_json:
        accuracy = [float(value) for value in probed.accuracy]
        line = {"sigma": levels.tolist(), "snr": found.value.tolist(), "snr_per_class": found.per_class.tolist()}
        typer.echo(json.dumps(line | {"theorem1": None if formula is None else formula.tolist(), "probe_accuracy": accuracy}))
        return
    low, high = probed.interval
    for place, sigma in enumerate(levels):
        told = f"σ = {sigma:<8.4g} SNR {found.value[place]:.4g} ({found.low[place]:.4g} to {found.high[place]:.4g})"
        told += "" if formula is None else f", Theorem 1 {formula[place]:.4g}"
        typer.echo(f"{told}, probe {100 * probed.accuracy[place]:.1f} % ({100 * low[place]:.1f} to {100 * high[place]:.1f})")
    for sentence in (words.finding(found), words.ends(spec, found), words.agreement(spec, found), words.probing(spec, found, probed)):
        if sentence:
            typer.echo(sentence.replace("**", ""))
