"""Passes of the diffusion classifier that leaves losers out, over those of all classes under all draws, on held-out digits."""

from __future__ import annotations

import numpy as np
import torch

from analysis.backends import open_backend
from analysis.classified import DRAWS, LEVELS, Classified
from analysis.datasets import open_dataset
from analysis.diffusion_classifier import classify

from .measure import Measured

MODEL, IMAGES = "digits-ddpm-classes", 400
SAME = 0.99  # of the answers, at least, or the promise does not hold


def measured(early: list[Classified], whole: list[Classified], truth: list[str]) -> Measured:
    """What `early`, which left classes out, needed of the passes of `whole`, and how often both gave the same answer."""
    same = float(np.mean([one.answer == other.answer for one, other in zip(early, whole, strict=True)]))
    right = [float(np.mean([one.answer == true for one, true in zip(found, truth, strict=True)])) for found in (early, whole)]
    parts = np.array([one.evaluations / other.evaluations for one, other in zip(early, whole, strict=True)])
    passes = [sum(one.evaluations for one in found) for found in (early, whole)]
    details = {
        "unit": "passes of one noised image under one class, counted",
        "same_answer": round(same, 4),
        "same_answer_at_least": SAME,
        "right": round(right[0], 4),
        "right_with_all_passes": round(right[1], 4),
        "decided": round(float(np.mean([one.decided for one in early])), 4),
        "passes": passes,
        "by_image": {f"{q:.0%}": round(float(np.quantile(parts, q)), 3) for q in (0.1, 0.5, 0.9, 1.0)},
    }
    return Measured(round(passes[0] / passes[1], 4), details=details, holds=same >= SAME)


def run() -> Measured:
    """Both ways on the first test digits, at the product's own numbers of levels and draws."""
    torch.set_num_threads(1)
    model, data = open_backend(MODEL), open_dataset("digits")
    rows = data.rows(data.members("test", IMAGES))
    images, truth = data.images[rows], [f"class:{k}" for k in data.label_set().values[rows]]
    early, whole = ([classify(model, image, eliminate=eliminate) for image in images] for eliminate in (True, False))
    found = measured(early, whole, truth)
    found.details.update(model=MODEL, images=f"{IMAGES} test digits", levels=LEVELS, draws=DRAWS, classes=10)
    return found
