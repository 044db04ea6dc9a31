"""`python -m analysis classify`: which class an image is, by denoising error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import progress_bar
from .options import DeviceOption


def classify(
    images: Annotated[list[Path], typer.Argument(help="JPEG, PNG, WebP or BMP files.")],
    backend: Annotated[str, typer.Option(help="Model with classes or text: a bundled name, a folder, a .pt file or a fetched hub id.")] = (
        "digits-ddpm-classes"
    ),
    candidate: Annotated[
        list[str] | None, typer.Option(help="What it may be, repeatable: class:NUMBER or prompt:TEXT; default: every class of the model.")
    ] = None,
    levels: Annotated[int, typer.Option(min=1, help="Noise levels, even in log σ.")] = 16,
    draws: Annotated[int, typer.Option(min=2, help="Draws of the noise ε at most, the same for every candidate.")] = 16,
    weighting: Annotated[
        str, typer.Option(help="What a level counts: epsilon (alike, of the error of ε), x0 (of that of the image) or bound.")
    ] = "epsilon",
    eliminate: Annotated[bool, typer.Option(help="Leave out candidates once they are shown to be worse; else all get every draw.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ε.")] = 0,
    cut: Annotated[
        str, typer.Option(help="The square that is read: crop (the middle), fit (all of it), or LEFT,TOP,EDGE in pixels.")
    ] = "crop",
    device: DeviceOption = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write every error: a table, .csv or .parquet, or an object an image, .json.")] = None,
) -> None:
    """Say which class each image is: the one under which the model denoises it best."""
    from . import classified
    from .backends import open_backend
    from .console import check_out, save_table
    from .devices import choose_device
    from .diffusion_classifier import classifying, levels_of
    from .looking import read_image
    from .steps import finish
    from .store import write_json

    if out is not None:
        check_out(out, ".csv", ".parquet", ".json")
    model = open_backend(backend, device=choose_device(device))
    card, found = model.card, []
    candidates = candidate or classified.classes(card)
    classified.check(card, candidates)
    names = [classified.name_of(card, name) for name in candidates]
    sigmas = levels_of(model, levels)
    settings: dict[str, Any] = {"sigmas": sigmas, "draws": draws, "weighting": weighting, "eliminate": eliminate, "seed": seed}
    for path in images:
        image = read_image(path, card.resolution, cut)
        with progress_bar("Passes", quiet=False) as progress:
            found.append(finish(classifying(model, image, candidates, **settings), lambda step: progress(step.done, step.of, "")))
        typer.echo(f"{path.name}: {classified.sentence(found[-1], names).replace('**', '')}")
        typer.echo(f"  {classified.where(found[-1], names)} {classified.saved(found[-1])}")
    if out is None:
        return
    if out.suffix == ".json":
        write_json(out, [classified.summary(one, card, path.name) for one, path in zip(found, images, strict=True)])
    else:
        import pandas as pd

        save_table(pd.concat([classified.table(one, card, path.name) for one, path in zip(found, images, strict=True)]), out)
