"""What a sweep found: probed cells -> tidy tables, verdicts, sentence, receipt -> a study."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save

from . import dynamics
from .costs import width
from .devices import describe_device
from .features import gflop, load_x0
from .gathered import Gathered
from .planning import Bench
from .probing import read_heads, read_logits
from .specs import INTERVALS, PROTOCOL
from .store import checksum
from .strips import noise_strip
from .studies import CONFUSION, FORMAT, Study, write_study
from .tables import tables

PICTURED = 6  # classes of which a study of latents shows an image
PACKAGES = ("torch", "diffusers", "scikit-learn", "numpy")


def judge(bench: Bench, gathered: Gathered) -> dict[str, Any]:
    """Headline, verdict of every curve, and the short curves that a page draws first."""
    sigmas = np.asarray(bench.sigmas)
    resamples = gathered.resamples
    verdicts: dict[str, dynamics.Verdict] = {}
    for source in ("model", "random", "baseline", "encoder"):
        part = {name: right for name, right in gathered.correct.items() if name.split("/")[0] == source}
        verdicts |= dynamics.judge_all(part, sigmas, resamples) if part else {}

    def best(source: str) -> str:
        which, _, encoder = source.partition(":")
        names = [name for name in gathered.correct if name.split("/")[0] == which and encoder in ("", name.split("/")[1])]
        return max(names, key=lambda name: float(gathered.validation[name].mean()))

    headline = best("model")
    # The headline's block was chosen on validation images: one test, so its own p-value stands.
    verdict = dynamics.judge(gathered.correct[headline], sigmas, resamples)
    beside: dict[str, Any] = {}
    compared = {f"the noised {bench.card.space}s": "baseline", "the same network with random weights": "random"}
    compared = {label: source for label, source in compared.items() if any(name.startswith(f"{source}/") for name in gathered.correct)}
    encoders = [name.split("/")[1] for name in gathered.correct if name.startswith("encoder/")]
    compared |= {f"the encoder {name}": f"encoder:{name}" for name in encoders}
    for label, source in compared.items():
        name = best(source)
        gap = dynamics.gain_difference(gathered.correct[headline], gathered.correct[name], resamples)
        beside[label] = (dynamics.judge(gathered.correct[name], sigmas, resamples), gap)
    short = {source: headline if source == "model" else best(source) for source in ("model", *compared.values())}
    curves = {label: [row.tolist() for row in dynamics.curve(gathered.correct[name], resamples)] for label, name in short.items()}
    changes = {label: [row.tolist() for row in dynamics.change(gathered.correct[name], resamples)] for label, name in short.items()}
    told = dynamics.describe(verdict, headline.split("/")[1], beside, measure="r2" if bench.continuous else "accuracy")
    lines = {name.split("/")[1]: _line(gathered, resamples, name) for name in gathered.correct if name.startswith("encoder-clean/")}
    return {
        "headline": headline,
        "verdict": verdict.to_dict(),
        "sentence": " ".join([told, *(_said(name, line, bench.continuous) for name, line in lines.items())]),
        "verdicts": {name: found.to_dict() for name, found in verdicts.items()},
        "beside": {label: {"series": short[source], "gain_difference": list(beside[label][1])} for label, source in compared.items()},
        "short": {"series": short, "curves": curves, "changes": changes},
        "clean": next((_line(gathered, resamples, name) for name in gathered.correct if name.startswith("clean/")), None),
        **({"encoders": lines} if lines else {}),
        "labelled_images": gathered.n_train,
        "draws": gathered.draws,
        "left_out": gathered.left_out,
    }


def _line(gathered: Gathered, resamples: dynamics.Resamples, name: str) -> dict[str, Any]:
    """What is read from clean images alone: accuracy, interval and the head that validation images chose."""
    mean, low, high = dynamics.curve(gathered.correct[name], resamples)
    return {"accuracy": float(mean[0]), "ci": [float(low[0]), float(high[0])], "head": gathered.heads[name][0]}


def _said(encoder: str, line: Mapping[str, Any], continuous: bool) -> str:
    low, high = (100 * bound for bound in line["ci"])
    return (
        f"From clean images the encoder {encoder} reads {100 * line['accuracy']:.1f} %{' of the variance' if continuous else ''} (95 % interval {low:.1f} to {high:.1f}), "
        "with the same labels and probe."
    )


def heads(bench: Bench, gathered: Gathered) -> bytes:
    """The first draw's linear probes of the model, with scaler, at every level and block that could be probed, as safetensors."""
    per_class = gathered.per_class
    members = [series for series in bench.series(per_class) if series.source == "model" and series.name in gathered.correct]
    kept: dict[str, np.ndarray] = {}
    for level, sigma in enumerate(bench.sigmas):
        _, identity = bench.probe_identity(per_class, 0, "model", members[0].head)
        found = read_heads(bench.store, identity, sigma, [series.tensor for series in members])
        kept |= {f"{level}/{name}": value for name, value in found.items()}
    return save(kept or {"none": np.zeros(0, np.float32)})


