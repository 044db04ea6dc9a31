"""Probes of several cells at once: what they read, what fusion finds that averaging cannot, and what they cost."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from analysis import costs, ensembling, fusing, joint, planning
from analysis.__main__ import app
from analysis.crew import Crew
from analysis.datasets.base import Dataset, LabelSet
from analysis.ensemble_words import AS_BLOCKS, DRAWS, FUSED_DRAWS, FUSION, LEVELS, OWN, describe
from analysis.ensembles import collect
from analysis.ensembling import Plan
from analysis.errors import InvalidData, InvalidRequest
from analysis.fusing import Fusion, apart
from analysis.heads.attention import Attention
from analysis.heads.base import Foreseen
from analysis.joint import Joint
from analysis.planning import Bench
from analysis.specs import FeatureIdentity, SweepRequest, unusual, variants
from analysis.store import Store
from analysis.studies import Study
from analysis.sweeping import carry_out, sweep
from analysis.trained import Training

from .conftest import SMALL
from .toys import without_network


def brief(patch: pytest.MonkeyPatch, least: int = 10) -> None:
    """A fusion that is trained in a moment."""
    patch.setattr(fusing.Small, "width", 32)
    patch.setattr(fusing.Small, "penalties", (1.0, 0.1))
    patch.setattr(fusing.Small, "training", Training(rate=3e-3, least=least, epochs=1, batch=64))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch)


@pytest.fixture
def wanted(request_small: SweepRequest) -> SweepRequest:
    """Three members of four levels, whose 2 × 2 maps are fused."""
    return request_small.model_copy(update={"levels": 4, "ensemble": 3, "eps_draws": 2, "baselines": False, "fuse": 2})


@pytest.fixture(scope="module")
def fused(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    fields = {**SMALL, "levels": 4, "ensemble": 3, "eps_draws": 2, "baselines": False, "fuse": 2}
    with pytest.MonkeyPatch.context() as patch:
        brief(patch)
        yield sweep(SweepRequest(backend=str(tiny_folder), **fields), Store(tmp_path_factory.mktemp("fused")))


def plan(**changes: object) -> Plan:
    known = {"per_class": 10, "tensor": "b/1", "sigmas": (0.1, 0.2, 0.4), "centre": 0.2, "together": "a+b/1", "draws": 4, "fuse": 2}
    return Plan(**known | changes)  # type: ignore[arg-type]


def test_each_probe_reads_the_cells_that_it_is_named_after() -> None:
    assert Joint(plan(), 1, OWN).cells == [("a/1", 0.2, 1), ("b/1", 0.2, 2)]
    assert Joint(plan(), 2, OWN).cells == [("a/1", 0.2, 2), ("b/1", 0.2, 0)]
    # The centre takes its turn, ε 1 at draw 1; its neighbours have the others, and both blocks come of one pass.
    levels = [("a/2", 0.1, 0), ("b/2", 0.1, 0), ("a/2", 0.2, 1), ("b/2", 0.2, 1), ("a/2", 0.4, 2), ("b/2", 0.4, 2)]
    assert Joint(plan(), 1, FUSION).cells == levels
    draws = [("a/2", 0.2, 0), ("b/2", 0.2, 0), ("a/2", 0.2, 1), ("b/2", 0.2, 1), ("a/2", 0.2, 2), ("b/2", 0.2, 2)]
    assert Joint(plan(), 1, FUSED_DRAWS).cells == Joint(plan(), 3, FUSED_DRAWS).cells == draws


def test_passes_are_counted_once_for_blocks_that_share_one() -> None:
    counts = {name: Joint(plan(), 0, name).passes for name in (OWN, FUSION, FUSED_DRAWS)}
    assert counts == {OWN: 2, FUSION: 3, FUSED_DRAWS: 3}
    assert joint.variants(plan(together=None)) == [FUSION, FUSED_DRAWS]
    assert joint.variants(plan(fuse=0)) == [OWN]
    assert plan(together=None).maps == ("b/2",)


def test_maps_side_by_side_come_apart_as_they_went_together() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(5, 3, 2, 2)), rng.normal(size=(5, 2, 3, 3))]
    flat = np.concatenate([one.reshape(5, -1) for one in maps], axis=1)
    for one, other in zip(apart(flat, [one.shape[1:] for one in maps]), maps, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("quick")
def test_fusion_as_a_head_is_fuse_itself() -> None:
    rng = np.random.default_rng(0)
    maps, labels = [rng.normal(size=(30, 4, 2, 2)).astype(np.float32), rng.normal(size=(30, 3, 1, 1)).astype(np.float32)], np.arange(30) % 2
    flat = np.concatenate([one.reshape(30, -1) for one in maps], axis=1)
    head = Fusion([(4, 2, 2), (3, 1, 1)])
    for one, other in zip(head.fit(flat, labels, 2), fusing.fuse(maps, labels, 2, fusing.Small()), strict=True):
        np.testing.assert_array_equal(one.predict_logits(flat), other.predict_logits(maps))
        assert (one.penalty, one.converged) == (other.penalty, True)


def test_a_sweeps_fusion_is_narrower_than_the_attention_head() -> None:
    assert fusing.Small.width < Attention.width
    assert (fusing.Small.layers, fusing.Small.heads) == (Attention.layers, Attention.heads)


@without_network
def bits(identity: FeatureIdentity, sigma: float, names: Sequence[str], ids: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """Every other level shows a random bit of each image, and those between whether that is its class."""
    level, tensors = round(10 * sigma), {}
    coin = np.asarray([int(one) >> 7 & 1 for one in ids])
    shown = coin ^ classes if level % 2 else coin
    for name in names:
        seed = [identity.draw, level, len(ids), len(name)]
        maps = np.random.default_rng(seed).normal(size=(len(ids), 4, int(name.rpartition("/")[2]) ** 2))
        maps[:, 0] += 3 * (2 * shown - 1)[:, None]
        tensors[name] = maps.reshape(len(ids), -1).astype(np.float32)
    return tensors


@pytest.fixture
def two_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Dataset.label_set

    def halves(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        return replace(found, classes=("low", "high"), values=found.values // 5)

    monkeypatch.setattr(Dataset, "label_set", halves)


@pytest.mark.usefixtures("two_classes")
@pytest.mark.slow
def test_what_two_levels_tell_together_fusion_finds_and_averaging_does_not(
    wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (planning, ensembling):
        monkeypatch.setattr(module, "extract", bits)
    brief(monkeypatch, least=100)
    monkeypatch.setattr(fusing.Small, "penalties", (1.0,))
    monkeypatch.setattr(Bench, "sigmas", (0.1, 0.2, 0.3))
    few = {"levels": 3, "ensemble": 2, "labels_per_class": (100,), "label_draws": 3, "n_train": None, "n_validation": 80, "n_test": 200}
    bench = Bench(wanted.model_copy(update=few), store)
    table, told = ensembles_of(bench)
    assert table.accuracy[FUSION] > 0.9
    assert table.accuracy[[DRAWS, LEVELS, OWN, FUSED_DRAWS]].max() < 0.65
    assert table.gain_low[FUSION] > 0
    assert told["fusion"]["over_control"][0] > 0.3
    assert "the levels add to what it learns from draws" in told["sentence"]


def ensembles_of(bench: Bench) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table by variant, and what is said, at the first number of labels, without the rest of a study."""
    for draw in range(bench.request.eps_draws):
        for sigma in bench.sigmas:
            bench.fill(sigma, draw)
    plans = [ensembling.choose(bench, number) for number in bench.request.labels_per_class]
    for unit in [*ensembling.members(plans), *joint.joints(bench, plans)]:
        unit.fill(bench)
    data, told = collect(bench, plans)
    return pd.read_parquet(io.BytesIO(data)).set_index("variant"), next(iter(told.values()))


