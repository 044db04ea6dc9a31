"""The procedural images: the labels are what is drawn, and nothing else tells them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare
from sklearn.linear_model import LogisticRegression

from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.datasets.shapes import HUES, SHAPES, TEXTURES, draw
from analysis.errors import InvalidRequest


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    images, labels = draw(np.random.default_rng(5), 3000)
    return images.astype(float) / 255, labels


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return open_dataset("shapes:1200")


def test_an_image_is_the_same_in_a_set_of_any_size(shapes: Dataset) -> None:
    assert set(open_dataset("shapes:300").ids) < set(shapes.ids)


def test_another_seed_gives_other_images(shapes: Dataset) -> None:
    assert not set(open_dataset("shapes:300:7").ids) & set(shapes.ids)


def test_no_image_comes_twice() -> None:
    assert (open_dataset("shapes").duplicates, len(open_dataset("shapes").ids)) == (0, 5000)


@pytest.mark.parametrize("name", ["shape", "texture", "hue"])
def test_labels_are_drawn_evenly(many: tuple, name: str) -> None:
    assert chisquare(np.bincount(many[1][name])).pvalue > 0.001


@pytest.mark.parametrize("pair", [("shape", "texture"), ("texture", "hue"), ("shape", "hue")])
def test_no_label_tells_another(many: tuple, pair: tuple[str, str]) -> None:
    a, b = (many[1][name] for name in pair)
    counts = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(counts, (a, b), 1)
    assert chi2_contingency(counts).pvalue > 0.001


def test_the_texture_label_is_the_direction_in_which_the_middle_varies(many: tuple) -> None:
    images, labels = many
    middle = images.mean(-1)[:, 5:11, 5:11]
    down, across = (np.abs(np.diff(middle, axis=axis)).mean((1, 2)) for axis in (1, 2))
    solid = np.isin(labels["shape"], [SHAPES.index("disc"), SHAPES.index("square")])
    rows, columns = (solid & (labels["texture"] == TEXTURES.index(name)) for name in ("rows", "columns"))
    assert (down > across)[rows].mean() > 0.98
    assert (across > down)[columns].mean() > 0.98


def test_the_hue_label_is_the_colour_of_the_middle(many: tuple) -> None:
    images, labels = many
    solid = np.isin(labels["shape"], [SHAPES.index("disc"), SHAPES.index("square"), SHAPES.index("cross")])
    red, green, blue = np.moveaxis(images[solid][:, 6:10, 6:10].mean((1, 2)), -1, 0)
    angle = np.arctan2(np.sqrt(3) * (green - blue), 2 * red - green - blue) / (2 * np.pi) * len(HUES)
    assert (np.rint(angle).astype(int) % len(HUES) == labels["hue"][solid]).mean() > 0.9


def test_the_shape_label_is_what_covers_the_image(many: tuple) -> None:
    """Of equal size, a square covers more than a disc's bounding ring: areas come in the order of the definitions."""
    images, labels = many
    spread = images.max(-1) - images.min(-1)  # the object is saturated, the background is not
    covered = [(spread[labels["shape"] == k] > 0.3).mean() for k in range(len(SHAPES))]
    assert np.argmax(covered) in (SHAPES.index("disc"), SHAPES.index("square"))
    assert np.argmin(covered) in (SHAPES.index("crescent"), SHAPES.index("ring"), SHAPES.index("cross"), SHAPES.index("triangle"))


@pytest.mark.parametrize("name", ["texture"])
def test_the_mean_colour_does_not_tell_the_texture(many: tuple, name: str) -> None:
    mean, values = many[0].mean((1, 2)), many[1][name]
    right = LogisticRegression().fit(mean[:2000], values[:2000]).score(mean[2000:], values[2000:])
    assert right < 0.25 + 3 * np.sqrt(0.25 * 0.75 / 1000)  # chance, and three standard errors of 1,000 images


def test_the_product_is_the_three_together(shapes: Dataset) -> None:
    product = shapes.label_set("product")
    for row in (0, 100, 1000):
        hue, shape, _of, texture = product.classes[product.values[row]].split()
        told = [shapes.label_set(name).classes[shapes.label_set(name).values[row]] for name in ("hue", "shape", "texture")]
        assert told == [hue, shape, texture]


@pytest.mark.parametrize("name", ["shapes:many", "shapes:0", "shapes:10:x", "shapes:-5"])
def test_a_size_or_seed_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="allowed: a whole number"):
        open_dataset(name)


@pytest.mark.parametrize("side", [8, 32])
def test_it_is_resized_to_the_side_that_is_asked_for(side: int) -> None:
    dataset = open_dataset("shapes:300", side)
    assert dataset.images.shape == (300, side, side, 3)
    assert dataset.resized_from == (16, 16)
