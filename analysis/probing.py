"""Fit and score probes on stored features: one classifier a cell (block at σ), kept with its logits and its scaler."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import registry
from .crew import Between, still_wanted
from .datasets.base import Dataset, LabelSet
from .errors import DamagedFile, InvalidData, InvalidRequest
from .heads.base import FittedHead, ProbeHead, Scaler, Scaling, Untold
from .specs import FeatureIdentity, ProbeIdentity
from .store import Store


@dataclass(frozen=True)
class Task:
    """What a probe is fitted and scored on: ids of images, and every image's label by id."""

    dataset: Dataset
    labels: LabelSet
    train: np.ndarray  # ids of the labelled images of one draw
    validation: np.ndarray
    test: np.ndarray
    told: np.ndarray | None = None  # the labels that the labelled images are given, where these are not their own

    def values(self, ids: np.ndarray) -> np.ndarray:
        return self.labels.values[self.dataset.rows(ids)]

    @property
    def given(self) -> np.ndarray:
        """Labels of the labelled images, as a probe is told them."""
        return self.values(self.train) if self.told is None else self.told

    def identity(self, features: FeatureIdentity, head: str, scaling: Scaling, penalties: Sequence[float]) -> ProbeIdentity:
        """The key of this probe's results."""
        images = [self.train.tobytes(), self.validation.tobytes(), self.test.tobytes()]
        return ProbeIdentity(
            features=features.key(),
            images=hashlib.sha256(b"/".join(images)).hexdigest()[:16],
            label_set=self.labels.name,
            labels=hashlib.sha256(np.concatenate([self.given, self.values(self.validation), self.values(self.test)]).tobytes()).hexdigest()[
                :16
            ],
            head=head,
            settings={"scaling": scaling, "penalties": list(penalties)},
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


def _select(heads: Sequence[FittedHead], features: np.ndarray, labels: np.ndarray) -> FittedHead:
    """Of the heads that converged, the one with the best validation accuracy; the most penalised one of equals. Raises InvalidData."""
    ended = [head for head in heads if head.converged]
    if not ended:
        raise InvalidData("No penalty's fit converged; leave the block out, or use fewer labels.")
    accuracy = [float((head.predict_logits(features).argmax(1) == labels).mean()) for head in ended]
    return ended[int(np.argmax(accuracy))]


def shaped(head: ProbeHead, features: np.ndarray, side: int = 1) -> np.ndarray:
    """Features (n, D) as a head needs them: as they are, or as maps (n, C, side, side)."""
    return features.reshape(len(features), -1, side, side) if head.needs == "map" else features


def probe(
    head: ProbeHead,
    scaling: Scaling,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    classes: int,
    side: int = 1,
) -> tuple[FittedHead, Scaler, np.ndarray]:
    """The head that validation chose, its scaler, and its logits (n_validation + n_test, K) float16.

    Features are (n, D), labels (n,). A head that needs maps is given (n, C, side, side). Test images are only scored: nothing is
    chosen on them. Raises InvalidData where there is nothing to tell apart, or no fit converged.
    """
    scaler = Scaler.fit(train[0], scaling)

    def scaled(features: np.ndarray) -> np.ndarray:
        return shaped(head, scaler(features), side)

    told, given = np.unique(train[1], return_inverse=True)  # wrong labels may leave a class without an image
    if len(told) < 2:
        raise InvalidData("All labelled images are of one class; a probe needs at least two.")
    fitted = head.fit(scaled(train[0]), given, len(told))
    if len(told) < classes:
        fitted = [Untold(one, told, classes) for one in fitted]
    best = _select(fitted, scaled(validation[0]), validation[1])
    logits = best.predict_logits(scaled(np.concatenate([validation[0], test])))
    return best, scaler, np.clip(logits, -60000, 60000).astype(np.float16)


def fill(
    store: Store,
    task: Task,
    features: FeatureIdentity,
    sigma: float,
    names: Sequence[str],
    head_name: str,
    scaling: Scaling,
    between: Between = still_wanted,
) -> ProbeIdentity:
    """Probe the cells `block/pooling` at one σ that are not there, as one unit; returns their identity.

    `between` is called before every cell; what it raises ends the work.
    """
    head: ProbeHead = registry.get("heads", head_name)()
    identity = task.identity(features, head_name, scaling, head.penalties)
    done = {name for unit in store.units("probes", identity, sigma) for name in unit.names}
    lacking = [name for name in names if f"{name}/logits" not in done]
    if not lacking:
        return identity
    store.settings("probes", identity, {})
    ids = np.concatenate([task.train, task.validation, task.test])
    y_train, y_validation = task.given, task.values(task.validation)
    first, second = len(task.train), len(task.train) + len(task.validation)
    tensors: dict[str, np.ndarray] = {}
    chosen: dict[str, str] = {}
    for name in lacking:
        between()
        block, _, pooling = name.rpartition("/")
        values = store.cell(features, sigma, block, pooling, ids)
        train, validation = (values[:first], y_train), (values[first:second], y_validation)
        try:
            best, scaler, logits = probe(head, scaling, train, validation, values[second:], len(task.labels.classes), _side(pooling))
        except InvalidData as error:
            raise InvalidData(f"{name} at σ = {sigma:.4g}: {error}") from error
        kept = {"logits": logits, "mean": scaler.mean, "spread": scaler.spread, **best.tensors()}
        tensors |= {f"{name}/{key}": value for key, value in kept.items()}
        chosen[f"{name}/penalty"] = str(best.penalty)
    store.put("probes", identity, sigma, ids[first:], tensors, chosen)
    return identity


def _side(pooling: str) -> int:
    """The side of the grid that a pooling leaves: 1 where it leaves a vector."""
    return int(pooling) if pooling.isdecimal() else 1


@dataclass(frozen=True)
class Scored:
    """What a probed cell says: which validation and test images it got right, and the penalty that was chosen."""

    validation: np.ndarray  # (n_validation,) bool
    test: np.ndarray  # (n_test,) bool
    penalty: float


def score(store: Store, task: Task, identity: ProbeIdentity, sigma: float, names: Sequence[str]) -> dict[str, Scored]:
    """Read probed cells. Raises DamagedFile if one is not there."""
    truth = task.values(np.concatenate([task.validation, task.test]))
    cut = len(task.validation)
    found: dict[str, Scored] = {}
    for unit in store.units("probes", identity, sigma):
        here = [name for name in names if f"{name}/logits" in unit.names and name not in found]
        for key, logits in store.read(unit, [f"{name}/logits" for name in here]).items():
            right = logits.argmax(1) == truth
            name = key.removesuffix("/logits")
            found[name] = Scored(right[:cut], right[cut:], float(unit.meta[f"{name}/penalty"]))
    if lacking := set(names) - set(found):
        raise DamagedFile(f"The store lacks the probes of {', '.join(sorted(lacking))} at σ = {sigma:.4g}; run the sweep again.")
    return found


def read_logits(store: Store, task: Task, identity: ProbeIdentity, sigma: float, name: str) -> np.ndarray:
    """Test logits (n_test, K) float16 of one probed cell, in the order of the task's test ids. Raises DamagedFile."""
    for unit in store.units("probes", identity, sigma):
        if f"{name}/logits" in unit.names:
            return store.read(unit, [f"{name}/logits"])[f"{name}/logits"][len(task.validation) :]
    raise DamagedFile(f"The store lacks the probe of {name} at σ = {sigma:.4g}; run the sweep again.")


def read_heads(store: Store, identity: ProbeIdentity, sigma: float, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Scaler and weights of linear probes, by `block/pooling/{mean,spread,weight,bias}`."""
    kept: dict[str, np.ndarray] = {}
    for unit in store.units("probes", identity, sigma):
        wanted = [f"{name}/{key}" for name in names for key in ("mean", "spread", "weight", "bias")]
        kept |= store.read(unit, [key for key in wanted if key in unit.names])
    return kept
