"""`python -m analysis study …`: finished studies, moved and completed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import StoreOption, progress_bar

study_app = typer.Typer(help="Move finished studies between machines, as one zip file each.", no_args_is_help=True)


@study_app.command("generate")
def generate(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning, or the name of a bundled one.")],
    backend: Annotated[str | None, typer.Option(help="The study's model, where it is not found by its name.")] = None,
    count: Annotated[int, typer.Option(min=12, help="How many images.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images.")] = 0,
    strip: Annotated[
        bool, typer.Option("--strip", help="Show them at every level too, so that no image of the data is in the study.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Let a study's model make images, and keep them and their features with the study."""
    from .generated import generate as run
    from .store import default_root
    from .studies import find_study

    study = find_study(key, store or default_root())
    with progress_bar("Features", quiet=False) as progress:
        run(study, backend or study.facts["request"]["backend"], count, seed, strip=strip, progress=progress)
    typer.echo(f"{count} images are with {study.key}.")


@study_app.command("decide")
def decide(
    keys: Annotated[list[str], typer.Argument(help="Studies of one model: keys, their beginnings, or names of bundled ones.")],
    backend: Annotated[str | None, typer.Option(help="The studies' model, where it is not found by its name.")] = None,
    count: Annotated[int, typer.Option(min=2, help="How many samples are watched.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    steps: Annotated[int, typer.Option(min=2, help="Levels that the sampler visits.")] = 19,
    store: StoreOption = None,
) -> None:
    """Watch a model make images, and keep with each study at which noise level their class is settled."""
    from .decided import decide as run
    from .store import default_root
    from .studies import find_study

    found = [find_study(key, store or default_root()) for key in keys]
    with progress_bar("Samples", quiet=False) as progress:
        kept = run(found, backend or found[0].facts["request"]["backend"], count, seed, steps=steps, progress=progress)
    for study, facts in kept:
        low, high = facts["median_ci"]
        typer.echo(
            f"{study.key}: {facts['label_set']} is settled at σ = {facts['median']:.2f} ({low:.2f} to {high:.2f}), the median of {count}."
        )


@study_app.command("export")
def export(
    key: Annotated[str, typer.Argument(help="Key of a study, or its beginning.")],
    out: Annotated[Path, typer.Argument(help="The zip file to write.")],
    store: StoreOption = None,
) -> None:
    """Write a study as one zip file."""
    from .store import default_root
    from .studies import export_study, find_study

    study = find_study(key, store or default_root())
    export_study(study, out)
    typer.echo(f"{study.key} is in {out}.")


@study_app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="A zip file that `study export` wrote.")], store: StoreOption = None) -> None:
    """Read a study from a zip file into the store."""
    from .store import default_root
    from .studies import import_study

    typer.echo(f"{import_study(file, store or default_root()).key} is in the store.")
