"""Fit and score probes on stored features: one classifier a cell (block at σ), kept with its logits and its scaler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import registry
from .crew import Between, still_wanted
from .errors import DamagedFile, InvalidData, InvalidRequest
from .heads.base import FittedHead, ProbeHead, Projected, Scaler, Scaling, Untold
from .scores import Scores, scores
from .specs import ProbeIdentity
from .store import Store
from .tasks import Reading, Task

WAITING = 128 << 20  # bytes of cells that wait to be fitted with others


def _select(heads: Sequence[FittedHead], features: np.ndarray, labels: np.ndarray) -> FittedHead:
    """Of the heads that converged, the one that is best on validation images; the most penalised one of equals. Raises InvalidData."""
    ended = [head for head in heads if head.converged]
    if not ended:
        raise InvalidData("no penalty's fit converged")
    return ended[int(np.argmax([goodness(head.predict_logits(features), labels).mean() for head in ended]))]


def goodness(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, K), (n,) -> (n,): whether each image is right; of numbers values whose mean is R² and whose spread is what R² varies by.

    R² is 1 less a ratio of two means, of squared errors and of the numbers' variance, and both vary with the images: the values are
    its linear part (W. G. Cochran, Sampling Techniques, 3rd ed., 1977).
    """
    if labels.dtype.kind == "i":
        return np.asarray(logits.argmax(1) == labels)
    errors, apart = (logits[:, 0].astype(np.float64) - labels) ** 2, (labels - labels.mean()) ** 2
    left = errors.mean() / apart.mean()
    return np.asarray(1 - left - (errors - left * apart) / apart.mean(), dtype=np.float32)


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
    pca: int | None = None,
) -> Probe:
    """Fit a head of every penalty and let validation choose.

    Features are (n, D), given as (n, C, side, side) to a head that needs maps; labels (n,) whole, or fractions where a number is
    said. Nothing is chosen on test images. Raises InvalidData where there is nothing to tell apart or no fit converged.
    """
    posed = pose(head, scaling, train, (validation[0], test), side, pca)
    (fitted,) = fit(head, [posed.features], train[1], classes)
    return choose(posed, fitted, validation[1])


@dataclass(frozen=True)
class Probe:
    """The head that validation chose, its scaler, its logits (n_validation + n_test, K) float16, and the share of fits that converged."""

    head: FittedHead
    scaler: Scaler
    logits: np.ndarray
    converged: float


class Posed(NamedTuple):
    """A cell before its fit: labelled images as the head is given them, the others scaled, and what was done to them."""

    features: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    scaler: Scaler
    around: tuple[np.ndarray, np.ndarray] | None  # mean and principal components


def pose(
    head: ProbeHead,
    scaling: Scaling,
    train: tuple[np.ndarray, np.ndarray],
    others: tuple[np.ndarray, np.ndarray],
    side: int,
    pca: int | None,
) -> Posed:
    """Scale a cell's features by its labelled images. Raises InvalidData where there is nothing to tell apart."""
    features, labels = train
    if not all(np.isfinite(part).all() for part in (features, *others)):
        raise InvalidData("features are not finite")
    if len(features) and (features == features[0]).all():
        raise InvalidData("all labelled images have the same features")
    if labels.dtype.kind == "i" and len(np.unique(labels)) < 2:
        raise InvalidData("all labelled images are of one class; a probe needs at least two")
    scaler = Scaler.fit(features, scaling)
    x, validation, test = (shaped(head, scaler(part), side) for part in (features, *others))
    around = None
    if pca is not None and pca < min(x.shape):
        around = _axes(x, pca)
        x = (x - around[0]) @ around[1].T
    return Posed(x, validation, test, scaler, around)


