"""What every plug-in of a kind must do, over the registries."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from analysis import catalog, probing, registry
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset, image_ids
from analysis.heads.base import ProbeHead

models = pytest.mark.parametrize("name", catalog.models())
sets = pytest.mark.parametrize(
    "name", [name for name in registry.names("datasets") if name not in ("hub", "zip")]
)  # a place is tested in test_hub


@models
def test_a_bundled_model_says_where_it_comes_from(name: str) -> None:
    assert catalog.card(name).license
    assert catalog.card(name).training["seed"] is not None


@models
def test_a_bundled_model_denoises_better_than_leaving_the_noise(name: str) -> None:
    backend = open_backend(name)
    name = backend.card.training["data"]
    if name not in registry.names("datasets"):
        if "NOISESCOPE_TEST_DATA" not in os.environ:
            pytest.skip("NOISESCOPE_TEST_DATA does not say where the test data are")
        name = f"{os.environ['NOISESCOPE_TEST_DATA']}/{name}"
    dataset = open_dataset(name, backend.card.resolution)
    rows = torch.from_numpy(dataset.images[dataset.split == "test"][:100]).permute(0, 3, 1, 2).float() / 127.5 - 1
    x0 = backend.encode(rows)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    for sigma in (0.3, 1.0, 2.0):
        level = torch.full((100,), sigma)
        error = (backend.denoise(x0 + sigma * eps, level) - x0).square().mean()
        # Leaving the noise costs σ², answering the mean image costs the data's variance: both must be beaten.
        assert error < 0.9 * min(sigma**2, float((x0 - x0.mean(0)).square().mean()))


@sets
def test_a_data_set_is_whole(name: str) -> None:
    dataset: Dataset = open_dataset(name)
    assert dataset.images.dtype == np.uint8
    assert dataset.images.shape[-1] == 3
    np.testing.assert_array_equal(image_ids(dataset.images), dataset.ids)
    assert all((dataset.split == split).any() for split in ("train", "validation", "test"))
    for labels in dataset.label_sets.values():
        assert labels.values.shape == dataset.ids.shape
        assert set(np.unique(labels.values)) == set(range(len(labels.classes)))


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("name", [name for name in registry.names("heads") if name != "projection"])  # which tells no means apart
@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_tells_planted_classes_apart(name: str, classes: int) -> None:
    head: ProbeHead = registry.get("heads", name)()
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = (5 * np.eye(8)[labels] + rng.normal(size=(60, 8))).astype(np.float32)
    features = probing.shaped(head, features)
    fitted = head.fit(features[:30], labels[:30], classes)
    assert [f.penalty for f in fitted] == list(head.penalties)
    for one in fitted[1:] or fitted:
        logits = one.predict_logits(features[30:])
        assert logits.shape == (30, classes)
        assert (logits.argmax(1) == labels[30:]).mean() > 0.9
