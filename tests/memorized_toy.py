"""A made-up study of memorization with planted numbers: networks of few images lose the hump as they copy; no network was trained."""

from __future__ import annotations

import hashlib
import io
import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save

from analysis.generalization import THRESHOLDS
from analysis.intervals import wilson
from analysis.memorized import FRESH, WATCHED, Memorized, open_memorized

SIZES, SEEDS, SEEN = ("64", "1024", "16384", FRESH), (0, 1, 2), (4096, 16384, 65536, 131072)
SIGMAS = np.geomspace(0.02, 8, 10)
BLOCKS = ("down1.res0", "mid.res0", "up0.res1")
HEADLINE, N_TEST, N, SIDE = "up0.res1", 1000, 256, 16


def known(size: str, seen: int) -> float:
    """How much of its training set a network knows by heart, 0 to 1: after some hundred turns through it, most."""
    return 0.0 if size == FRESH else 1 / (1 + math.exp(-1.6 * (math.log(seen / int(size)) - 5.5)))


def learned(seen: int) -> float:
    return 1 - math.exp(-seen / 20000)


def accuracy(size: str, seen: int, block: str = HEADLINE) -> np.ndarray:
    """The curve: it falls with noise, and where little is known by heart it first rises."""
    hump = 0.3 * learned(seen) * (1 - known(size, seen)) * (1.0 if block == HEADLINE else 0.5)
    x = np.log(SIGMAS)
    fall = 0.1 + 0.4 / (1 + np.exp(1.8 * (x - 1)))
    return fall + hump * np.exp(-((x + 0.5) ** 2) / 1.5)


def kinds() -> list[tuple[int, str, str]]:
    return [*((seen, "ema", "outside") for seen in SEEN), (SEEN[-1], "raw", "outside"), (SEEN[-1], "ema", "subset")]


def curve() -> pd.DataFrame:
    rows = []
    for size in SIZES:
        for seen, weights, labelled in kinds():
            for depth, block in enumerate(BLOCKS):
                mean = accuracy(size, seen, block) + (0.02 if labelled == "subset" else -0.01 if weights == "raw" else 0)
                for seed in (-1, *SEEDS) if block == HEADLINE else (-1,):
                    for level, value in enumerate(mean + 0.005 * seed * (seed > 0)):
                        rows.append(
                            {
                                "size": size,
                                "seen": seen,
                                "weights": weights,
                                "labelled": labelled,
                                "seed": seed,
                                "block": block,
                                "depth": depth,
                            }
                            | {"sigma": SIGMAS[level], "timestep": 30.0 * level, "log_snr": -2 * math.log(SIGMAS[level])}
                            | {"accuracy": value, "ci_low": value - 0.02, "ci_high": value + 0.02, "n_test": N_TEST, "chance": 0.1}
                        )
    return pd.DataFrame(rows)


def verdicts(block: str = HEADLINE) -> list[dict[str, Any]]:
    found = []
    for size in SIZES:
        for seen, weights, labelled in kinds():
            mean = accuracy(size, seen, block)
            peak, gain = int(mean.argmax()), float(mean.max() - mean[0])
            shape = "unimodal" if gain > 0.03 else "decreasing" if gain < 0.004 else "undecided"
            low, high = float(mean[peak] - 0.015), float(mean[peak] + 0.015)
            found.append(
                {"block": block, "size": size, "seen": seen, "weights": weights, "labelled": labelled, "shape": shape, "gain": gain}
                | {"gain_ci": [gain - 0.02, gain + 0.02], "peak_sigma": SIGMAS[peak], "peak_ci": [SIGMAS[peak] / 2, SIGMAS[peak] * 2]}
                | {"peak_accuracy": float(mean[peak]), "peak_accuracy_ci": [low, high], "p_value": 0.01, "p_holm": 0.02}
                | {"detectable": 0.02, "lowest_sigma": SIGMAS[0], "draws": 15, "n_test": N_TEST}
            )
    return found


def watched() -> list[dict[str, Any]]:
    return [one | {"block": WATCHED, "of": HEADLINE} for one in verdicts() if (one["weights"], one["labelled"]) == ("ema", "outside")]


