"""What a block carries beside content: by hand, against scikit-learn, and planted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from analysis import diagnosis
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.diagnosis import Diagnosis, Moments, diagnose
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.features import load_x0
from analysis.steps import finish
from tests.toys import Toy, edges


def ids_of(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.uint64) + 2**63


def carried(maps: Tensor, batch: int = 4) -> Diagnosis:
    """What is said of a block whose maps are these (n, C, h, w)."""
    return finish(diagnose(Toy(nn.Identity()), maps, ids_of(len(maps)), 1.0, "none", ["first"], clean=True, batch=batch))["first"]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def places(maps: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Channels (n·h·w, C) and row and column (n·h·w, 2) of every place."""
    n, channels, height, width = maps.shape
    return maps.permute(0, 2, 3, 1).reshape(-1, channels).numpy(), np.tile(np.argwhere(np.ones((height, width))), (n, 1))


def by_scikit_learn(maps: Tensor) -> np.ndarray:
    """R² of row and column on the second, fourth, … image."""
    (x, y), (held_out, truth) = places(maps[::2]), places(maps[1::2])
    scaler = StandardScaler().fit(x)
    probe = Ridge(alpha=diagnosis.RIDGE * len(x)).fit(scaler.transform(x), y)
    return r2_score(truth, probe.predict(scaler.transform(held_out)), multioutput="raw_values")


def test_position_is_what_scikit_learn_reads_from_images_held_out() -> None:
    x0, model = noise(9, 3, 16, 16), edges()
    found = finish(diagnose(model, x0, ids_of(9), 1.0, "none", ["first"], clean=True, batch=2))["first"].position
    assert found is not None
    assert found.fitted == 5 * 256
    np.testing.assert_allclose([found.row, found.column], by_scikit_learn(model.net[0](x0)), atol=1e-5)  # float32 scatters


def test_with_hardly_more_places_than_channels_it_is_so_too() -> None:
    maps = noise(8, 44, 4, 3)  # 48 places: the penalty matters
    found = carried(maps).position
    assert found is not None
    np.testing.assert_allclose([found.row, found.column], by_scikit_learn(maps), rtol=1e-4)


def test_a_channel_that_counts_rows_gives_the_row_and_not_the_column() -> None:
    maps = noise(40, 4, 8, 6)
    maps[:, 2] = 100 + torch.arange(8.0)[:, None]
    found = carried(maps).position
    assert found is not None
    assert found.row == pytest.approx(1, abs=1e-4)
    assert found.column == pytest.approx(0, abs=0.02)


def test_noise_tells_no_position() -> None:
    found = carried(noise(60, 6, 8, 8), batch=16).position
    assert found is not None
    assert found.row == pytest.approx(0, abs=0.02)
    assert found.column == pytest.approx(0, abs=0.02)


def test_what_each_training_image_has_of_its_own_is_not_taken_for_position() -> None:
    maps = noise(4, 200, 4, 4)  # 32 training places, 200 channels: any probe knows them by heart
    found = carried(maps).position
    assert found is not None
    assert found.row is not None
    assert found.row < 0.2


def test_maps_larger_than_sixteen_are_averaged_for_position_and_not_for_norms() -> None:
    found = carried(noise(4, 2, 32, 20))
    assert found.shape == (2, 32, 20)
    assert found.position is not None
    assert found.position.side == (16, 16)
    assert found.norms is not None
    assert np.shape(found.norms.mean) == np.shape(found.norms.where) == (32, 20)


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    rows = np.random.default_rng(0).normal(1000, 1, size=(50, 3))
    parts = [rows[:7], rows[7:8], rows[8:]]
    whole, own = Moments.none(3), Moments.none(3, diagonal=True)
    for part in parts:
        gaps = part - part.mean(0)
        whole = whole + Moments(len(part), part.mean(0), gaps.T @ gaps)
        own = own + Moments(len(part), part.mean(0), (gaps**2).sum(0))
    np.testing.assert_allclose(whole.mean, rows.mean(0))
    np.testing.assert_allclose(whole.scatter, np.cov(rows.T, ddof=0) * 50)
    np.testing.assert_allclose(own.variance, rows.var(0))


