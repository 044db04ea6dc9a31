from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from analysis import probing
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset, LabelSet, image_ids, split_by_id
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.features import extract, load_x0, read_features
from analysis.heads.base import FittedHead, Scaler
from analysis.heads.logistic import Logistic
from analysis.noise import noise_like
from analysis.specs import FeatureIdentity
from analysis.store import Store
from analysis.tasks import Reading, Task, choose_labelled


def scores(tiny: Backend, digits: Dataset, block: str, sigma: float) -> np.ndarray:
    """Each image's place along the widest direction of one block's noised features."""
    x0 = load_x0(digits, digits.ids, tiny)
    eps = noise_like(x0, digits.ids.tolist(), 0, 0)
    values = read_features(tiny, [f"{block}/1"], x0, eps, sigma, 256)[f"{block}/1"].numpy()
    return (values - values.mean(0)) @ np.linalg.svd(values - values.mean(0), full_matrices=False)[2][0]


def accuracy(
    store: Store, tiny: Backend, digits: Dataset, labels: LabelSet, block: str, sigma: float, keep: np.ndarray | None = None
) -> float:
    """Test accuracy of a probe with all labels, on the images of `keep` (N,) bool."""
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    extract(store, tiny, tiny, digits, identity, [f"{block}/1"], [sigma], digits.ids, {"batch_size": 256})
    kept = digits.ids if keep is None else digits.ids[keep]
    task = Task(digits, labels, *(np.intersect1d(digits.members(s), kept) for s in ("train", "validation", "test")))
    done = probing.fill(store, task, Reading((identity,)), sigma, [f"{block}/1"], "logistic", "feature")
    return float(probing.score(store, task, done, sigma, [f"{block}/1"])[f"{block}/1"].test.mean())


def test_labels_planted_in_a_block_are_found_there(store: Store, tiny: Backend, digits: Dataset) -> None:
    sigma = float(tiny.schedule.nearest(torch.tensor([0.3])))
    place = scores(tiny, digits, "mid.res1", sigma)
    labels = LabelSet("planted", ("low", "high"), (place > np.median(place)).astype(np.int64))
    clear = np.abs(place - np.median(place)) > 0.1 * place.std()  # separable with a margin
    assert accuracy(store, tiny, digits, labels, "mid.res1", sigma, clear) >= 0.99
    assert accuracy(store, tiny, digits, labels, "down0.res0", 20.0, clear) < 0.9


def test_shuffled_labels_are_at_chance(store: Store, tiny: Backend, digits: Dataset) -> None:
    sigma = float(tiny.schedule.nearest(torch.tensor([0.3])))
    values = np.random.default_rng(0).permutation(digits.label_set().values)
    labels = LabelSet("shuffled", digits.label_set().classes, values)
    # 719 test images at a tenth: the standard error is .011, four of it are allowed.
    assert accuracy(store, tiny, digits, labels, "mid.res1", sigma) == pytest.approx(0.1, abs=0.045)


def test_a_draw_has_as_many_labels_a_class_as_asked(digits: Dataset) -> None:
    pool = digits.members("train")
    chosen = choose_labelled(digits, digits.label_set(), pool, 10, draw=3, seed=0)
    counts = np.bincount(digits.label_set().values[digits.rows(chosen)])
    assert counts.tolist() == [10] * 10
    assert np.isin(chosen, pool).all()


def test_fewer_labels_are_part_of_more_and_draws_differ(digits: Dataset) -> None:
    labels, pool = digits.label_set(), digits.members("train")
    few, many = (choose_labelled(digits, labels, pool, n, 0, 0) for n in (5, 10))
    assert np.isin(few, many).all()
    assert not np.array_equal(many, choose_labelled(digits, labels, pool, 10, 1, 0))


def test_more_labels_than_there_are_is_refused_with_the_number(digits: Dataset) -> None:
    with pytest.raises(InvalidRequest, match=r"labels per class is 5000; class '\d' has \d+ training images"):
        choose_labelled(digits, digits.label_set(), digits.members("train"), 5000, 0, 0)


def test_a_class_without_images_is_named(digits: Dataset) -> None:
    labels = LabelSet("more", (*digits.label_set().classes, "ten"), digits.label_set().values)
    with pytest.raises(InvalidData, match="Class 'ten' of 'more' has no training image"):
        choose_labelled(digits, labels, digits.members("train"), 1, 0, 0)


def test_an_unknown_label_set_is_refused(digits: Dataset) -> None:
    with pytest.raises(UnknownName, match="allowed: digit"):
        digits.label_set("colour")


def test_test_images_are_never_among_the_labelled_or_validation_images(digits: Dataset) -> None:
    parts = [set(digits.members(split).tolist()) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(digits.ids)


def test_the_same_picture_twice_is_one_image() -> None:
    image = np.zeros((1, 2, 2, 3), np.uint8)
    ids = image_ids(np.concatenate([image, image, image + 1]))
    assert ids[0] == ids[1] != ids[2]
    assert sorted(split_by_id(np.arange(10, dtype=np.uint64)).tolist()) == ["test"] * 4 + ["train"] * 5 + ["validation"]


def test_a_dead_channel_does_not_drown_the_others() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(100, 5)).astype(np.float32)
    features[:, 4] = 3 + 1e-7 * rng.normal(size=100)
    assert np.abs(Scaler.fit(features)(features)[:, 4]).max() < 1e-3
    np.testing.assert_allclose(Scaler.fit(features)(features)[:, :4].std(0), 1, rtol=1e-4)


def test_one_global_scale_keeps_the_ratios_of_pixels() -> None:
    features = np.array([[0, 2], [4, 2]], np.float32)  # mean 2, deviation √2
    np.testing.assert_allclose(Scaler.fit(features, "global")(features), (features - 2) / np.sqrt(2), rtol=1e-6)


