"""A sweep without a store against the same sweep with one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from analysis import features, passes, streaming
from analysis import store as disk
from analysis.__main__ import app
from analysis.crew import Crew
from analysis.datasets.base import Dataset, LabelSet
from analysis.errors import InvalidData, InvalidRequest, NoisescopeError
from analysis.features import extract
from analysis.heads.base import Linear, Scaler
from analysis.heads.ridge import Ridge
from analysis.planning import Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.streamed import Cell, tables
from analysis.streaming import stream
from analysis.studies import COLUMNS
from analysis.sweeping import sweep
from benchmarks import running_sums


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"input": "clean", "labels_per_class": (4,)},
        {"label_noise": 0.4, "imbalance": 3.0, "labels_per_class": (6, 9)},
        {"poolings": ("2", "max"), "labels_per_class": (10,)},  # fewer images than features
        {"pca": 3},
        {"pca": 20, "poolings": ("1", "2"), "labels_per_class": (10,)},  # more components than one pooling has features
    ],
)
def test_counts_are_those_of_a_sweep_that_keeps_its_features(plain: SweepRequest, store: Store, change: dict[str, Any]) -> None:
    request = plain.model_copy(update=change)
    kept = sweep(request.model_copy(update={"label_draws": 2}), store)
    found = stream(request)
    assert list(found.draws.columns) == list(found.curve.columns) == list(COLUMNS)
    keys = ["labels_per_class", "block", "pooling", "sigma", "draw"]
    ours, theirs = (table.sort_values(keys, ignore_index=True) for table in (found.draws, kept.table("draws")))
    pd.testing.assert_frame_equal(ours, theirs)
    both = [table.set_index(keys[:4]).accuracy.sort_index() for table in (found.curve, kept.table("curve"))]
    pd.testing.assert_series_equal(*both)


def test_weights_are_those_of_the_ridge_head_on_stored_features(plain: SweepRequest, store: Store) -> None:
    bench = streaming.prepare(plain)
    sigma, names = bench.sigmas[1], ["mid.res1/1", "up0.res0/1"]
    summed = passes.add_up(bench, sigma, 1, names)
    identity, task = bench.features("model", 1), bench.task("all", 1)
    extract(store, bench.model, bench.model, bench.dataset, identity, names, [sigma], np.unique(task.train), bench.settings)
    for name in names:
        x = store.cell(identity, sigma, name[:-2], "1", task.train)
        theirs = Scaler.fit(x)
        scaler, heads = summed["all", name].ridge()
        for ours, head in zip(heads, Ridge().fit(theirs(x), task.given, 10), strict=True):
            assert isinstance(ours, Linear)
            assert isinstance(head, Linear)
            np.testing.assert_allclose(ours.weight, head.weight, atol=1e-5 * np.abs(head.weight).max())
            one, other = ours.predict_logits(scaler(x)), head.predict_logits(theirs(x))
            top = np.sort(other, 1)
            assert ((one.argmax(1) == other.argmax(1)) | (top[:, -1] - top[:, -2] < 1e-6)).all()


def test_no_file_is_written(plain: SweepRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(disk, "writing", lambda path: pytest.fail(f"{path} was written"))
    stream(plain)
    assert not (tmp_path / "store").exists()


def test_what_would_write_a_file_fails(plain: SweepRequest) -> None:
    bench = streaming.prepare(plain)
    with pytest.raises(NoisescopeError, match="Cannot write"):
        bench.extract(bench.sigmas[0], 0)


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[float]:
    """How many images pass at each σ, from now on."""
    seen: Counter[float] = Counter()
    read = passes.read_features

    def counting(model: Any, names: Any, x0: Any, eps: Any, sigma: float, *rest: Any) -> Any:
        seen[sigma] += len(x0)
        return read(model, names, x0, eps, sigma, *rest)

    monkeypatch.setattr(passes, "read_features", counting)
    return seen


def test_every_image_passes_once_a_level_and_draw(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = counted(monkeypatch)
    stream(plain)
    assert sorted(passes.values()) == [2 * (300 + 60 + 80)] * 3


def test_a_budget_takes_blocks_in_groups_and_says_the_same(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stream(plain)
    passes = counted(monkeypatch)
    one = 2 * 8 * 4 * 7 * 10 + 5 * 8 * 8**2  # 8 features: two cells' weights, which are more than their sums, and one being solved
    found = stream(plain, budget=one, components=None)
    assert sorted(passes.values()) == [2 * 2 * (300 + 60 + 80)] * 3
    for name in ("curve", "draws", "statistics"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(whole, name))
    with pytest.raises(InvalidRequest, match=f"budget is {one - 1:,} bytes; mid.res1/1 has 8 features"):
        stream(plain, budget=one - 1, components=None)


@pytest.mark.slow
def test_two_workers_say_what_none_does(plain: SweepRequest) -> None:
    request = plain.model_copy(update={"labels_per_class": (5,)})
    alone, shared = stream(request), stream(request, processes=2)
    for name in ("curve", "draws", "statistics"):
        pd.testing.assert_frame_equal(getattr(alone, name), getattr(shared, name))


@pytest.mark.parametrize("changed", ["card", "dataset"])
def test_a_worker_that_opens_another_model_or_other_data_says_so(plain: SweepRequest, changed: str) -> None:
    bench = streaming.prepare(plain)
    here = {"card": bench.card.identity, "dataset": bench.dataset.identity}
    assert streaming._bench(bench.request.canonical(), "cpu", 64, (here["card"], here["dataset"])).card == bench.card
    here[changed] = "another"
    with pytest.raises(InvalidData, match="is not the same on"):
        streaming._bench(bench.request.canonical(), "cpu", 64, (here["card"], here["dataset"]))


def test_statistics_are_of_the_labelled_images(plain: SweepRequest, store: Store) -> None:
    table = stream(plain).statistics
    assert len(table) == 2 * 2 * 3 * 2  # labels × blocks × levels × draws
    bench = Bench(plain, store)
    ids = bench.train
    row = table[(table.labels_per_class == "all") & (table.block == "mid.res1") & (table.draw == 1)].iloc[2]
    extract(store, bench.model, bench.model, bench.dataset, bench.features("model", 1), ["mid.res1/1"], [row.sigma], ids, bench.settings)
    x = store.cell(bench.features("model", 1), row.sigma, "mid.res1", "1", ids).astype(np.float64)
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    shares = values / values.sum()
    assert (row.n_train, row.features) == (300, 8)
    assert row.effective_rank == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
    assert row.first_component == pytest.approx(values[0] ** 2 / (values**2).sum(), rel=1e-6)
    assert 0 < row.between_classes < 1
    assert table.penalty.isin(Ridge.penalties).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": "logistic"}, "head is 'logistic'; allowed without a store: 'ridge'"),
        ({"head": "nope"}, "Unknown head"),
        ({"label_draws": 15}, "label_draws is 15; allowed without a store: as many as eps_draws"),
        ({"eps_draws": 1}, "at least 2 draws"),
        ({"pca": 50}, "pca is 50; allowed: fewer than the 50 labelled images at 5 a class"),
        ({"average_draws": 2}, "average_draws is 2"),
        ({"ensemble": 5}, "ensemble is 5"),
        ({"fuse": 2}, "fuse is 2"),
        ({"encoders": ("transformers:x",)}, "encoders is"),
        ({"blocks": ("nope",)}, "Unknown block"),
        ({"labels_per_class": (5000,)}, "labels per class is 5000"),
        ({"n_test": 1}, "n_test is 1"),
    ],
)
def test_what_cannot_be_done_without_a_store_is_refused(plain: SweepRequest, change: dict[str, Any], words: str) -> None:
    with pytest.raises(NoisescopeError, match=words):
        stream(plain.model_copy(update=change))


def test_one_class_is_refused(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Dataset.label_set

    def one(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        return replace(found, classes=("all",), values=np.zeros_like(found.values))

    monkeypatch.setattr(Dataset, "label_set", one)
    with pytest.raises(InvalidData, match="has one class"):
        stream(plain)


def broken(monkeypatch: pytest.MonkeyPatch, names: set[str], value: float, count: int) -> None:
    """From now on features of these tensors are a value for the first images of a batch, with and without a store."""
    read = features.read_features

    def reading(*given: Any, **more: Any) -> Any:
        found = read(*given, **more)
        for name in names & set(found):
            found[name][:count] = value
        return found

    monkeypatch.setattr(features, "read_features", reading)
    monkeypatch.setattr(passes, "read_features", reading)


@pytest.mark.parametrize(
    ("value", "count", "why"),
    [
        (np.nan, 1, "features are not finite"),
        (np.inf, 10**6, "features are not finite"),
        (0.3, 10**6, "all labelled images have the same features"),
    ],
)
def test_a_block_that_cannot_be_probed_is_left_out_and_said(
    plain: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch, value: float, count: int, why: str
) -> None:
    request = plain.model_copy(update={"labels_per_class": (5,)})
    broken(monkeypatch, {"up0.res0/1"}, value, count)
    found, kept = stream(request), sweep(request.model_copy(update={"label_draws": 2}), store)
    assert set(found.curve.block) == set(found.statistics.block) == set(kept.table("curve").block) == {"mid.res1"}
    assert {one["series"] for one in found.left_out} == {one["series"] for one in kept.result()["left_out"]} == {"model/up0.res0/1"}
    assert found.left_out[0]["why"] == kept.result()["left_out"][0]["why"] == why


def test_where_no_block_can_be_probed_it_is_said_why(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, {"up0.res0/1", "mid.res1/1"}, np.nan, 1)
    with pytest.raises(InvalidData, match=r"No block could be probed: model/mid\.res1/1 at σ = .*: features are not finite\."):
        stream(plain)


def test_test_images_alone_can_have_a_block_left_out(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, load = streaming.prepare(plain), passes.load_x0

    def loading(dataset: Dataset, ids: np.ndarray, model: Any, store: Any) -> torch.Tensor:
        return load(dataset, ids, model, store) * (torch.nan if bench.test[0] in ids else 1)

    monkeypatch.setattr(passes, "load_x0", loading)
    with pytest.raises(InvalidData, match="features are not finite"):
        stream(plain)


def test_several_requests_are_looked_through_before_the_first_is_carried_out(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = counted(monkeypatch)
    with pytest.raises(InvalidRequest, match="head is 'knn'"):
        streaming.stream_all([plain, plain.model_copy(update={"head": "knn"})])
    assert not passes


@pytest.fixture
def numbered(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> SweepRequest:
    """A request whose labels are how much ink an image has."""
    real = Dataset.label_set

    def numbers(dataset: Dataset, name: str | None = None) -> LabelSet:
        return replace(real(dataset, name), kind="continuous", numbers=dataset.images.mean((1, 2, 3)))

    monkeypatch.setattr(Dataset, "label_set", numbers)
    return plain


@pytest.mark.parametrize("change", [{}, {"pca": 3}, {"input": "clean", "poolings": ("2",), "labels_per_class": (4,)}])
def test_numbers_are_read_as_by_a_sweep_that_keeps_its_features(numbered: SweepRequest, store: Store, change: dict[str, Any]) -> None:
    """Features are equal to about 1e-6, and logits are kept in float16: of one of 80 images that may be rounded to the next, 1e-3 away."""
    request = numbered.model_copy(update=change)
    kept = sweep(request.model_copy(update={"label_draws": 2}), store)
    found = stream(request)
    keys = ["labels_per_class", "block", "pooling", "sigma", "draw"]
    ours, theirs = (table.sort_values(keys, ignore_index=True) for table in (found.draws, kept.table("draws")))
    assert set(ours.measure) == {"r2"}
    assert ours.accuracy.max() > 0.3
    pd.testing.assert_frame_equal(ours, theirs, rtol=0, atol=1e-4, check_dtype=False)
    both = [table.set_index(keys[:4]).accuracy.sort_index() for table in (found.curve, kept.table("curve"))]
    pd.testing.assert_series_equal(*both, rtol=0, atol=1e-4, check_dtype=False)
    assert (found.curve.ci_low < found.curve.accuracy).all()
    assert found.statistics.between_classes.isna().all()


def test_moments_keep_the_budget_or_are_refused_before_any_image_passes(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = counted(monkeypatch)
    needed = 4 * 8 * (1 + 10 + 8) * 2 * 2 * 3  # 8 features have 8 components; labels × blocks × levels
    with pytest.raises(InvalidRequest, match=f"components is 10, and the class means and components of all cells need {needed:,} bytes"):
        stream(plain, budget=needed - 1)
    with pytest.raises(InvalidRequest, match="components is -1"):
        stream(plain, components=-1)
    assert not passes
    assert stream(plain, budget=needed - 1, components=None).moments == {}


def sent(given: Any) -> Any:
    """As it comes to another process."""
    return ForkingPickler.loads(ForkingPickler.dumps(given))


class Carried(Crew):
    """A crew whose calls and results go there and back as they would between processes, the last call ending first."""

    def run(self, function: Any, calls: Any, between: Any = None) -> Any:
        for call in reversed(list(calls)):
            yield call, sent(function(*sent(call)))


def alike(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Equal but for the rounding of sums in double precision."""
    pd.testing.assert_frame_equal(one, other, rtol=1e-9)