def test_corners_that_are_longer_are_found() -> None:
    maps = torch.ones(5, 4, 3, 3)
    maps[:, :, ::2, ::2] = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    found = carried(maps).norms
    assert found is not None
    assert found.corners == pytest.approx(25)  # the median of 10 20 30 40 1 1 1 1 1 is 1
    assert found.share == pytest.approx(4 / 9)


def test_one_place_that_stands_out_is_told_with_its_image() -> None:
    maps = torch.ones(10, 1, 4, 4)
    maps[3, 0, 1, 2], maps[6, 0, 1, 2] = -20, 3.5
    found = carried(maps).norms
    assert found is not None
    assert found.share == pytest.approx(2 / 160)
    assert found.where[1][2] == pytest.approx(2 / 10)
    assert found.mean[1][2] == pytest.approx((8 + 20 + 3.5) / 10)
    assert found.corners == 1
    assert found.strongest[:2] == ("8000000000000003", "8000000000000006")


def test_channels_share_the_variance_by_hand() -> None:
    maps = torch.zeros(4, 3, 2, 2)
    maps[:, 0] = torch.tensor([3.0, -3.0, 1.0, -1.0])[:, None, None]  # variance 5 of images and of places
    maps[:, 1] = torch.tensor([[5.0, -5.0], [5.0, -5.0]])  # 25 of places, none of images
    maps[:, 2] = 1e6
    found = carried(maps)
    np.testing.assert_allclose(found.places.shares, [5 / 30, 25 / 30, 0])
    np.testing.assert_allclose(found.pooled.shares, [1, 0, 0])
    assert [top.channel for top in found.places.top] == [1, 0]
    (top,) = found.pooled.top
    assert [int(name, 16) - 2**63 for name in top.highest] == [0, 2, 3, 1]
    assert top.lowest == top.highest[::-1]


def test_a_channel_with_most_variance_leads_and_shows_its_eight_images() -> None:
    maps = noise(30, 12, 4, 4)
    maps[:, 7] *= 30
    found = carried(maps, batch=7)
    for spread in (found.places, found.pooled):
        assert len(spread.shares) == 12
        assert sum(spread.shares) == pytest.approx(1)
        assert spread.top[0].channel == 7
        assert spread.top[0].share > 0.9
        assert len(spread.top) == 5
    order = maps[:, 7].mean((1, 2)).argsort().tolist()
    assert [int(name, 16) - 2**63 for name in found.pooled.top[0].lowest] == order[:8]
    assert [int(name, 16) - 2**63 for name in found.pooled.top[0].highest] == order[:-9:-1]


def test_constant_features_tell_nothing_in_numbers_that_can_be_written_down() -> None:
    found = carried(torch.full((6, 3, 4, 4), 1 / 3))
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.position is not None
    assert found.position.row == found.position.column == 0
    assert found.norms is not None
    assert found.norms.share == 0
    assert found.places.top == found.pooled.top == ()
    assert set(found.places.shares) == {0.0}


def test_features_that_are_all_nought_have_no_norms() -> None:
    found = carried(torch.zeros(4, 3, 4, 4))
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.norms is None


def test_an_image_that_is_mostly_nought_is_left_out_of_the_norms() -> None:
    maps = torch.ones(4, 1, 3, 3)
    maps[0], maps[0, 0, 1, 1], maps[2, 0, 1, 1] = 0, 9, 5
    found = carried(maps).norms
    assert found is not None
    assert found.images == 3
    assert found.mean[1][1] == pytest.approx(7 / 3)
    assert found.strongest[0] == "8000000000000002"


def test_what_float32_cannot_tell_from_a_constant_is_one() -> None:
    maps = 1000 + 1e-4 * torch.arange(8.0)[:, None].expand(6, 2, 8, 8)  # its steps at 1000 are 6e-5
    found = carried(maps)
    assert found.position is not None
    assert found.position.row == 0
    assert found.places.top == ()


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 2), (3, 3)])
def test_small_maps_say_what_they_can(shape: tuple[int, int]) -> None:
    found = carried(noise(2, 5, *shape))
    json.dumps(found.to_dict(), allow_nan=False)
    assert (found.position is None) == (found.norms is None) == (shape == (1, 1))
    if found.position and found.norms:
        assert (found.position.row is None) == (shape[0] == 1)
        assert (found.norms.corners is None) == (shape == (2, 2))
    assert len(found.pooled.top[0].highest) == 2


