"""What each cell of a study says of SNR, projection classifier and distances, level by level, and where its SNR and accuracy peak."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from . import cells, dynamics, feature_snr, snr_curves
from .heads.base import unit
from .planning import Bench
from .studies import Study

SHUFFLES = 20  # of the training labels
READINGS = ("noisy", "clean", "mean")


@dataclass(frozen=True)
class Images:
    """Ids of the images that subspaces are fitted on and read on, and the classes of both, from 0 without gaps."""

    train: np.ndarray
    held: np.ndarray
    told: np.ndarray
    labels: np.ndarray
    classes: int
    left_out: list[str]  # classes without a training image, or without one to read

    @property
    def every(self) -> np.ndarray:
        return np.concatenate([self.train, self.held])


@dataclass
class Curves:
    """What the levels of one cell's block and pooling said so far, in ascending σ."""

    parts: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in READINGS})  # of ln SNR, (E, N) each
    right: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in READINGS})
    null: list[tuple[float, float, float]] = field(default_factory=list)  # mean, lowest and highest
    far: list[np.ndarray] = field(default_factory=list)  # (N,) squared distance of the clean feature from the mean noisy one
    noise: list[np.ndarray] = field(default_factory=list)  # (N,) variance over draws
    middles: list[np.ndarray] = field(default_factory=list)  # two, of all levels: sums of the mean noisy feature (N, D), of its square (N,)
    counted: int = 0  # levels in them
    directions: int = 0
    dimension: int = 0

    def over(self, reading: str) -> tuple[np.ndarray, np.ndarray]:
        """(what images add to ln SNR, which are right), both (E, S, N), of one way of reading."""
        return np.stack(self.parts[reading], 1), np.stack(self.right[reading], 1)

    @property
    def spread(self) -> np.ndarray:
        """(N,) variance over σ of the mean noisy feature."""
        if not self.counted:
            return np.full(len(self.far[0]), np.nan)
        total, squares = self.middles
        return np.asarray(squares / self.counted - ((total / self.counted) ** 2).sum(1))


def add(curves: Curves, chosen: Images, draws: np.ndarray, clean: np.ndarray, reading: str = "noisy") -> None:
    """Take in one level: features of noised images (E, n, D) and of clean ones (n, D), training images first.

    Shuffled labels are those of the `reading` that the study's probes have. Of features that are no numbers, or the same for all images, nothing can be told: nan.
    """
    curves.dimension, cut, held = clean.shape[1], len(chosen.train), len(chosen.held)
    fine = bool(np.isfinite(draws).all() and np.isfinite(clean).all() and (draws != draws[:, :1]).any((1, 2)).all())
    for name, group in zip(READINGS, (draws, clean[None], draws.mean(0, dtype=np.float64, keepdims=True)), strict=True):
        parts, right = np.full((len(group), held), np.nan), np.zeros((len(group), held), bool)
        for draw, features in enumerate(group if fine else ()):
            fitted = feature_snr.subspaces(features[:cut], chosen.told, chosen.classes)
            curves.directions = fitted.directions.shape[2]
            one = feature_snr.energies(fitted, features[cut:], chosen.labels)
            parts[draw], right[draw] = feature_snr.log_parts(one, chosen.labels), one.right
        curves.parts[name].append(parts)
        curves.right[name].append(right)
    curves.null.append(_null(chosen, draws if reading == "noisy" else clean[None], curves.directions) if fine else (math.nan,) * 3)
    if not fine:
        curves.far.append(np.full(held, np.nan))
        curves.noise.append(np.full(held, np.nan))
        return
    units = np.stack([unit(each[cut:]) for each in draws])
    curves.far.append(feature_snr.squared_distance(unit(clean[cut:]), units))
    curves.noise.append(feature_snr.noise_scatter(units))
    middle = units.mean(0, dtype=np.float64)
    here = [middle, (middle**2).sum(1)]
    curves.middles = [before + more for before, more in zip(curves.middles, here, strict=True)] if curves.counted else here
    curves.counted += 1


def _null(chosen: Images, draws: np.ndarray, directions: int) -> tuple[float, float, float]:
    """(mean, lowest, highest) SNR under shuffled training labels, the draws of ε in turn."""
    cut, found = len(chosen.train), []
    for seed in range(SHUFFLES):
        each = draws[seed % len(draws)]
        found.append(feature_snr.shuffled(each[:cut], chosen.told, each[cut:], chosen.labels, chosen.classes, seed, directions))
    return float(np.mean(found)), min(found), max(found)


