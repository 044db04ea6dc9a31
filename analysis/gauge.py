"""How at home an image is in a model: its denoising error among those of held-out images, level by level and as a whole.

The error at σ is the mean over pixels of (x̂_0 - x_0)², with the image's own ε of one draw, as for every held-out image. As a
whole an image has one number, the mean over the levels of its log error: its rank is what a percentile speaks of, so under one
and the same distribution of images it is uniform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import Dataset
from .devices import lowered
from .features import halving, load_x0
from .noise import add_noise, noise_like
from .specs import FeatureIdentity
from .store import Store
from .studies import GAUGE, Study

HELD_OUT = 200  # images
NAME = "error"
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


def errors_of(
    model: Backend, x0: Tensor, ids: np.ndarray, sigma: float, seed: int, condition: str, between: Between, batch: int
) -> np.ndarray:
    """(n,) mean squared errors of x̂_0 at one σ, with each image's own ε of draw 0; `between` is called before each batch."""
    found = []
    with torch.inference_mode(), lowered(model.device.type, model.precision):
        for start in range(0, len(x0), batch):
            between()
            part = x0[start : start + batch]
            level = torch.full((len(part),), sigma, dtype=torch.float64)
            eps = noise_like(part, ids[start : start + batch].tolist(), seed, 0).to(part.device)
            made = model.denoise(add_noise(part, level, eps), level, condition)
            found.append(((made.float() - part) ** 2).mean((1, 2, 3)).cpu().numpy())
    return np.concatenate(found)


def fill(
    store: Store,
    model: Backend,
    dataset: Dataset,
    identity: FeatureIdentity,
    sigma: float,
    ids: np.ndarray,
    settings: Mapping[str, Any],
    between: Between = still_wanted,
) -> int:
    """Measure the errors at one σ that the store lacks; returns passes of an image."""
    passes = 0
    for _, part in store.missing("errors", identity, sigma, [NAME], ids):
        measure = partial(errors_of, model, load_x0(dataset, part, model, store), part, sigma, identity.seed, identity.condition, between)
        errors = halving(store, "errors", identity, settings, measure)
        store.put("errors", identity, sigma, part, {NAME: errors})
        passes += len(part)
    return passes


def collect(store: Store, identity: FeatureIdentity, sigmas: Sequence[float], ids: np.ndarray) -> bytes | None:
    """The errors (S, n) of images at every level, as safetensors; None where one is not finite. Raises DamagedFile where the store lacks one."""
    rows = [store.rows("errors", identity, sigma, NAME, ids) for sigma in sigmas]
    errors = np.stack(rows).astype(np.float32)
    return save({"errors": errors, "ids": ids}) if np.isfinite(errors).all() else None
