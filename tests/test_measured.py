"""What a study says beside accuracy, of numbers, of averaged draws and of principal components; and cells that cannot be probed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.metrics import confusion_matrix, r2_score

from analysis import planning, probing
from analysis.backends.unet2d import UNet2D
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.errors import InvalidData, InvalidRequest
from analysis.features import gflop
from analysis.heads.base import Scaler
from analysis.heads.logistic import Logistic
from analysis.heads.ridge import Ridge
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study
from analysis.sweeping import sweep

RNG = np.random.default_rng(3)


def test_scores_and_confusions_are_of_the_same_images_as_accuracies(small_study: Study) -> None:
    curve, counts = small_study.table("curve"), load_file(small_study.path("confusion.safetensors"))
    right = small_study.correct()
    for name, table in counts.items():
        labels, block, pooling = name.split("/")
        assert table.shape == (3, 10, 10)
        assert (table.sum((1, 2)) == 4 * 80).all()
        np.testing.assert_array_equal(np.trace(table, axis1=1, axis2=2), right[f"{labels}/model/{block}/{pooling}"].sum((0, 2)))
    rows = curve[curve.source == "model"]
    assert rows.balanced_accuracy.between(0, 1).all()
    assert (rows.log_loss > 0).all()
    assert (rows.converged == 1).all()
    assert (rows.measure == "accuracy").all()


def test_the_truth_of_the_test_images_is_kept(small_study: Study) -> None:
    kept = load_file(small_study.path("logits.safetensors"))
    name, logits = next((name, value) for name, value in kept.items() if "/" in name)
    labels, level, block, pooling = name.split("/")
    right = small_study.correct()[f"{labels}/model/{block}/{pooling}"][0, int(level)]
    np.testing.assert_array_equal(logits.argmax(1) == kept["truth"], right)
    assert confusion_matrix(kept["truth"], logits.argmax(1)).sum() == 80


def test_later_blocks_take_more_operations_and_a_convolution_is_counted_by_hand(tiny: UNet2D) -> None:
    found = gflop(tiny, [block.name for block in tiny.card.blocks])
    assert list(found.values()) == sorted(found.values())
    first = found["down0.res0"] * 1e9
    # conv_in, two 3×3 convolutions of 8 channels on 8×8 maps, and the time embedding's three layers
    convolutions = 2 * 64 * 9 * (1 * 8 + 8 * 8 + 8 * 8)
    layers = 2 * sum(
        layer.in_features * layer.out_features for layer in (tiny.net.time_embedding.linear_1, tiny.net.time_embedding.linear_2)
    )
    assert first == convolutions + layers + 2 * 32 * 8


def probes(x: np.ndarray, y: np.ndarray, **how: object) -> probing.Probe:
    return probing.probe(Logistic(), "feature", (x, y), (x, y), x, 3, **how)  # type: ignore[arg-type]


def test_components_are_those_of_the_labelled_images_and_the_kept_weights_read_features() -> None:
    y = RNG.integers(0, 3, 90)
    x = (RNG.normal(size=(90, 8)) + 2 * np.eye(8)[y]).astype(np.float32)
    found = probes(x, y, pca=2)
    scaled = found.scaler(x)
    weight, bias = (found.head.tensors()[name] for name in ("weight", "bias"))
    np.testing.assert_allclose(scaled @ weight.T + bias, found.head.predict_logits(scaled), atol=1e-4)
    reduced = PCA(2, svd_solver="full").fit_transform(scaled)
    plain = next(head for head in Logistic().fit(reduced.astype(np.float32), y, 3) if head.penalty == found.head.penalty)
    np.testing.assert_allclose(plain.predict_logits(reduced), found.head.predict_logits(scaled), atol=2e-2)
    assert np.linalg.matrix_rank(weight) == 2


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda x: np.where(np.arange(8) == 3, np.nan, x), "not finite"),
        (lambda x: np.where(np.arange(8) == 3, np.inf, x), "not finite"),
        (np.zeros_like, "same features"),
    ],
)
def test_what_cannot_be_probed_is_refused_with_the_reason(spoil: Callable[[np.ndarray], np.ndarray], why: str) -> None:
    x, y = RNG.normal(size=(30, 8)), RNG.integers(0, 3, 30)
    with pytest.raises(InvalidData, match=why):
        probes(spoil(x), y)


def test_a_block_without_finite_features_is_left_out_by_name_and_the_rest_goes_on(
    request_small: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = planning.extract

    def spoilt(store_: Store, source: object, model: UNet2D, *args: object) -> int:
        handle = model.net.get_submodule(model.block("up0.res0").module).register_forward_hook(
            lambda _module, _inputs, output: output * float("nan")
        )
        try:
            return plain(store_, source, model, *args)  # type: ignore[arg-type]
        finally:
            handle.remove()

    monkeypatch.setattr(planning, "extract", spoilt)
    study = sweep(request_small.model_copy(update={"baselines": False}), store)
    wrong = study.result()["left_out"]
    assert {(one["series"], one["why"]) for one in wrong} == {("model/up0.res0/1", "features are not finite")}
    assert [one["sigma"] for one in wrong] == [level["sigma"] for level in study.facts["levels"]]
    assert not any("up0.res0" in name for name in load_file(study.path("heads.safetensors")))
    assert set(study.table("curve").block) == {"mid.res1"}
    assert study.result()["headline"] == "model/mid.res1/1"


def test_where_no_block_can_be_probed_it_is_said(request_small: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_: object, **__: object) -> None:
        raise InvalidData("no penalty's fit converged")

    monkeypatch.setattr(probing, "choose", stuck)
    with pytest.raises(InvalidData, match=r"No block could be probed: model/mid\.res1/1 at σ = .*no penalty's fit converged"):
        sweep(request_small.model_copy(update={"baselines": False}), store)


def test_draws_are_averaged_before_the_probe_and_count_as_passes(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(update={"baselines": False, "average_draws": 2, "eps_draws": 2})
    first = sweep(request, store)
    bench = Bench(request, store)
    draws = [identity.draw for identity in bench.reading("model", 1).features]
    assert draws == [1, 3]
    parts = [store.cell(bench.features("model", draw), bench.sigmas[1], "mid.res1", "1", bench.test) for draw in draws]
    seen: list[np.ndarray] = []
    task, sigma = bench.task(10, 1), bench.sigmas[1]
    one, two = (
        probing.fill(Store(store.root / name), task, bench.reading("model", 1), sigma, [], "logistic", "feature") for name in ("a", "b")
    )
    assert one == two
    assert one.settings["mean_of"] == [bench.features("model", draw).key() for draw in draws]
    keep = probing.pose

    def watch(*args: Any) -> probing.Posed:
        seen.append(args[3][1])
        return keep(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probing, "pose", watch)
        other = replace(task, train=task.train[::-1].copy())
        probing.fill(store, other, bench.reading("model", 1), sigma, ["mid.res1/1"], "logistic", "feature")
    np.testing.assert_allclose(seen[0], np.mean(parts, axis=0), rtol=1e-6)
    single = sweep(request.model_copy(update={"average_draws": 1}), store)
    assert single.facts["receipt"]["passes"] == 0
    assert single.key != first.key


@pytest.mark.parametrize("change", [{"head": "ridge"}, {"pca": 4}, {"label_noise": 0.2}, {"label_draws": 3}, {"labels_per_class": (4,)}])
@pytest.mark.slow
def test_other_probes_of_what_is_stored_take_no_pass(request_small: SweepRequest, store: Store, change: dict) -> None:
    request = request_small.model_copy(update={"baselines": False, "poolings": ("1", "max")})
    sweep(request, store)
    assert sweep(request.model_copy(update=change), store).facts["receipt"]["passes"] == 0


def test_numbers_are_read_with_r2_as_sklearn_says_it() -> None:
    x = RNG.normal(size=(200, 6)).astype(np.float32)
    y = x @ RNG.normal(size=6) + 0.3 * RNG.normal(size=200)
    found = probing.probe(Ridge(), "feature", (x[:100], y[:100]), (x[100:150], y[100:150]), x[150:], 1)
    scaler = Scaler.fit(x[:100])
    theirs = TheirRidge(100 / found.head.penalty).fit(scaler(x[:100]), y[:100])
    np.testing.assert_allclose(found.head.predict_logits(scaler(x[150:]))[:, 0], theirs.predict(scaler(x[150:])), atol=1e-4)
    said = probing.goodness(found.logits[50:], y[150:]).mean()
    assert said == pytest.approx(r2_score(y[150:], found.logits[50:, 0]), abs=1e-5)


@pytest.mark.slow
def test_a_sweep_over_numbers_gives_r2_and_says_so(store: Store, tiny_folder: object) -> None:
    request = SweepRequest(
        backend="shapes-ddpm", dataset="shapes:600", label_set="size", levels=3, blocks=("down0.res0", "up1.res0"), labels_per_class=(8,)
    )
    study = sweep(request, store)
    curve = study.table("curve")
    assert (curve.measure == "r2").all()
    assert (curve.chance == 0).all()
    assert set(curve["head"]) == {"ridge"}
    assert study.facts["receipt"]["head"] == "ridge"
    assert "share of variance explained" in study.result()["sentence"]
    kept = load_file(study.path("logits.safetensors"))
    data = open_dataset("shapes:600")
    numbers = data.label_set("size").numbers
    assert numbers is not None
    name, said = next((name, value) for name, value in kept.items() if "/" in name)
    np.testing.assert_array_equal(kept["truth"], numbers[data.rows(kept["test"])])
    scaled = (kept["truth"] - numbers.mean()) / numbers.std()
    labels, level, block, pooling = name.split("/")
    right = study.correct()[f"{labels}/model/{block}/{pooling}"][0, int(level)]
    assert right.mean() == pytest.approx(r2_score(scaled, said[:, 0].astype(float)), abs=2e-3)
    assert curve[curve.source == "model"].accuracy.max() > 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [({"pca": 100}, "pca is 100; allowed: fewer than the 100 labelled"), ({"input": "clean", "average_draws": 2}, "average_draws is 2")],
)
def test_settings_that_would_do_nothing_are_refused(request_small: SweepRequest, store: Store, change: dict, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        Bench(request_small.model_copy(update=change), store)


def test_models_of_one_request_serve_the_next(request_small: SweepRequest, store: Store) -> None:
    first = Bench(request_small, store)
    second = Bench(request_small.model_copy(update={"head": "ridge"}), store, like=first)
    assert second.sources.keys() == first.sources.keys()
    assert all(second.sources[name] is opened for name, opened in first.sources.items())


@pytest.mark.parametrize("change", [{"head": "knn"}, {"label_noise": 0.1}, {"imbalance": 2.0}])
def test_what_needs_classes_is_refused_for_numbers(store: Store, change: dict) -> None:
    request = SweepRequest(backend="shapes-ddpm", dataset="shapes:600", label_set="size", levels=3)
    with pytest.raises(InvalidRequest, match="size is a number"):
        Bench(request.model_copy(update=change), store)


def test_a_continuous_label_set_has_tenths_of_the_images(digits: Dataset) -> None:
    size = open_dataset("shapes:600").label_set("size")
    assert size.kind == "continuous"
    assert np.bincount(size.values).tolist() == [60] * 10
    assert size.numbers is not None
    low, high = size.numbers[size.values == 0], size.numbers[size.values == 9]
    assert low.max() < high.min()
    assert digits.label_set().numbers is None