def test_blocks_under_an_epsilon_each_are_probed_on_both_passes_features(fused: Study) -> None:
    """Against scikit-learn on the features as they are stored."""
    store = Store(fused.folder.parent.parent)
    bench = Bench(SweepRequest.model_validate(fused.facts["request"]), store)
    of = ensembling.choose(bench, 10)
    one, task = Joint(of, 1, OWN), bench.task(10, 1)
    parts = [
        [store.rows("features", bench.features("model", eps), sigma, name, ids) for name, sigma, eps in one.cells]
        for ids in (task.train, bench.test)
    ]
    assert [eps for _, _, eps in one.cells] == [1, 2]
    train, test = (np.concatenate(part, axis=1).astype(np.float64) for part in parts)
    mean, spread = train.mean(0), np.maximum(train.std(0), 0.01 * np.median(train.std(0)))
    (unit,) = store.units("probes", one.identity(bench), one.sigma)
    head = LogisticRegression(C=float(unit.meta[f"{one.name}/penalty"]), max_iter=5000, tol=1e-8)
    head.fit((train - mean) / spread, task.given)
    kept = store.rows("probes", one.identity(bench), one.sigma, f"{one.name}/logits", bench.test)
    assert (head.predict((test - mean) / spread) == kept.argmax(1)).mean() > 0.97


