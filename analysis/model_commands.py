"""`python -m analysis models …`: models that ship, and those of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .hub import Record

models_app = typer.Typer(help="See which models are here, and fetch others from the Hugging Face hub.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="Hub id, such as google/ddpm-cifar10-32.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit; default: the main branch.")]
Checkpoint = Annotated[str | None, typer.Option(help="One .pt or .safetensors file that is wanted for weights, by its name.")]


@models_app.command("list")
def list_() -> None:
    """List the models that are here: name, size, licence, revision."""
    from . import catalog, hub

    for name in catalog.models():
        card = catalog.card(name)
        size = sum(path.stat().st_size for path in catalog.model_folder(name).iterdir() if path.is_file())
        typer.echo(f"{name}\t{hub.in_units(size)}\t{card.license or 'no licence said'}\t{card.identity}\tbundled")
    for record in hub.fetched():
        if record.kind == "model":
            licence = record.license or "no licence said"
            typer.echo(
                f"{record.repo_id}\t{hub.in_units(record.bytes)}\t{licence}\t{record.revision} at {record.commit}\tfetched on {hub.day(record)}"
            )


@models_app.command()
def look(id: Id, revision: Revision = None, checkpoint: Checkpoint = None) -> None:
    """Say what a model of the hub is, and which of its files would be fetched."""
    from .hub import in_units, look_up

    record = look_up(id, revision, checkpoint=checkpoint)
    for line in _lines(record):
        typer.echo(line)
    for file in record.files:
        typer.echo(f"  {file.name}\t{in_units(file.size)}\t{'here' if file.there else 'to be fetched'}")


@models_app.command()
def fetch(id: Id, revision: Revision = None, checkpoint: Checkpoint = None) -> None:
    """Fetch a model; stop it when you like, the same command goes on where it stopped."""
    from . import hub

    record = hub.look_up(id, revision, checkpoint=checkpoint)
    for line in _lines(record):
        typer.echo(line)
    with _bytes_bar() as progress:
        folder = hub.fetch(record, progress)
    typer.echo(f"{id} is in {folder}.")


def _lines(record: Record) -> Iterator[str]:
    from .hub import in_units

    gated = ", gated" if record.gated else ""
    yield f"{record.repo_id}, {record.revision} at {record.commit}: licence {record.license or 'not said'}{gated}."
    yield f"{len(record.files)} files, {in_units(record.bytes)}, of which {in_units(record.missing)} are to be fetched."
    if record.said:
        yield record.said


@contextmanager
def _bytes_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A line on standard error with how much is here, how fast it comes and how long it will take."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("Fetch"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("", total=None)

    def update(done: int, total: int, name: str) -> None:
        bar.start()  # with the first news, so that what is refused is one sentence and no bar
        bar.update(task, completed=done, total=total, description=name)

    try:
        yield update
    finally:
        bar.stop()
