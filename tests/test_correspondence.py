"""A point's match: worked out by hand, then with the bundled models on images whose shift is known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.correspondence import Field, match, pck
from analysis.datasets import open_dataset
from analysis.datasets.base import image_ids
from analysis.dense import maps
from analysis.errors import InvalidRequest
from analysis.features import capture
from analysis.keypoints import Pair, pair, score
from analysis.noise import add_noise, noise_like
from analysis.uploads import frame, read

from .toys import Toy

SIDE = 8


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plainly(feature: Tensor, feature_map: Tensor, side: int) -> Tensor:
    """Cosines with the upsampled map, held whole."""
    large = functional.interpolate(feature_map[None], (side, side), mode="bilinear", align_corners=False)[0]
    return functional.cosine_similarity(feature[:, None, None], large, dim=0)


def test_a_point_between_places_is_sampled_as_by_hand() -> None:
    field = Field.of(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]), 4)  # places stand at 1 and 3 pixels
    points = torch.tensor([[1.0, 1.0], [2.0, 1.0], [1.5, 2.5], [0.0, 4.0], [4.0, 4.0]])
    assert field.at(points)[:, 0].tolist() == pytest.approx([0, 0.5, 0.25 + 1.5, 2, 3])


def test_heat_is_the_cosine_with_the_upsampled_map() -> None:
    feature = noise(40, seed=1)
    for shape, side in (((5, 5), 16), ((4, 8), 16), ((1, 1), 4), ((8, 8), 8), ((6, 6), 4)):
        feature_map = noise(40, *shape)
        torch.testing.assert_close(Field.of(feature_map, side).heat(feature), plainly(feature, feature_map, side), atol=1e-5, rtol=0)


def test_a_point_is_most_like_itself() -> None:
    field = Field.of(noise(16, 4, 4), 16)
    found, heat = match(field, (5.5, 9.5), field)
    assert (found.x, found.y, found.back) == (5.5, 9.5, 0)
    assert found.similarity == pytest.approx(1, abs=1e-6)
    assert float(heat.max()) == found.similarity


def test_lengths_of_features_change_nothing() -> None:
    a, b = noise(16, SIDE, SIDE), noise(16, SIDE, SIDE, seed=1)
    plain, scaled = (match(Field.of(a * k, SIDE), (3, 3), Field.of(b / k, SIDE)) for k in (1, 7))
    torch.testing.assert_close(plain[1], scaled[1])
    assert (plain[0].x, plain[0].y) == (scaled[0].x, scaled[0].y)


def test_an_empty_feature_is_like_nothing() -> None:
    assert Field.of(torch.zeros(3, 4, 4), 8).heat(torch.ones(3)).abs().max() == 0
    assert Field.of(torch.ones(3, 4, 4), 8).heat(torch.zeros(3)).abs().max() == 0


def test_the_second_place_lies_apart_and_the_margin_is_what_lies_between() -> None:
    target = torch.zeros(2, 20, 20)
    target[1] = 1
    target[:, 5, 5], target[:, 5, 6], target[:, 15, 3] = torch.tensor([1.0, 0]), torch.tensor([1, 0.1]), torch.tensor([1, 0.2])
    source = torch.zeros(2, 20, 20)
    source[0] = 1
    found, _ = match(Field.of(source, 20), (10.5, 10.5), Field.of(target, 20))
    assert (found.x, found.y, found.second_x, found.second_y) == (5.5, 5.5, 3.5, 15.5)
    assert found.margin == pytest.approx(1 - 1 / 1.04**0.5)


def test_the_way_back_tells_a_match_that_anything_would_have() -> None:
    a, b = torch.eye(4)[:, :, None].expand(4, 4, 4).clone(), torch.eye(4)[:, :1, None].expand(4, 4, 4).clone()
    found, _ = match(Field.of(a + 0.1 * torch.eye(4)[:, None], 4), (2.5, 3.5), Field.of(b, 4))
    assert found.back > 2


@pytest.mark.parametrize("point", [(-0.1, 2.0), (2.0, 8.5), (float("nan"), 1.0)])
def test_a_point_outside_is_one_sentence(point: tuple[float, float]) -> None:
    field = Field.of(noise(4, 4, 4), SIDE)
    with pytest.raises(InvalidRequest, match="allowed: 0 to 8 each"):
        match(field, point, field)


def test_pck_counts_what_is_near_enough() -> None:
    truth = np.zeros((4, 2))
    assert pck(np.array([[0, 0], [3, 0], [0, 3.3], [2, 2.5]]), truth, size=32) == 0.5
    with pytest.raises(InvalidRequest, match="at least one"):
        pck(np.zeros((0, 2)), np.zeros((0, 2)), 32)


class Image(Toy):
    """The block's map is the image itself, each place with its surroundings."""

    def __init__(self) -> None:
        super().__init__(nn.Unfold(3, padding=1), channels=27, resolution=16)

    def as_map(self, block: object, output: Tensor) -> Tensor:  # type: ignore[override]
        return output.reshape(len(output), 27, 16, 16)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        self.net(x)
        return x


