"""Studies whose right and wrong answers are given by hand: digits' study with other curves."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save

from analysis.studies import Study, find_study, write_study

DIGITS = find_study("digits")
SIGMAS = tuple(level["sigma"] for level in DIGITS.facts["levels"][::4])
IDS = np.arange(1, 100_001, dtype=np.uint64)
BLOCK = "mid.res0"


def study(
    folder: Path,
    right: np.ndarray,
    *,
    key: str,
    sigmas: Sequence[float] = SIGMAS,
    ids: np.ndarray | None = None,
    truth: np.ndarray | None = None,
    validation: Sequence[float] | None = None,
    labels: str = "10",
    receipt: Mapping[str, Any] | None = None,
    request: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Study:
    """A study with one block; `right` is bool (R, S, N), or what R² is the mean of, `ids` (N,), `truth` (N,) classes where the study keeps them.

    `validation` (S,) chooses the best level; without it, the test images' accuracy does.
    """
    draws, _, count = right.shape
    series, base = f"model/{BLOCK}/1", DIGITS.facts
    verdict = base["results"]["10"]["verdicts"][series]
    mean = right.mean((0, 2))
    curves = [mean.tolist()] * 3
    result = base["results"]["10"] | {
        "headline": series,
        "verdict": verdict | {"peak_sigma": sigmas[int(mean.argmax())], "peak_accuracy": float(mean.max())},
        "verdicts": {series: verdict},
        "short": {"series": {"model": series}, "curves": {"model": curves}, "changes": {"model": curves}},
        "draws": draws,
        "labelled_images": 898 if labels == "all" else 10 * int(labels),
    }
    asked = {"sigmas": list(sigmas), "blocks": [BLOCK], "labels_per_class": [labels if labels == "all" else int(labels)]}
    table = DIGITS.table("curve").query(f"block == '{BLOCK}' and labels_per_class == '10' and source == 'model'")
    table = table.sort_values("sigma").iloc[: len(sigmas)]
    assert len(table) == len(sigmas)
    table = table.assign(sigma=list(sigmas), accuracy=mean, ci_low=mean, ci_high=mean, labels_per_class=labels, n_test=count)
    table = table.assign(validation_accuracy=mean if validation is None else list(validation))
    known = {level["sigma"]: level for level in base["levels"]}
    steps = [known.get(sigma, {"sigma": sigma, "timestep": 0.0, "log_snr": -2 * float(np.log(sigma))}) for sigma in sigmas]
    facts = {
        **{name: value for name, value in base.items() if name not in ("files", "generated")},
        "key": key,
        "created": "2026-01-01T00:00:00+00:00",
        "levels": steps,
        "results": {labels: result},
        "request": base["request"] | asked | dict(request or {}),
        "receipt": base["receipt"] | {"n_test": count} | dict(receipt or {}),
        "card": base["card"] | dict(card or {}),
    }
    kept = {"test": np.ascontiguousarray(IDS[:count] if ids is None else ids, np.uint64)}
    if truth is not None:
        kept["truth"] = np.asarray(truth, np.int64)
    picture = io.BytesIO()
    Image.new("RGB", (8 * len(sigmas), 8 * len(base["pictured"]))).save(picture, "PNG")
    files = {
        "curve.parquet": table.to_parquet(index=False),
        "draws.parquet": table.to_parquet(index=False),
        "correct.safetensors": save(
            {f"{labels}/{series}": np.packbits(right, axis=-1) if right.dtype == bool else right.astype(np.float16)}
        ),
        "heads.safetensors": save({"none": np.zeros(0, np.float32)}),
        "logits.safetensors": save(kept),
        "strip.png": picture.getvalue(),
    }
    return write_study(folder / key, json.loads(json.dumps(facts)), files)


def shaken(accuracy: Sequence[float], images: int = 200, draws: int = 6, seed: int = 0, own: float = 0.1) -> np.ndarray:
    """Images of a difficulty of their own, shaken by each draw: bool (R, S, N) with these accuracies.

    The difficulty of an image is the same whatever the seed: two runs of the same images are alike in it, as real ones are.
    """
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(images).permutation(images)[None, None, :] / images
    noise = rng.normal(0, own, (draws, len(accuracy), images))
    hard = hard + noise
    ranks = hard.argsort(-1).argsort(-1) / images
    return np.asarray(ranks < np.asarray(accuracy)[None, :, None])
