"""`python -m analysis words`: which places of an image attend to each word of a prompt, over noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .console import StoreOption, check_out, progress_bar, save_table
from .options import DeviceOption


def words(
    image: Annotated[Path, typer.Argument(help="JPEG, PNG, WebP or BMP file.")],
    backend: Annotated[str, typer.Option(help="Model that is told text: a folder or a fetched hub id.")],
    prompt: Annotated[str, typer.Option(help="What the model is told.")] = "",
    word: Annotated[list[str] | None, typer.Option(help="A word or short phrase that is not in the prompt, repeatable.")] = None,
    block: Annotated[str | None, typer.Option(help="Whose maps are pictured; default: the mean over blocks.")] = None,
    levels: Annotated[int, typer.Option(min=2, max=32, help="How many noise levels, even in log σ, where no --sigma is given.")] = 8,
    sigma: Annotated[list[float] | None, typer.Option(help="Noise level σ, repeatable; the nearest that the model has is used.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise ε.")] = 0,
    cut: Annotated[str, typer.Option(help="The square that is read: crop (the middle), fit (all of it) or LEFT,TOP,EDGE.")] = "crop",
    device: DeviceOption = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write a row a word, block and level, .csv or .parquet.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write the maps over the image, a row a word, a column a level, .png.")] = None,
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON; no progress bar.")] = False,
) -> None:
    """Map which places of a noised image attend to each word of a prompt."""
    if out is not None:
        check_out(out, ".csv", ".parquet")
    if picture is not None:
        check_out(picture, ".png", option="--picture")
    from safetensors.numpy import load, save

    from . import word_panels
    from .devices import choose_device
    from .lane import Answer
    from .looking import read_image
    from .own import Own
    from .panels import png
    from .scene import Scene
    from .steps import finish
    from .store import Store, write_bytes
    from .wording import Wording

    wording = Wording(Scene(Own(Store(store), choose_device(device))))
    model = wording.scene.model({"backend": backend})
    pixels = read_image(image, model.card.resolution, cut)
    data = save({"images": pixels[None]})
    at = {"sigmas": sigma} if sigma else {"levels": levels}
    question = {"backend": backend, "prompt": prompt, "others": word or [], "block": block, "seed": seed, **at}
    told = wording.begin(question, data)[0]
    with progress_bar("Levels", as_json) as progress:

        def say(step: Answer) -> None:
            progress(step[0]["done"], step[0]["of"], "")

        said, back = finish(wording.words(question, data), say)
    arrays = load(back)
    shares = word_panels.Shares(said["words"], said["blocks"], arrays["share"], arrays["special"], arrays["image"])
    focus, shown = arrays["focus"], said["levels"]
    if out is not None:
        save_table(word_panels.table(shares, focus, block, shown, backend=backend, prompt=prompt, seed=seed), out)
    if picture is not None:
        write_bytes(picture, png(word_panels.sheet(pixels, arrays["maps"], said["words"], shown), 1))
    for line in told["said"]:
        typer.echo(line, err=as_json)
    if as_json:
        rows = {name: values.tolist() for name, values in shares.of(block).items()}
        typer.echo(json.dumps({"prompt": prompt, "block": block, "levels": shown, "share": rows, "focus": focus.T.tolist()}))
        return
    for name in said["words"]:
        typer.echo(word_panels.sentence(shares, focus, shown, name, block).replace("**", ""))
