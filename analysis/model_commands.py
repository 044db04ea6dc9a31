"""`python -m analysis models …`: models that ship, and those of the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from .hub_commands import Revision, bring, list_fetched, show

models_app = typer.Typer(help="See which models are here, and fetch others from the Hugging Face hub.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="Hub id, such as google/ddpm-cifar10-32.")]
Encoder = Annotated[bool, typer.Option("--encoder", help="It is wanted as a baseline encoder: a vision model of the transformers library.")]
Checkpoint = Annotated[
    str | None, typer.Option(help="One .pt file (or variant of diffusion_pytorch_model) that is wanted for weights, by its name.")
]


@models_app.command("list")
def list_() -> None:
    """List the models that are here: name, size, licence, revision."""
    from . import catalog, hub

    for name in catalog.models():
        card = catalog.card(name)
        size = sum(path.stat().st_size for path in catalog.model_folder(name).iterdir() if path.is_file())
        typer.echo(f"{name}\t{hub.in_units(size)}\t{card.license or 'no licence said'}\t{card.identity}\tbundled")
    list_fetched("model")
    list_fetched("encoder")


@models_app.command()
def look(id: Id, revision: Revision = None, checkpoint: Checkpoint = None, encoder: Encoder = False) -> None:
    """Say what a model of the hub is, and which of its files would be fetched."""
    from .hub import look_up

    show(look_up(id, revision, "encoder" if encoder else "model", checkpoint))


@models_app.command()
def fetch(id: Id, revision: Revision = None, checkpoint: Checkpoint = None, encoder: Encoder = False) -> None:
    """Fetch a model; stop it when you like, the same command goes on where it stopped."""
    from .hub import look_up

    bring(look_up(id, revision, "encoder" if encoder else "model", checkpoint))
