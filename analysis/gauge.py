"""How at home an image is in a model: its denoising error among those of held-out images, level by level and as a whole.

The error at σ is the mean over pixels of (x̂_0 - x_0)², with the image's own ε of one draw, as for every held-out image. As a
whole an image has one number, the mean over the levels of its log error: its rank is what a percentile speaks of, so under one
and the same distribution of images it is uniform.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from .backends.base import Backend
from .crew import Between, still_wanted
from .features import load_x0
from .noise import add_noise, noise_like
from .planning import Bench
from .studies import GAUGE, Study

HELD_OUT, BATCH = 200, 64  # images
BAND = (5, 50, 95)  # percentiles that are drawn
UNLIKE = 99.0  # percentile above which an image is harder than the held-out ones; below 100 - UNLIKE it is simpler
FOREIGN = 4.0  # standard deviations: of twelve photographs all lie above for a model of digits, none for one of photographs


@dataclass(frozen=True)
class Fit:
    """Percentiles from 0 to 100; `band` (3, S) are the held-out images' errors at 5, 50 and 95 %.

    `deviations` is how far the whole lies above the held-out images' mean, in their standard deviations.
    """

    percentile: float
    deviations: float
    by_level: list[float]
    band: list[list[float]]
    count: int

    @property
    def kind(self) -> Literal["usual", "simple", "hard", "foreign"]:
        """What can be said of the image: the error tells how hard it is to denoise, and not what it shows."""
        if self.deviations > FOREIGN:
            return "foreign"
        return "hard" if self.percentile > UNLIKE else "simple" if self.percentile < 100 - UNLIKE else "usual"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"kind": self.kind}


def rank(value: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The percentile of values (...) among (..., n), ties counted half."""
    below, same = (among < value[..., None]).mean(-1), (among == value[..., None]).mean(-1)
    return np.asarray(100 * (below + same / 2))


def compare(errors: np.ndarray, known: np.ndarray) -> Fit:
    """How an image's errors (S,) stand among those of held-out images (S, n)."""
    whole, others = np.log(errors + 1e-12).mean(), np.log(known + 1e-12).mean(0)
    deviations = float((whole - others.mean()) / max(others.std(), 1e-9))
    return Fit(
        float(rank(whole, others)), deviations, rank(errors, known).tolist(), np.percentile(known, BAND, axis=1).tolist(), known.shape[1]
    )


def held_out(study: Study) -> np.ndarray | None:
    """The errors (S, n) that a study keeps, or None. Raises DamagedFile."""
    return load_file(study.path(GAUGE))["errors"] if GAUGE in study.facts["files"] else None


def errors_of(model: Backend, x0: Tensor, ids: np.ndarray, sigma: float, seed: int, condition: str, between: Between) -> np.ndarray:
    """(n,) mean squared errors of x̂_0 at one σ, with each image's own ε of draw 0; `between` is called before each batch."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(x0), BATCH):
            between()
            part = x0[start : start + BATCH]
            level = torch.full((len(part),), sigma, dtype=torch.float64)
            eps = noise_like(part, ids[start : start + BATCH].tolist(), seed, 0).to(part.device)
            made = model.denoise(add_noise(part, level.to(part.device), eps), level, condition)
            found.append(((made - part) ** 2).mean((1, 2, 3)).cpu().numpy())
    return np.concatenate(found)


def measure(bench: Bench, between: Between = still_wanted) -> bytes:
    """The errors (S, n) of the first 200 test images at every level of a bench, as safetensors."""
    ids = bench.test[:HELD_OUT]
    x0, request = load_x0(bench.dataset, ids, bench.model), bench.request
    rows = [errors_of(bench.model, x0, ids, sigma, request.seed, request.condition, between) for sigma in bench.sigmas]
    return save({"errors": np.stack(rows).astype(np.float32), "ids": ids})
