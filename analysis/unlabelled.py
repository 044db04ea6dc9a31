"""Scores of every cell of a study from its features alone, kept with the study as `unlabelled.parquet`. No label is read.

They are of validation images, and of training images where those are too few, never of test images; of two draws of ε where the
input is noisy. One ε serves all levels of a draw, so clusters are compared with those at the neighbouring levels of the other draw.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import pandas as pd
import torch

from . import label_free
from .devices import describe_device
from .errors import InvalidData, InvalidRequest
from .features import extract, load_x0, read_features
from .generated import Progress
from .planning import Bench
from .specs import FeatureIdentity, SweepRequest
from .steps import finish
from .store import Store
from .studies import UNLABELLED, Study, write_study

COUNT = 1000  # images, at most
CLUSTERS = 10  # of k-means, whatever the number of classes: that is a label's knowledge
STEP = 128  # images that are extracted at once, so that others are served in between
TIMED = 64  # images whose passes tell the pace

Step = tuple[int, int, str]  # how much is done, of how much, and at what it is


def bench_of(study: Study, store: Store, device: str = "cpu", backend: str | None = None, dataset: str | None = None) -> Bench:
    """The study's model and data, from other places where these are given. Raises as Bench does."""
    places = {name: place for name, place in (("backend", backend), ("dataset", dataset)) if place}
    request = SweepRequest.model_validate(study.facts["request"]).model_copy(update={"baselines": False, "encoders": (), **places})
    return Bench(request, store, device)


def check(study: Study, bench: Bench) -> None:
    """Raises InvalidRequest where model or data are others than the study was measured with."""
    receipt = study.facts["receipt"]
    for what, wanted, there in (
        ("model", receipt["revision"], bench.card.identity),
        ("data", receipt["dataset_identity"], bench.dataset.identity),
    ):
        if wanted != there:
            raise InvalidRequest(
                f"The {what} of the study {study.key} are {wanted}, those here {there}: give the ones it was measured with."
            )


def images(bench: Bench, count: int = COUNT) -> np.ndarray:
    """Ids (n,) of the images that are scored: validation images, labelled or not, then training images, in the order of their ids.

    Raises InvalidRequest for a count that is too small to cluster, InvalidData where there are too few images.
    """
    if not 2 * CLUSTERS <= count <= COUNT:
        raise InvalidRequest(f"count is {count}; allowed: {2 * CLUSTERS} to {COUNT} images.")
    held = bench.dataset.members("validation")[:count]
    found = np.concatenate([held, bench.dataset.members("train")[: count - len(held)]])
    if len(found) < 2 * CLUSTERS:
        raise InvalidData(f"{bench.dataset.name} has {len(found)} validation and training images; scores need at least {2 * CLUSTERS}.")
    return found


def identities(bench: Bench) -> list[FeatureIdentity]:
    """What the features of each draw of ε are of: two, or one of clean input."""
    return [bench.features("model", draw) for draw in range(1 if bench.clean("model") else 2)]


def tensors(bench: Bench) -> list[str]:
    """`block/pooling` of every cell."""
    return [f"{block}/{pooling}" for block in bench.request.blocks or () for pooling in bench.request.poolings]


def cost(bench: Bench, count: int = COUNT) -> dict[str, float]:
    """Passes of an image that are lacking, cells, and about how many seconds both take here: timed on one batch and one cell."""
    ids, names = images(bench, count), tensors(bench)
    passes = 0
    for identity in (known := identities(bench)):
        for sigma in bench.sigmas:
            passes += sum(len(part) for _, part in bench.store.missing("features", identity, sigma, names, ids))
    timed = TIMED if bench.card.space == "pixel" else 1
    x0, pace = load_x0(bench.dataset, ids[:timed], bench.model, bench.store), 0.0
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        read = read_features(bench.model, names, x0, None, bench.sigmas[0], timed, bench.request.condition)
        pace = (time.perf_counter() - began) / timed
    width = int(np.median([value.shape[1] for value in read.values()]))
    invented = [np.random.default_rng(draw).normal(size=(len(ids), width)).astype(np.float32) for draw in range(len(known))]
    began = time.perf_counter()
    _score(invented)
    one = time.perf_counter() - began
    cells = len(names) * len(bench.sigmas)
    return {"passes": passes, "cells": cells, "seconds": passes * pace + cells * one}


