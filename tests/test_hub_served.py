"""A data set on the hub, opened through the libraries' real code from a small server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standin import Standin
from tests.test_decoded import PIXELS, png, table

ROOT = Path(__file__).parent.parent


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Standin]:
    """A hub with one data set, somebody/pets, that has two splits, one of them of a name of its own."""
    files = {}
    for name, part in (("train", slice(0, 30)), ("extra", slice(30, 40))):
        labels = ["x", "y"] * (len(PIXELS[part]) // 2)
        files[f"data/{name}.parquet"] = table(
            tmp_path / f"{name}.parquet", [png(image) for image in PIXELS[part]], kind=labels
        ).read_bytes()
    paths = [f"  - {{split: {name}, path: data/{name}.parquet}}\n" for name in ("train", "extra")]
    files["README.md"] = f"---\nconfigs:\n- config_name: default\n  data_files:\n{''.join(paths)}---\n".encode()
    standin = Standin()
    standin.repo("somebody/pets", files, "dataset")
    yield standin
    standin.close()


def opened(home: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        f"from analysis.datasets import open_dataset; data = open_dataset({name!r}, 8); "
        "print(data.identity, data.name, data.revision, len(data.ids), (data.split == 'test').sum(), *data.label_sets)"
    )
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    kept |= {"HF_HOME": str(home / "hf"), "NOISESCOPE_STORE": str(home / "store"), "HF_HUB_DISABLE_XET": "1"} | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=kept, check=False)


@pytest.mark.slow
def test_a_data_set_of_the_hub_is_opened_and_is_there_again_without_a_network(tmp_path: Path, hub: Standin) -> None:
    name = "somebody/pets?test=extra"
    first = opened(tmp_path, name, HF_ENDPOINT=hub.endpoint)
    assert first.returncode == 0, first.stderr
    commit = hub.repos["dataset", "somebody/pets"].branches["main"]
    assert first.stdout.split()[1:] == ["somebody/pets", commit, "40", "10", "kind"]
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()}
    assert len(changed) == 2
    for environment in ({"HF_ENDPOINT": hub.endpoint}, {"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        again = opened(tmp_path, name, **environment)
        assert again.stdout == first.stdout, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()} == changed  # decoded once


def test_one_that_is_not_there_is_one_sentence(tmp_path: Path, hub: Standin) -> None:
    done = opened(tmp_path, "somebody/else", HF_ENDPOINT=hub.endpoint)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("analysis.errors.InvalidData: The data set 'somebody/else' cannot be opened (")
