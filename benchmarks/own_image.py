"""One's own image: class activation maps of every block, and everything from upload to neighbours, over bare forward passes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load, save

from analysis import panels, uploads, views
from analysis.backends import open_backend
from analysis.lane import ask
from analysis.readout import Readout, of_study
from analysis.studies import find_study

from .measure import Measured, cpu, measure
from .two_lanes import working

STUDY, MODEL, BLOCK, LEVEL = "shapes-hue", "shapes-ddpm", "up1.res1", 6
PASSES, ROUNDS = 10, 5


def _image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def _bare(readout: Readout) -> Callable[[], None]:
    """All 16 levels of one image in one batch through the network, nothing else."""
    model = open_backend(MODEL)
    _, levels, x = views.noised(model, _image(0), readout.sigmas, 0, 0)

    def work() -> None:
        with torch.inference_mode():
            model.denoise(x, levels)

    return work


def maps() -> Measured:
    """CPU seconds of the class activation maps of all blocks and classes at 16 levels over those of the 16 bare passes."""
    torch.set_num_threads(1)
    readout, model, image = of_study(find_study(STUDY)), open_backend(MODEL), _image(0)
    bare = _bare(readout)

    def ours() -> None:
        views.grid(model, readout, image)

    def many(work: Callable[[], None]) -> Callable[[], None]:
        return lambda: [work() for _ in range(PASSES)] and None

    ours(), bare()
    details = {
        "model": MODEL,
        "blocks": len(readout.blocks),
        "classes": len(readout.classes),
        "unit": f"CPU seconds of {PASSES} times, one thread; the 16 levels are one batch on both sides",
    }
    return measure(cpu(many(bare)), cpu(many(ours)), ROUNDS, lambda cost: cost, details)


def strip() -> Measured:
    """Seconds from a photograph's bytes to strip, class curves and neighbours with a warm worker, over 16 bare forward passes."""
    torch.set_num_threads(1)
    study = find_study(STUDY)
    readout = of_study(study)
    bare, turn = _bare(readout), [0]

    def passes() -> float:
        started = time.perf_counter()
        bare()
        return time.perf_counter() - started

    with working() as root:

        def ours() -> float:
            turn[0] += 1
            photo = _photo(turn[0])
            started = time.perf_counter()
            _whole(root, study.key, photo, readout)
            return time.perf_counter() - started

        ours(), passes()
        details = {
            "model": MODEL,
            "photograph": "JPEG of 500 × 375 pixels",
            "unit": "seconds of the clock; the 16 passes are one batch in this process",
            "one_by_one": round(_one_by_one(readout), 4),
        }
        return measure(passes, ours, 15, lambda cost: cost, details)


def _photo(seed: int) -> bytes:
    out = io.BytesIO()
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (15, 20, 3)).astype(np.uint8))
    small.resize((500, 375), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def _whole(root: Path, key: str, photo: bytes, readout: Readout) -> None:
    """What the page does: read, cut, ask, lay out the strip, and ask for neighbours."""
    image = uploads.frame(uploads.read(photo).pixels, 16)
    said, back = ask(root, "cpu", {"ask": "view", "study": key}, data=save({"image": image}))
    found = load(back)
    panels.sheet([found["seen"], found["made"]], 64)
    question = {"ask": "neighbours", "study": key, "level": LEVEL, "block": BLOCK, "count": 8, "metric": "cosine"}
    feature = save({"feature": np.ascontiguousarray(found[f"feature/{BLOCK}"][LEVEL : LEVEL + 1])})
    while "left" in (told := ask(root, "cpu", question, data=feature)[0]):  # the first time at a level, known images are read
        pass
    assert len(told["names"]) == 8
    assert said["fit"] is not None
    assert found[f"logits/{BLOCK}"].shape == (len(readout.sigmas), len(readout.classes))


def _one_by_one(readout: Readout) -> float:
    """Seconds of 16 forward passes of one image each, for comparison."""
    model = open_backend(MODEL)
    _, levels, x = views.noised(model, _image(0), readout.sigmas, 0, 0)
    started = time.perf_counter()
    with torch.inference_mode():
        for i in range(len(levels)):
            model.denoise(x[i : i + 1], levels[i : i + 1])
    return time.perf_counter() - started