def test_the_rows_say_what_each_takes_and_what_it_is_measured_against(fused: Study) -> None:
    rows = fused.table("ensembles").set_index("variant")
    assert rows.passes[[OWN, AS_BLOCKS, FUSION, FUSED_DRAWS]].tolist() == [2, 2, 3, 3]
    assert rows.members[[OWN, AS_BLOCKS, FUSION, FUSED_DRAWS]].tolist() == [2, 2, 6, 6]
    assert rows.control[[OWN, FUSION, FUSED_DRAWS]].tolist() == [AS_BLOCKS, FUSED_DRAWS, DRAWS]
    assert rows.control.isna()[AS_BLOCKS]
    for name in (OWN, FUSION, FUSED_DRAWS):
        assert rows.gain[name] == pytest.approx(rows.accuracy[name] - rows.accuracy[rows.control[name]])
        assert rows.passes[name] == rows.passes[rows.control[name]]
    told = fused.facts["ensembles"]["10"]
    assert rows.pooling.to_dict() == {name: "2" if name in (FUSION, FUSED_DRAWS) else "1" for name in rows.index}
    assert rows.levels[FUSION] == ", ".join(f"{sigma:.4g}" for sigma in told["levels"])
    assert rows.levels[FUSED_DRAWS] == f"{told['centre']:.4g}"
    assert "Learned fusion of the 2 × 2 maps of mid.res1, up0.res0" in told["sentence"]
    assert "2 blocks side by side with an ε each" in told["sentence"]


@pytest.mark.usefixtures("quick")
def test_nothing_is_learned_or_chosen_on_test_labels(wanted: SweepRequest, store: Store, fused: Study) -> None:
    real = Dataset.label_set

    def turned(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        shuffled = np.random.default_rng(0).permutation(10)[found.values]
        return replace(found, values=np.where(dataset.split == "test", shuffled, found.values))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "label_set", turned)
        other = sweep(wanted, store)
        mine = kept(Bench(wanted, store))
    for one, two in zip(mine, kept(Bench(wanted, Store(fused.folder.parent.parent))), strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1] == two[1]
    one, two = other.table("ensembles"), fused.table("ensembles")
    pd.testing.assert_series_equal(one.validation_accuracy, two.validation_accuracy)
    assert one.levels.tolist() == two.levels.tolist()
    assert one.accuracy.tolist() != two.accuracy.tolist()


def kept(bench: Bench) -> list[tuple[np.ndarray, str]]:
    """Validation and test logits, and the chosen penalty, of every joint probe."""
    ids, found = np.concatenate([bench.validation, bench.test]), []
    for one in joint.joints(bench, [ensembling.choose(bench, 10)]):
        (unit,) = bench.store.units("probes", one.identity(bench), one.sigma)
        logits = bench.store.rows("probes", one.identity(bench), one.sigma, f"{one.name}/logits", ids)
        found.append((logits, unit.meta[f"{one.name}/penalty"]))
    return found


