"""What a study of memorization found: its tables, verdicts and sentence, kept beside its runs."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from .crew import Between, still_wanted
from .memorization import FRESH, Look, MemorizationRequest
from .memorization_curves import Curves, table
from .memorization_generation import Generation, seconds
from .memorization_look import first_level
from .memorization_run import material_of, open_weights, reference_of
from .memorized import FORMAT, WATCHED, Memorized, open_memorized
from .report import PACKAGES
from .specs import INTERVALS, PROTOCOL
from .store import writing
from .verdict import Shape

FURTHER = ("sharing", "encoder")  # tables that are no look's, made when they are asked for


def report(request: MemorizationRequest, folder: Path, device: str = "cpu", between: Between = still_wanted) -> Memorized:
    """Gather what the looks of a study found, judge it, and write it down. Raises DamagedFile where a look is not there.

    `between` is called many times on the way; what it raises ends the work.
    """
    material = material_of(request.canonical())
    model = open_weights(request, folder, Look(str(request.sizes[-1]), 0, request.seen[-1], "ema"))
    curves = Curves(request, folder, model.card.blocks, len(material.test))
    head, rising, chance = curves.headline(), curves.rising(), 1 / len(material.labels.classes)
    generation = Generation(material, folder, device)
    every, asked = range(len(model.card.blocks)), list(dict.fromkeys([head, rising]))
    verdicts, differences = [], []
    for place in every:
        between()
        verdicts += curves.verdicts(place)
        differences += curves.differences(place)
    at = {(one["block"], one["size"], one["seen"]): one for one in verdicts if (one["weights"], one["labelled"]) == ("ema", "outside")}
    for (size, seen), place in curves.watched().items():
        name = model.card.blocks[place].name
        verdicts.append(at[name, size, seen] | {"block": WATCHED, "of": name})
    tables = {"curve": table(curves, model.schedule, chance)} | generation.tables(between)
    files = {f"{name}.parquet": parquet(found) for name, found in tables.items()}
    files |= {"samples.safetensors": generation.shown(), "correct.safetensors": curves.kept(head, rising)}
    spent, hardware = seconds(request, folder)
    steps = {row.sigma: row.timestep for row in tables["curve"].itertuples()}
    facts = {
        "format": FORMAT,
        "key": request.key(),
        "name": f"{material.dataset.name}: {material.labels.name}, {len(request.sizes)} training sets",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "asked": json.loads(request.canonical()),
        "request": json.loads(request.canonical())
        | {"sizes": curves.sizes, "seeds": list(range(request.seeds)), "label_set": material.labels.name},
        "levels": [
            {"sigma": s, "timestep": steps[s], "log_snr": row} for s, row in zip(curves.sigmas.tolist(), _log_snr(curves), strict=True)
        ],
        "blocks": [block.model_dump(mode="json") for block in model.card.blocks],
        "headline": {
            "block": model.card.blocks[head].name,
            "pooling": "1",
            "chosen_by": f"validation images, in the networks trained on {_images(curves.sizes[-1])}, at the last moment: the block that reads "
            "them best at its best level; all other networks are read in the same block",
        },
        "rising": {
            "block": model.card.blocks[rising].name,
            "chosen_by": "the same validation images and networks: the block in which they gain most over the lowest level",
        },
        "classes": list(material.labels.classes),
        "chance": chance,
        "n_test": curves.n_test,
        "n_validation": len(material.validation),
        "n_labelled": len(material.draw(0, 0)),
        "endless": material.endless,
        "network": {"parameters": model.card.parameters, "recipe": json.loads(request.spec.canonical())},
        "reference": reference_of(request),
        "samples_from": first_level(model, request.sample_steps),
        "hardware": hardware,
        "seconds": round(spent),
        "verdicts": verdicts,
        "differences": differences,
        "peaks": curves.peaks(),
        "sentence": "\n\n".join(sentence(curves.sizes, request.seen[-1], verdicts, model.card.blocks[place].name) for place in asked),
        "expected": {"why": why(curves, differences, asked)},
        "protocol": PROTOCOL,
        "intervals": INTERVALS,
        "packages": {name: version(name) for name in PACKAGES},
    }
    further, sums = _further(folder)
    return write(folder, facts | further, files, sums)


def _further(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What was added to a study after its tables were first made, and is whole: facts, and checksums of files."""
    try:
        before = json.loads((folder / "memorization.json").read_text())
        files = {name: before["files"][f"{name}.parquet"] for name in FURTHER if name in before}
        whole = {name for name, told in files.items() if hashlib.sha256((folder / f"{name}.parquet").read_bytes()).hexdigest() == told}
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}
    return {name: before[name] for name in sorted(whole)}, {f"{name}.parquet": files[name] for name in sorted(whole)}


