"""Networks on maps: planted signals that a linear probe of the mean cannot find, and nothing left to chance."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from analysis import costs, crew, probing, registry, trained
from analysis.errors import InvalidData
from analysis.heads.attention import Attention
from analysis.heads.base import FittedHead, Foreseen
from analysis.heads.cnn import CNN
from analysis.heads.logistic import Logistic
from analysis.heads.mlp import MLP
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep
from analysis.trained import TrainedHead, Training

HEADS: tuple[type[TrainedHead], ...] = (MLP, CNN, Attention)
every = pytest.mark.parametrize("kind", HEADS)
small = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def brief(small_networks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not hang on what is learned."""
    for kind in HEADS:
        monkeypatch.setattr(kind, "penalties", (1.0,))
        monkeypatch.setattr(kind, "training", replace(kind.training, least=20))


def placed(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Maps (n, 4, 4, 4) with a bright cell in channel 0: in the left half for class 0, in the right half for class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    maps = rng.normal(size=(count, 4, 4, 4))
    maps[np.arange(count), 0, rng.integers(0, 4, count), 2 * labels + rng.integers(0, 2, count)] += 8
    return maps.astype(np.float32), labels


def score(heads: list[FittedHead], features: np.ndarray, labels: np.ndarray) -> float:
    return max(float((head.predict_logits(features).argmax(1) == labels).mean()) for head in heads)


@small
@every
def test_what_only_the_place_tells_is_found_on_the_map_and_not_in_its_mean(kind: type[TrainedHead]) -> None:
    (x, y), (new, truth) = placed(300, 0), placed(200, 1)
    assert score(kind().fit(x, y, 2), new, truth) > 0.9
    assert score(Logistic().fit(x.mean((2, 3)), y, 2), new.mean((2, 3)), truth) < 0.6


def test_what_only_a_product_tells_is_found_by_the_perceptron_and_not_by_a_line() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (600, 2))
    x = np.concatenate([2 * bits - 1, rng.normal(size=(600, 2))], 1) + 0.3 * rng.normal(size=(600, 4))
    x, y = x.astype(np.float32), bits[:, 0] ^ bits[:, 1]
    maps = x[:, :, None, None]
    assert score(MLP().fit(maps[:300], y[:300], 2), maps[300:], y[300:]) > 0.9
    assert score(Logistic().fit(x[:300], y[:300], 2), x[300:], y[300:]) < 0.6


@pytest.mark.usefixtures("brief")
@every
def test_a_fit_is_a_function_of_its_seed_and_leaves_the_global_one_alone(kind: type[TrainedHead], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = placed(40, 0)
    torch.manual_seed(1)
    one = kind().fit(x, y, 2)[0].predict_logits(x)
    state = torch.manual_seed(2).get_state()
    two = kind().fit(x, y, 2)[0].predict_logits(x)
    kind().foresee(x, y, 2)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one, two)
    monkeypatch.setattr(kind, "training", replace(kind.training, seed=1))
    assert np.abs(kind().fit(x, y, 2)[0].predict_logits(x) - one).max() > 1e-3


