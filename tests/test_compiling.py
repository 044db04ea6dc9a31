"""Compiled layers: the same features, the same hooks, and the plain network wherever anything is wrong. On the CPU nothing is
generated: torch's `eager` compiler traces the layers and runs what it traced."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from analysis import compiling, devices
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.devices import TOLERANCE
from analysis.features import extract, read_features
from analysis.probed import ProbedModel
from analysis.specs import FeatureIdentity
from analysis.store import Store

from .families import MADE


@pytest.fixture(autouse=True)
def traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiling, "COMPILER", "eager")
    monkeypatch.setattr(compiling, "FEW", 8)
    monkeypatch.setattr(compiling, "quick_to_compile", lambda _: True)
    yield
    torch.compiler.reset()


def every(model: Backend) -> list[str]:
    return [f"{block.name}/1" for block in model.card.blocks]


def images(count: int) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1


def read(model: Backend, count: int = 10, compiled: bool = False, names: list[str] | None = None) -> dict[str, torch.Tensor]:
    return read_features(model, names or every(model), images(count), None, 0.5, 4, compiled=compiled)


def frames() -> int:
    """Layers that torch has traced."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_features_are_those_of_the_plain_network_in_every_block(tiny: Backend) -> None:
    plain, before = read(tiny), frames()
    found = read(tiny, compiled=True)
    layers = len(compiling.repeated(tiny))
    assert frames() - before == layers == 12  # 8 ResNets and 4 attentions
    assert found.keys() == plain.keys() == set(every(tiny))
    for name, value in plain.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    read(tiny, count=11, compiled=True)
    assert frames() - before == layers  # the last, smaller batch is compiled for nobody


def test_a_pass_still_ends_after_the_last_wanted_block(tiny: Backend) -> None:
    ran: list[str] = []
    for up in tiny.net.up_blocks:  # type: ignore[union-attr]
        up.register_forward_pre_hook(lambda *_: ran.append("up"))
    name = ["mid.res1/1"]
    found = read(tiny, compiled=True, names=name)
    assert ran == []
    read(tiny, compiled=True, names=["up0.res0/1"])
    assert ran  # of a block behind, it is seen
    torch.testing.assert_close(found[name[0]], read(tiny, names=name)[name[0]], rtol=1e-5, atol=1e-6)


def test_between_two_batches_the_network_is_the_plain_one(tiny: Backend) -> None:
    seen: list[bool] = []

    def between() -> None:
        seen.append(any("forward" in vars(module) for module in tiny.net.modules()))
        x = images(1).requires_grad_()
        with torch.inference_mode(False), torch.enable_grad():
            again = x.detach().clone().requires_grad_()
            weight = np.ones((2, tiny.block("mid.res1").channels), np.float32)
            ProbedModel(tiny, "mid.res1", 0.5, weight, np.zeros(2, np.float32))(again.expand(-1, 3, -1, -1)).sum().backward()
        assert again.grad is not None
        assert float(again.grad.abs().sum()) > 0

    with torch.inference_mode(False):
        read_features(tiny, every(tiny), images(10), None, 0.5, 4, between=between, compiled=True)
    assert seen == [False] * 3
    assert not any("forward" in vars(module) for module in tiny.net.modules())


def test_where_compiling_fails_the_plain_network_reads_and_that_is_said(
    tiny: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiling, "COMPILER", broken)
    plain = read(tiny)
    with caplog.at_level(logging.WARNING, "analysis.compiling"):
        found = read(tiny, compiled=True)
    assert all(torch.equal(found[name], value) for name, value in plain.items())
    assert "the plain network is: BackendCompilerFailed: " in caplog.text
    assert len(caplog.records) == 1  # once, not once a batch
    assert not any("forward" in vars(module) for module in tiny.net.modules())


def test_where_compiled_layers_are_wrong_the_plain_network_reads(
    tiny: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "COMPILER", spoilt(1.001))
    plain = read(tiny)
    found = read(tiny, compiled=True)
    assert all(torch.equal(found[name], value) for name, value in plain.items())
    assert "would differ by more than 1e-05" in caplog.text


