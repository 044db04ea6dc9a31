"""How much a map of 10,000 noised CIFAR images with pictures sends to a browser, at the noise that packs worst."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from streamlit import dataframe_util

from analysis import map_charts, map_points
from analysis.known import pictures
from analysis.noise import noise_like
from analysis.studies import find_study
from analysis.thumbnails import BUDGET, Thumbnails, thumbnails
from app.components.onemap import POINT

from .measure import Measured

IMAGES, SIGMAS = 10_000, (0.0, 0.585, 1.9)
CLASSES = [f"class {k}" for k in range(10)]


def images(count: int = IMAGES) -> tuple[np.ndarray, str]:
    """CIFAR-10's test images (n, 32, 32, 3) uint8 where they are, else those that ship with its study, again and again."""
    folder = Path(os.environ.get("NOISESCOPE_TEST_DATA", "nowhere")) / "cifar10"
    if folder.is_dir():
        from analysis.datasets import open_dataset

        data = open_dataset(str(folder))
        return data.images[data.rows(data.members("test", count))], "CIFAR-10 test images"
    made = pictures(find_study("cifar10"))
    return np.tile(made, (-(-count // len(made)), 1, 1, 1))[:count], "images made by cifar10-ddpm, repeated"


def noised(clean: np.ndarray, sigma: float) -> np.ndarray:
    """As a variance-preserving network sees them."""
    x0 = torch.from_numpy(clean).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = (x0 + sigma * noise_like(x0, list(range(len(x0))), 0, 0)) / (1 + sigma**2) ** 0.5
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def sent(thumbs: Thumbnails) -> int:
    """Bytes of a map with these pictures, as Streamlit sends it: tables as Arrow, the rest as JSON."""
    count = len(thumbs.uris)
    rng = np.random.default_rng(0)
    texts = [f"label: class {row % 10} · read as class {row % 7}, {row % 100} %" for row in range(count)]
    points = map_points.Points(rng.normal(size=(count, 2)), np.arange(count) % 10, CLASSES, texts, thumbs.uris, np.arange(0, count, 50))
    option: dict[str, Any] = map_charts.scatter(points)
    tables = [dataframe_util.convert_anything_to_arrow_bytes(dataset.pop("source")) for dataset in option["dataset"]]
    return sum(map(len, tables)) + len(json.dumps(option))


def run() -> Measured:
    """Megabytes of the largest; it holds if every point has its picture."""
    clean, source = images()
    found = {}
    for sigma in SIGMAS:
        thumbs = thumbnails(noised(clean, sigma), BUDGET - POINT * len(clean))
        found[sigma] = {"megabytes": sent(thumbs) / 1e6, "quality": thumbs.quality, "side": thumbs.side, "pictured": thumbs.pictured}
    details = {"unit": "megabytes", "images": source, "by noise level": {f"{sigma:g}": told for sigma, told in found.items()}}
    holds = all(told["pictured"] == IMAGES for told in found.values())
    return Measured(max(told["megabytes"] for told in found.values()), None, [], details, holds)
