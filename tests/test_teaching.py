from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import teaching
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.errors import InvalidData
from analysis.readout import Readout, of_arrays, of_study
from analysis.studies import Study
from analysis.views import view

SIGMAS = (0.05, 0.5, 5.0)
OF_ONE = Readout((), SIGMAS, "1", "none", dict.fromkeys([(0, "up1.res0")]))
LIKE = Readout((), SIGMAS, "1", "none", dict.fromkeys([(0, "mid.res1"), (0, "up0.res0")]))  # which blocks and levels


def handful(digits: Dataset, each: int, classes: tuple[int, ...] = (0, 1)) -> tuple[np.ndarray, np.ndarray]:
    values = digits.label_set(None).values
    rows = [np.flatnonzero(values == k)[:each] for k in classes]
    return digits.images[np.concatenate(rows)], np.repeat(np.arange(len(classes)), each)


def taught(model: Backend, images: np.ndarray, labels: np.ndarray, draws: int = 3, block: str = "up0.res0") -> teaching.Taught:
    return finished(teaching.teach(model, images, labels, ["a", "b"], LIKE, block, draws))


def finished(steps: teaching.Progress) -> teaching.Taught:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_ten_images_of_two_digits_are_told_apart_where_noise_is_low(digits: Dataset) -> None:
    steps = teaching.teach(open_backend("digits-ddpm"), *handful(digits, 5), ["a", "b"], OF_ONE, "up1.res0")
    found = finished(steps)
    assert found.curve[0][0] > 0.9
    assert found.verdict.n_test == 10
    assert found.verdict.shape == "undecided"


def test_the_taught_probe_reads_its_own_images(tiny: Backend, digits: Dataset) -> None:
    images, labels = handful(digits, 4)
    readout = taught(tiny, images, labels).readout
    read = [view(tiny, readout, image)[0]["logits/mid.res1"][0].argmax() for image in images]
    assert (np.array(read) == labels).all()


def test_an_image_is_never_scored_by_a_probe_that_was_fitted_on_it() -> None:
    # Labels are coins: what was fitted on an image would know its label, what was not is right half of the time at most.
    rng = np.random.default_rng(0)
    rights = [teaching.score(rng.normal(size=(12, 40)), np.arange(12) % 2, 2).mean() for _ in range(40)]
    assert np.mean(rights) < 0.6


def test_an_interval_is_never_narrower_than_so_few_images_allow(digits: Dataset) -> None:
    steps = teaching.teach(open_backend("digits-ddpm"), *handful(digits, 5), ["a", "b"], OF_ONE, "up1.res0")
    mean, low, high = finished(steps).curve
    assert mean[0] == high[0] == 1
    assert low[0] == pytest.approx(0.722, abs=1e-3)  # Wilson's of ten of ten


def test_no_rise_is_sure_to_be_seen_that_a_few_images_could_make(digits: Dataset) -> None:
    steps = teaching.teach(
        open_backend("digits-ddpm"), *handful(digits, 5), ["a", "b"], replace(OF_ONE, sigmas=(0.01, 0.02, 0.05)), "up1.res0"
    )
    # Ten images that never disagree, as if one did: its share, .1, times (t of .95 and of .8 on nine degrees of freedom: 1.833 + .883).
    assert finished(steps).verdict.detectable == pytest.approx(0.2716, abs=1e-4)


@pytest.mark.parametrize("count", [10, 60])
def test_every_image_is_scored_once(count: int) -> None:
    labels = np.arange(count) % 2
    scored = np.concatenate([test for _, test in teaching.splits(labels)])
    assert sorted(scored) == list(range(count))
    assert all(not set(train) & set(test) for train, test in teaching.splits(labels))


def test_probes_that_were_sent_are_the_same(small_study: Study) -> None:
    readout = of_study(small_study)
    back = of_arrays({**readout.arrays(), "image": np.zeros(3)}, readout.classes, small_study)
    assert back is not None
    assert back.blocks == readout.blocks
    assert all((back.probes[key][0] == readout.probes[key][0]).all() for key in readout.probes)
    assert of_arrays({"image": np.zeros(3)}, (), small_study) is None


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([0, 0, 1], ["a", "b"], "Class 'b' has 1 image;"),
        ([], ["a", "b"], "Class 'a' has 0 images"),
        ([0, 0], ["a"], "two or more"),
        ([0, 0, 1, 1], ["a", "a"], "different names"),
        ([0, 0, 1, 1], ["a", ""], "no name"),
        ([0, 1] * 101, ["a", "b"], "at most 200"),
        (list(range(11)) * 2, list("abcdefghijk"), "at most 10"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(labels: list[int], classes: list[str], words: str) -> None:
    with pytest.raises(InvalidData, match=words):
        teaching.check(np.array(labels, int), classes)
