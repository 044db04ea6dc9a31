"""The images of a study of memorization: labelled, validation and test images, and the training images of each network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .datasets import open_dataset
from .datasets.base import Dataset, Labels, LabelSet
from .errors import InvalidRequest
from .memorization import FRESH, MemorizationRequest, Run
from .tasks import choose_labelled

MOST = 1_000_000  # images of a set, which is held in memory
LABELLED = 4  # times as many images as are labelled in a draw, among which they are drawn


class Chosen(Dataset):
    """Images of another data set, all of them to train on; with that one's class of each, where it has some."""

    def __init__(self, name: str, images: np.ndarray, labels: LabelSet) -> None:
        self.name, self._given, self._known = name, images, labels
        super().__init__()

    def load(self) -> tuple[np.ndarray, Labels]:
        self.given = np.full(len(self._given), "train")
        return self._given, {self._known.name: (self._known.classes, self._known.values)}


class Material:
    """What all networks of a study are given and asked, by its request."""

    def __init__(self, request: MemorizationRequest) -> None:
        """Raises InvalidRequest where there are too few images, UnknownName, InvalidData."""
        self.request = request
        self._sets: dict[int, Dataset] = {}
        self._parts: dict[Run, Dataset] = {}
        self.dataset = open_dataset(request.dataset, request.spec.network["sample_size"])
        self.labels = self.dataset.label_set(request.label_set or self._usual)
        if self.labels.numbers is not None:
            raise InvalidRequest(f"label_set is {self.labels.name}, whose labels are numbers; allowed: one with classes.")
        self.validation = self._members("validation", request.n_validation)
        self.test = self._members("test", request.n_test)
        train = self.dataset.members("train", None, self.labels)
        wanted = LABELLED * request.labels_per_class * len(self.labels.classes)
        self.endless = self.dataset.another(1, 0) is not None
        self.pool = train if self.endless else train[: min(wanted, len(train) // 3)]
        self._left = train[len(self.pool) :]
        if FRESH in request.sizes and not self.endless:
            raise InvalidRequest(f"sizes have 'fresh'; {request.dataset} has no images without end: leave it out.")
        if self.endless and request.largest > MOST:
            raise InvalidRequest(f"sizes go to {request.largest:,} images; allowed: up to {MOST:,}, or 'fresh' for new ones at every step.")
        most = len(self._left) // request.seeds
        if not self.endless and request.largest > most:
            raise InvalidRequest(
                f"sizes go to {request.largest} images; {request.dataset} has {most} for each of {request.seeds} seeds, beside those that are "
                "labelled or tested on: ask for fewer images or seeds."
            )
        self.draw(0, 0)
        self._two_classes()

    def _two_classes(self) -> None:
        """Raises InvalidRequest where the smallest set, which is the beginning of the others, is all of one class."""
        least, classes = self.request.sizes[0], len(self.labels.classes)
        for seed in range(self.request.seeds if int(least) < 10 * classes else 0):  # of more there is no such set
            if len(set(self.own(Run(str(least), seed), 0)[1])) < 2:
                raise InvalidRequest(
                    f"sizes begin with {least}: with seed {seed} all of these images are of one class, which no probe can be fitted on; ask for more."
                )

    @property
    def _usual(self) -> str | None:
        """The label set that the bundled networks learn most of."""
        return "shape" if "shape" in self.dataset.label_sets else None

    @property
    def read(self) -> int:
        """How many images a look reads at every level, at most."""
        labelled = min(len(self.pool), self.request.label_draws * self.request.labels_per_class * len(self.labels.classes))
        return labelled + len(self.validation) + len(self.test) + self.request.losses

    def _members(self, split: str, limit: int) -> np.ndarray:
        found = self.dataset.members(split, None, self.labels)  # type: ignore[arg-type]
        return found[:limit]

    def _whole(self, seed: int) -> Dataset:
        """The largest training set of a seed, of which all smaller ones are the beginning."""
        if seed not in self._sets:
            count = self.request.largest
            found = self.dataset.another(count, seed)
            if found is None:
                rows = self.dataset.rows(self._left[seed * count : (seed + 1) * count])
                values = LabelSet(self.labels.name, self.labels.classes, self.labels.values[rows])
                found = Chosen(self.dataset.name, self.dataset.images[rows], values)
            self._sets[seed] = found
        return self._sets[seed]

    def training(self, run: Run) -> Dataset:
        """The images that a network is trained on; of a set without end the first, which it has met at every moment that is looked at."""
        if run not in self._parts:
            images, values = self._beginning(run)
            part = LabelSet(self.labels.name, self.labels.classes, values)
            self._parts[run] = Chosen(f"{self.dataset.name}, {len(images):,} images", images, part)
        return self._parts[run]

    def _beginning(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """The images (n, H, W, 3) of a training set, and their classes (n,)."""
        count = self.request.met if run.size == FRESH else int(run.size)
        if run.size == FRESH:
            images, values = self.stream(run.seed, range(-(-count // self.request.spec.batch)))
            return images[:count], values[:count]
        whole = self._whole(run.seed)
        return whole.images[:count], whole.label_set(self.labels.name).values[:count]

    def stream(self, seed: int, steps: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, H, W, 3) that are new at these steps of training, and their classes (n,)."""
        found = [self.dataset.fresh(seed, step, self.request.spec.batch) for step in steps]
        parts = [part for part in found if part is not None]
        return np.concatenate([images for images, _ in parts]), np.concatenate([known[self.labels.name] for _, known in parts])

    def draw(self, seed: int, number: int) -> np.ndarray:
        """Ids (n,) of the labelled images of one draw of a seed. Raises InvalidRequest, InvalidData."""
        return choose_labelled(self.dataset, self.labels, self.pool, self.request.labels_per_class, number, seed)

    def own(self, run: Run, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (n,) of a network's own training images that are labelled in one draw, as many a class as elsewhere or as there are; classes."""
        training = self.training(run)
        values = training.label_set(self.labels.name).values
        order = np.random.default_rng([run.seed, number, 1]).permutation(len(values))
        rows = np.sort(
            np.concatenate([order[values[order] == k][: self.request.labels_per_class] for k in range(len(self.labels.classes))])
        )
        return rows, values[rows]

    def values(self, ids: np.ndarray) -> np.ndarray:
        """Classes (n,) of images of the data set."""
        return np.asarray(self.labels.values[self.dataset.rows(ids)])
