from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from analysis import gauge, uploads, views
from analysis.backends import open_backend
from analysis.datasets.base import Dataset
from analysis.errors import NoisescopeError
from analysis.planning import Bench
from analysis.readout import of_study
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study


def test_a_rank_counts_what_is_below_and_half_of_what_is_equal() -> None:
    assert gauge.rank(np.array(2.0), np.array([1.0, 2.0, 3.0, 4.0])) == 37.5


def test_held_out_images_themselves_are_spread_over_all_percentiles() -> None:
    known = np.exp(np.random.default_rng(0).normal(size=(5, 400)))
    found = [gauge.compare(known[:, i], known).percentile for i in range(400)]
    assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx([10, 50, 90], abs=1)


def test_an_image_with_errors_far_beyond_all_is_foreign_and_one_far_below_simple() -> None:
    known = np.exp(np.random.default_rng(0).normal(size=(5, 200)))
    assert gauge.compare(known.max(1) * 2, known).kind == "foreign"
    assert gauge.compare(known.min(1) / 2, known).kind == "simple"
    assert gauge.compare(np.median(known, 1), known).kind == "usual"


def test_a_study_keeps_the_errors_of_its_test_images(small_study: Study, request_small: SweepRequest, store: Store) -> None:
    found, bench = gauge.held_out(small_study), Bench(request_small, store)
    assert found is not None
    assert found.shape == (3, 80)
    view = views.view(bench.model, of_study(small_study), bench.dataset.images[bench.dataset.rows(bench.test[4:5])][0])[0]
    np.testing.assert_allclose(found[:, 4], view["error"], rtol=1e-4)


def test_a_study_of_clean_input_keeps_none(request_small: SweepRequest, store: Store) -> None:
    bench = Bench(request_small.model_copy(update={"input": "clean"}), store)
    assert len(bench.held_out) == 0


@pytest.mark.parametrize("fits", [7, 0])
def test_where_memory_is_short_a_smaller_batch_is_tried_and_kept(
    request_small: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch, fits: int
) -> None:
    bench, sizes = Bench(request_small, store), []
    real = bench.model.denoise

    def small(x: torch.Tensor, *rest: object) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > fits:
            raise torch.OutOfMemoryError
        return real(x, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench.model, "denoise", small)
    asks = (store, bench.model, bench.dataset, bench.errors, bench.sigmas[0], bench.held_out, bench.settings)
    if not fits:
        with pytest.raises(NoisescopeError, match="too little memory for one image"):
            gauge.fill(*asks)
        return
    assert gauge.fill(*asks) == 80
    assert sizes[:4] == [64, 32, 16, 8]
    assert set(sizes[4:]) == {4}
    assert (store.folder("errors", bench.errors) / "identity.json").exists()


def test_errors_that_are_stored_are_not_measured_again(small_study: Study, request_small: SweepRequest, store: Store) -> None:
    bench = Bench(request_small, store)
    assert all(bench.extract(sigma, 0) for sigma in bench.sigmas)
    assert bench.extract(bench.sigmas[0], 0) == 0
    for unit in store.units("errors", bench.errors, bench.sigmas[0]):
        unit.path.unlink()
    assert bench.extract(bench.sigmas[0], 0) == 80  # they alone
    again = load(gauge.collect(store, bench.errors, bench.sigmas, bench.held_out))["errors"]
    assert (again == gauge.held_out(small_study)).all()


def test_digits_are_at_home_in_a_model_of_digits_and_noise_is_not(digits: Dataset) -> None:
    study = find_study("digits")
    model, readout, known = open_backend("digits-ddpm"), of_study(study), gauge.held_out(study)
    assert known is not None
    rows = digits.rows(digits.members("test")[-40:])  # other test images than the 200 that were kept
    found = [gauge.compare(views.view(model, readout, image)[0]["error"], known).percentile for image in digits.images[rows]]
    assert 30 < np.mean(found) < 70  # uniform: 50 with a standard error of 4.6
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    assert gauge.compare(views.view(model, readout, noise)[0]["error"], known).kind == "foreign"


@pytest.mark.parametrize(("model", "study", "foreign"), [("digits-ddpm", "digits", 12), ("cifar10-ddpm", "cifar10", 0)])
def test_photographs_are_foreign_to_a_model_of_digits_and_not_to_one_of_photographs(model: str, study: str, foreign: int) -> None:
    folder = Path(os.environ.get("NOISESCOPE_TEST_DATA", "nowhere")) / "photos"
    if not folder.is_dir():
        pytest.skip("no photographs on this machine: set NOISESCOPE_TEST_DATA")
    backend, known, found = open_backend(model), gauge.held_out(find_study(study)), []
    assert known is not None
    for path in sorted(folder.iterdir()):
        image = uploads.frame(uploads.read(path.read_bytes()).pixels, backend.card.resolution)
        found.append(gauge.compare(views.view(backend, of_study(find_study(study)), image)[0]["error"], known).kind)
    assert found.count("foreign") == foreign
