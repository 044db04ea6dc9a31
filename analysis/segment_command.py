"""`python -m analysis segment`: from a few painted pixels to segments, or without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import StoreOption, progress_bar, save_table
from .errors import InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    import numpy as np

NONE = "none"


def segment(
    images: Annotated[list[Path], typer.Argument(help="Images to segment: JPEG, PNG, WebP or BMP files.")],
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="What is painted on an image, a PNG with 0, 1, … for the classes and 255 elsewhere, in the order of the images; `none` for one without. Repeatable."
        ),
    ] = None,
    truth: Annotated[
        list[str] | None, typer.Option(help="True mask of an image to score with, as --mask, in the order of the images; repeatable.")
    ] = None,
    classes: Annotated[str | None, typer.Option("--classes", help="Names of the classes, with commas between; default: A,B,…")] = None,
    clusters: Annotated[
        int | None, typer.Option(min=2, max=7, help="Without masks: so many segments by k-means, shared by the images.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Model: a bundled name, a folder, a .pt file or a fetched hub id.")] = "cifar10-ddpm",
    block: Annotated[list[str] | None, typer.Option(help="Whose features, repeatable; default: one two thirds along the network.")] = None,
    sigma: Annotated[list[float] | None, typer.Option(help="Noise level σ, repeatable; the nearest that the model has is used.")] = None,
    over: Annotated[int | None, typer.Option(min=3, help="Also mean IoU at so many levels, each by itself: needs --truth.")] = None,
    draws: Annotated[int, typer.Option(min=1, max=16, help="Draws of the noise ε whose features are averaged.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ε.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Folder for the segments, NAME-segments.png with the class of each pixel, and iou.csv.")] = Path(
        "segments"
    ),
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON; no progress bar.")] = False,
) -> None:
    """Say the class of every pixel of images from a few painted ones, or find segments without any.

    Of each image and mask the middle square is read.
    """
    import numpy as np
    from safetensors.numpy import load, save

    from . import label_images, segment_panels
    from .devices import choose_device
    from .lane import Answer
    from .looking import read_image
    from .own import Own
    from .scene import Scene
    from .segmenting import Segmenting
    from .steps import finish
    from .store import Store, write_bytes

    if bool(mask) == bool(clusters):
        raise InvalidRequest("Give --mask with what is painted, or --clusters with how many segments to find without: one of them.")
    if over and not truth:
        raise InvalidRequest(f"--over {over} scores segments at {over} levels; give --truth, the true mask of at least one image.")
    teller = Segmenting(Scene(Own(Store(store), choose_device(device))))
    model = teller.scene.model({"backend": backend})
    side = model.card.resolution
    read = np.stack([read_image(path, side) for path in images])
    labels, true = _masks(mask, images, side, False), _masks(truth, images, side, True)
    count = 1 + max(int(values[values != label_images.VOID].max(initial=1)) for values in (labels, true))
    names = [name.strip() for name in classes.split(",")] if classes else list(label_images.LETTERS[:count])
    if len(names) < count or len(names) > label_images.CLASSES:
        raise InvalidRequest(f"--classes has {len(names)} names for {count} classes; allowed: as many, at most {label_images.CLASSES}.")
    question: dict[str, Any] = {
        "backend": backend,
        "blocks": block or [model.card.blocks[2 * len(model.card.blocks) // 3].name],
        "sigmas": sigma or [0.3],
        "draws": draws,
        "seed": seed,
        "classes": len(names),
        "k": clusters,
    }
    data = save({"images": read} if clusters else {"images": read, "labels": labels, "truth": true})
    _folder(out)
    with progress_bar("Segments", as_json) as progress:

        def say(step: Answer) -> None:
            progress(step[0]["done"], step[0]["of"], "")

        said, back = finish((teller.clusters if clusters else teller.segment)(question, data), say)
        sigmas = model.schedule.spread(over) if over else []
        curve = finish(teller.levels({**question, "sigmas": sigmas}, data), say)[0] if over else None
    found, shown = load(back)["labels"], label_images.LETTERS if clusters else names
    for place, (path, values) in enumerate(zip(images, found, strict=True)):
        file = out / f"{path.stem}-segments.png"
        if path.stem in (other.stem for other in images[:place]):
            file = out / f"{path.stem}-{place + 1}-segments.png"
        write_bytes(file, label_images.png(values))
        typer.echo(f"{path.name}: {segment_panels.shares(values, shown)}. In {file}.", err=as_json)
    told = curve or said.get("overlap")
    if told:
        card, used = model.card, question["sigmas"]
        levels = segment_panels.nearest(card, curve["sigmas"]) if curve else segment_panels.together(card, used)
        common = {"backend": backend, "blocks": " ".join(question["blocks"]), "draws": draws}
        save_table(segment_panels.table(told, levels, names, **common), out / "iou.csv")
        typer.echo(_score(said["overlap"], names), err=as_json)
    if curve:
        typer.echo(curve["sentence"], err=as_json)
    if as_json:
        typer.echo(json.dumps({**said, **({"levels": curve} if curve else {})}))


def _masks(given: list[str] | None, images: list[Path], side: int, complete: bool) -> np.ndarray:
    """Label images (n, side, side) of the images in order, 255 all over where none is given. Raises InvalidRequest."""
    import numpy as np

    from . import label_images

    given = given or []
    if len(given) > len(images):
        raise InvalidRequest(f"{len(given)} masks for {len(images)} images; allowed: at most one an image, in the same order.")
    found = np.full((len(images), side, side), label_images.VOID, np.uint8)
    for row, name in enumerate(given):
        if name != NONE:
            found[row] = label_images.read_file(Path(name), side, complete)
    return found


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"Cannot make {path} ({error.strerror or error}); choose another place for --out.") from error


def _score(told: dict[str, Any], names: list[str]) -> str:
    """Mean IoU in words, with that of each class."""
    interval = f" ({100 * told['low'][0]:.0f} to {100 * told['high'][0]:.0f})" if told["low"] else ""
    each = ", ".join(f"{name} {100 * iou:.0f} %" for name, iou in zip(names, told["each"][0], strict=True) if iou is not None)
    return f"Mean IoU {100 * told['mean'][0]:.1f} %{interval} on {told['images']} images, of pixels that were not painted: {each}."
