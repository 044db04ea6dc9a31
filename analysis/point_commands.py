"""`python -m analysis match` and `find-again`: a point of one image and its match in others, and which block and level find points."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .console import StoreOption, check_out, progress_bar, save_table
from .errors import InvalidRequest


class Change(StrEnum):
    shift = "shift"
    colour = "colour"
    flip = "flip"


def match(
    images: Annotated[list[Path], typer.Argument(help="The point's image, then those to find it in: JPEG, PNG, WebP or BMP files.")],
    point: Annotated[str, typer.Option(help="X,Y in pixels of the image as the model reads it, from its upper left corner.")],
    backend: Annotated[str, typer.Option(help="Model: a bundled name, a folder, a .pt file or a fetched hub id.")] = "cifar10-ddpm",
    block: Annotated[str | None, typer.Option(help="Whose features; default: one two thirds along the network.")] = None,
    sigma: Annotated[float, typer.Option(help="Noise level σ; the nearest that the model has is used.")] = 0.3,
    draws: Annotated[int, typer.Option(min=1, max=32, help="Draws of the noise ε whose features are averaged.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ε.")] = 0,
    cut: Annotated[str, typer.Option(help="The square of each image that is read: crop (the middle) or fit (all of it).")] = "crop",
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the matches as a table, .csv or .parquet.")] = None,
    heat: Annotated[Path | None, typer.Option(help="Write the heat maps beside their images as a .png.")] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON; no progress bar.")] = False,
) -> None:
    """Find a point of one image in others, by the cosine of a block's features."""
    for path, endings, option in ((out, (".csv", ".parquet"), "--out"), (heat, (".png",), "--heat")):
        if path is not None:
            check_out(path, *endings, option=option)
    place = _point(point)
    import numpy as np
    from safetensors.numpy import load, save

    from . import matches, point_panels
    from .devices import choose_device
    from .lane import Answer
    from .looking import read_image
    from .noise import nearest
    from .own import Own
    from .panels import png
    from .pointing import Pointing
    from .scene import Scene
    from .steps import finish
    from .store import Store, write_bytes

    pointing = Pointing(Scene(Own(Store(store), choose_device(device))))
    card = pointing.scene.model({"backend": backend}).card
    read = [read_image(path, card.resolution, cut) for path in images]
    name = block or card.blocks[2 * len(card.blocks) // 3].name
    question = {"backend": backend, "block": name, "sigma": sigma, "draws": draws, "seed": seed, "point": place}
    with progress_bar("Passes", as_json) as progress:

        def say(step: Answer) -> None:
            progress(step[0]["done"], step[0]["of"], name)

        said, back = finish(pointing.match(question, save({"images": np.stack(read)})), say)
    level = nearest(card.sigmas, sigma)
    names = [path.name for path in images]
    common = {"backend": backend, "block": name, "sigma": card.sigmas[level], "timestep": card.timesteps[level], "draws": draws}
    if out is not None:
        save_table(matches.table(said["matches"], names, place, **common), out)
    if heat is not None:
        write_bytes(heat, png(point_panels.sheet(read, load(back)["heat"], place, said["matches"]), 1))
    typer.echo(matches.sentence(said["matches"], names, place, card.resolution))
    for other, one in zip(names[1:], said["matches"], strict=True):
        typer.echo(
            f"  {other}: ({one['x']:.1f}, {one['y']:.1f}), cosine {one['similarity']:.3f}, {one['margin']:.3f} above the next place, "
            f"{one['back']:.1f} pixels off on the way back"
        )
    if as_json:
        told = [{"image": other, **one} for other, one in zip(names[1:], said["matches"], strict=True)]
        typer.echo(json.dumps({**common, "image": names[0], "point": place, "matches": told}))


def find_again(
    dataset: Annotated[str, typer.Argument(help="Images: a data set's name, a folder, a Parquet file or a zip; its test images are read.")],
    backend: Annotated[str, typer.Option(help="Model: a bundled name, a folder, a .pt file or a fetched hub id.")] = "cifar10-ddpm",
    block: Annotated[list[str] | None, typer.Option(help="Whose features, repeatable; default: all.")] = None,
    sigma: Annotated[list[float] | None, typer.Option(help="Noise level σ, repeatable; the nearest that the model has is used.")] = None,
    levels: Annotated[int, typer.Option(min=1, help="How many levels, even in log σ, where no --sigma is given.")] = 8,
    change: Annotated[Change, typer.Option(help="How the copy differs: moved; and in its colours; and mirrored.")] = Change.colour,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 60,
    draws: Annotated[int, typer.Option(min=1, max=32, help="Draws of the noise ε whose features are averaged.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of shifts, colours and points.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write the table, .csv or .parquet: a block at a noise level a row.")] = None,
) -> None:
    """Say which block and noise level find points of images again in moved copies of them."""
    if out is not None:
        check_out(out, ".csv", ".parquet")
    from .backends import open_backend
    from .datasets import open_dataset
    from .devices import choose_device
    from .keypoint_table import sentence, table

    model = open_backend(backend, device=choose_device(device))
    data = open_dataset(dataset, model.card.resolution)
    images = data.images[data.rows(data.members("test", None, data.label_set(None))[:count])]
    blocks, sigmas = block or [one.name for one in model.card.blocks], sigma or model.schedule.spread(levels)
    with progress_bar("Points", quiet=False) as progress:
        found = table(model, images, blocks, sigmas, change.value, draws, seed=seed, progress=progress)
    if out is not None:
        save_table(found, out)
    typer.echo(found.pivot(index="block", columns="sigma", values="pck").loc[found["block"].unique()].round(2).to_string())
    typer.echo(sentence(found))


def _point(given: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in given.split(","))
    except ValueError:
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InvalidRequest(f"--point is {given!r}; allowed: two numbers, X,Y in pixels from the upper left corner.")
    return x, y


def add_to(app: typer.Typer) -> None:
    """Put the commands into a command line."""
    app.command()(match)
    app.command()(find_again)