def rows(bench: Bench, name: str, chosen: Images, curves: Curves) -> list[dict[str, Any]]:
    """A row a level and reading of one cell's block and pooling.

    Distances are root mean squares over images from the mean noisy feature, in units of that one's spread over σ: of the feature of the
    clean image; of one noisy feature; of the mean over as many as there are draws.
    """
    block, _, pooling = name.rpartition("/")
    spread, draws, found = curves.spread, len(curves.parts["noisy"][0]), list[dict[str, Any]]()
    common = {"block": block, "depth": bench.model.block(block).depth, "pooling": pooling, "chance": 1 / chosen.classes}
    common |= {"n_train": len(chosen.train), "n_images": len(chosen.held), "dimension": curves.dimension, "directions": curves.directions}
    for reading in READINGS:
        parts, right = curves.over(reading)
        snr = np.stack(snr_curves.curve(parts))
        share = np.where(np.isfinite(snr[0]), np.stack(dynamics.curve(right, snr_curves.alone(len(right), right.shape[2]))), np.nan)
        for level, sigma in enumerate(bench.sigmas):
            noise = np.array(feature_snr.relative(curves.noise[level], spread))
            far = np.array(feature_snr.relative(curves.far[level], spread))
            told = {
                **_three("snr", snr[:, level]),
                **_three("null", np.array(curves.null[level])),
                **_three("projection", share[:, level]),
                **_three("distance", {"noisy": noise, "clean": far, "mean": noise / math.sqrt(draws)}[reading]),
            }
            found.append(_which(bench, sigma) | common | {"reading": reading, "draws": len(parts)} | told)
    return found


def _which(bench: Bench, sigma: float) -> dict[str, Any]:
    """Of what a row is."""
    return {
        "backend": bench.request.backend,
        "dataset": bench.dataset.name,
        "label_set": bench.labels.name,
        "condition": bench.request.condition,
        "sigma": sigma,
        "log_snr": -2 * math.log(sigma),
        "timestep": float(bench.schedule.timestep(torch.tensor([sigma], dtype=torch.float64))),
    }


def _three(what: str, values: np.ndarray) -> dict[str, float]:
    return {what: float(values[0]), f"{what}_low": float(values[1]), f"{what}_high": float(values[2])}


def peaks(study: Study, bench: Bench, name: str, chosen: Images, curves: Curves) -> list[dict[str, Any]]:
    """How far from the SNR's peak each accuracy's is: of the study's probes at each number of labels, and of the projection classifier.

    The SNR is of the input that the probes read: as the paper has it (`snr`), and over that of shuffled labels (`excess`), which a few
    directions that hold much of every class do not raise; `above` says whether the SNR is above all of these where it is highest. Images are paired, and draws of ε where the probes had the same.
    """
    block, _, pooling = name.rpartition("/")
    parts, right = curves.over(bench.request.input)
    test = {int(image): place for place, image in enumerate(bench.test)}
    places = np.array([test.get(int(image), -1) for image in chosen.held])
    same = bench.request.input == "noisy" and bench.request.eps_draws == len(parts)
    own = dynamics.resamples(np.zeros(max(2, len(parts))), np.arange(max(2, len(parts))), len(chosen.held))
    answers = np.repeat(right, 2, 0) if len(parts) == 1 else right  # two equal draws add nothing
    compared = {"projection": (answers, own, np.arange(len(chosen.held)), len(parts) > 1)}
    for labels in study.facts["results"]:
        for found in study.correct(f"{labels}/model/{name}").values():
            accuracy = cells.resampled(study, labels)
            compared[labels] = (found, accuracy, places, same and accuracy.groups.shape[1] == len(parts))
    null, lowest, told = np.array(curves.null), snr_curves.curve(parts)[1], list[dict[str, Any]]()
    for against, (found, accuracy, there, shared) in compared.items():
        mine = snr_curves.beside(accuracy, there, len(parts), shared)
        for of, values in (("snr", parts), ("excess", parts - np.log(null[:, :1]))):
            apart = snr_curves.apart(values, mine, found, accuracy, np.array(bench.sigmas), int((there >= 0).sum()))
            if apart is not None:
                top = int(np.nanargmax(np.where(np.isfinite(lowest), values.mean((0, 2)), np.nan)))
                above = bool(lowest[top] > null[top, 2])
                told.append({"block": block, "pooling": pooling, "of": of, "against": against, "above": above} | apart.to_dict())
    return told
