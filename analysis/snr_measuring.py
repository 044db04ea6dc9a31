"""SNR and projection classifier of every cell of a study, kept with it as `snr.parquet`; where SNR and accuracy peak, in its facts.

Subspaces are fitted on the study's training images alone, and read on test images, then validation ones; test images first, because
the study's accuracy is of them. Each cell is read three ways: noisy (x_σ under each draw of ε), clean (x_0 in its place, σ only as the
conditioning: out of the training distribution) and mean (the mean feature over the draws, which is in it).
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pandas as pd

from . import feature_snr, snr_cells
from .devices import describe_device
from .errors import InvalidData, InvalidRequest
from .features import extract, load_x0, read_features
from .generated import Progress
from .planning import Bench
from .snr_cells import SHUFFLES, Curves, Images
from .specs import FeatureIdentity
from .steps import finish
from .studies import SNR, Study, write_study
from .unlabelled import Step, check

COUNT = 1000  # training images, and images that are read, at most of each
FEWEST = 20
DRAWS = 3  # of ε, or as many as the study has, if those are more
STEP = 256  # images that are extracted at once, so that others are served in between
TIMED = 64  # images whose passes tell the pace


def images(bench: Bench, count: int = COUNT) -> Images:
    """Which images. Raises InvalidRequest for a count that is not allowed or labels that are numbers, InvalidData for too few images."""
    if not FEWEST <= count <= COUNT:
        raise InvalidRequest(f"count is {count}; allowed: {FEWEST} to {COUNT} images.")
    if bench.continuous:
        raise InvalidRequest(f"The labels {bench.labels.name!r} are numbers; an SNR is of classes: choose a label set that has some.")
    train, held = bench.train[:count], np.concatenate([bench.test, bench.validation])[:count]
    told, labels = (bench.labels.values[bench.dataset.rows(ids)] for ids in (train, held))
    known = np.intersect1d(told, labels)
    if len(known) < 2:
        raise InvalidData(f"{bench.dataset.name} has {len(known)} class with both training and test images; an SNR needs at least 2.")
    mine, read = np.isin(told, known), np.isin(labels, known)
    left_out = [name for k, name in enumerate(bench.labels.classes) if k not in known]
    places = np.searchsorted(known, told[mine]), np.searchsorted(known, labels[read])
    return Images(train[mine], held[read], *places, len(known), left_out)


def identities(bench: Bench) -> tuple[list[FeatureIdentity], FeatureIdentity]:
    """(what noised images' features are of, a draw each; what clean images' are of)."""
    features, seed = bench.features("model", 0), bench.request.seed
    noisy = [
        features.model_copy(update={"input": "noisy", "seed": seed, "draw": draw}) for draw in range(max(DRAWS, bench.request.eps_draws))
    ]
    return noisy, features.model_copy(update={"input": "clean", "seed": 0, "draw": 0})


def tensors(bench: Bench) -> list[str]:
    """`block/pooling` of every cell."""
    return [f"{block}/{pooling}" for block in bench.request.blocks or () for pooling in bench.request.poolings]


def cost(bench: Bench, count: int = COUNT) -> dict[str, float]:
    """Passes of an image that are lacking, cells, and about how many seconds both take here: timed on one batch and one cell."""
    chosen, names = images(bench, count), tensors(bench)
    noisy, clean = identities(bench)
    passes = 0
    for identity in (*noisy, clean):
        for sigma in bench.sigmas:
            passes += sum(len(part) for _, part in bench.store.missing("features", identity, sigma, names, chosen.every))
    timed = TIMED if bench.card.space == "pixel" else 1
    x0, pace = load_x0(bench.dataset, chosen.every[:timed], bench.model, bench.store), 0.0
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        read = read_features(bench.model, names, x0, None, bench.sigmas[0], timed, bench.request.condition)
        pace = (time.perf_counter() - began) / timed
    width = int(np.median([value.shape[1] for value in read.values()]))
    invented = np.random.default_rng(0).normal(size=(len(noisy) + 1, len(chosen.every), width)).astype(np.float32)
    began = time.perf_counter()
    snr_cells.add(Curves(), chosen, invented[:-1], invented[-1])
    each = (time.perf_counter() - began) * len(names) * len(bench.sigmas)
    return {"passes": passes, "cells": len(names) * len(bench.sigmas), "seconds": passes * pace + each}


Found = tuple[pd.DataFrame, list[dict[str, Any]]]


def measuring(study: Study, bench: Bench, count: int = COUNT) -> Generator[Step, None, Found]:
    """(the table, a row a cell and reading; the peaks, one a block, pooling and accuracy); yields how far it is.

    Features that the store lacks are extracted into it. What cannot be told of a cell, such as of features that do not vary, is nan.
    """
    chosen, names, (noisy, clean) = images(bench, count), tensors(bench), identities(bench)
    batches = [chosen.every[start : start + STEP] for start in range(0, len(chosen.every), STEP)]
    done, of = 0, len(bench.sigmas) * ((len(noisy) + 1) * len(batches) + len(names)) + len(names)
    found: dict[str, Curves] = {name: Curves() for name in names}
    for sigma in bench.sigmas:
        for identity in (*noisy, clean):
            for batch in batches:
                yield done, of, f"Reading {len(chosen.every):,} images at σ = {sigma:.2g}"
                extract(bench.store, bench.model, bench.model, bench.dataset, identity, names, [sigma], batch, bench.settings)
                done += 1
        for name in names:
            yield done, of, f"Fitting subspaces at σ = {sigma:.2g}"
            block, _, pooling = name.rpartition("/")
            draws, still = (
                np.stack([bench.store.cell(identity, sigma, block, pooling, chosen.every) for identity in group])
                for group in (noisy, [clean])
            )
            snr_cells.add(found[name], chosen, draws, still[0], bench.request.input)
            done += 1
    rows, peaks = list[dict[str, Any]](), list[dict[str, Any]]()
    for name in names:
        yield done, of, "Comparing the peaks"
        rows += snr_cells.rows(bench, name, chosen, found[name])
        peaks += snr_cells.peaks(study, bench, name, chosen, found[name])
        done += 1
    return pd.DataFrame(rows), peaks


def measure(study: Study, bench: Bench, count: int = COUNT, progress: Progress | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table, and what is to be said of how it came about, with the peaks. Raises as `unlabelled.check` and `images` do."""
    began = time.perf_counter()
    check(study, bench)
    table, peaks = finish(measuring(study, bench, count), lambda step: progress and progress(*step))
    return table, facts(bench, count, peaks, time.perf_counter() - began)


def facts(bench: Bench, count: int, peaks: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """How it came about, and the peaks: plain JSON types."""
    chosen = images(bench, count)
    test = int(np.isin(chosen.held, bench.test).sum())
    known = {"train": len(chosen.train), "test": test, "validation": len(chosen.held) - test, "draws": len(identities(bench)[0])}
    known |= {"seed": bench.request.seed, "shuffles": SHUFFLES, "directions": feature_snr.DIRECTIONS, "classes": chosen.classes}
    told = {"left_out": chosen.left_out, "smallest_class": int(np.bincount(chosen.told).min()), "input": bench.request.input}
    return known | told | {"device": describe_device(bench.device), "seconds": round(seconds, 1), "peaks": peaks}


def keep(study: Study, data: bytes, said: dict[str, Any]) -> Study:
    """The study with its `snr.parquet`, in the place of an older one."""
    files = {name: study.path(name).read_bytes() for name in study.facts["files"] if name != SNR} | {SNR: data}
    kept = {key: value for key, value in study.facts.items() if key != "files"} | {"snr": said}
    return write_study(study.folder, kept, files)
