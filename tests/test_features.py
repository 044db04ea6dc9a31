from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analysis import features
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.errors import InvalidRequest, NoisescopeError, UnknownName
from analysis.features import capture, extract, load_x0, pool, pooled, read_features
from analysis.noise import noise_like
from analysis.specs import FeatureIdentity
from analysis.store import Store

SIGMAS = (0.0764, 0.5)
ALL = ("1", "2")


class Counting:
    """How many images went through a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.images = 0
        module.register_forward_hook(self)

    def __call__(self, _module: torch.nn.Module, _inputs: object, output: torch.Tensor) -> None:
        self.images += len(output[0] if isinstance(output, tuple) else output)


def hooks(backend: Backend) -> int:
    return sum(len(module._forward_hooks) for module in backend.net.modules())


def inputs(backend: Backend, digits: Dataset, n: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    x0 = load_x0(digits, digits.ids[:n], backend)
    return x0, noise_like(x0, digits.ids[:n].tolist(), 0, 0)


def fill(
    store: Store, tiny: Backend, digits: Dataset, names: list[str], sigmas: tuple[float, ...] = SIGMAS, n: int = 20, batch: int = 8
) -> int:
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    levels = tiny.schedule.nearest(torch.tensor(sigmas)).tolist()
    return extract(store, tiny, tiny, digits, identity, names, levels, digits.ids[:n], {"batch_size": batch})


def test_maps_are_those_of_a_plain_hook(tiny: Backend, digits: Dataset) -> None:
    x0, _ = inputs(tiny, digits)
    seen: list[torch.Tensor] = []
    handle = tiny.net.mid_block.resnets[1].register_forward_hook(lambda m, i, o: seen.append(o))
    sigma = torch.full((20,), 0.5)
    tiny.denoise(x0, sigma)
    handle.remove()
    with capture(tiny, ["mid.res1"]) as taps:
        torch.testing.assert_close(taps(x0, sigma)["mid.res1"], seen[0], rtol=0, atol=0)


def test_no_hook_is_left_even_after_an_exception(tiny: Backend) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), capture(tiny, ["mid.res0", "up0.res0"]):
        raise RuntimeError("on purpose")
    assert hooks(tiny) == 0


def test_what_follows_the_last_wanted_block_is_not_run(tiny: Backend, digits: Dataset) -> None:
    late, early = Counting(tiny.net.up_blocks[0]), Counting(tiny.net.down_blocks[0].resnets[0])
    x0, eps = inputs(tiny, digits)
    read_features(tiny, ["mid.res0/1", "down0.res0/1"], x0, eps, 0.5, 8)
    assert (early.images, late.images) == (20, 0)


def test_an_unknown_block_is_refused_before_anything_runs(tiny: Backend) -> None:
    with pytest.raises(UnknownName, match="Unknown block 'mid'"), capture(tiny, ["mid"]):
        pass


def test_average_pooling_by_hand() -> None:
    maps = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert pool(maps, 1).tolist() == [[7.5]]
    assert pool(maps, 2).tolist() == [[2.5, 4.5, 10.5, 12.5]]


@pytest.mark.parametrize("name", ["mid.res0/median", "mid.res0/0", "mid.res0/-1"])
def test_an_unknown_pooling_is_refused(tiny: Backend, digits: Dataset, name: str) -> None:
    with pytest.raises(InvalidRequest, match="pooling"):
        read_features(tiny, [name], *inputs(tiny, digits), 0.5, 8)


@pytest.mark.parametrize("batch", [1, 7])
def test_features_do_not_depend_on_the_batch_size(tiny: Backend, digits: Dataset, batch: int) -> None:
    names = [f"{block.name}/1" for block in tiny.card.blocks]
    x0, eps = inputs(tiny, digits, 70)
    a, b = (read_features(tiny, names, x0, eps, 0.5, size) for size in (batch, 64))
    for name in names:
        # float32 sums in another order; features are of order 1
        torch.testing.assert_close(a[name], b[name], rtol=1e-5, atol=1e-5)


def test_one_pass_an_image_and_level_gives_every_block_and_pooling(store: Store, tiny: Backend, digits: Dataset) -> None:
    count = Counting(tiny.net)
    names = [f"{block.name}/{p}" for block in tiny.card.blocks for p in ALL]
    last = Counting(tiny.net.up_blocks[-1].resnets[-1])
    assert fill(store, tiny, digits, names) == 40
    assert (last.images, count.images) == (40, 0)  # stopped after the last block, so the whole never returns


def test_only_what_is_new_is_computed(store: Store, tiny: Backend, digits: Dataset) -> None:
    first = Counting(tiny.net.conv_in)
    for names, sigmas, n, expected in [
        (["mid.res0/1"], SIGMAS, 20, 40),
        (["mid.res0/1"], SIGMAS, 20, 0),
        (["mid.res0/1"], (*SIGMAS, 2.0), 20, 20),  # one more level
        (["mid.res0/1", "up0.res0/1"], SIGMAS, 20, 40),  # one more block
        (["mid.res0/1", "mid.res0/2"], SIGMAS, 20, 40),  # one more pooling
        (["mid.res0/1"], SIGMAS, 25, 10),  # five more images
    ]:
        before = first.images
        assert fill(store, tiny, digits, names, sigmas, n) == expected
        assert first.images - before == expected


def test_the_batch_size_of_the_first_unit_is_used_again(store: Store, tiny: Backend, digits: Dataset) -> None:
    fill(store, tiny, digits, ["mid.res0/1"], SIGMAS[:1], batch=5)
    sizes: list[int] = []
    tiny.net.conv_in.register_forward_hook(lambda m, i, o: sizes.append(len(o)))
    fill(store, tiny, digits, ["mid.res0/1"], SIGMAS[1:], batch=64)
    assert sizes == [5, 5, 5, 5]


def test_images_are_loaded_some_batches_at_a_time_and_give_the_same_features(
    store: Store, tiny: Backend, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, held, real = ["mid.res0/1", "up0.res0/2"], [], features.load_x0
    monkeypatch.setattr(features, "load_x0", lambda dataset, ids, *more: held.append(len(ids)) or real(dataset, ids, *more))
    fill(store, tiny, digits, names, n=50)
    assert held == [50]  # once for both levels
    monkeypatch.setattr(features, "HELD", 4 * 17 * digits.images[0].nbytes)
    few = Store(store.root / "few")
    fill(few, tiny, digits, names, n=50)
    assert held[1:] == [16, 16, 16, 2] * 2  # whole batches of 8, so that no image's batch is another
    files = [sorted(path.read_bytes() for path in place.root.glob("features/*/*/*.safetensors")) for place in (store, few)]
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_a_mapped_file_does_not_stay_in_memory(tiny: Backend, tmp_path: Path) -> None:
    pixels = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=(100_000, 8, 8, 3))
    pixels[:] = 7
    pixels.flush()
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=pixels.shape)

    def resident() -> int:
        parts = Path("/proc/self/smaps").read_text().split(str(tmp_path / "pixels") + "\n")[1:]
        return sum(int(part.split("Rss:")[1].split()[0]) for part in parts)

    if not Path("/proc/self/smaps").exists():
        pytest.skip("only Linux tells what is resident")
    del pixels
    data = SimpleNamespace(images=mapped, rows=lambda ids: ids)
    assert float(load_x0(data, np.arange(100_000), tiny).mean()) == pytest.approx(7 / 127.5 - 1)
    assert resident() == 0


def test_features_that_are_not_finite_are_kept_as_they_are(store: Store, tiny: Backend, digits: Dataset) -> None:
    tiny.net.mid_block.resnets[0].conv1.weight.data.fill_(float("nan"))
    passes = fill(store, tiny, digits, ["mid.res0/1"])
    assert passes
    assert not fill(store, tiny, digits, ["mid.res0/1"])


def test_a_constant_image_has_finite_features(tiny: Backend) -> None:
    blank = torch.zeros(2, 1, 8, 8)
    values = read_features(tiny, ["up1.res1/1"], blank, None, 0.5, 8)["up1.res1/1"]
    assert bool(torch.isfinite(values).all())


def test_clean_input_is_the_noisy_path_without_noise(tiny: Backend, digits: Dataset) -> None:
    x0, eps = inputs(tiny, digits)
    clean = read_features(tiny, ["mid.res0/1"], x0, None, 0.5, 8)
    zero = read_features(tiny, ["mid.res0/1"], x0, torch.zeros_like(eps), 0.5, 8)
    torch.testing.assert_close(clean["mid.res0/1"], zero["mid.res0/1"], rtol=0, atol=0)


def test_stored_features_are_the_computed_ones(store: Store, tiny: Backend, digits: Dataset, tiny_folder: Path) -> None:
    fill(store, tiny, digits, ["mid.res0/1"])
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    sigma = float(tiny.schedule.nearest(torch.tensor([0.5])))
    stored = store.cell(identity, sigma, "mid.res0", "1", digits.ids[:20])
    fresh = read_features(tiny, ["mid.res0/1"], *inputs(tiny, digits), sigma, 8)["mid.res0/1"]
    np.testing.assert_array_equal(stored, fresh.numpy())


class Small:
    """A device with memory for so many images."""

    def __init__(self, backend: Backend, room: int, patch: pytest.MonkeyPatch) -> None:
        self.tried: list[int] = []
        real = backend.denoise

        def denoise(x: torch.Tensor, *rest: object) -> torch.Tensor:
            self.tried.append(len(x))
            if len(x) > room:
                raise torch.OutOfMemoryError("no room")
            return real(x, *rest)  # type: ignore[arg-type]

        patch.setattr(backend, "denoise", denoise)


def test_too_little_memory_halves_the_batch_for_good_and_records_it(
    tiny: Backend, digits: Dataset, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Store(tmp_path / "plain")
    fill(plain, tiny, digits, ["mid.res0/1"], batch=16)
    device = Small(tiny, 5, monkeypatch)
    fill(store, tiny, digits, ["mid.res0/1"], batch=16)
    assert device.tried[:3] == [16, 8, 4]
    assert max(device.tried[2:]) == 4
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    assert store.settings("features", identity, {"batch_size": 99}) == {"batch_size": 4, "halved": 2}
    sigma = float(tiny.schedule.nearest(torch.tensor([0.5]))[0])
    both = [place.cell(identity, sigma, "mid.res0", "1", digits.ids[:20]) for place in (store, plain)]
    np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-6)


def test_no_room_for_one_image_is_a_sentence(tiny: Backend, digits: Dataset, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    Small(tiny, 0, monkeypatch)
    with pytest.raises(NoisescopeError, match="too little memory for one image"):
        fill(store, tiny, digits, ["mid.res0/1"], batch=2)


def test_maps_are_pooled_by_name_to_numbers_by_hand() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, -6.0]]]])
    assert pooled(maps, "1").tolist() == [[0.0]]
    assert pooled(maps, "max").tolist() == [[3.0]]
    assert pooled(maps, "gem").item() == pytest.approx((36 / 4) ** (1 / 3))  # 1 + 8 + 27, and what is negative is none
    assert pooled(maps, "2").tolist() == [[1.0, 2.0, 3.0, -6.0]]
    with pytest.raises(InvalidRequest, match="pooling 'median'; allowed"):
        pooled(maps, "median")
