"""Ensembles in a sweep: what is planted is found, and what is chosen, counted, kept and cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from sklearn.metrics import r2_score

from analysis import ensembles, ensembling, planning, probing
from analysis.costs import count
from analysis.crew import Crew, Dropped
from analysis.datasets.base import Dataset, LabelSet
from analysis.errors import InvalidData, InvalidRequest
from analysis.heads.logistic import Logistic
from analysis.planning import Bench
from analysis.specs import FeatureIdentity, SweepRequest, variants
from analysis.store import Store
from analysis.studies import ENSEMBLES, Study, export_study, import_study
from analysis.sweeping import carry_out, sweep

from .conftest import SMALL
from .toys import without_network


@pytest.fixture
def wanted(request_small: SweepRequest) -> SweepRequest:
    """Three members of four levels, with a draw of ε more than the sweep has."""
    return request_small.model_copy(update={"levels": 4, "ensemble": 3, "eps_draws": 2, "baselines": False})


@pytest.fixture(scope="module")
def averaged(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    request = SweepRequest(backend=str(tiny_folder), **{**SMALL, "levels": 4, "ensemble": 3, "eps_draws": 2, "baselines": False})
    return sweep(request, Store(tmp_path_factory.mktemp("averaged")))


def logits_in(store: Store) -> int:
    found = 0
    for path in (store.root / "probes").rglob("*.safetensors"):
        with safe_open(path, "numpy") as file:
            found += sum(name.endswith("/logits") for name in file.keys())  # noqa: SIM118
    return found


@without_network
def planted(identity: FeatureIdentity, sigma: float, names: Sequence[str], ids: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """The class drowned by the noise of an image's ε, which is the same at every level and in every block."""
    noise = np.stack([np.random.default_rng([identity.draw, int(one)]).normal(size=10) for one in ids])
    return dict.fromkeys(names, (np.eye(10)[classes] + 0.8 * noise).astype(np.float32))


