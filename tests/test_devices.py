"""Precision and room: what a device is asked for, and what it cannot hold."""

from __future__ import annotations

import pytest
import torch

from analysis import catalog, devices
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.errors import InvalidRequest
from analysis.features import capture
from analysis.specs import Precision, SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

TOLERANCE = {"bfloat16": 0.05, "float16": 0.01}  # of a block's features beside float32's, relatively, root mean squares


def maps(backend: Backend, precision: Precision, sigma: float) -> dict[str, torch.Tensor]:
    """Every block's global averages (B, C)."""
    side, generator = backend.card.resolution, torch.Generator().manual_seed(0)
    x0 = torch.rand(16, backend.card.image_channels, side, side, generator=generator) * 2 - 1
    x = x0 + sigma * torch.randn(x0.shape, generator=generator)
    backend.precision = precision
    with (
        torch.inference_mode(),
        capture(backend, [block.name for block in backend.card.blocks], lambda m: m.mean((-2, -1)).float()) as taps,
    ):
        return taps(x, torch.full((16,), sigma, dtype=torch.float64))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", catalog.models())
def test_features_of_lower_precision_are_near_those_of_float32(name: str, precision: Precision) -> None:
    backend = open_backend(name)
    for sigma in (backend.card.sigmas[0], 0.3, 3.0):
        whole, lower = maps(backend, "float32", sigma), maps(backend, precision, sigma)
        worst = max(float((lower[block] - whole[block]).norm() / whole[block].norm()) for block in whole)
        assert 0 < worst < TOLERANCE[precision]


def test_precision_is_part_of_what_features_are(request_small: SweepRequest, store: Store) -> None:
    asked = request_small.model_copy(update={"baselines": False})
    whole = sweep(asked, store)
    lower = sweep(asked.model_copy(update={"precision": "bfloat16"}), store)
    assert lower.facts["receipt"]["precision"] == "bfloat16"
    assert lower.facts["receipt"]["passes"] == whole.facts["receipt"]["passes"] > 0  # nothing is shared
    assert lower.key != whole.key
    assert asked.canonical() == asked.model_copy(update={"precision": "float32"}).canonical()
    near = (lower.table("curve").accuracy - whole.table("curve").accuracy).abs()
    assert near.mean() < 0.1


def test_a_model_that_a_device_has_no_room_for_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    card = catalog.card("digits-ddpm")
    by_hand = sum(4 * block.channels * (8 // block.stride) ** 2 for block in card.blocks)
    assert card.map_bytes == by_hand
    monkeypatch.setattr(devices, "room", lambda device: card.parameter_bytes + by_hand)
    open_backend("digits-ddpm")
    monkeypatch.setattr(devices, "room", lambda device: card.parameter_bytes + by_hand - 1)
    with pytest.raises(InvalidRequest, match=r"digits-ddpm takes .* GB \(.* of weights, .*\); cpu has .* GB free: choose another device"):
        open_backend("digits-ddpm")


def test_room_that_cannot_be_told_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "room", lambda device: None)
    open_backend("digits-ddpm")


def test_a_cpu_is_asked_for_its_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    for amx, avx, found in ((False, False, ()), (True, False, ("bfloat16",)), (False, True, ("bfloat16",))):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda amx=amx: amx)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda avx=avx: avx)
        assert devices.fast_precisions("cpu") == found
