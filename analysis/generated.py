"""Images that a study's model makes, kept with the study, and their features in its headline block at every level.

They stand in for data that cannot ship: thumbnails and neighbours are there offline. Nothing is measured on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from safetensors.numpy import save

from .backends import open_backend
from .backends.base import Backend
from .datasets.base import image_ids
from .errors import InvalidRequest
from .features import read_features
from .noise import noise_like
from .sampling import Sampler, sample, seen, sheet
from .strips import noise_strip
from .studies import Study, write_study

SHEET = 150_000_000  # pixels of a sheet of pictures that any reader opens
COLUMNS = 40  # of the sheet
STRIP = 10  # of the images at every level
Progress = Callable[[int, int, str], None]


def model_of(backend: str, studies: Sequence[Study]) -> Backend:
    """The model that studies are of, by name or folder, in their precision. Raises InvalidRequest where one is of another."""
    model = open_backend(backend)
    for study in studies:
        wanted = study.facts["receipt"]["revision"]
        if model.card.identity != wanted:
            raise InvalidRequest(f"{backend!r} is {model.card.identity}; the study {study.key} is of {wanted}: give that model.")
    if len(precisions := {study.precision for study in studies}) > 1:
        raise InvalidRequest(
            f"The studies were measured in {' and '.join(sorted(precisions))}; allowed: studies of one precision at a time."
        )
    return model.at(precisions.pop())


def generate(
    study: Study,
    backend: str,
    count: int = 1000,
    seed: int = 0,
    sampler: Sampler = "ddim",
    steps: int = 50,
    strip: bool = False,
    progress: Progress | None = None,
) -> Study:
    """The study with `generated.png`, a sheet of 40 columns, and `generated.safetensors`: `level/block/pooling` (n, D) float16.

    With `strip` the first ten stand in for the data's own images at every level too, so that none of those is in the study.
    `backend` is the study's model, by name or folder. Raises InvalidRequest if it is another, or for fewer than 12 images.
    """
    if count < 12:
        raise InvalidRequest(f"count is {count}; allowed: at least 12 images, a row of them.")
    if count * study.card.resolution**2 > SHEET:
        raise InvalidRequest(f"count is {count}; allowed of {study.card.resolution} pixels: at most {SHEET // study.card.resolution**2}.")
    model = model_of(backend, [study])
    levels = [level["sigma"] for level in study.facts["levels"]]
    images = seen(model, sample(model, count, seed, sampler, steps))
    ids = image_ids(images)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        x0 = torch.cat([model.encode(part.to(model.device)) for part in torch.split(pixels, model.card.together)])
    clean = study.facts["request"]["input"] == "clean"
    eps = None if clean else noise_like(x0, ids.tolist(), study.facts["receipt"]["seed"], 0)
    name = study.result()["headline"].removeprefix("model/")
    kept: dict[str, np.ndarray] = {"ids": ids}
    for level, sigma in enumerate(levels):
        found = read_features(model, [name], x0, eps, sigma, 64, study.facts["request"]["condition"])[name].numpy()
        kept[f"{level}/{name}"] = found.astype(np.float16)
        if progress:
            progress(level + 1, len(levels), f"σ = {sigma:.3g}")
    files = {path: study.path(path).read_bytes() for path in study.facts["files"]}
    files |= {"generated.png": sheet(images, COLUMNS), "generated.safetensors": save(kept)}
    shown: dict[str, object] = {}
    if strip:
        files["strip.png"] = noise_strip(
            model, x0[:STRIP], ids[:STRIP].tolist(), levels, study.facts["receipt"]["seed"], study.facts["request"]["input"] == "clean"
        )
        shown = {"shown": [f"{image:016x}" for image in ids[:STRIP]], "pictured": [f"made {i + 1}" for i in range(STRIP)]}
    made = {"count": count, "seed": seed, "sampler": sampler, "steps": steps, "columns": COLUMNS, "tensor": name}
    facts = {key: value for key, value in study.facts.items() if key != "files"} | {"generated": made} | shown
    return write_study(study.folder, facts, files)
