"""What the tests of engines share: a command, and what a store holds, to be compared."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from .conftest import SMALL

Features = dict[tuple[str, str, str], dict[int, np.ndarray]]


def command(model: Path, store: Path, *extra: str) -> list[str]:
    """A small sweep."""
    blocks = [word for block in SMALL["blocks"] for word in ("--block", block)]
    options = ["--levels", "3", "--label-draws", "4", "--n-train", "300", "--n-validation", "60", "--n-test", "80", "--json", *extra]
    return [sys.executable, "-m", "analysis", "sweep", "--backend", str(model), *blocks, *options, "--store", str(store)]


def whole(root: Path) -> list[Path]:
    """The units that are there."""
    return [path for path in root.rglob("[!.]*.safetensors") if "studies" not in path.parts]


def features(root: Path) -> Features:
    """{(key, level, tensor): {image id: row}}; no image may be there twice."""
    found: Features = {}
    for path in whole(root):
        kind, key, level = path.relative_to(root).parts[:3]
        if kind != "features":
            continue
        tensors = load_file(path)
        ids = tensors.pop("ids").tolist()
        for name, rows in tensors.items():
            there = found.setdefault((key, level, name), {})
            assert not set(ids) & set(there), f"{path} has images that another unit has"
            there.update(zip(ids, rows, strict=True))
    return found


def same(one: Features, other: Features) -> None:
    """Equal to 1e-5 of the largest number of each tensor: what batch sizes and machines may differ by."""
    assert one.keys() == other.keys()
    for key, rows in one.items():
        assert rows.keys() == other[key].keys()
        ids = list(rows)
        first, second = (np.stack([found[i] for i in ids]) for found in (rows, other[key]))
        np.testing.assert_allclose(second, first, rtol=0, atol=1e-5 * float(np.abs(first).max()))
