"""The known images of a study that others are compared with: training images, or where the data are not there, generated ones."""

from __future__ import annotations

import io
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from .errors import InvalidRequest
from .features import extract
from .planning import Bench
from .studies import Study

MANY = 2000  # training images; what a sweep stored beyond is used too
STEP = 256  # images that are extracted at once, so that others are served in between


@dataclass(frozen=True)
class Known:
    """What each of n images is, where it stands among `images` (N, h, w, 3) uint8, and features (n, D) at one block and level."""

    kind: str  # "training" | "generated"
    names: list[str]
    images: np.ndarray
    rows: np.ndarray  # (n,)
    features: np.ndarray


def trained(bench: Bench, sigma: float, block: str, ids: np.ndarray) -> Known:
    """The training images of these ids, whose features are stored."""
    rows = bench.dataset.rows(ids)
    names = [bench.labels.classes[value] for value in bench.labels.values[rows]]
    features = bench.store.cell(bench.features("model", 0), sigma, block, "1", ids)
    return Known("training", names, bench.dataset.images, rows, features)


def signature(bench: Bench, sigma: float, block: str) -> Hashable:
    """Equal as long as `stored` and `trained` are."""
    identity = bench.features("model", 0)
    units = bench.store.units("features", identity, sigma)
    return identity.key(), sigma, block, bench.labels.name, bench.train.tobytes(), tuple(unit.path.name for unit in units)


def stored(bench: Bench, sigma: float, block: str) -> np.ndarray:
    """The ids (n,) of the training images whose features are stored."""
    lacking = bench.store.missing("features", bench.features("model", 0), sigma, [f"{block}/1"], bench.train)
    return bench.train[~np.isin(bench.train, np.concatenate([part for _, part in lacking]))] if lacking else bench.train


def wanted(bench: Bench) -> int:
    """How many training images are to be there before `trained` has enough."""
    return min(MANY, len(bench.train))


def more(bench: Bench, sigma: float, ids: np.ndarray) -> None:
    """Extract a few more training images than these at a level, for all blocks: the store keeps them."""
    rest = np.setdiff1d(bench.train, ids)[: min(STEP, wanted(bench) - len(ids))]
    names = [f"{other}/1" for other in bench.request.blocks or ()]
    extract(bench.store, bench.model, bench.model, bench.dataset, bench.features("model", 0), names, [sigma], rest, bench.settings)


def generated(study: Study, level: int, block: str) -> Known:
    """The images that were generated with a study, in the one block whose features are kept. Raises InvalidRequest."""
    made = study.facts.get("generated")
    if not made:
        raise InvalidRequest(
            f"The data set of {study.name} is not on this machine, and no images were generated with it: there is nothing to compare with."
        )
    if made["tensor"] != f"{block}/1":
        kept = made["tensor"].split("/")[0]
        raise InvalidRequest(
            f"The data set of {study.name} is not on this machine; its generated images can be compared in block {kept} alone."
        )
    features = load_file(study.path("generated.safetensors"))[f"{level}/{made['tensor']}"]
    images = pictures(study)
    names = [f"generated {i + 1}" for i in range(len(images))]
    return Known("generated", names, images, np.arange(len(images)), features.astype(np.float32))


def pictures(study: Study) -> np.ndarray:
    """The generated images (n, h, w, 3) uint8, cut from their sheet."""
    side, made = study.card.resolution, study.facts["generated"]
    page = np.asarray(Image.open(io.BytesIO(study.path("generated.png").read_bytes()), formats=["PNG"]).convert("RGB"))
    rows = page.reshape(-1, side, made["columns"], side, 3).transpose(0, 2, 1, 3, 4)
    return np.asarray(rows.reshape(-1, side, side, 3)[: made["count"]])
