"""`python -m analysis datasets …`: data sets that ship, presets, and those of the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .hub_commands import Revision, bring, list_fetched, show

if TYPE_CHECKING:
    from .specs import DataCard

dataset_app = typer.Typer(help="See which data sets are here, and fetch others from the Hugging Face hub.", no_args_is_help=True)
Config = Annotated[str | None, typer.Option(help="The one configuration that is wanted; default: all.")]
Id = Annotated[str, typer.Argument(help="Hub id, such as uoft-cs/cifar10, or a preset's name.")]


@dataset_app.command("list")
def list_() -> None:
    """List the data sets that are here, and presets that may be fetched."""
    from . import hub
    from .datasets import PRESETS, plugins

    for name in plugins():
        typer.echo(f"{name}\tbundled")
    for name, preset in PRESETS.items():
        here = "here" if hub.folder(preset.repo_id, kind="dataset") else "to be fetched"
        typer.echo(f"{name}\t{preset.argument()}\t{preset.licence}\tpreset, {here}")
    list_fetched("dataset")


@dataset_app.command()
def look(id: Id, revision: Revision = None, config: Config = None) -> None:
    """Say what a data set of the hub is, and which of its files would be fetched."""
    from .hub import look_up

    show(look_up(_repo(id), revision, "dataset", config=config))


@dataset_app.command()
def fetch(id: Id, revision: Revision = None, config: Config = None) -> None:
    """Fetch a data set; stop it when you like, the same command goes on where it stopped."""
    from .hub import look_up

    bring(look_up(_repo(id), revision, "dataset", config=config))


@dataset_app.command()
def describe(
    name: Annotated[str, typer.Argument(help="Data set, as for `sweep`: a name, a folder, a Parquet file, a zip or a fetched hub id.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Say what a data set holds: images by split, columns, licence, size; no image is decoded."""
    from .datasets import describe as run

    card = run(name)
    if as_json:
        typer.echo(card.model_dump_json())
        return
    for line in _lines(card):
        typer.echo(line)


def _lines(card: DataCard) -> list[str]:
    from .hub import in_units

    rows = ", ".join(f"{count:,} {split}" for split, count in card.rows.items())
    labels = ", ".join(f"{name} ({'numbers' if count is None else f'{count} classes'})" for name, count in card.labels.items())
    return [
        f"{card.name}: {rows} images, the first of {card.edge} pixels; licence {card.licence or 'not said'}.",
        (f"Images: {', '.join(card.images)}. " if card.images else "") + f"Labels: {labels or 'none'}.",
        *([f"{in_units(card.bytes)}{f', at {card.revision}' if card.revision else ''}."] if card.bytes is not None else []),
    ]


def _repo(id: str) -> str:
    """The hub id of a preset, else what was given."""
    from .datasets import PRESETS

    return PRESETS[id].repo_id if id in PRESETS else id