def test_the_penalty_is_chosen_on_validation_labels_and_not_on_test() -> None:
    # With pure-noise features but for one, the validation labels decide: handing over other test images changes nothing.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 30)).astype(np.float32), rng.integers(0, 2, 60)
    x[:, 0] += 2 * y
    args = (Logistic(), "feature", (x[:30], y[:30]), (x[30:], y[30:]))
    a, b = (probing.probe(*args, test, 2).head.penalty for test in (rng.normal(size=(9, 30)), 100 + rng.normal(size=(9, 30))))
    heads = Logistic().fit(Scaler.fit(x[:30])(x[:30]), y[:30], 2)
    scores = [(h.predict_logits(Scaler.fit(x[:30])(x[30:])).argmax(1) == y[30:]).mean() for h in heads]
    assert a == b == heads[int(np.argmax(scores))].penalty


def test_a_fit_that_single_precision_cannot_finish_is_finished_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3
    fit, seen = LogisticRegression.fit, []

    def stuck(self: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> LogisticRegression:
        seen.append((self.C, features.dtype.name))
        if features.dtype == np.float32 and self.C == 1.0:
            warnings.warn("lbfgs failed to converge", ConvergenceWarning, stacklevel=1)
        return fit(self, features, labels)

    monkeypatch.setattr("analysis.heads.logistic.small", lambda *_: True)
    expected = Logistic().fit(features, labels, 3)
    monkeypatch.setattr(LogisticRegression, "fit", stuck)
    heads = Logistic().fit(features, labels, 3)
    assert [name for penalty, name in seen if penalty == 1.0] == ["float32", "float64"]
    assert {name for penalty, name in seen if penalty != 1.0} == {"float32"}
    for head, same in zip(heads, expected, strict=True):
        np.testing.assert_allclose(head.predict_logits(features), same.predict_logits(features), atol=2e-3)


def test_probed_cells_are_not_fitted_twice(store: Store, tiny: Backend, digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sigma = float(tiny.schedule.nearest(torch.tensor([0.3])))
    first = accuracy(store, tiny, digits, digits.label_set(), "mid.res1", sigma)
    monkeypatch.setattr(Logistic, "fit", None)
    assert accuracy(store, tiny, digits, digits.label_set(), "mid.res1", sigma) == first


def test_cells_fitted_together_are_no_worse_than_alone() -> None:
    def objective(head: FittedHead, x: np.ndarray, y: np.ndarray) -> float:
        logits = torch.from_numpy(head.predict_logits(x)).double()
        return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum")) + (
            float((head.tensors()["weight"].astype(np.float64) ** 2).sum()) / 2 / head.penalty
        )

    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    cells = [rng.normal(size=(90, 12)) + y[:, None] * rng.normal(size=12) for _ in range(5)]
    head = Logistic()
    assert head.together(90, 12) >= 5
    together = head.fit_cells(cells, y, 3)
    for x, found in zip(cells, together, strict=True):
        for one, alone in zip(found, head.fit(x, y, 3), strict=True):
            assert one.penalty == alone.penalty
            assert one.converged
            assert objective(one, x, y) <= objective(alone, x, y) * (1 + 1e-6)  # alone it is scikit-learn's
            odds = [torch.from_numpy(head.predict_logits(x)).softmax(1) for head in (one, alone)]
            torch.testing.assert_close(*odds, rtol=0, atol=0.02)


def test_a_cell_that_cannot_be_probed_leaves_those_it_is_fitted_with(
    store: Store, tiny: Backend, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sigma = float(tiny.schedule.nearest(torch.tensor([0.3])))
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    names = [f"{block.name}/1" for block in tiny.card.blocks]
    extract(store, tiny, tiny, digits, identity, names, [sigma], digits.ids, {"batch_size": 256})
    parts = (digits.members(part) for part in ("train", "validation", "test"))
    task = Task(digits, digits.label_sets["digit"], next(parts)[:60], *parts)
    read = probing.read

    def flat(store: Store, reading: Reading, sigma: float, name: str, ids: np.ndarray) -> np.ndarray:
        return read(store, reading, sigma, name, ids) * np.float32(name != names[1])

    monkeypatch.setattr(probing, "read", flat)
    done = probing.fill(store, task, Reading((identity,)), sigma, names, "logistic", "feature")
    found = probing.score(store, task, done, sigma, names)
    assert [name for name in names if found[name].wrong] == [names[1]]
    assert all(found[name].test.mean() > 0.15 for name in names if name != names[1])


def test_a_cells_probe_does_not_depend_on_what_is_probed_with_it(tmp_path: Path, store: Store, tiny: Backend, digits: Dataset) -> None:
    sigma = float(tiny.schedule.nearest(torch.tensor([0.3])))
    identity = FeatureIdentity(backend=tiny.card.identity, dataset=digits.identity)
    names = [f"{block.name}/1" for block in tiny.card.blocks]
    other = Store(tmp_path / "one by one")
    for place in (store, other):
        extract(place, tiny, tiny, digits, identity, names, [sigma], digits.ids, {"batch_size": 256})
    parts = (digits.members(part) for part in ("train", "validation", "test"))
    task = Task(digits, digits.label_sets["digit"], next(parts)[:60], *parts)
    done = probing.fill(store, task, Reading((identity,)), sigma, names, "logistic", "feature")
    for name in names:
        probing.fill(other, task, Reading((identity,)), sigma, [name], "logistic", "feature")
    together, alone = (probing.score(place, task, done, sigma, names) for place in (store, other))
    for name in names:
        assert together[name].penalty == alone[name].penalty
        assert (together[name].test == alone[name].test).mean() > 0.99