@pytest.mark.parametrize("count", [2, 7])
def test_shares_of_the_images_add_up_to_what_one_worker_says(plain: SweepRequest, count: int) -> None:
    """300 labelled images are 5 batches: of 7 workers some have none."""
    bench = streaming.prepare(plain)
    units = [(bench.sigmas[1], 0)]
    ((_, whole),) = streaming.work(bench, units, Crew(0), streaming.BUDGET, 3)
    ((_, shared),) = streaming.work(bench, units, Carried(count), streaming.BUDGET, 3)
    assert len(whole) == len(shared) == 4
    for one, other in zip(whole, shared, strict=True):
        assert isinstance(one, Cell)
        assert isinstance(other, Cell)
        assert one[:5] == other[:5]
        assert one.tested.tolist() == other.tested.tolist()
        assert one.facts == pytest.approx(other.facts, rel=1e-9, nan_ok=True)
        assert one.moments is not None
        assert other.moments is not None
        np.testing.assert_allclose(one.moments.class_means, other.moments.class_means, rtol=1e-6)


def test_workers_share_images_only_where_they_outnumber_levels_and_draws_and_the_budget_holds_their_sums(plain: SweepRequest) -> None:
    whole, many = stream(plain), Carried(7)  # 3 levels and 2 draws are 6 units
    bench, called = streaming.prepare(plain), []
    units = [(sigma, draw) for sigma in bench.sigmas for draw in range(2)]
    held = 2 * 2 * 8 * 4 * 7 * 10  # labels × blocks × 8 features' weights
    many.run = lambda function, calls: called.append(function.__name__) or Carried(7).run(function, calls)
    shared = tables(bench, [cell for _, cells in streaming.work(bench, units, many, held * 8, None) for cell in cells])
    assert called == ["_part"] * 6 * 3  # labelled, validation and test images
    for name in ("curve", "draws", "statistics"):
        alike(getattr(whole, name), getattr(shared, name))
    for crew, budget in ((many, held * 8 - 1), (Carried(6), held * 8)):
        called.clear()
        crew.run = many.run
        list(streaming.work(bench, units, crew, budget, None))
        assert called == ["_unit"]