def test_where_features_are_the_image_the_match_is_the_shift_itself() -> None:
    large = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
    first, second = large[2:18, 3:19], large[5:21, 1:17]
    found = maps(Image(), [first, second], ["first"], 1e-6)["first"]
    fields = [Field.of(one, 16) for one in found]
    for x, y in ((3.5, 8.5), (7.5, 4.5), (12.5, 13.5)):
        one, _ = match(fields[0], (x, y), fields[1])
        assert (one.x, one.y) == (x + 2, y - 3)


def test_the_mean_over_draws_is_the_one_by_hand(tiny: Backend) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    x0 = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    x0, level = tiny.encode(x0), tiny.schedule.nearest(torch.tensor([0.5]))
    each, ids = [], [int(image_ids(image[None])[0])]
    with torch.no_grad(), capture(tiny, ["mid.res0"]) as taps:
        for draw in range(3):
            each.append(taps(add_noise(x0, level, noise_like(x0, ids, 0, draw)), level, tiny.card.unconditional)["mid.res0"])
    assert not torch.equal(each[0], each[1])
    several = maps(tiny, [image], ["mid.res0"], 0.5, draws=3)["mid.res0"]
    torch.testing.assert_close(several, torch.stack(each).mean(0), atol=1e-5, rtol=0)


def test_a_moved_copy_is_moved_by_what_is_said() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    for seed in range(5):
        one = pair(image, seed)
        there = [image[int(y), int(x)] for x, y in one.points]
        assert np.array_equal(there, [one.second[int(y), int(x)] for x, y in one.truth])
        assert np.abs(one.truth - one.points).min() >= 2
        assert np.abs(one.truth - one.points).max() <= 4


def test_a_copy_that_is_turned_round_is_as_well() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    one = pair(image, 3, flip=True)
    assert all((image[int(y), int(x)] == one.second[int(v), int(u)]).all() for (x, y), (u, v) in zip(one.points, one.truth, strict=True))


@pytest.fixture(scope="module")
def cifar() -> Backend:
    return open_backend("cifar10-ddpm")


@pytest.fixture(scope="module")
def photos() -> list[Pair]:
    folder = Path(os.environ.get("NOISESCOPE_TEST_DATA", "nowhere")) / "photos"
    if not folder.is_dir():
        pytest.skip("no photographs on this machine: set NOISESCOPE_TEST_DATA")
    images = [frame(read(path.read_bytes()).pixels, 32) for path in sorted(folder.glob("*.JPEG"))]
    return [pair(image, seed) for seed, image in enumerate(images)]


def found(model: Backend, given: list[Pair], block: str, sigma: float, draws: int = 1) -> float:
    return float(score(model, given, [block], sigma, draws)[block].mean())


def test_the_bundled_model_finds_points_of_photographs_again_and_not_at_a_very_noisy_level(cifar: Backend, photos: list[Pair]) -> None:
    assert found(cifar, photos, "up1.res1", 0.3, 4) > 0.55  # by chance, .03
    assert found(cifar, photos, "up1.res1", 10.0, 4) < 0.2


@pytest.mark.slow
def test_a_mean_over_draws_finds_more_than_one_draw(cifar: Backend, photos: list[Pair]) -> None:
    assert found(cifar, photos, "up1.res1", 0.5, 8) > found(cifar, photos, "up1.res1", 0.5)


def test_the_bundled_model_finds_points_of_shapes_again_and_not_at_a_very_noisy_level() -> None:
    model, data = open_backend("shapes-ddpm"), open_dataset("shapes", 16)
    given = [pair(image, seed) for seed, image in enumerate(data.images[data.rows(data.members("test")[:12])])]
    assert found(model, given, "up1.res0", 0.14) > 0.6
    assert found(model, given, "up1.res0", 10.0) < 0.2
