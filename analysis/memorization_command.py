"""`python -m analysis study memorization`: networks trained on few and on many images, and their curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import StoreOption, progress_bar
from .errors import InvalidRequest
from .options import CORES, DeviceOption


def memorization(
    dataset: Annotated[str, typer.Option(help="Data set: a name, a folder, a Parquet file, a zip or a hub id.")] = "shapes",
    sizes: Annotated[
        str | None,
        typer.Option(help="Training images of each network, ascending, with commas; `fresh`, at the end: new ones at every step."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Networks of each size, on images of their own.")] = 3,
    seen: Annotated[
        str | None,
        typer.Option(help="Training images met at each moment that is looked at, ascending, with commas; multiples of the batch."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe of the networks; default: the one for the data.")] = None,
    label_set: Annotated[str | None, typer.Option(help="Label set of the data.")] = None,
    labels_per_class: Annotated[int, typer.Option(min=1, help="Labelled images a class.")] = 10,
    label_draws: Annotated[int, typer.Option(min=1, help="Choices of labelled images for each seed.")] = 5,
    levels: Annotated[int, typer.Option(min=3, help="Noise levels, even in log σ.")] = 10,
    n_validation: Annotated[int, typer.Option(min=2, help="Validation images at most.")] = 300,
    n_test: Annotated[int, typer.Option(min=2, help="Test images at most.")] = 1000,
    samples: Annotated[int, typer.Option(min=2, help="Images that each network makes.")] = 256,
    sharing: Annotated[
        int | None, typer.Option(help="Afterwards train a denoiser for each level by itself on so many images, one of the moments.")
    ] = None,
    sharing_seeds: Annotated[int, typer.Option(min=1, help="How many of these for each level.")] = 1,
    encoder: Annotated[
        str | None, typer.Option(help="Afterwards look for copies in an encoder's features too: transformers:PLACE, a folder or hub id.")
    ] = None,
    cost: Annotated[bool, typer.Option("--cost", help="Say what it would take, and do nothing.")] = False,
    device: DeviceOption = "cpu",
    processes: Annotated[int | None, typer.Option(min=0, help="Networks that are trained at once on a CPU; default: a core each.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the curves: .csv or .parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
    store: StoreOption = None,
) -> None:
    """Train networks on few and on many images, each meeting as many, and see how their curves over noise part. Goes on where it stopped."""
    from .console import check_out, save_table
    from .devices import choose_device
    from .encoders import open_encoder
    from .memorization import MemorizationRequest, place_of
    from .memorization_encoder import encode, reads
    from .memorization_sharing import check, share
    from .memorization_work import memorize

    if out is not None:
        check_out(out, ".csv", ".parquet")
    given: dict[str, Any] = {
        "sizes": None if sizes is None else sizes_of(sizes),
        "seen": None if seen is None else tuple(whole("seen", part) for part in seen.split(",")),
    }
    request = MemorizationRequest(
        dataset=dataset,
        recipe=recipe,
        seeds=seeds,
        label_set=label_set,
        labels_per_class=labels_per_class,
        label_draws=label_draws,
        levels=levels,
        n_validation=n_validation,
        n_test=n_test,
        samples=samples,
        **{name: value for name, value in given.items() if value is not None},
    )
    if sharing is not None:
        check(request, sharing, sharing_seeds)
    if encoder is not None:
        open_encoder(encoder)  # what is wrong with it is said before anything is trained
    work: dict[str, Any] = {"processes": CORES if processes is None else processes, "device": choose_device(device)}
    if cost:
        from .memorization_cost import foresee, length

        typer.echo(foresee(request, store, **work, sharing=None if sharing is None else (sharing, sharing_seeds)).sentence)
        if encoder is not None:
            images, took = reads(request, encoder, store, work["device"])
            typer.echo(f"{encoder} reads {images:,} images beside: about {length(took)}.")
        return
    with progress_bar("Study", quiet=False) as progress:
        found = memorize(request, store, **work, progress=progress)
    if sharing is not None:
        with progress_bar("Denoisers", quiet=False) as progress:
            found = share(request, sharing, sharing_seeds, store, **work, progress=progress)
    if encoder is not None:
        with progress_bar("Copies", quiet=False) as progress:
            found = encode(request, encoder, store, device=work["device"], progress=progress)
    typer.echo(f"{found.sentence}\n{found.expected().sentence} {found.facts['expected']['why']}\nIt is in {place_of(request, store)}.")
    if out is not None:
        save_table(found.table("curve"), out)
    if as_json:
        typer.echo(json.dumps({"key": found.key, "sentence": found.sentence, "differences": found.differences()}))


def sizes_of(text: str) -> tuple[Any, ...]:
    """Sizes of training sets from a list with commas. Raises InvalidRequest."""
    return tuple("fresh" if part.strip() == "fresh" else whole("sizes", part) for part in text.split(","))


def whole(what: str, part: str) -> int:
    """A whole number of a list. Raises InvalidRequest."""
    if not part.strip().isdecimal():
        raise InvalidRequest(f"{what} has {part.strip()!r}; allowed: whole numbers, with commas between them.")
    return int(part)
