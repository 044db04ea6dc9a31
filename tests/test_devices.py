"""Precision, memory format and room: what a device is asked for, and what it cannot hold."""

from __future__ import annotations

import pytest
import torch

from analysis import catalog, devices, timing
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.devices import TOLERANCE
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.features import capture, extract, load_x0, read_features
from analysis.noise import noise_like
from analysis.planning import Bench
from analysis.specs import FeatureIdentity, Precision, SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

from .families import LATENT, MADE, SIDE

each = pytest.mark.parametrize("name", MADE)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("families")
    return {name: str(make(out)) + SIDE.get(name.partition(":")[0], "") for name, make in MADE.items()}


def maps(backend: Backend, precision: Precision, sigma: float) -> dict[str, torch.Tensor]:
    """Every block's global averages (B, C)."""
    generator = torch.Generator().manual_seed(0)
    x0 = torch.rand(16, *backend.card.x0_shape, generator=generator) * 2 - 1
    x = x0 + sigma * torch.randn(x0.shape, generator=generator)
    backend.precision = precision
    with (
        torch.inference_mode(),
        capture(backend, [block.name for block in backend.card.blocks], lambda m: m.mean((-2, -1)).float()) as taps,
    ):
        return taps(x.to(backend.device), torch.full((16,), sigma, dtype=torch.float64))


def worst(backend: Backend, precision: Precision) -> float:
    """The largest relative difference from float32 of any block's features at four levels, the lowest and the highest among them."""
    found = []
    for sigma in (backend.card.sigmas[0], 0.3, 3.0, backend.card.sigmas[-1]):
        whole, lower = maps(backend, "float32", sigma), maps(backend, precision, sigma)
        found += [float((lower[block] - whole[block]).norm() / whole[block].norm()) for block in whole]
    return max(found)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", catalog.models())
def test_features_of_lower_precision_are_near_those_of_float32(name: str, precision: Precision) -> None:
    assert 0 < worst(open_backend(name), precision) < TOLERANCE[precision]


@pytest.mark.usefixtures("own_store")
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@each
def test_every_familys_features_of_lower_precision_are_near(name: str, precision: Precision, places: dict[str, str]) -> None:
    assert 0 < worst(open_backend(places[name]), precision) < TOLERANCE[precision]


@pytest.mark.usefixtures("own_store")
@each
def test_every_family_attends_by_torchs_scaled_dot_product(name: str, places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    backend, called = open_backend(places[name]), []
    attentions = [module for module in backend.net.modules() if hasattr(module, "processor")]
    real = torch.nn.functional.scaled_dot_product_attention

    def counted(*given: object, **named: object) -> torch.Tensor:
        called.append(1)
        return real(*given, **named)  # type: ignore[arg-type]

    x = torch.zeros(2, *backend.card.x0_shape)
    backend.denoise(x, torch.ones(2, dtype=torch.float64))  # what is told is known now: a text encoder attends too
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    backend.denoise(x, torch.ones(2, dtype=torch.float64))
    assert len(called) == len(attentions) > 0


@pytest.mark.usefixtures("own_store")
@each
def test_every_familys_weights_inputs_and_maps_are_channels_last(name: str, places: dict[str, str]) -> None:
    backend = open_backend(places[name])
    card, ids = backend.card, list(range(4))
    pixels = torch.randint(0, 255, (4, card.resolution, card.resolution, 3), dtype=torch.uint8)  # as data sets keep them
    x0 = backend.encode(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    seen: list[torch.Tensor] = []
    if name in LATENT:  # their transformer layers lay maps out anew, in diffusers' own code
        seen = [x0, *(module.weight for module in backend.net.modules() if isinstance(module, torch.nn.Conv2d))]
        assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)
        return
    for module in backend.net.modules():
        if isinstance(module, torch.nn.Conv2d):
            seen.append(module.weight)
            module.register_forward_hook(lambda _module, given, made: seen.extend((given[0], made)))
    read_features(backend, [f"{card.blocks[-1].name}/1"], x0, noise_like(x0, ids, 0, 0), 0.5, 4, card.unconditional)
    assert len(seen) > 3 * len(card.blocks)
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in seen)


def test_convolutions_on_a_gpu_are_in_float32_where_that_was_asked_for() -> None:
    assert torch.backends.cudnn.allow_tf32  # as torch comes
    with devices.lowered("cuda", "float32"):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


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


