"""What reads a study again reads in the precision it was measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, load_file, save

from analysis import sources, views
from analysis.answers import Answers
from analysis.atlas import Atlas
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.errors import InvalidRequest
from analysis.features import read_features
from analysis.generated import generate, model_of
from analysis.known import pictures
from analysis.noise import noise_like
from analysis.planning import Bench
from analysis.readout import of_study
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import GAUGE, Study
from analysis.sweeping import sweep, sweep_all

from .conftest import SMALL

BLOCK = "up0.res0"
NEAR = 0.2  # of what the precision changes: another batch size changes what is rounded up and what down, in few places


@pytest.fixture(scope="module")
def half(tiny_folder: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    """A study in bfloat16."""
    store = Store(tmp_path_factory.mktemp("half"))
    asked: dict[str, Any] = SMALL | {"levels": 3, "label_draws": 2, "baselines": False, "precision": "bfloat16"}
    return sweep(SweepRequest(backend=str(tiny_folder), **asked), store), store


def nearer(found: np.ndarray, wanted: np.ndarray, other: np.ndarray) -> None:
    """The differences from `wanted` are a small part of those between the precisions."""
    gap = np.linalg.norm(wanted - other)
    assert gap > 1e-5 * np.linalg.norm(wanted)  # the precision is seen at all
    assert np.linalg.norm(found - wanted) < NEAR * gap


def stored(bench: Bench, level: float, ids: np.ndarray) -> np.ndarray:
    return bench.store.cell(bench.features("model", 0), level, BLOCK, "1", ids)


def in_float32(study: Study, bench: Bench, level: float, ids: np.ndarray) -> np.ndarray:
    model = open_backend(study.facts["request"]["backend"])
    images = bench.dataset.images[bench.dataset.rows(ids)]
    x0 = model.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1)
    name = f"{BLOCK}/1"
    return read_features(model, [name], x0, noise_like(x0, ids.tolist(), bench.request.seed, 0), level, 64)[name].numpy()


def test_a_model_at_another_precision_is_the_same_network_and_the_same_object_while_it_is_held(tiny: Backend) -> None:
    lower = tiny.at("bfloat16")
    assert (lower.precision, tiny.precision) == ("bfloat16", "float32")
    assert lower.net is tiny.net
    assert tiny.at("bfloat16") is lower is lower.at("bfloat16")
    assert lower.at("float32") is tiny.at("float32") is tiny


def test_pooled_features_are_summed_and_given_in_float32(tiny: Backend) -> None:
    x = torch.randn(2, 1, 8, 8)
    for pooling in ("1", "2", "gem"):
        name = f"{BLOCK}/{pooling}"
        found = read_features(tiny.at("bfloat16"), [name], x, None, 0.3, 2)[name]
        assert not torch.equal(found, found.bfloat16().float())


def test_runs_of_two_precisions_that_share_a_model_are_each_of_their_own(request_small: SweepRequest, store: Store) -> None:
    asked = [request_small.model_copy(update={"baselines": False, "precision": name}) for name in ("float32", "bfloat16")]
    whole, lower = sweep_all(asked, store)
    assert whole.key != lower.key
    assert lower.facts["receipt"]["passes"] == whole.facts["receipt"]["passes"] > 0  # nothing is shared
    bench = Bench(asked[1], store, like=Bench(asked[0], store))
    assert bench.features("model", 0).precision == bench.model.precision == "bfloat16"


def test_ones_own_image_is_read_as_the_study_was(half: tuple[Study, Store]) -> None:
    study, store = half
    own = Answers(store, "cpu", 0)
    bench = own.own.bench(study)
    assert bench is not None
    ids, levels = bench.test[:1], [level["sigma"] for level in study.facts["levels"]]
    image = bench.dataset.images[bench.dataset.rows(ids)][0]
    _, back = own({"ask": "view", "study": study.key}, save({"image": image}))
    found = load(back)[f"feature/{BLOCK}"]
    wanted, other = (
        np.concatenate([read(level) for level in levels])
        for read in (lambda s: stored(bench, s, ids), lambda s: in_float32(study, bench, s, ids))
    )
    nearer(found, wanted, other)


def test_the_gallery_and_the_maps_are_read_as_the_study_was(half: tuple[Study, Store], tmp_path: Any) -> None:
    study, store = half
    model = model_of(study.facts["request"]["backend"], [study])
    assert model.precision == "bfloat16"
    assert Atlas(study, store, Answers(store, "cpu", 0).own.bench(study), model).features_of.precision == "bfloat16"
    made = generate(study, study.facts["request"]["backend"], count=12, steps=2)
    kept, name = load_file(made.path("generated.safetensors")), made.facts["generated"]["tensor"]
    assert Atlas(made, store, None, model).features_of.precision == "bfloat16"
    images, level = pictures(made), made.facts["levels"][0]["sigma"]
    x0 = model.encode(torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1)
    eps = noise_like(x0, kept["ids"].tolist(), made.facts["receipt"]["seed"], 0)
    wanted, other = (read_features(one, [name], x0, eps, level, 64)[name].numpy() for one in (model, model.at("float32")))
    nearer(kept[f"0/{name}"].astype(np.float32), wanted, other)


def test_errors_of_held_out_images_are_those_of_ones_own_image(half: tuple[Study, Store]) -> None:
    """How at home an image is, is told by comparing the two: both are of one precision."""
    study, store = half
    own = Answers(store, "cpu", 0)
    bench = own.own.bench(study)
    assert bench is not None
    errors = load_file(study.path(GAUGE))
    row = int(np.flatnonzero(errors["ids"] == bench.test[0])[0])
    image = bench.dataset.images[bench.dataset.rows(bench.test[:1])][0]
    found = load(own({"ask": "view", "study": study.key}, save({"image": image}))[1])["error"]
    other = views.view(open_backend(study.facts["request"]["backend"]), of_study(study), image)[0]["error"]
    nearer(found, errors["errors"][:, row], other)


def test_studies_of_two_precisions_are_not_read_in_one_pass(half: tuple[Study, Store], small_study: Study) -> None:
    with pytest.raises(InvalidRequest, match="one precision at a time"):
        model_of(small_study.facts["request"]["backend"], [half[0], small_study])


def test_random_weights_are_read_as_the_model_is(request_small: SweepRequest) -> None:
    found = sources.open_sources(request_small.model_copy(update={"precision": "bfloat16"}), "cpu")
    assert {one.precision for one in found.values() if isinstance(one, Backend)} == {"bfloat16"}
