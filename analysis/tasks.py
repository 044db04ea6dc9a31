"""What probes are fitted and scored on: which images are labelled in a draw, and what a probe is told of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import registry
from .datasets.base import Dataset, LabelSet
from .errors import InvalidData, InvalidRequest
from .heads.base import Scaling
from .specs import FeatureIdentity, ProbeIdentity


@dataclass(frozen=True)
class Reading:
    """What a probe reads of a cell: the mean of several draws' features, projected on principal components where `pca` says how many."""

    features: tuple[FeatureIdentity, ...]
    pca: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What is said of it in a probe's identity, beside the first draw."""
        mean = {"mean_of": [identity.key() for identity in self.features]} if len(self.features) > 1 else {}
        return mean | ({"pca": self.pca} if self.pca else {})


@dataclass(frozen=True)
class Task:
    """What a probe is fitted and scored on: ids of images, and every image's label by id."""

    dataset: Dataset
    labels: LabelSet
    train: np.ndarray  # ids of the labelled images of one draw
    validation: np.ndarray
    test: np.ndarray
    told: np.ndarray | None = None  # the labels that the labelled images are given, where these are not their own

    @property
    def continuous(self) -> bool:
        return self.labels.numbers is not None

    def values(self, ids: np.ndarray) -> np.ndarray:
        """Classes of images (n,) int64; of a continuous label set its numbers, so scaled that all images' mean is 0 and variance 1."""
        rows, numbers = self.dataset.rows(ids), self.labels.numbers
        return self.labels.values[rows] if numbers is None else (numbers[rows] - np.nanmean(numbers)) / np.nanstd(numbers)

    @property
    def given(self) -> np.ndarray:
        """Labels of the labelled images, as a probe is told them."""
        return self.values(self.train) if self.told is None else self.told

    def identity(self, reading: Reading, head: str, scaling: Scaling, penalties: Sequence[float]) -> ProbeIdentity:
        """The key of this probe's results."""
        number = registry.get("heads", head).version if head in registry.names("heads") else 1
        version = {"version": number} if number > 1 else {}
        images = [self.train.tobytes(), self.validation.tobytes(), self.test.tobytes()]
        return ProbeIdentity(
            features=reading.features[0].key(),
            images=hashlib.sha256(b"/".join(images)).hexdigest()[:16],
            label_set=self.labels.name,
            labels=hashlib.sha256(np.concatenate([self.given, self.values(self.validation), self.values(self.test)]).tobytes()).hexdigest()[
                :16
            ],
            head=head,
            settings={"scaling": scaling, "penalties": list(penalties), **version, **reading.settings},
        )


def choose_labelled(
    dataset: Dataset, labels: LabelSet, pool: np.ndarray, per_class: int | Literal["all"], draw: int, seed: int
) -> np.ndarray:
    """Ids of the labelled images of one draw, from the ids `pool` (n,); fewer labels are part of more.

    Raises InvalidData for a class without images, InvalidRequest for more labels a class than there are.
    """
    values = labels.values[dataset.rows(pool)]
    counts = np.bincount(values, minlength=len(labels.classes))
    if len(labels.classes) < 2:
        raise InvalidData(f"Label set {labels.name!r} has one class; a probe needs at least two.")
    if counts.min() == 0:
        name = labels.classes[int(counts.argmin())]
        raise InvalidData(f"Class {name!r} of {labels.name!r} has no training image; use more training images or drop the class.")
    if per_class == "all":
        return pool
    if per_class > counts.min():
        name = labels.classes[int(counts.argmin())]
        raise InvalidRequest(
            f"labels per class is {per_class}; class {name!r} has {counts.min()} training images: ask for that many or fewer."
        )
    if per_class * len(counts) == len(pool):
        raise InvalidRequest(f"labels per class is {per_class}, which is every training image there is: ask for 'all'.")
    rng = np.random.default_rng([seed, draw])
    order = rng.permutation(len(pool))
    chosen = [order[values[order] == k][:per_class] for k in range(len(labels.classes))]
    return np.sort(pool[np.concatenate(chosen)])


def mislabelled(labels: np.ndarray, classes: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) of which exactly round(rate · n) are another class, any of the others as likely (symmetric noise)."""
    found = labels.copy()
    wrong = rng.permutation(len(labels))[: round(rate * len(labels))]
    found[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return found


def long_tailed(labels: np.ndarray, classes: int, ratio: float) -> np.ndarray:
    """Places of those of (n,) that stay where the first class has `ratio` times as many as the last, falling evenly in between by the logarithm.

    Cui et al., arXiv 1901.05555. The first class stays whole; each has one at least.
    """
    most = int(np.bincount(labels, minlength=classes).min())
    kept = [max(1, round(most * ratio ** (-k / max(1, classes - 1)))) for k in range(classes)]
    return np.sort(np.concatenate([np.flatnonzero(labels == k)[: kept[k]] for k in range(classes)]))
