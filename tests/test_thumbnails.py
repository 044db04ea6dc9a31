from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from analysis.errors import InvalidRequest
from analysis.thumbnails import BUDGET, HEAD, LOSSLESS, Thumbnails, thumbnails


def noise(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def opened(uri: str) -> np.ndarray:
    assert uri.startswith(HEAD)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(HEAD)))).convert("RGB"))


def likeness(image: np.ndarray, uri: str) -> float:
    """Correlation of an image's luminance with its picture's: a lossy WebP keeps one colour for four pixels, which noise lacks."""
    picture = Image.fromarray(opened(uri))
    at_size = Image.fromarray(image).resize(picture.size, Image.Resampling.BOX)
    return float(np.corrcoef(np.asarray(at_size.convert("L")).ravel(), np.asarray(picture.convert("L")).ravel())[0, 1])


def in_order(found: Thumbnails, budget: int) -> bool:
    told = sum(map(bool, found.uris)), sum(map(len, found.uris))
    return (found.pictured, found.bytes) == told and found.bytes <= budget


@pytest.mark.parametrize(("n", "quality"), [(10, LOSSLESS), (2_000, 90), (10_000, 20)])
def test_noise_fits_the_budget_and_opens_again_as_what_it_was(n: int, quality: int) -> None:
    images = noise(n, 32)
    found = thumbnails(images)
    assert in_order(found, BUDGET)
    assert (found.pictured, found.side, found.quality) == (n, 32, quality)
    assert min(likeness(images[row], found.uris[row]) for row in range(0, n, max(1, n // 1_000))) > 0.85


def test_small_images_are_kept_pixel_by_pixel_and_never_enlarged() -> None:
    images = noise(50, 8)
    found = thumbnails(images)
    assert (found.side, found.quality) == (8, LOSSLESS)
    np.testing.assert_array_equal([opened(uri) for uri in found.uris], images)


def test_quality_falls_before_size_does() -> None:
    images = noise(40, 32)
    found = [thumbnails(images, budget) for budget in (200_000, 60_000, 40_000, 25_000, 15_000)]
    assert [each.side for each in found] == sorted((each.side for each in found), reverse=True)
    assert [each.quality for each in found if each.side == 32] == sorted((e.quality for e in found if e.side == 32), reverse=True)
    assert found[0].quality == LOSSLESS
    assert found[-1].side < 32
    assert all(in_order(each, 200_000) and each.pictured == 40 for each in found)


def test_where_the_smallest_do_not_fit_an_evenly_spread_sample_has_pictures() -> None:
    found = thumbnails(noise(500, 32), 20_000)
    rows = np.flatnonzero(found.uris)
    assert in_order(found, 20_000)
    assert rows[0] == 0
    assert found.bytes > 0.95 * 20_000
    assert np.diff(rows).max() - np.diff(rows).min() <= 1


@pytest.mark.parametrize("budget", [300_000, 30_000])
def test_images_that_differ_from_their_sample_do_not_break_the_budget(budget: int) -> None:
    images = noise(300, 32)
    images[np.arange(64) * 300 // 64] = 0  # the sample is black
    found = thumbnails(images, budget)
    assert in_order(found, budget)
    assert found.bytes > budget / 3


def test_large_and_long_images_shrink_and_keep_their_shape() -> None:
    found = thumbnails(np.full((2, 100, 400, 3), 7, np.uint8))
    assert found.side == 128
    assert opened(found.uris[1]).shape == (32, 128, 3)


@pytest.mark.parametrize("budget", [0, 30])
def test_without_room_for_any_there_are_none(budget: int) -> None:
    found = thumbnails(noise(3, 8), budget)
    assert (found.uris, found.pictured, found.bytes) == ([""] * 3, 0, 0)


def test_no_images_have_no_pictures() -> None:
    assert thumbnails(np.empty((0, 8, 8, 3), np.uint8)) == Thumbnails([], 0, LOSSLESS, 0, 0)


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 1), np.uint8), np.zeros((2, 0, 8, 3), np.uint8)])
def test_other_arrays_are_refused_in_words(images: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match=r"allowed: uint8 of shape \(n, height, width, 3\)"):
        thumbnails(images)
