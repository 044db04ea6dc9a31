"""Images that a study's model makes, and their features."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from analysis.backends import open_backend
from analysis.datasets.base import image_ids
from analysis.errors import InvalidRequest
from analysis.features import read_features
from analysis.generated import COLUMNS, generate
from analysis.noise import noise_like
from analysis.studies import Study, export_study, import_study, open_study


@pytest.fixture(scope="module")
def made(small_study: Study, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = shutil.copytree(small_study.folder, tmp_path_factory.mktemp("made") / "study")
    return generate(open_study(folder), str(tiny_folder), count=45, steps=3)


def images(study: Study) -> np.ndarray:
    page = np.asarray(Image.open(io.BytesIO(study.path("generated.png").read_bytes())))
    return page.reshape(-1, 8, COLUMNS, 8, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 8, 8, 3)[:45]


def test_the_features_are_those_of_the_images_on_the_sheet(made: Study, tiny_folder: Path) -> None:
    kept, model = load_file(made.path("generated.safetensors")), open_backend(str(tiny_folder))
    shown, sigma, name = images(made), made.facts["levels"][1]["sigma"], made.facts["generated"]["tensor"]
    np.testing.assert_array_equal(kept["ids"], image_ids(shown))
    x0 = model.encode(torch.from_numpy(shown.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1)
    eps = noise_like(x0, kept["ids"].tolist(), 0, 0)
    # Half precision keeps three digits.
    np.testing.assert_allclose(kept[f"1/{name}"], read_features(model, [name], x0, eps, sigma, 64)[name], rtol=2e-3, atol=1e-3)


def test_the_studys_own_results_stay(made: Study, small_study: Study) -> None:
    assert made.facts["results"] == small_study.facts["results"]
    assert {name: made.facts["files"][name] for name in small_study.facts["files"]} == small_study.facts["files"]


def test_it_goes_out_and_comes_in_with_the_study(made: Study, tmp_path: Path) -> None:
    export_study(made, tmp_path / "s.zip")
    again = import_study(tmp_path / "s.zip", tmp_path / "store")
    assert again.path("generated.png").read_bytes() == made.path("generated.png").read_bytes()


def test_another_model_than_the_studys_is_refused(made: Study) -> None:
    with pytest.raises(InvalidRequest, match="give that model"):
        generate(made, "digits-ddpm", count=12, steps=2)


def test_less_than_a_row_of_images_is_refused(made: Study, tiny_folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="count is 11; allowed: at least 12"):
        generate(made, str(tiny_folder), count=11)


def test_they_stand_in_for_the_datas_own_images_where_that_is_asked_for(small_study: Study, tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small_study.folder, tmp_path / "study")
    made = generate(open_study(folder), str(tiny_folder), count=12, steps=2, strip=True)
    assert made.facts["shown"] == [f"{image:016x}" for image in load_file(made.path("generated.safetensors"))["ids"][:10]]
    assert not set(made.facts["shown"]) & set(small_study.facts["shown"])
    strip, sheet = (np.asarray(Image.open(made.path(f"{name}.png")).convert("L")).astype(int) for name in ("strip", "generated"))
    for row in range(10):  # the lowest level, σ = 0.01, is the image but for a shade or two
        assert np.abs(strip[8 * row : 8 * row + 8, :8] - sheet[:8, 8 * row : 8 * row + 8]).max() <= 8
