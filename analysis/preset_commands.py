"""`python -m analysis presets`: well-known data sets by a short name, and whether each was ever opened."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import StoreOption

preset_app = typer.Typer(help="Well-known data sets by a short name; without a command, lists them.", invoke_without_command=True)


@preset_app.callback()
def listed(context: typer.Context, store: StoreOption = None) -> None:
    """List the presets: name, place on the hub, classes, licence, and when each was last opened as it is described."""
    if context.invoked_subcommand is None:
        from .datasets import PRESETS
        from .presets import checked

        seen = checked(store)
        for name, preset in PRESETS.items():
            said = f"{seen[name]['date']}, revision {seen[name]['revision'][:12]}" if name in seen else "never"
            typer.echo(f"{name}\t{preset.argument()}\t{preset.classes} classes\t{preset.licence}\tchecked: {said}")


@preset_app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Presets; default: all.")] = None,
    store: StoreOption = None,
) -> None:
    """Open each preset on the hub and keep the date and revision; ends with code 2 where one is not as described, or without a network."""
    from .presets import verify as run

    failed = 0
    for found in run(names or (), store):
        typer.echo(f"{found.name}\t{found.reason or found.revision}")
        failed += bool(found.reason)
    if failed:
        typer.echo(f"{failed} of these are not as described.", err=True)
        raise typer.Exit(2)