def differences(block: str = HEADLINE) -> list[dict[str, Any]]:
    gains = {(one["size"], one["seen"], one["weights"], one["labelled"]): one["gain"] for one in verdicts(block)}
    found = []
    for (size, *kind), gain in gains.items():
        if size != SIZES[0]:
            apart = gain - gains[(SIZES[0], *kind)]
            names = dict(zip(("seen", "weights", "labelled"), kind, strict=True))
            found.append(
                {
                    "block": block,
                    "size": size,
                    "against": SIZES[0],
                    **names,
                    "difference": apart,
                    "low": apart - 0.025,
                    "high": apart + 0.025,
                }
            )
    return found


def peaks() -> list[dict[str, Any]]:
    found = []
    for size in SIZES:
        for early, late in ((a, b) for a in SEEN for b in SEEN if a < b):
            apart = float(accuracy(size, late).max() - accuracy(size, early).max())
            found.append({"block": WATCHED, "size": size, "before": early, "seen": late, "low": apart - 0.012, "high": apart + 0.012})
    return found


def networks() -> list[dict[str, Any]]:
    looks = [(seen, "ema") for seen in SEEN] + [(SEEN[-1], "raw")]
    return [{"size": size, "seen": seen, "weights": weights, "seed": seed} for size in SIZES for seen, weights in looks for seed in SEEDS]


