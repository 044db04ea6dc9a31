from __future__ import annotations

import numpy as np
import pytest
import torch

from analysis import views
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset, image_ids
from analysis.errors import InvalidRequest
from analysis.features import load_x0, read_features
from analysis.noise import noise_like
from analysis.readout import Readout, of_study
from analysis.studies import Study


@pytest.fixture(scope="module")
def readout(small_study: Study) -> Readout:
    return of_study(small_study)


@pytest.fixture
def image(digits: Dataset) -> np.ndarray:
    return digits.images[3]


def test_a_view_reads_what_a_sweep_would(tiny: Backend, readout: Readout, digits: Dataset, image: np.ndarray) -> None:
    found, ids = views.view(tiny, readout, image)[0], image_ids(image[None])
    x0 = load_x0(digits, ids, tiny)
    eps = noise_like(x0, ids.tolist(), 0, 0)
    for level, sigma in enumerate(readout.sigmas):
        swept = read_features(tiny, ["up0.res0/1"], x0, eps, sigma, 1)["up0.res0/1"].numpy()
        np.testing.assert_allclose(found["feature/up0.res0"][level], swept[0], atol=1e-5)
        np.testing.assert_allclose(found["logits/up0.res0"][level], readout.logits(level, "up0.res0", swept)[0], atol=1e-4)


def test_the_mean_of_a_class_activation_map_is_the_logit(tiny: Backend, readout: Readout, image: np.ndarray) -> None:
    maps, features, _ = views.grid(tiny, readout, image)
    for block in readout.blocks:
        for level in range(len(readout.sigmas)):
            logits = readout.logits(level, block, features[block][level].mean((0, 1)).numpy()[None])[0]
            np.testing.assert_allclose(maps[block][level].mean((0, 1)), logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())


def test_the_error_is_that_of_the_posterior_mean(tiny: Backend, readout: Readout, image: np.ndarray) -> None:
    x0, levels, x = views.noised(tiny, image, readout.sigmas, 0, 0)
    with torch.inference_mode():
        made = tiny.denoise(x, levels)
    np.testing.assert_allclose(views.view(tiny, readout, image)[0]["error"], ((made - x0) ** 2).mean((1, 2, 3)), rtol=1e-5)


def test_colours_are_the_principal_components_and_the_same_each_time(tiny: Backend, readout: Readout, image: np.ndarray) -> None:
    first, again = (views.view(tiny, readout, image)[1]["mid.res1"] for _ in range(2))
    assert (views.colours(first) == views.colours(again)).all()
    ramp = torch.arange(24.0).reshape(2, 2, 2, 3)
    found = views.colours(ramp)
    assert (np.diff(found[..., 0].ravel().astype(int)) > 0).all()  # the one direction there is, upwards


def test_the_first_of_several_draws_is_the_views(tiny: Backend, readout: Readout, image: np.ndarray) -> None:
    found = views.read(tiny, readout, image, 0, 5)
    np.testing.assert_allclose(found["error"][0], views.view(tiny, readout, image)[0]["error"], rtol=1e-4)
    assert found["mean/mid.res1"].shape == (3, 10)
    np.testing.assert_allclose(found["mean/mid.res1"].sum(-1), 1, atol=1e-5)


def test_an_ensemble_is_the_mean_of_logits_each_of_its_own_draw() -> None:
    logits = np.zeros((5, 3, 2))
    for draw in range(5):
        for level in range(3):
            logits[draw, level, 0] = 10 * draw + level
    # at level 0 members are levels 0, 1, 2 with draws 2, 3, 4: 20, 31, 42
    expected = np.exp([31.0, 0.0]) / np.exp([31.0, 0.0]).sum()
    np.testing.assert_allclose(views.ensemble(logits)[0], expected)


def test_an_image_of_another_size_is_refused(tiny: Backend, readout: Readout) -> None:
    with pytest.raises(InvalidRequest, match=r"allowed for .*: \(8, 8, 3\) uint8"):
        views.view(tiny, readout, np.zeros((9, 8, 3), np.uint8))


def test_too_few_draws_for_an_ensemble_are_refused(tiny: Backend, readout: Readout, image: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="at least 5"):
        views.read(tiny, readout, image, 0, 4)