def logits(bench: Bench, gathered: list[Gathered], results: Mapping[str, Any]) -> bytes:
    """The first draw's test logits in the headline's best cell, at every number of labels a class, with the truth, as safetensors."""
    rows, numbers = bench.dataset.rows(bench.test), bench.labels.numbers
    kept: dict[str, np.ndarray] = {"test": bench.test, "truth": bench.labels.values[rows] if numbers is None else numbers[rows]}
    for part in gathered:
        series = results[str(part.per_class)]["headline"]
        level = int(part.correct[series].mean((0, 2)).argmax())
        task, identity = bench.probe_identity(part.per_class, 0, "model", bench.head)
        tensor = series.removeprefix("model/")
        kept[f"{part.per_class}/{level}/{tensor}"] = read_logits(bench.store, task, identity, bench.sigmas[level], tensor)
    return save(kept)


def report(bench: Bench, spent: Mapping[str, Any], extra: Mapping[str, bytes], more: Mapping[str, Any] | None = None) -> Study:
    """Gather what was probed, judge it, and keep it as a study in the store, with files and facts that were found besides."""
    gathered = [Gathered(bench, per_class) for per_class in bench.request.labels_per_class]
    results = {str(part.per_class): judge(bench, part) for part in gathered}
    both = [tables(bench, part) for part in gathered]
    curve, draws = (pd.concat([pair[k] for pair in both], ignore_index=True) for k in (0, 1))
    packed = {f"{part.per_class}/{name}": _packed(part.correct[name]) for part in gathered for name in _kept(part, results)}
    tested = bench.labels.values[bench.dataset.rows(bench.test)]
    pictured = [k for k in range(len(bench.labels.classes)) if (tested == k).any()]
    if bench.card.space == "latent":  # each is decoded at every level
        pictured = pictured[:PICTURED]
    shown = np.asarray([bench.test[tested == k][0] for k in pictured])  # one test image a class
    x0, clean = load_x0(bench.dataset, shown, bench.model, bench.store).cpu(), bench.request.input == "clean"
    picture = noise_strip(bench.model, x0, shown.tolist(), bench.sigmas, bench.request.seed, clean)
    values = bench.labels.values[bench.dataset.rows(np.concatenate([bench.train, bench.validation, bench.test]))]
    identities = [*sorted(bench.features(source, 0).key() for source in bench.sources), checksum(values)]
    key = bench.request.model_copy(update={"dataset": f"{bench.request.dataset}:{':'.join(identities)}"}).key()
    facts = {
        "format": FORMAT,
        "key": key,
        "name": f"{bench.card.name} on {bench.dataset.name}" + (f": {bench.labels.name}" if len(bench.dataset.label_sets) > 1 else ""),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": json.loads(bench.request.canonical()),
        "card": bench.card.model_dump(mode="json"),
        "classes": list(bench.labels.classes),
        "levels": _levels(bench),
        "shown": [f"{image:016x}" for image in shown],
        "pictured": [bench.labels.classes[k] for k in pictured],
        "receipt": receipt(bench, spent),
        "results": results,
        **(more or {}),
    }
    files = {
        "curve.parquet": curve.to_parquet(index=False),
        "draws.parquet": draws.to_parquet(index=False),
        "correct.safetensors": save(packed),
        "heads.safetensors": heads(bench, gathered[0]),
        "logits.safetensors": logits(bench, gathered, results),
        "strip.png": picture,
        **_confusion(gathered),
        **extra,
    }
    return write_study(bench.store.root / "studies" / key, facts, files)


