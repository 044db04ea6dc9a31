"""What a study's probes read in one image, as a tidy table: one class in one block at one noise level a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load, save

from . import uploads
from .errors import InvalidRequest, StoreUnavailable
from .store import Store
from .studies import Study

if TYPE_CHECKING:
    import pandas as pd

READ_WITH = "1"  # pooling: the global average
KEPT = {"probability": "mean", "spread": "spread", "ensemble": "ensemble"}


def table(study: Study, classes: Sequence[str], draws: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The answer to `draws` (views.read) in rows.

    `probability` and its standard deviation `spread` are over the draws of ε; `ensemble` is the probability of the mean logits of
    five levels; `error` is the mean squared error of x̂_0 at the level, over the draws, the same for all blocks and classes.
    """
    import pandas as pd

    request, levels = study.facts["request"], study.facts["levels"]
    common = {"backend": request["backend"], "dataset": request["dataset"], "condition": request["condition"], "pooling": READ_WITH}
    common |= {"draws": len(draws["error"])}
    depth, errors = {block.name: block.depth for block in study.card.every}, draws["error"].mean(0)
    rows = []
    for block in (name.removeprefix("mean/") for name in draws if name.startswith("mean/")):
        for place, level in enumerate(levels):
            for k, name in enumerate(classes):
                told = {what: float(draws[f"{kept}/{block}"][place, k]) for what, kept in KEPT.items()}
                rows.append(
                    {
                        **common,
                        "block": block,
                        "depth": depth[block],
                        **{k: v for k, v in level.items() if k != "latent"},
                        "class": name,
                        **told,
                        "error": float(errors[place]),
                    }
                )
    return pd.DataFrame(rows).sort_values(["depth", "sigma"], kind="stable", ignore_index=True)


def read_image(path: Path, side: int, cut: str = "crop") -> np.ndarray:
    """The square (side, side, 3) uint8 of a file's image that a model reads; `cut` is crop, fit or "left,top,edge" in pixels.

    Raises StoreUnavailable for a file that cannot be opened, InvalidData for one that is no image, and InvalidRequest for another cut.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreUnavailable(f"Cannot read {path} ({error.strerror or error}); choose another file.") from error
    pixels = uploads.read(data).pixels
    if pixels.shape == (side, side, 3):
        return pixels
    if cut in ("crop", "fit"):
        return uploads.frame(pixels, side, cut)  # type: ignore[arg-type]
    parts = cut.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise InvalidRequest(f"--cut is {cut!r}; allowed: crop, fit, or three whole numbers LEFT,TOP,EDGE in pixels.")
    left, top, edge = (int(part) for part in parts)
    return uploads.frame(pixels, side, "box", (left, top, edge))


def look(study: Study, image: np.ndarray, store: Store, device: str) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """`table` of an image (side, side, 3) uint8, and how at home it is (gauge.Fit, and its kind) where the study can tell.

    Raises InvalidRequest for a study of clean input.
    """
    from . import gauge
    from .own import Own

    if study.facts["request"]["input"] != "noisy":
        raise InvalidRequest(
            f"The probes of {study.key} were fitted on clean input; allowed: a run of noisy input, for an image is noised."
        )
    own, question, data = Own(store, device), {"study": study.key}, save({"image": image})
    draws, held_out = load(own.draws(question, data)[1]), gauge.held_out(study)
    fit = None if held_out is None else gauge.compare(draws["error"][0], held_out).to_dict()
    return table(study, study.facts["classes"], draws), fit