def test_features_that_are_not_finite_are_refused_by_name() -> None:
    maps = noise(4, 3, 4, 4)
    maps[2, 1, 0, 0] = float("nan")
    with pytest.raises(InvalidData, match="Features of first at σ = 1 are not finite"):
        carried(maps)


@pytest.mark.parametrize(("images", "ids", "batch"), [(1, 1, 4), (4, 3, 4), (4, 4, 0)])
def test_what_cannot_be_told_is_refused(images: int, ids: int, batch: int) -> None:
    with pytest.raises(InvalidRequest, match="allowed"):
        finish(diagnose(Toy(nn.Identity()), noise(images, 3, 2, 2), ids_of(ids), 1.0, "none", ["first"], batch=batch))


def test_the_batch_changes_nothing_and_every_one_is_told(tiny: Backend, digits: Dataset) -> None:
    ids = digits.members("test", 11)
    x0, blocks = load_x0(digits, ids, tiny), ["up0.res0", "down0.res0"]
    steps: list[tuple[int, int]] = []
    by_three = finish(diagnose(tiny, x0, ids, 0.5, "none", blocks, batch=3), steps.append)
    at_once = finish(diagnose(tiny, x0, ids, 0.5, "none", blocks))
    assert steps == [(3, 11), (6, 11), (9, 11), (11, 11)]
    assert list(by_three) == ["down0.res0", "up0.res0"]  # in the network's order
    for name, found in by_three.items():
        np.testing.assert_allclose(found.places.shares, at_once[name].places.shares, rtol=1e-3)
        assert found.position
        assert at_once[name].position
        assert found.position.row == pytest.approx(at_once[name].position.row, abs=1e-3)
        assert found.norms
        assert at_once[name].norms
        assert found.norms.strongest == at_once[name].norms.strongest


def test_others_are_served_between_two_batches_and_no_hook_stays(tiny: Backend, digits: Dataset) -> None:
    ids = digits.members("test", 8)
    x0 = load_x0(digits, ids, tiny)
    alone = finish(diagnose(tiny, x0, ids, 0.5, "none", ["mid.res1"], batch=2))
    shared = finish(
        diagnose(tiny, x0, ids, 0.5, "none", ["mid.res1"], batch=2), lambda _: tiny.denoise(x0[:1] + 9, torch.ones(1, dtype=torch.float64))
    )
    assert shared == alone
    way = diagnose(tiny, x0, ids, 0.5, "none", ["mid.res1"], batch=2)
    next(way)
    assert not torch.is_inference_mode_enabled()
    way.close()
    assert not any(module._forward_hooks for module in tiny.net.modules())


def test_clean_images_need_no_seed_and_noisy_ones_do(tiny: Backend, digits: Dataset) -> None:
    ids = digits.members("test", 6)
    x0 = load_x0(digits, ids, tiny)

    def found(seed: int, clean: bool) -> dict[str, Diagnosis]:
        return finish(diagnose(tiny, x0, ids, 0.5, "none", ["mid.res1"], seed, clean))

    assert found(0, True) == found(1, True)
    assert found(0, False) != found(1, False)


def test_a_block_that_is_not_there_is_named(tiny: Backend) -> None:
    with pytest.raises(UnknownName, match="block 'mid'"):
        finish(diagnose(tiny, noise(2, 1, 8, 8), ids_of(2), 0.5, "none", ["mid"]))


def test_every_block_of_the_digits_model_is_told(digits: Dataset) -> None:
    model, ids = open_backend("digits-ddpm"), digits.members("test", 64)
    blocks = [block.name for block in model.card.blocks]
    found = finish(diagnose(model, load_x0(digits, ids, model), ids, 0.35, "none", blocks))
    json.dumps({name: one.to_dict() for name, one in found.items()}, allow_nan=False)
    assert list(found) == blocks
    for block in model.card.blocks:
        one, side = found[block.name], 8 // block.stride
        assert one.shape == (block.channels, side, side)
        assert len(one.places.shares) == block.channels
        assert one.position is not None
        assert one.position.row is not None
        assert one.position.row <= 1
        assert one.norms is not None
        assert set(one.norms.strongest) <= {f"{int(i):016x}" for i in ids}