@pytest.mark.slow
def test_processes_share_images(plain: SweepRequest) -> None:
    bench = streaming.prepare(plain)
    units = [(bench.sigmas[1], 0)]
    ((_, whole),) = streaming.work(bench, units, Crew(0), streaming.BUDGET, None)
    with Crew(2) as crew:
        ((_, shared),) = streaming.work(bench, units, crew, streaming.BUDGET, None)
    for one, other in zip(whole, shared, strict=True):
        assert isinstance(one, Cell)
        assert isinstance(other, Cell)
        assert one.tested.tolist() == other.tested.tolist()


@pytest.fixture
def words(tiny_folder: Path) -> list[str]:
    options = f"sweep --backend {tiny_folder} --block mid.res1 --levels 3 --eps-draws 2 --n-train 300 --n-test 60 --processes 0"
    return [*options.split(), "--store", "none"]


def test_the_command_line_writes_the_table_and_says_the_best_cell(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "curve.csv"
    result = CliRunner().invoke(app, [*words, "--out", str(out), "--axis", "sigma"])
    table = pd.read_csv(out)
    best = table.loc[table.validation_accuracy.idxmax()]
    assert list(table.columns) == list(COLUMNS)
    assert set(table["head"]) == {"ridge"}
    assert f"block mid.res1, pooling 1, at σ = {best.sigma:.3g}: {100 * best.accuracy:.1f} %" in result.stdout
    assert ": digit, noisy input; no feature is kept\n" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["curve.csv"]


def test_the_command_line_ends_with_one_line_of_json_if_asked(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--json", "--sigma", "0.001", "--sigma", "0.5", "--sigma", "5"])
    line = json.loads(result.stdout.splitlines()[-1])
    assert list(line) == ["best_block", "pooling", "sigma", "accuracy", "ci", "validation_accuracy"]
    assert line["ci"][0] <= line["accuracy"] <= line["ci"][1]
    assert "σ = 0.001 is not a level" in result.stderr


def test_every_combination_on_the_command_line_has_its_curve(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "curve.parquet"
    result = CliRunner().invoke(app, [*words, "--input", "noisy", "--input", "clean", "--label-noise", "0.2", "--json", "--out", str(out)])
    assert len(result.stdout.splitlines()) == 2
    table = pd.read_parquet(out)
    assert table.input.tolist() == ["noisy"] * 3 + ["clean"] * 3
    assert set(table.label_noise) == {0.2}


def test_the_command_line_writes_moments_of_one_sweep_without_a_store(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "moments.safetensors"
    assert CliRunner().invoke(app, [*words, "--moments", str(file)]).exit_code == 0
    with safe_open(file, "np") as kept:
        assert kept.get_tensor("10/0/mid.res1/1/class_means").shape == (10, 8)
    for more, said in (
        (["--input", "noisy", "--input", "clean"], "is of one sweep without a store"),
        (["--store", str(tmp_path)], "is of one sweep without a store"),
        (["--moments", str(tmp_path / "moments.npz")], "allowed endings: .safetensors"),
    ):
        assert said in str(CliRunner().invoke(app, [*words, "--moments", str(file), *more]).exception)


def test_numbers_are_said_to_be_of_the_variance(numbered: SweepRequest, words: list[str]) -> None:
    assert "% of the variance (" in CliRunner().invoke(app, words).stdout


def test_another_head_on_the_command_line_is_refused_in_one_sentence(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--head", "knn"])
    assert str(result.exception) == "head is 'knn'; allowed without a store: 'ridge', because the others need the features again."


def test_the_benchmark_finds_one_head_ranked_as_itself(plain: SweepRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_sums, "sweep", lambda request, store: sweep(request.model_copy(update={"head": "ridge"}), store))
    found = running_sums.ranks(plain.model_copy(update={"labels_per_class": ("all",)}))
    assert (found["cells"], found["rank_correlation"]) == (6, 1.0)
    assert found["best"]["ridge"] == found["best"]["logistic"]