@pytest.mark.slow
def test_averaging_over_noise_helps_and_over_levels_that_share_it_does_not(
    wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (planning, ensembling):
        monkeypatch.setattr(module, "extract", planted)
    study = sweep(wanted.model_copy(update={"label_draws": 9, "n_test": 300}), store)
    table = study.table("ensembles").set_index("variant")
    # A level adds nothing here, so what shares its ε says the same, and so do as many draws, of whichever levels.
    assert table.accuracy["levels, shared ε"] == table.accuracy["single"]
    assert table.accuracy["levels"] == table.accuracy["draws"]
    told = study.facts["ensembles"]["10"]
    assert told["over_control"] == [0, 0, 0]
    assert told["over_single"]["levels, shared ε"] == [0, 0, 0]
    gain, low, _ = told["over_single"]["levels"]
    assert gain > 0.1
    assert low > 0
    assert "nothing beyond averaging over noise is shown" in told["sentence"]


def test_the_rows_say_what_each_takes_and_what_it_is_measured_against(averaged: Study) -> None:
    table = averaged.table("ensembles")
    assert tuple(table.columns) == ensembles.COLUMNS
    rows = table.set_index("variant")
    assert rows.passes.to_dict() == {
        **{"single": 1, "levels": 3, "levels, shared ε": 3, "draws": 3, "blocks": 1},
        **{"blocks, own ε": 2, "draws, as blocks": 2},  # one for each of two blocks
    }
    assert rows.control.dropna().to_dict() == {
        **{"levels": "draws", "levels, shared ε": "draws", "blocks": "single"},
        "blocks, own ε": "draws, as blocks",
    }
    assert rows.gain["levels"] == pytest.approx(rows.accuracy["levels"] - rows.accuracy["draws"])
    assert rows.gain["blocks"] == pytest.approx(rows.accuracy["blocks"] - rows.accuracy["single"])
    assert ((rows.ci_low <= rows.accuracy) & (rows.accuracy <= rows.ci_high)).all()
    assert rows.blocks["blocks"] == "mid.res1 + up0.res0"
    assert (rows.draws == 4).all()
    told = averaged.facts["ensembles"]["10"]
    assert averaged.result()["headline"] == f"model/{told['block']}/{told['pooling']}"
    assert told["sentence"].startswith(f"In block {told['block']}, 3 neighbouring levels")


def test_the_members_are_the_best_level_of_the_headline_and_its_neighbours(averaged: Study) -> None:
    told, curve = averaged.facts["ensembles"]["10"], averaged.table("curve")
    rows = curve[(curve.source == "model") & (curve.block == told["block"])].sort_values("sigma")
    best = int(rows.validation_accuracy.to_numpy().argmax())
    assert told["centre"] == rows.sigma.iloc[best]
    first = min(max(best - 1, 0), 1)
    assert told["levels"] == rows.sigma.tolist()[first : first + 3]


def test_what_units_say_of_validation_is_what_their_logits_say(averaged: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(SweepRequest.model_validate(averaged.facts["request"]), Store(averaged.folder.parent.parent))
    task, identity = bench.probe_identity(10, 1, "model", "logistic")
    names = ["mid.res1/1", "up0.res0/1"]
    read = {name: one.validation.mean() for name, one in probing.score(bench.store, task, identity, bench.sigmas[0], names).items()}
    assert probing.validation(bench.store, task, identity, bench.sigmas[0], names) == read
    silent = [
        unit._replace(meta={k: v for k, v in unit.meta.items() if not k.endswith("/validation")})
        for unit in bench.store.units("probes", identity, bench.sigmas[0])
    ]
    monkeypatch.setattr(bench.store, "units", lambda *_: silent)  # as a version before kept them
    assert probing.validation(bench.store, task, identity, bench.sigmas[0], names) == read


def test_a_mean_is_that_of_the_stored_logits(averaged: Study) -> None:
    store = Store(averaged.folder.parent.parent)
    bench = Bench(SweepRequest.model_validate(averaged.facts["request"]), store)
    plan = ensembling.choose(bench, 10)
    truth = bench.labels.values[bench.dataset.rows(bench.test)]
    right = []
    for draw in range(4):
        turn = plan.sigmas.index(plan.centre)
        total = sum(
            store.rows("probes", identity, sigma, f"{plan.tensor}/logits", bench.test).astype(np.float64)
            for place, sigma in enumerate(plan.sigmas)
            for identity in [bench.identify(bench.task(10, draw), "model", "logistic", (draw + place - turn) % 3)]
        )
        right.append((np.asarray(total).argmax(1) == truth).mean())
    assert averaged.table("ensembles").set_index("variant").accuracy["levels"] == pytest.approx(np.mean(right))


def test_blocks_side_by_side_are_probed_on_all_their_features(averaged: Study) -> None:
    store = Store(averaged.folder.parent.parent)
    bench = Bench(SweepRequest.model_validate(averaged.facts["request"]), store)
    plan = ensembling.choose(bench, 10)
    identity = bench.identify(bench.task(10, 0), "model", "logistic", 0)
    kept = {name: unit for unit in store.units("probes", identity, plan.centre) for name in unit.names}
    weights = {name: store.read(kept[f"{name}/weight"], [f"{name}/weight"])[f"{name}/weight"] for name in ("mid.res1/1", "up0.res0/1")}
    both = store.read(kept[f"{plan.together}/weight"], [f"{plan.together}/weight"])[f"{plan.together}/weight"]
    assert both.shape == (10, sum(weight.shape[1] for weight in weights.values()))


def test_nothing_is_chosen_on_test_labels(wanted: SweepRequest, store: Store, averaged: Study) -> None:
    real = Dataset.label_set

    def turned(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        shuffled = np.random.default_rng(0).permutation(10)[found.values]
        return replace(found, values=np.where(dataset.split == "test", shuffled, found.values))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "label_set", turned)
        other = sweep(wanted, store)
    told, before = other.facts["ensembles"]["10"], averaged.facts["ensembles"]["10"]
    assert {name: told[name] for name in ("block", "levels", "centre", "control")} == {
        name: before[name] for name in ("block", "levels", "centre", "control")
    }
    one, two = other.table("ensembles"), averaged.table("ensembles")
    pd.testing.assert_series_equal(one.validation_accuracy, two.validation_accuracy)
    assert (one.accuracy < two.accuracy).all()


@pytest.mark.parametrize("labels", [(10,), ("all",)])
def test_what_is_counted_is_what_the_sweep_then_does(wanted: SweepRequest, store: Store, labels: tuple) -> None:
    request = wanted.model_copy(update={"labels_per_class": labels})
    plain = count(Bench(request.model_copy(update={"ensemble": 0}), store))
    foreseen = count(Bench(request, store))
    assert foreseen.passes > plain.passes
    assert foreseen.fits > plain.fits
    assert foreseen.passes == sweep(request, store).facts["receipt"]["passes"]
    assert foreseen.fits == logits_in(store)
    after = count(Bench(request, store))
    assert (after.passes, after.fits, after.disk) == (0, 0, 0)


def test_an_ensemble_of_a_sweep_that_is_there_costs_only_what_it_adds(wanted: SweepRequest, store: Store) -> None:
    sweep(wanted.model_copy(update={"ensemble": 0}), store)
    before = logits_in(store)
    foreseen = count(Bench(wanted, store))
    study = sweep(wanted, store)
    assert (foreseen.passes, foreseen.fits) == (study.facts["receipt"]["passes"], logits_in(store) - before)
    # 3 levels × (draws 0 and 1: the labelled images of the other's label draws; draw 2: all images)
    bench = Bench(wanted, store)
    labelled = [set(np.concatenate([bench.task(10, draw).train for draw in draws])) for draws in ((0, 2), (1, 3))]
    every = len(labelled[0] | labelled[1])
    assert foreseen.passes == 3 * (sum(every - len(part) for part in labelled) + 60 + 80 + every)
    assert foreseen.fits == 3 * (3 * 4 - 4) + 2 * 4
    # levels × (draws of ε × label draws, less those of the sweep), and blocks side by side under one ε and under one each


@pytest.mark.slow
def test_several_numbers_of_labels_cost_no_more_than_was_said(wanted: SweepRequest, store: Store) -> None:
    request = wanted.model_copy(update={"labels_per_class": (3, 10)})
    foreseen = count(Bench(request, store))
    study = sweep(request, store)
    assert study.facts["receipt"]["passes"] <= foreseen.passes
    assert logits_in(store) <= foreseen.fits
    assert list(study.facts["ensembles"]) == ["3", "10"]
    assert len(study.table("ensembles")) == 14


def test_a_second_run_passes_no_image_and_fits_no_probe(wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sweep(wanted, store)
    table = first.table("ensembles")

    def refuse(*_: object) -> None:
        raise AssertionError("a probe was fitted again")

    monkeypatch.setattr(Logistic, "fit", refuse)
    again = sweep(wanted, store)
    assert again.facts["receipt"]["passes"] == 0
    pd.testing.assert_frame_equal(again.table("ensembles"), table)


def test_it_is_cancelled_between_two_probes_and_goes_on_where_it_was(wanted: SweepRequest, store: Store, averaged: Study) -> None:
    told: list[tuple[int, int, str]] = []

    def between() -> None:
        if told and told[-1][2].startswith("ensemble"):
            raise Dropped

    bench = Bench(wanted, store)
    with Crew(0) as crew, pytest.raises(Dropped):
        carry_out(bench, crew, between=between, progress=lambda *news: told.append(news))
    assert told[-1][:2] == (4 * 2 + 1, 4 * 2 + 9 + 4)
    assert not (store.root / "studies").exists()
    done = logits_in(store)
    study = sweep(wanted, store)
    assert done < logits_in(store)
    pd.testing.assert_frame_equal(study.table("ensembles"), averaged.table("ensembles"))


def test_progress_counts_the_members_too(wanted: SweepRequest, store: Store) -> None:
    told: list[tuple[int, int, str]] = []
    sweep(wanted, store, progress=lambda *news: told.append(news))
    assert [done for done, _, _ in told] == list(range(1, 4 * 2 + 9 + 4 + 1))
    assert {total for _, total, _ in told} == {4 * 2 + 9 + 4}  # and blocks under an ε each


@pytest.mark.slow
def test_a_crew_finds_the_same(wanted: SweepRequest, store: Store, averaged: Study) -> None:
    study = sweep(wanted, store, processes=2)
    assert study.facts["receipt"]["passes"] == averaged.facts["receipt"]["passes"]
    pd.testing.assert_frame_equal(study.table("ensembles"), averaged.table("ensembles"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ensemble": 1}, "ensemble is 1; allowed: 0 for none, or 2 to 4"),
        ({"ensemble": 5}, "ensemble is 5; allowed: 0 for none, or 2 to 4"),
        ({"input": "clean"}, "clean input has none"),
    ],
)
def test_what_cannot_be_averaged_is_refused_before_anything_runs(
    wanted: SweepRequest, store: Store, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        sweep(wanted.model_copy(update=change), store)
    assert not store.root.exists()


@pytest.mark.slow
def test_averaged_draws_are_passes_and_no_two_members_share_one(wanted: SweepRequest, store: Store) -> None:
    request = wanted.model_copy(update={"average_draws": 2})
    bench = Bench(request, store)
    draws = [[identity.draw for identity in bench.reading("model", eps).features] for eps in range(3)]
    assert draws == [[0, 2], [1, 3], [4, 5]]  # the request's own two draws, then the ensemble's
    foreseen = count(bench)
    study = sweep(request, store)
    assert foreseen.passes == study.facts["receipt"]["passes"]
    assert study.table("ensembles").passes.tolist() == [2, 6, 6, 6, 2, 4, 4]


@pytest.mark.slow
def test_numbers_are_averaged_and_scored_by_r2(store: Store) -> None:
    request = SweepRequest(
        backend="shapes-ddpm",
        dataset="shapes:600",
        label_set="size",
        levels=3,
        blocks=("down0.res0", "up1.res0"),
        labels_per_class=(8,),
        label_draws=3,
        ensemble=2,
        baselines=False,
    )
    study = sweep(request, store)
    bench = Bench(request, store)
    rows, plan = study.table("ensembles").set_index("variant"), ensembling.choose(bench, 8)
    truth, found = bench.task(8, 0).values(bench.test), []
    for draw in range(3):
        parts = [
            store.rows("probes", bench.identify(bench.task(8, draw), "model", "ridge", eps), sigma, f"{plan.tensor}/logits", bench.test)
            for sigma, eps in zip(plan.sigmas, plan.eps_draws(draw), strict=True)
        ]
        found.append(r2_score(truth, np.mean(parts, axis=0, dtype=np.float64)[:, 0]))
    assert rows.accuracy["levels"] == pytest.approx(np.mean(found), abs=1e-3)
    assert set(rows.measure) == {"r2"}
    assert "points (" in study.facts["ensembles"]["8"]["sentence"]
    assert "of the share of variance explained (R²)" in study.facts["ensembles"]["8"]["sentence"]


def test_a_member_that_cannot_be_probed_is_said_and_the_sweep_goes_on(
    wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(wanted.model_copy(update={"ensemble": 0}), store)

    def stuck(*_: object, **__: object) -> None:
        raise InvalidData("no penalty's fit converged")

    monkeypatch.setattr(probing, "choose", stuck)  # of what is not there yet: the ensemble's own
    study = sweep(wanted, store)
    told = study.facts["ensembles"]["10"]
    assert told["sentence"].startswith("There is no ensemble: ")
    assert "could not be probed under draw" in told["sentence"]
    assert study.table("ensembles").empty
    assert "In block" in study.result()["sentence"] or "For block" in study.result()["sentence"]


def test_blocks_with_a_cell_that_cannot_be_probed_are_no_members(
    wanted: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, seen = probing.choose, []

    def sometimes(*args: Any, **how: Any) -> probing.Probe:
        seen.append(1)
        if len(seen) == 2:  # the second block of the first unit
            raise InvalidData("no penalty's fit converged")
        return keep(*args, **how)

    monkeypatch.setattr(probing, "choose", sometimes)
    study = sweep(wanted, store)
    assert [wrong["series"] for wrong in study.result()["left_out"]] == ["model/up0.res0/1"]
    assert study.facts["ensembles"]["10"]["block"] == "mid.res1"
    assert "blocks" not in set(study.table("ensembles").variant)


def test_of_several_inputs_the_noisy_one_has_the_ensemble() -> None:
    found = variants(SweepRequest(ensemble=5), input=["noisy", "clean"])
    assert [(one.input, one.ensemble) for one in found] == [("noisy", 5), ("clean", 0)]
    assert variants(SweepRequest(ensemble=5), input=["clean"])[0].ensemble == 5  # to be refused


def test_one_block_has_none_beside_it(wanted: SweepRequest, store: Store) -> None:
    study = sweep(wanted.model_copy(update={"blocks": ("mid.res1",)}), store)
    assert "blocks" not in set(study.table("ensembles").variant)
    assert "side by side" not in study.facts["ensembles"]["10"]["sentence"]


def test_a_sweep_without_an_ensemble_keeps_none(small_study: Study) -> None:
    assert ENSEMBLES not in small_study.facts["files"]
    assert "ensembles" not in small_study.facts


def test_the_table_goes_out_and_comes_in_with_its_study(averaged: Study, tmp_path: Path) -> None:
    export_study(averaged, tmp_path / "study.zip")
    elsewhere = import_study(tmp_path / "study.zip", tmp_path / "other")
    pd.testing.assert_frame_equal(elsewhere.table("ensembles"), averaged.table("ensembles"))
    assert elsewhere.facts["ensembles"] == averaged.facts["ensembles"]