@pytest.mark.parametrize(
    ("device", "precision", "offered"),
    [
        ("cuda", "float32", "ask for precision bfloat16 or float16, or another device, such as cpu, which is a run of its own"),
        ("cuda", "float16", "ask for another device, such as cpu, which"),
        ("cpu", "float32", "ask for another device, which"),
    ],
)
def test_where_one_image_is_too_many_precision_or_another_device_are_offered(
    device: str, precision: Precision, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "fast_precisions", lambda name: ("bfloat16", "float16") if name == "cuda" else ())
    assert devices.too_little(device, precision).startswith(f"{device} has too little memory for one image in {precision}; {offered}")


def test_the_ladder_ends_with_that_sentence_and_nothing_of_another_precision_is_stored(
    request_small: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def denoise(x: torch.Tensor, *rest: object) -> torch.Tensor:
        tried.append(len(x))
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(devices, "fast_precisions", lambda _: ("bfloat16",))
    bench = Bench(request_small.model_copy(update={"baselines": False}), store, batch_size=8)
    monkeypatch.setattr(bench.model, "denoise", denoise)
    said = "cpu has too little memory for one image in float32; ask for precision bfloat16, or another device, which is a run of its own"
    with pytest.raises(NoisescopeError, match=said):
        bench.extract(bench.sigmas[0], 0)
    assert tried == [8, 4, 2, 1]
    assert store.settings("features", bench.features("model", 0), {})["batch_size"] == 1
    assert not list(store.root.rglob("*.safetensors"))
    assert [path.name for path in (store.root / "features").iterdir()] == [bench.features("model", 0).key()]
    with pytest.raises(NoisescopeError, match=said):  # and so does what a sweep will cost
        timing.timed_parts(bench)


def test_images_that_a_device_has_no_room_for_are_a_sentence(tiny: Backend, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(images: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(tiny, "encode", encode)
    with pytest.raises(NoisescopeError, match="cpu has too little memory to hold 12 images of 8×8 pixels; choose another device"):
        load_x0(digits, digits.ids[:12], tiny)


def test_two_processes_that_fail_at_one_batch_size_halve_it_once(store: Store) -> None:
    identity = FeatureIdentity(backend="b", dataset="d")
    store.settings("features", identity, {"batch_size": 64})
    assert [store.halve_batch("features", identity, 64) for _ in range(2)] == [32, 32]
    assert store.halve_batch("features", identity, 32) == 16
    assert store.settings("features", identity, {}) == {"batch_size": 16, "halved": 2}


def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")


@pytest.mark.gpu
def test_a_gpu_that_is_too_small_for_a_batch_gets_half_of_it_and_the_features_are_the_cpus(store: Store, digits: Dataset) -> None:
    gpu()
    backend, cpu = open_backend("digits-ddpm", device="cuda"), open_backend("digits-ddpm")
    names, sigma, ids = ["up1.res0/1"], backend.card.sigmas[300], digits.ids[:1024]
    torch.cuda.reset_peak_memory_stats()
    x0 = load_x0(digits, ids, backend)
    read_features(backend, names, x0, noise_like(x0, ids.tolist(), 0, 0), sigma, 64)
    torch.cuda.empty_cache()
    needed, whole = torch.cuda.max_memory_reserved(), torch.cuda.get_device_properties(0).total_memory
    identity = FeatureIdentity(backend=backend.card.identity, dataset=digits.identity)
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * needed / whole))
    try:
        extract(store, backend, backend, digits, identity, names, [sigma], ids, {"batch_size": 1024, "device": "cuda"})
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    settings = store.settings("features", identity, {})
    assert 1 <= settings["batch_size"] < 1024
    assert settings["halved"] >= 1
    x0 = load_x0(digits, ids, cpu)
    expected = read_features(cpu, names, x0, noise_like(x0, ids.tolist(), 0, 0), sigma, 64)[names[0]]
    found = torch.from_numpy(store.cell(identity, sigma, "up1.res0", "1", ids))
    assert float((found - expected).norm() / expected.norm()) < TOLERANCE["float32"]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", catalog.models())
def test_a_gpus_features_are_near_those_of_float32_on_the_cpu(name: str, precision: Precision) -> None:
    gpu()
    backend, cpu = open_backend(name, device="cuda"), open_backend(name)
    for sigma in (cpu.card.sigmas[0], 0.3, 3.0, cpu.card.sigmas[-1]):
        whole, found = maps(cpu, "float32", sigma), maps(backend, precision, sigma)
        assert max(float((found[block].cpu() - whole[block]).norm() / whole[block].norm()) for block in whole) < TOLERANCE[precision]