def _packed(right: np.ndarray) -> np.ndarray:
    """Which images are right (..., n) as bits; what R² is the mean of in half precision."""
    return np.packbits(right, axis=-1) if right.dtype == bool else right.astype(np.float16)


def _confusion(gathered: list[Gathered]) -> dict[str, bytes]:
    kept = {
        f"{part.per_class}/{name.removeprefix('model/')}": table.astype(np.int32)
        for part in gathered
        for name, table in part.confusion.items()
        if name.startswith("model/")
    }
    return {CONFUSION: save(kept)} if kept else {}


def _kept(part: Gathered, results: Mapping[str, Any]) -> list[str]:
    """The curves whose right and wrong answers stay with the study: all, but of random weights only the best block's."""
    best = results[str(part.per_class)]["short"]["series"].get("random")
    return [name for name in part.correct if not name.startswith("random/") or name == best]


def _dimensions(bench: Bench) -> dict[str, int]:
    """How many numbers a probe reads, by `block/pooling`."""
    series = [one for one in bench.series(bench.request.labels_per_class[0]) if one.source == "model"]
    limit = bench.request.pca or sys.maxsize
    return {one.tensor: min(limit, width(bench, one.source, one.tensor)) for one in series}


def _levels(bench: Bench) -> list[dict[str, float]]:
    steps = bench.schedule.timestep(torch.tensor(bench.sigmas, dtype=torch.float64)).tolist()
    more = {"latent": 1.0} if bench.card.space == "latent" else {}  # the units of σ
    return [{"sigma": s, "timestep": t, "log_snr": -2 * float(np.log(s)), **more} for s, t in zip(bench.sigmas, steps, strict=True)]


def receipt(bench: Bench, spent: Mapping[str, Any]) -> dict[str, Any]:
    """Everything one needs to say how the numbers came about."""
    request = bench.request
    return {
        "protocol": PROTOCOL,
        "model": bench.card.name,
        "revision": bench.card.identity,
        "dataset": bench.dataset.name,
        "dataset_identity": bench.dataset.identity,
        "skipped": list(bench.dataset.skipped[:20]),
        "skipped_count": len(bench.dataset.skipped),
        "duplicates": bench.dataset.duplicates,
        "resized": bench.dataset.resized,
        "unlabelled": int((bench.labels.values < 0).sum()),
        "label_set": bench.labels.name,
        "input": request.input,
        "condition": request.condition,
        "poolings": list(request.poolings),
        "head": bench.head,
        "measure": "r2" if bench.continuous else "accuracy",
        "gflop": gflop(bench.model, request.blocks or (), request.condition),
        "dimensions": _dimensions(bench),
        "eps_draws": request.eps_draws,
        "seed": request.seed,
        "n_train_pool": len(bench.train),
        "n_validation": len(bench.validation),
        "n_test": len(bench.test),
        "precision": request.precision,
        "intervals": INTERVALS,
        "device": describe_device(bench.device),
        "packages": {name: version(name) for name in (*PACKAGES, *(["transformers"] if bench.encoders else []))},
        **({"encoders": [encoder.facts() for encoder in bench.encoders]} if bench.encoders else {}),
        **spent,
    }
