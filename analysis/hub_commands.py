"""What the commands for models and for data sets of the Hugging Face hub share: options, lines, and the bar while files come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .hub import Record
    from .hub_records import Kind

Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit; default: the main branch.")]


def list_fetched(kind: Kind) -> None:
    """A line for each that was fetched: name, size, licence, revision, day."""
    from . import hub

    for record in hub.fetched():
        if record.kind == kind:
            licence = record.license or "no licence said"
            at = f"{record.revision} at {record.commit}"
            typer.echo(f"{record.repo_id}\t{hub.in_units(record.bytes)}\t{licence}\t{at}\tfetched on {hub.day(record)}")


def show(record: Record) -> None:
    """What a repository is, and which of its files would be fetched."""
    from .hub import in_units

    _say(record)
    for file in record.files:
        typer.echo(f"  {file.name}\t{in_units(file.size)}\t{'here' if file.there else 'to be fetched'}")


def bring(record: Record) -> None:
    """Fetch a repository's files."""
    from . import hub

    _say(record)
    with _bytes_bar() as progress:
        folder = hub.fetch(record, progress)
    typer.echo(f"{record.repo_id} is in {folder}.")


def _say(record: Record) -> None:
    from .hub import in_units

    gated = ", gated" if record.gated else ""
    typer.echo(f"{record.repo_id}, {record.revision} at {record.commit}: licence {record.license or 'not said'}{gated}.")
    typer.echo(f"{len(record.files)} files, {in_units(record.bytes)}, of which {in_units(record.missing)} are to be fetched.")
    if record.said:
        typer.echo(record.said)


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