@pytest.mark.usefixtures("quick")
def test_what_is_counted_is_what_the_sweep_then_does(wanted: SweepRequest, store: Store) -> None:
    plain = costs.count(Bench(wanted.model_copy(update={"fuse": 0}), store))
    foreseen = costs.count(Bench(wanted, store))
    bench = Bench(wanted, store)
    every = len(ensembling.images(bench, [10]))
    # The sweep keeps no maps: at 3 levels under its own 2 draws all images pass again. 4 label draws, of levels and of draws.
    assert foreseen.passes - plain.passes == 3 * 2 * every
    assert foreseen.fusions == 2 * 4
    assert foreseen.fits == plain.fits
    study = sweep(wanted, store)
    assert study.facts["receipt"]["passes"] == foreseen.passes
    assert len(list((store.root / "probes").glob("*/identity.json"))) > 8
    after = costs.count(Bench(wanted, store))
    assert (after.passes, after.fits, after.fusions, after.disk, after.fusions_done) == (0, 0, 0, 0, 8)
    cost = costs.estimate(Bench(wanted, store), processes=0)
    assert (cost.seconds, cost.fusions, cost.fusion_seconds, cost.share) == (0.0, 0, 0.0, 1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_maps_that_the_sweep_keeps_are_not_passed_again(wanted: SweepRequest, store: Store) -> None:
    request = wanted.model_copy(update={"poolings": ("2",)})
    plain = costs.count(Bench(request.model_copy(update={"fuse": 0}), store))
    foreseen = costs.count(Bench(request, store))
    assert foreseen.passes == plain.passes
    assert foreseen.passes == sweep(request, store).facts["receipt"]["passes"]


@pytest.mark.usefixtures("quick")
def test_with_all_labels_a_fusion_of_the_same_cells_is_trained_once(wanted: SweepRequest, store: Store) -> None:
    request = wanted.model_copy(update={"labels_per_class": ("all",), "n_train": 100})
    foreseen = costs.count(Bench(request, store))
    assert foreseen.fusions == 3 + 1  # a draw of ε at the centre each, and all of them
    bench = Bench(request, store)
    table, _ = ensembles_of(bench)
    assert foreseen.fusions == costs.count(bench).fusions_done
    assert table.draws[FUSION] == 3


def test_its_training_is_foreseen_in_seconds_and_memory(wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def foresee(self: Fusion, features: np.ndarray, labels: np.ndarray, classes: int) -> Foreseen:
        shapes.append((self.shapes, features.shape[1], classes))
        return Foreseen(lambda images: 1e5 * images, 0.0, 10**12)

    monkeypatch.setattr(Fusion, "foresee", foresee)
    cost = costs.estimate(Bench(wanted, store), processes=1)
    assert shapes == [([(8, 2, 2), (8, 2, 2)] * 3, 6 * 32, 10)]  # two blocks at three levels
    assert cost.fusion_seconds == pytest.approx(8 * 1e5 * 100)  # 4 draws, of levels and of draws, 10 labels of 10 classes
    assert cost.seconds == pytest.approx(cost.fusion_seconds, rel=1e-3)
    assert cost.memory > 10**12
    assert costs.fusing(Bench(wanted, store)) == (8, cost.fusion_seconds)
    assert costs.fusing(Bench(wanted.model_copy(update={"fuse": 0}), store)) == (0, 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_second_run_trains_nothing(wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sweep(wanted, store)

    def refuse(*_: object) -> None:
        raise AssertionError("a fusion was trained again")

    monkeypatch.setattr(Fusion, "fit", refuse)
    again = sweep(wanted, store)
    assert again.key == first.key
    pd.testing.assert_frame_equal(again.table("ensembles"), first.table("ensembles"))


def test_a_fusion_that_cannot_be_is_said_and_the_ensemble_stays(
    wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*_: object) -> None:
        raise InvalidData("no penalty's fit converged")

    monkeypatch.setattr(Fusion, "fit", stuck)
    study = sweep(wanted, store)
    names = set(study.table("ensembles").variant)
    assert {LEVELS, OWN} <= names
    assert not names & {FUSION, FUSED_DRAWS}
    sentence = study.facts["ensembles"]["10"]["sentence"]
    assert sentence.endswith("could not be probed under fusion: no penalty's fit converged.")
    assert "Learned fusion is left out: " in sentence


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_crew_does_the_same_work(wanted: SweepRequest, store: Store) -> None:
    """Of the linear probes the same numbers: a crew's processes do not know of a quicker fusion."""
    request = wanted.model_copy(update={"fuse": 0})
    with Crew(2) as crew:
        study = carry_out(Bench(request, store), crew)
    again = sweep(request, Store(store.root.parent / "other"))
    pd.testing.assert_frame_equal(again.table("ensembles"), study.table("ensembles"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ensemble": 0}, "fuse is 2 and ensemble is 0"),
        ({"pca": 4}, "fuse is 2: it reads maps"),
    ],
)
def test_what_cannot_be_fused_is_refused_before_anything_runs(
    wanted: SweepRequest, store: Store, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        sweep(wanted.model_copy(update=change), store)
    assert not store.root.exists()


def test_numbers_are_not_fused(store: Store) -> None:
    request = SweepRequest(backend="shapes-ddpm", dataset="shapes:600", label_set="size", levels=3, ensemble=2, fuse=2)
    with pytest.raises(InvalidRequest, match="it tells classes apart, and size is a number"):
        Bench(request, store)


def test_a_request_without_fusion_keeps_its_key() -> None:
    request = SweepRequest(ensemble=5)
    assert "fuse" not in request.canonical()
    fused = SweepRequest(ensemble=5, fuse=4)
    assert SweepRequest.model_validate_json(fused.canonical()) == fused
    assert fused.key() != request.key()
    assert "learned fusion of 4 × 4 maps" in unusual(fused.model_dump())
    assert [(one.input, one.fuse) for one in variants(fused, input=["noisy", "clean"])] == [("noisy", 4), ("clean", 0)]


@pytest.mark.parametrize(
    ("control", "words"),
    [
        ([0.02, 0.01, 0.03], "the levels add to what it learns from draws"),
        ([-0.02, -0.03, -0.01], "draws at one level serve it better"),
        ([0.0, -0.01, 0.01], "that the levels add to it is not shown"),
    ],
)
def test_the_sentence_says_no_more_than_the_interval(control: list[float], words: str) -> None:
    even = [0.0, -0.01, 0.01]
    told = {
        **{"block": "mid", "members": 3, "centre": 0.2, "control": 0.4, "measure": "accuracy", "over_control": even},
        "over_single": {LEVELS: even, DRAWS: even, "levels, shared ε": even},
        "fusion": {"side": 4, "blocks": ["a", "b"], "over_control": control, "over_draws": [0.05, 0.04, 0.06]},
    }
    found = describe(told)
    assert words in found
    assert "it gains +5.0 points (+4.0 to +6.0)" in found
    assert "usion" not in describe({key: value for key, value in told.items() if key != "fusion"})


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_command_line_says_what_fusion_takes_before_it_runs(tiny_folder: Path, tmp_path: Path, fused: Study) -> None:
    words = ["sweep", "--backend", str(tiny_folder), "--levels", "4", "--block", "mid.res1", "--block", "up0.res0", "--label-draws", "4"]
    words += ["--n-train", "300", "--n-validation", "60", "--n-test", "80", "--eps-draws", "2", "--no-baselines", "--processes", "0"]
    found = CliRunner().invoke(app, [*words, "--ensemble", "3", "--fuse", "2", "--store", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "Learned fusion: 8 networks to train, about 0." in found.stderr
    assert fused.facts["ensembles"]["10"]["sentence"] in found.stdout
    refused = CliRunner().invoke(app, [*words, "--fuse", "2", "--store", str(tmp_path / "none")])
    assert isinstance(refused.exception, InvalidRequest)