def spoilt(factor: float) -> Any:
    """A compiler whose layers give so many times what they should."""
    return lambda graph, _inputs: lambda *given: tuple(factor * value for value in graph(*given))


def test_compiled_layers_that_give_no_numbers_are_wrong(tiny: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "COMPILER", spoilt(float("nan")))
    plain = read(tiny)
    found = read(tiny, compiled=True)
    assert all(torch.equal(found[name], value) for name, value in plain.items())
    assert not compiling._known[tiny.net].sound


def test_where_the_plain_network_has_no_numbers_either_compiled_layers_are_right(tiny: Backend) -> None:
    x = images(4)
    x[1] = torch.nan
    read_features(tiny, every(tiny), x, None, 0.5, 4, compiled=True)
    assert compiling._known[tiny.net].sound
    assert compiling._known[tiny.net].checked


@pytest.mark.parametrize("what", ["precision", "blocks", "batch"])
def test_what_comes_later_is_checked_as_the_first_was(what: str, tiny: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = False

    def compiler(graph: Any, _inputs: Any) -> Any:
        return lambda *given: tuple(2 * value if wrong else value for value in graph(*given))

    monkeypatch.setattr(compiling, "COMPILER", compiler)
    first = ["down0.res0/1"]
    read(tiny, compiled=True, names=first)
    assert compiling._known[tiny.net].sound
    wrong = True
    model = tiny.at("bfloat16") if what == "precision" else tiny
    names = ["down1.res0/1"] if what == "blocks" else first
    found, plain = (read_features(model, names, images(12), None, 0.5, 6 if what == "batch" else 4, compiled=one) for one in (True, False))
    assert not compiling._known[tiny.net].sound
    assert all(torch.equal(found[name], value) for name, value in plain.items())


def test_too_little_memory_is_no_failure_of_the_compiler(tiny: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(tiny, "denoise", small)
    with pytest.raises(torch.OutOfMemoryError):
        read(tiny, compiled=True)
    assert compiling._known[tiny.net].sound


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("name", MADE)
def test_every_family_has_layers_to_compile_and_no_block_is_within_one(name: str, tmp_path: Any) -> None:
    from analysis.backends import open_backend

    backend = open_backend(str(MADE[name](tmp_path)))
    modules = dict(backend.net.named_modules())
    layers = compiling.repeated(backend)
    inside = {id(part) for layer in layers for part in layer.modules() if part is not layer}
    assert len(layers) >= len([block for block in backend.card.blocks if "samplers" not in block.module])
    assert not inside & {id(modules[block.module]) for block in backend.card.blocks}


def test_a_sweep_compiles_for_many_images_on_a_gpu_alone_and_the_manifest_says_so(tiny: Backend, digits: Dataset, store: Store) -> None:
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    sigmas = [tiny.card.sigmas[500], tiny.card.sigmas[600]]
    before = frames()
    extract(store, tiny, tiny, digits, identity, ["mid.res1/1"], sigmas[:1], digits.ids[:7], {"batch_size": 4})
    assert frames() == before
    assert store.settings("features", identity, {}) == {"batch_size": 4}
    other = identity.model_copy(update={"draw": 1})
    extract(store, tiny, tiny, digits, other, ["mid.res1/1"], sigmas, digits.ids[:9], {"batch_size": 4})
    assert frames() > before
    assert store.settings("features", other, {}) == {"batch_size": 4, "compiled": True}
    assert [devices.quick_to_compile(device) for device in ("cpu", "mps", "cuda", "cuda:1")] == [False, False, True, True]


@pytest.mark.gpu
def test_on_a_gpu_compiled_features_are_the_plain_ones() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    from analysis.backends import open_backend

    for precision in ("float32", "bfloat16"):
        model = open_backend("cifar10-ddpm", device="cuda").at(precision)  # type: ignore[arg-type]
        x0 = torch.rand(64, 3, 32, 32, device="cuda") * 2 - 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiling, "COMPILER", "inductor")
            plain, found = (read_features(model, every(model), x0, None, 0.5, 32, compiled=one) for one in (False, True))
        assert compiling._known[model.net].sound
        assert max(float((found[name] - plain[name]).norm() / plain[name].norm()) for name in plain) < TOLERANCE[precision]  # type: ignore[index]
