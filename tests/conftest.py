"""What the tests share: a tiny random model on disk, a store that is thrown away, and one small finished sweep."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.heads.attention import Attention
from analysis.heads.cnn import CNN
from analysis.heads.mlp import MLP
from analysis.recipes import recipe
from analysis.release import export
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study
from analysis.trained import Training
from analysis.training import Run

torch.set_num_threads(1)

TINY = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "block_out_channels": [8, 8],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
SMALL = {
    "levels": 3,
    "blocks": ("mid.res1", "up0.res0"),
    "label_draws": 4,
    "n_train": 300,
    "n_validation": 60,
    "n_test": 80,
}


@pytest.fixture(scope="session", autouse=True)
def nobodys_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test writes to the user's data folder, nor a thread of the app that ends after the last of them."""
    os.environ.setdefault("NOISESCOPE_STORE", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return open_dataset("digits")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """A model of a few thousand random weights, as `train` writes one."""
    folder = tmp_path_factory.mktemp("tiny")
    export(Run(recipe("digits-ddpm", network=TINY, steps=1), digits), folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> Backend:
    return open_backend(str(tiny_folder))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default store is one that is thrown away."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained heads so narrow that a fit takes a second."""
    for head, width in ((MLP, 64), (CNN, 32), (Attention, 32)):
        monkeypatch.setattr(head, "width", width)
        monkeypatch.setattr(head, "penalties", (1.0, 0.1))
        monkeypatch.setattr(head, "training", Training(rate=3e-3, least=100, epochs=10, batch=64))


@pytest.fixture
def request_small(tiny_folder: Path) -> SweepRequest:
    return SweepRequest(backend=str(tiny_folder), **SMALL)


@pytest.fixture
def plain(tiny_folder: Path) -> SweepRequest:
    """What can be carried out without a store."""
    asked = SMALL | {"head": "ridge", "label_draws": None, "eps_draws": 2, "labels_per_class": (5, "all"), "baselines": False}
    return SweepRequest(backend=str(tiny_folder), **asked)


@pytest.fixture(scope="session")
def small_study(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    from analysis.sweeping import sweep

    request = SweepRequest(backend=str(tiny_folder), **SMALL)
    return sweep(request, Store(tmp_path_factory.mktemp("swept")), processes=0)