def _axes(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and the first principal components (count, D) of scaled features (n, D)."""
    from sklearn.decomposition import PCA

    found = PCA(count, svd_solver="full").fit(features)
    return found.mean_.astype(np.float32), found.components_.astype(np.float32)


def fit(head: ProbeHead, cells: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> list[list[FittedHead]]:
    """One fitted head a penalty, of each of several cells of the same images."""
    if labels.dtype.kind != "i":
        return [head.regress(features, labels) for features in cells]
    told, given = np.unique(labels, return_inverse=True)  # wrong labels may leave a class without an image
    found = head.fit_cells(cells, given, len(told))
    return found if len(told) == classes else [[Untold(one, told, classes) for one in fitted] for fitted in found]


def choose(posed: Posed, fitted: Sequence[FittedHead], labels: np.ndarray) -> Probe:
    """The fit that is best on validation images, with their labels. Raises InvalidData where none converged."""
    every = [Projected(one, *posed.around) for one in fitted] if posed.around is not None else fitted
    best = _select(every, posed.validation, labels)
    logits = best.predict_logits(np.concatenate([posed.validation, posed.test]))
    converged = sum(one.converged for one in every) / len(every)
    return Probe(best, posed.scaler, np.clip(logits, -60000, 60000).astype(np.float16), converged)


def fill(
    store: Store,
    task: Task,
    reading: Reading,
    sigma: float,
    names: Sequence[str],
    head_name: str,
    scaling: Scaling,
    between: Between = still_wanted,
) -> ProbeIdentity:
    """Probe the cells `block/pooling` at one σ that are not there, as one unit; returns their identity.

    A cell that cannot be probed is kept with the reason; names may be of several blocks, as in `cells_of`. What `between` raises, before
    every cell, ends the work.
    """
    head: ProbeHead = registry.get("heads", head_name)()
    if head.needs == "map" and reading.pca:
        raise InvalidRequest(f"head {head_name} reads maps, which principal components do not leave; leave pca out or choose another head.")
    identity = task.identity(reading, head_name, scaling, head.penalties)
    done = {name for unit in store.units("probes", identity, sigma) for name in unit.names}
    lacking = [name for name in names if f"{name}/logits" not in done]
    if not lacking:
        return identity
    store.settings("probes", identity, {})
    ids = np.concatenate([task.train, task.validation, task.test])
    y_train, y_validation = task.given, task.values(task.validation)
    first, second = len(task.train), len(task.train) + len(task.validation)
    columns = 1 if task.continuous else len(task.labels.classes)
    tensors: dict[str, np.ndarray] = {}
    said: dict[str, str] = {}
    waiting: dict[tuple[int, ...], dict[str, Posed]] = {}

    def leave_out(name: str, error: InvalidData) -> None:
        tensors[f"{name}/logits"] = np.zeros((len(ids) - first, columns), np.float16)
        said[f"{name}/wrong"] = str(error)

    def settle() -> None:
        for cells in waiting.values():
            between()
            every = fit(head, [posed.features for posed in cells.values()], y_train, columns)
            for (name, posed), fitted in zip(cells.items(), every, strict=True):
                try:
                    found = choose(posed, fitted, y_validation)
                except InvalidData as error:
                    leave_out(name, error)
                    continue
                kept = {"logits": found.logits, "mean": found.scaler.mean, "spread": found.scaler.spread, **found.head.tensors()}
                tensors.update({f"{name}/{key}": value for key, value in kept.items()})
                right = goodness(found.logits[: len(task.validation)], y_validation)
                said.update({f"{name}/penalty": str(found.head.penalty), f"{name}/converged": f"{found.converged:.4g}"})
                said[f"{name}/validation"] = repr(float(right.mean()))
        waiting.clear()

    for name in lacking:
        between()
        values = read(store, reading, sigma, name, ids)
        parts = (values[:first], y_train), (values[first:second], values[second:])
        try:
            posed = pose(head, scaling, *parts, _side(name.rpartition("/")[2]), reading.pca)
        except InvalidData as error:
            leave_out(name, error)
            continue
        waiting.setdefault(posed.features.shape, {})[name] = posed
        held = len(ids) * sum(one.scaler.mean.nbytes for cells in waiting.values() for one in cells.values())
        if held > WAITING or len(waiting[posed.features.shape]) >= head.together(*posed.features.shape[:2]):
            settle()
    settle()
    store.put("probes", identity, sigma, ids[first:], tensors, said)
    return identity


def cells_of(name: str) -> list[str]:
    """The cells `block/pooling` of a name: of `first+second/pooling` two, whose features stand side by side."""
    blocks, _, pooling = name.rpartition("/")
    return [f"{block}/{pooling}" for block in blocks.split("+")]


def read(store: Store, reading: Reading, sigma: float, name: str, ids: np.ndarray) -> np.ndarray:
    """Features (n, D) at one σ: the mean over the reading's draws, of several blocks side by side."""
    columns = []
    for cell in cells_of(name):
        draws = [store.rows("features", features, sigma, cell, ids) for features in reading.features]
        columns.append(draws[0] if len(draws) == 1 else np.mean(draws, axis=0))
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def _side(pooling: str) -> int:
    """The side of the grid that a pooling leaves: 1 where it leaves a vector."""
    return int(pooling) if pooling.isdecimal() else 1


@dataclass(frozen=True)
class Scored:
    """What a probed cell says: of every validation and test image whether it is right, or of numbers what R² is the mean of."""

    validation: np.ndarray  # (n_validation,) bool or float32
    test: np.ndarray  # (n_test,)
    penalty: float
    converged: float = 1.0  # share of the penalties whose fit converged
    wrong: str = ""  # why it could not be probed
    said: Scores | None = None  # of test images and classes


def score(store: Store, task: Task, identity: ProbeIdentity, sigma: float, names: Sequence[str], whole: bool = False) -> dict[str, Scored]:
    """Read probed cells; `whole` adds all scores of test images. Raises DamagedFile if one is not there."""
    truth = task.values(np.concatenate([task.validation, task.test]))
    cut = len(task.validation)
    log_odds = registry.get("heads", identity.head).log_odds
    found: dict[str, Scored] = {}
    for unit in store.units("probes", identity, sigma):
        here = [name for name in names if f"{name}/logits" in unit.names and name not in found]
        for key, logits in store.read(unit, [f"{name}/logits" for name in here]).items():
            name = key.removesuffix("/logits")
            if wrong := unit.meta.get(f"{name}/wrong", ""):
                found[name] = Scored(np.zeros(cut, bool), np.zeros(len(truth) - cut, bool), np.nan, 0.0, wrong)
                continue
            validation, test = goodness(logits[:cut], truth[:cut]), goodness(logits[cut:], truth[cut:])
            said = scores(logits[cut:], truth[cut:], log_odds) if whole and not task.continuous else None
            penalty, converged = (float(unit.meta.get(f"{name}/{key}", 1)) for key in ("penalty", "converged"))
            found[name] = Scored(validation, test, penalty, converged, said=said)
    if lacking := set(names) - set(found):
        raise DamagedFile(f"The store lacks the probes of {', '.join(sorted(lacking))} at σ = {sigma:.4g}; run the sweep again.")
    return found


def validation(store: Store, task: Task, identity: ProbeIdentity, sigma: float, names: Sequence[str]) -> dict[str, float]:
    """Validation accuracy, or R², of probed cells, from what their units say of themselves where they do; nan of one that cannot be probed.

    Raises DamagedFile if one is not there.
    """
    found: dict[str, float] = {}
    for unit in store.units("probes", identity, sigma):
        said = {name: unit.meta.get(f"{name}/validation") for name in names if f"{name}/logits" in unit.names}
        found |= {name: float(value) for name, value in said.items() if value is not None}
    if lacking := [name for name in names if name not in found]:  # wrong ones, and probes that were kept before units said so
        read = score(store, task, identity, sigma, lacking)
        found |= {name: np.nan if scored.wrong else float(scored.validation.mean()) for name, scored in read.items()}
    return found


def judged(task: Task, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What logits (n_validation + n_test, K) of a task's images come to, (n_validation,) and (n_test,): as in `Scored`."""
    cut = len(task.validation)
    return goodness(logits[:cut], task.values(task.validation)), goodness(logits[cut:], task.values(task.test))


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