def measuring(bench: Bench, count: int = COUNT) -> Generator[Step, None, pd.DataFrame]:
    """The table of scores, a row a cell; yields how far it is, a batch of images or a cell at a time.

    Features that the store lacks are extracted into it. What cannot be told of a cell, such as of features that do not vary, is nan.
    """
    ids, names, draws = images(bench, count), tensors(bench), identities(bench)
    batches = [ids[start : start + STEP] for start in range(0, len(ids), STEP)]
    done, of = 0, len(bench.sigmas) * (len(draws) * len(batches) + len(names))
    rows: list[dict[str, Any]] = []
    clusters: list[dict[str, list[np.ndarray | None]]] = []
    for level, sigma in enumerate(bench.sigmas):
        for identity in draws:
            for batch in batches:
                yield done, of, f"Reading {len(ids):,} images at σ = {sigma:.2g}"
                extract(bench.store, bench.model, bench.model, bench.dataset, identity, names, [sigma], batch, bench.settings)
                done += 1
        clusters.append({})
        for name in names:
            yield done, of, f"Scoring the blocks at σ = {sigma:.2g}"
            block, _, pooling = name.rpartition("/")
            features = [bench.store.cell(identity, sigma, block, pooling, ids) for identity in draws]
            scores, clusters[level][name] = _score(features)
            rows.append(_row(bench, block, pooling, level) | {"dimension": features[0].shape[1], "n_images": len(ids)} | scores)
            done += 1
    yield done, of, "Comparing the clusters"
    for row in rows:
        row["agreement"] = _agreement(clusters, row.pop("level"), f"{row['block']}/{row['pooling']}")
    return pd.DataFrame(rows)


def _score(draws: list[np.ndarray]) -> tuple[dict[str, float], list[np.ndarray | None]]:
    """What one cell scores, and its clusters under each draw."""
    return label_free.scores(draws), [label_free.clusters(features, CLUSTERS) for features in draws]


def _agreement(clusters: list[dict[str, list[np.ndarray | None]]], level: int, name: str) -> float:
    """The mean agreement of a cell's clusters with those at the neighbouring levels, under another ε where there is one."""
    found = []
    for other in (level - 1, level + 1):
        if 0 <= other < len(clusters):
            for mine, theirs in zip(clusters[level][name], reversed(clusters[other][name]), strict=True):
                if mine is not None and theirs is not None:
                    found.append(label_free.agreement(mine, theirs))
    return float(np.mean(found)) if found else math.nan


def _row(bench: Bench, block: str, pooling: str, level: int) -> dict[str, Any]:
    """Which cell a row is of."""
    sigma = bench.sigmas[level]
    return {
        "backend": bench.request.backend,
        "dataset": bench.dataset.name,
        "input": bench.request.input,
        "condition": bench.request.condition,
        "block": block,
        "depth": bench.model.block(block).depth,
        "level": level,
        "sigma": sigma,
        "log_snr": -2 * math.log(sigma),
        "timestep": float(bench.schedule.timestep(torch.tensor([sigma], dtype=torch.float64))),
        "pooling": pooling,
    }


def measure(study: Study, bench: Bench, count: int = COUNT, progress: Progress | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of scores, and what is to be said of how it came about. Raises as `check` and `images` do."""
    began = time.perf_counter()
    check(study, bench)
    table = finish(measuring(bench, count), lambda step: progress and progress(*step))
    return table, facts(bench, count, time.perf_counter() - began)


def facts(bench: Bench, count: int, seconds: float) -> dict[str, Any]:
    """How scores came about: plain JSON types."""
    ids = images(bench, count)
    held = int(np.isin(ids, bench.dataset.members("validation")).sum())
    known = {"validation": held, "train": len(ids) - held, "draws": len(identities(bench)), "seed": bench.request.seed}
    return known | {"clusters": CLUSTERS, "device": describe_device(bench.device), "seconds": round(seconds, 1)}


def to_bytes(table: pd.DataFrame) -> bytes:
    """The table as the file that is kept."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def keep(study: Study, data: bytes, said: dict[str, Any]) -> Study:
    """The study with its `unlabelled.parquet`, in the place of an older one."""
    files = {name: study.path(name).read_bytes() for name in study.facts["files"]} | {UNLABELLED: data}
    kept = {key: value for key, value in study.facts.items() if key != "files"} | {"unlabelled": said}
    return write_study(study.folder, kept, files)