@pytest.mark.usefixtures("brief")
@every
def test_logits_do_not_depend_on_the_batch_and_keep_no_graph(kind: type[TrainedHead], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = placed(40, 0)
    (head, *_) = kind().fit(x, y, 2)
    assert isinstance(head, trained.Trained)
    assert not any(weight.requires_grad or weight.grad is not None for weight in head.network.parameters())
    logits = head.predict_logits(x)
    assert (logits.shape, logits.dtype) == ((40, 2), np.float32)
    monkeypatch.setattr(trained, "SCORED", 7)
    np.testing.assert_allclose(head.predict_logits(x), logits, atol=1e-5)


@pytest.mark.usefixtures("brief")
@every
def test_the_network_says_in_use_what_it_said_in_training(kind: type[TrainedHead]) -> None:
    """The transformer's layer has a faster path without gradients."""
    x, y = placed(40, 0)
    head = kind().fit(x, y, 2)[0]
    assert isinstance(head, trained.Trained)
    logits = head.network.train().requires_grad_(True)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(head.predict_logits(x), logits, atol=1e-4)


@small
@every
@pytest.mark.parametrize("side", [1, 2, 3, 20])
def test_any_grid_can_be_read(kind: type[TrainedHead], side: int) -> None:
    network = kind().network((6, side, side), 3)
    assert network(torch.zeros(2, 6, side, side)).shape == (2, 3)


def test_sizes_are_the_papers() -> None:
    """25.3 million weights: a layer has 12 · 1024² in matrices and 13 · 1024 in biases and norms."""
    count = sum(weight.numel() for weight in Attention().network((64, 4, 4), 10).parameters())
    before, places, after = 2 * 64 * 16 + 64 * 1024 + 1024, 17 * 1024, 1024 * 10 + 10
    assert count == before + places + 2 * (12 * 1024**2 + 13 * 1024) + after


def test_an_epoch_has_every_image_once_and_ends_where_the_steps_do() -> None:
    how = Training(rate=1.0, least=10, epochs=2, batch=4)
    assert (how.steps(10), how.steps(40)) == (10, 20)
    rows = list(how.rows(10))
    assert [len(part) for part in rows] == [4, 4, 2] * 3 + [4]
    first, second = (torch.cat(list(islice(rows, start, start + 3))) for start in (0, 3))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert first.tolist() != second.tolist()


@every
def test_settings_go_from_the_weakest_model_to_the_most_flexible(kind: type[TrainedHead]) -> None:
    assert kind.penalties == tuple(sorted(kind.penalties, reverse=True))


@small
def test_the_heavier_decay_has_the_smaller_weights() -> None:
    x, y = placed(40, 0)
    sizes = [sum(float(w.square().sum()) for w in head.network.parameters() if w.ndim == 2) for head in MLP().fit(x, y, 2)]  # type: ignore[attr-defined]
    assert sizes == sorted(sizes)


@pytest.mark.usefixtures("brief")
@every
def test_a_loss_that_is_not_finite_is_marked_and_never_chosen(kind: type[TrainedHead], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = placed(40, 0)
    bad = x.copy()
    bad[3, 2, 1, 1] = np.nan
    assert not any(head.converged for head in kind().fit(bad, y, 2))
    monkeypatch.setattr(kind, "training", replace(kind.training, rate=float("inf")))
    flat = x.reshape(40, -1)
    with pytest.raises(InvalidData, match="no penalty's fit converged"):
        probing.probe(kind(), "feature", (flat, y), (flat, y), flat, 2, side=4)


@small
def test_a_fit_that_nobody_waits_for_any_more_ends_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = placed(40, 0)
    monkeypatch.setattr(crew, "_turn", SimpleNamespace(value=crew._mine + 1))
    with pytest.raises(crew.Dropped):
        CNN().fit(x, y, 2)


@small
@every
def test_time_grows_with_steps_and_memory_with_the_map(kind: type[TrainedHead], monkeypatch: pytest.MonkeyPatch) -> None:
    """100 steps are the fewest; 10 epochs of 1,280 images have 200 of 64 images."""
    monkeypatch.setattr(trained, "_timed", lambda *_: (0.1, 2.0, 0.5))
    x, y = placed(40, 0)
    found = kind().foresee(x, y, 2)
    assert found.fit(10) == pytest.approx(2 * 100 * (2 + 0.1 * 10))
    assert found.fit(1280) == pytest.approx(2 * 200 * (2 + 0.1 * 64))
    assert found.score == 0.5
    weights = sum(weight.nbytes for weight in kind().network(x.shape[1:], 2).parameters())
    assert found.memory > 5 * weights


def test_what_is_held_for_the_gradient_is_counted_by_hand() -> None:
    """Its input, which the first layer holds, the ReLU's output, which two hold, and nothing else: 5 · (6 + 8) numbers."""
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    assert trained._held(network, [torch.zeros(5, 6)]) == 4 * 5 * (6 + 8)


@small
def test_a_sweep_of_a_trained_head_ends_in_a_study(request_small: SweepRequest, store: Store) -> None:
    request = request_small.model_copy(
        update={"head": "cnn", "poolings": ("2",), "blocks": ("mid.res1",), "label_draws": 2, "eps_draws": 2, "baselines": False}
    )
    study = sweep(request, store)
    rows = study.table("curve").query("source == 'model'")
    assert set(rows["head"]) == {"cnn"}
    assert rows["accuracy"].max() > 0.2  # of ten classes
    assert not any(name.endswith("/weight") for name in load_file(study.path("heads.safetensors")))


@small
def test_what_a_map_head_costs_is_asked_of_it_with_maps_at_every_pooling(
    request_small: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def foresee(self: CNN, features: np.ndarray, labels: np.ndarray, classes: int) -> Foreseen:
        shapes.append(features.shape[1:])
        return Foreseen(lambda images: 1e6, 0.0, 10**12)

    monkeypatch.setattr(CNN, "foresee", foresee)
    bench = Bench(request_small.model_copy(update={"head": "cnn", "poolings": ("1", "2")}), store)
    cost, found = costs.estimate(bench, 1), costs.count(bench)
    assert shapes == [(8, 1, 1), (8, 2, 2)]
    assert found.others == 4 * (3 * 3 + 3)  # draws × heads of pixels, at three levels and of clean ones
    assert cost.seconds == pytest.approx((cost.fits - found.others) * 1e6, rel=1e-3)
    assert cost.memory > 10**12


def test_heads_that_need_maps_are_the_trained_ones() -> None:
    heads = [registry.get("heads", name) for name in registry.names("heads")]
    assert {head for head in heads if head.needs == "map"} == set(HEADS)
