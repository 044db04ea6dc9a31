"""The procedural images: the labels are what is drawn, and nothing else tells them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare
from sklearn.linear_model import LogisticRegression

from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset, image_ids
from analysis.datasets.shapes import HUES, INSIDE, SHAPES, TEXTURES, draw
from analysis.errors import InvalidRequest, UnknownName


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


@pytest.mark.parametrize("name", ["shapes:many", "shapes:0", "shapes:10:x", "shapes:-5"])
def test_a_size_or_seed_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="allowed: a whole number"):
        open_dataset(name)


@pytest.mark.parametrize("side", [8, 32])
def test_it_is_resized_to_the_side_that_is_asked_for(side: int) -> None:
    dataset = open_dataset("shapes:300", side)
    assert dataset.images.shape == (300, side, side, 3)
    assert dataset.resized == 300


def test_the_areas_of_the_shapes_are_those_of_geometry() -> None:
    v, u = np.mgrid[-1.2:1.2:1201j, -1.2:1.2:1201j]
    lens = 0.75**2 * np.arccos(-0.25) + np.arccos(0.6875) - 0.5 * np.sqrt(2.25 * 0.25 * 0.75 * 1.25)  # where two circles overlap
    by_hand = [np.pi * 0.9**2, 1.6**2, 1.8 * 1.8 / 2, 2 * 0.6 * 1.96 - 0.6**2, np.pi * (1 - 0.55**2), np.pi - lens]
    measured = [inside(u, v).mean() * 2.4**2 for inside in INSIDE]
    np.testing.assert_allclose(measured, by_hand, rtol=0.01)  # the grid's step is 0.002 of a radius


def test_a_matched_filter_reads_the_texture_off_the_middle(many: tuple) -> None:
    """Of period 2 there are three waves: rows, columns and checks are one each, dots are all three alike."""
    images, labels = many
    y, x = np.mgrid[:4, :4]
    waves = np.stack([(-1.0) ** y, (-1.0) ** x, (-1.0) ** (x + y)])
    found = np.abs(np.einsum("nyx,kyx->nk", images.mean(-1)[:, 6:10, 6:10], waves))
    guess = np.where(found.min(1) > 0.5 * found.max(1), TEXTURES.index("dots"), found.argmax(1))
    solid = np.isin(labels["shape"], [SHAPES.index(name) for name in ("disc", "square", "cross")])
    assert (guess == labels["texture"])[solid].mean() > 0.98


@pytest.mark.parametrize("name", ["shape", "texture"])
@pytest.mark.parametrize("what", ["brightness", "mean colour"])
def test_a_mean_tells_next_to_nothing_of_shape_and_texture(many: tuple, name: str, what: str) -> None:
    mean, values = many[0].mean((1, 2)), many[1][name]
    mean = mean.mean(1, keepdims=True) if what == "brightness" else mean
    right = LogisticRegression().fit(mean[:2000], values[:2000]).score(mean[2000:], values[2000:])
    # Three standard errors of 1,000 images are 0.04; a larger shape does shift the mean colour, and clipped dots the brightness.
    assert right < 1 / (values.max() + 1) + 0.05


def test_every_product_label_is_made_of_the_three(shapes: Dataset) -> None:
    sets = [shapes.label_set(name) for name in ("hue", "shape", "texture")]
    told = ["{} {} of {}".format(*(s.classes[s.values[row]] for s in sets)) for row in range(len(shapes.ids))]
    product = shapes.label_set("product")
    assert told == [product.classes[k] for k in product.values]
    assert len(set(product.classes)) == len(SHAPES) * len(TEXTURES) * len(HUES)


def test_fresh_images_are_in_no_set_and_come_again_only_for_the_same_step() -> None:
    endless = open_dataset("shapes")
    first, again, later, other = (endless.fresh(*at, 200)[0] for at in ((0, 0), (0, 0), (0, 1), (1, 0)))
    np.testing.assert_array_equal(first, again)
    assert len({*image_ids(first), *image_ids(later), *image_ids(other), *endless.ids}) == 600 + 5000


def test_a_set_of_a_size_that_was_asked_for_has_no_other_images(shapes: Dataset) -> None:
    assert shapes.fresh(0, 0, 200) is None


def test_at_its_own_side_nothing_is_resized() -> None:
    assert open_dataset("shapes:300", 16).resized == 0
    assert open_dataset("shapes:300", 16).identity == open_dataset("shapes:300").identity


def test_an_image_is_composed_with_the_labels_that_are_asked_for(shapes: Dataset) -> None:
    image = shapes.compose({"shape": "disc", "texture": "rows", "hue": "red"}, 3)
    again, other = (shapes.compose({"shape": "disc", "texture": "rows", "hue": "red"}, seed) for seed in (3, 4))
    assert image is not None
    assert image.shape == (16, 16, 3)
    assert np.array_equal(image, again)
    assert not np.array_equal(image, other)
    assert image[6:10, 6:10, 0].mean() > 1.5 * image[6:10, 6:10, 1:].mean()  # red in the middle


def test_a_class_that_no_image_has_is_named(shapes: Dataset) -> None:
    with pytest.raises(UnknownName, match="Unknown hue of an image 'pink'"):
        shapes.compose({"hue": "pink"}, 0)