def shares(measure: str, copied: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    samples, real = rng.normal(0.85 - 0.75 * copied, 0.08, N), rng.normal(0.85, 0.08, N)
    rows = []
    for at in THRESHOLDS[measure]:  # type: ignore[index]
        ours, theirs = (int(((values < at) if measure == "l2_ratio" else (values < 1.5 - at)).sum()) for values in (samples, real))
        (low, high), (under, over) = wilson(ours, N), wilson(theirs, N)
        rows.append(
            {"measure": measure, "threshold": at, "copies": ours / N, "copies_low": low, "copies_high": high, "held_out": theirs / N}
            | {"held_out_low": under, "held_out_high": over, "score": 1 - ours / N, "n": N}
        )
    return rows


def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    generation, encoded, frechet, halves, losses, nearest = [], [], [], [], [], []
    for at in networks():
        copied, taught = known(at["size"], at["seen"]), learned(at["seen"])
        for measure in ("l2_ratio", "features"):
            generation += [at | row for row in shares(measure, copied, rng)]
        encoded += [at | row for row in shares("encoder", copied, rng)]
        nearest += [at | {"sample": sample, "place": sample % 7, "distance": 90.0, "ratio": 0.85 - 0.75 * copied} for sample in range(N)]
        far = 9 - 7 * taught + 1.5 * copied + 0.05 * at["seed"]
        frechet.append(
            at
            | {
                "frechet": far,
                "reference": 1.2,
                "above": far - 1.2,
                "above_low": far - 1.5,
                "above_high": far - 0.9,
                "n": N,
                "features": "shapes-ddpm",
            }
        )
        real = {"held_out": 0.5, "held_out_low": 0.48, "held_out_high": 0.52}
        own, between = 0.55 + 0.4 * copied, 0.9 - 0.6 * copied
        for seed, other in permutations(SEEDS, 2):
            if seed == at["seed"]:
                parts = {"between": between, "between_low": between - 0.02, "between_high": between + 0.02, "own": own}
                halves.append(
                    at
                    | {"other": other}
                    | parts
                    | {"own_low": own - 0.02, "own_high": own + 0.02, **real, "above": own - 0.5, "closer": 1 - copied, "n": N}
                )
        for sigma in SIGMAS:
            loss = 0.02 * sigma * (1.3 - 0.5 * taught) * (1 + 0.01 * at["seed"])
            losses.append(at | {"sigma": sigma, "train": loss * (1 - 0.7 * copied), "held_out": loss * (1 + 0.6 * copied), "n": 128})
    found = {
        "curve": curve(),
        "generation": generation,
        "encoder": encoded,
        "frechet": frechet,
        "nearest": nearest,
        "halves": halves,
        "losses": losses,
        "sharing": sharing(),
    }
    return {name: pd.DataFrame(rows) for name, rows in found.items()}


def sharing() -> list[dict[str, Any]]:
    one = accuracy(FRESH, SEEN[-1])
    lines = {"one": one, "apart": np.minimum(one, 0.5) - 0.05 + 0.03 * np.cos(np.arange(len(SIGMAS)) * 2)}
    return [
        {
            "model": model,
            "seed": seed,
            "block": block,
            "sigma": sigma,
            "accuracy": value - less,
            "ci_low": value - less - 0.02,
            "ci_high": value - less + 0.02,
        }
        for block, less in ((BLOCKS[0], 0.05), (HEADLINE, 0.0))
        for model, line in lines.items()
        for seed in (-1, *SEEDS)
        for sigma, value in zip(SIGMAS, line, strict=True)
    ]


def pictures() -> bytes:
    """Soft blobs; what few images made is nearly the nearest image, what many made is another."""
    rng, found = np.random.default_rng(1), {}
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    for size in SIZES:
        at, hue = rng.uniform(0.25, 0.75, (2, 12, 2)), rng.uniform(60, 255, (2, 12, 3))
        images = [
            [c * np.exp(-(((x - a) ** 2 + (y - b) ** 2) / 0.03))[..., None] for (a, b), c in zip(*p, strict=True)]
            for p in zip(at, hue, strict=True)
        ]
        made, near = np.array(images).round().astype(np.uint8)
        copied = known(size, SEEN[-1])
        made = (copied * near + (1 - copied) * made).astype(np.uint8)
        ratio = np.clip(0.85 - 0.75 * copied + rng.normal(0, 0.04, 12), 0.01, 1)
        found |= {f"{size}/samples": made, f"{size}/nearest": near, f"{size}/ratio": ratio, f"{size}/distance": ratio * 900}
    return save({name: np.ascontiguousarray(value) for name, value in found.items()})


def facts() -> dict[str, Any]:
    request = {
        "dataset": "shapes",
        "sizes": list(SIZES),
        "seeds": list(SEEDS),
        "seen": list(SEEN),
        "label_set": "shape",
        "labels_per_class": 10,
    }
    request |= {"label_draws": 5, "levels": len(SIGMAS), "samples": N, "n_test": N_TEST}
    return {
        "format": 3,
        "key": "toy0123456789abc",
        "name": "shapes: shape, 4 training sets",
        "created": "2026-11-01T10:00:00+00:00",
        "request": request,
        "levels": [{"sigma": s, "timestep": 30.0 * i, "log_snr": -2 * math.log(s)} for i, s in enumerate(SIGMAS.tolist())],
        "blocks": [{"name": name, "depth": depth} for depth, name in enumerate(BLOCKS)],
        "headline": {"block": HEADLINE, "pooling": "1", "chosen_by": "validation images, in the networks of the largest set"},
        "classes": [f"class {i}" for i in range(10)],
        "chance": 0.1,
        "n_test": N_TEST,
        "n_labelled": 100,
        "network": {"parameters": 1_234_567},
        "hardware": {"a made-up device": 12_288},
        "seconds": 5400,
        "verdicts": [*(one for block in BLOCKS for one in verdicts(block)), *watched()],
        "differences": [one for block in BLOCKS for one in differences(block)],
        "peaks": peaks(),
        "sentence": "After 131,072 training images, accuracy over noise is unimodal in networks trained on images that are new at every step "
        "and only falls in those trained on 64 images.",
    }


def make(folder: Path, leave_out: tuple[str, ...] = (), **changes: Any) -> Memorized:
    """Write the study, without some of its files, with other facts."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"samples.safetensors": pictures()}
    for name, table in tables().items():
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        files[f"{name}.parquet"] = buffer.getvalue()
    files = {name: data for name, data in files.items() if name not in leave_out}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    (folder / "memorization.json").write_text(json.dumps({**facts(), "files": sums} | changes))
    return open_memorized(folder)