def write(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes], others: Mapping[str, str] | None = None) -> Memorized:
    """Write tables, then what names them, and `others` with their checksums: a folder with a `memorization.json` is whole. Raises StoreUnavailable."""
    for name, data in files.items():
        with writing(folder / name) as temporary:
            temporary.write_bytes(data)
    sums = {**(others or {}), **{name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}
    with writing(folder / "memorization.json") as temporary:
        temporary.write_text(json.dumps({**facts, "files": sums}, indent=1, allow_nan=False) + "\n")
    return open_memorized(folder)


SHAPES: Mapping[Shape, str] = {
    "unimodal": "is unimodal",
    "decreasing": "only falls",
    "flat": "is flat",
    "increasing": "rises",
    "multimodal": "has two peaks",
    "undecided": "is undecided",
}


def sentence(sizes: list[str], seen: int, verdicts: list[dict[str, Any]], block: str) -> str:
    """The finding of a block: the curves of the largest and the smallest set after as many images."""
    found = {(one["block"], one["size"], one["seen"], one["weights"], one["labelled"]): one for one in verdicts}
    told = []
    for size in dict.fromkeys([sizes[-1], sizes[0]]):
        one = found[block, size, seen, "ema", "outside"]
        gain = f"gain {_points(one['gain'], *one['gain_ci'])}; at most {100 * one['peak_accuracy']:.1f} %"
        told.append(f"{SHAPES[one['shape']]} in networks trained on {_images(size)} ({gain})")
    return f"In block {block}, after {seen:,} training images, accuracy over noise {' and '.join(told)}."


def why(curves: Curves, differences: list[dict[str, Any]], asked: list[int]) -> str:
    """What stands behind a difference of gains that is not shown: how seeds differ, and where it was seen on the way."""
    large, told = curves.sizes[-1], []
    for place in asked:
        block = curves.blocks[place].name
        mine = [
            one for one in differences if (one["block"], one["size"], one["weights"], one["labelled"]) == (block, large, "ema", "outside")
        ]
        if not mine or mine[-1]["low"] > 0:
            continue
        seeds = ", ".join(f"{100 * gap:+z.1f}" for gap in curves.by_seed(place))
        told.append(
            f"In block {block} the seeds by themselves differ by {seeds} points: there are too few for what parts them." if seeds else ""
        )
        if shown := [one for one in mine[:-1] if one["low"] > 0]:
            moments = "; ".join(
                f"after {one['seen']:,} images {_points(one['difference'], one['low'], one['high'], signed=True)}" for one in shown
            )
            told[-1] += f" On the way it was seen: {moments} (of {len(mine)} moments, not corrected for their number)."
    return "\n\n".join(filter(None, told))


def _images(size: str) -> str:
    return "images that are new at every step" if size == FRESH else f"{int(size):,} images"


def _points(value: float, low: float, high: float, signed: bool = False) -> str:
    told = f"{100 * value:+z.1f}" if signed else f"{100 * value:z.1f}"
    return f"{told} points, 95 % interval {100 * low:z.1f} to {100 * high:z.1f}"


def _log_snr(curves: Curves) -> list[float]:
    import numpy as np

    return (-2 * np.log(curves.sigmas)).tolist()


def extend(folder: Path, facts: Mapping[str, Any], files: Mapping[str, bytes]) -> Memorized:
    """A study with further facts and files. Raises StoreUnavailable; what is there stands."""
    study = open_memorized(folder)
    return write(folder, {**study.facts, **facts}, files, study.facts["files"])


def parquet(found: pd.DataFrame) -> bytes:
    """A table as the bytes of a file."""
    buffer = io.BytesIO()
    found.to_parquet(buffer, index=False)
    return buffer.getvalue()
