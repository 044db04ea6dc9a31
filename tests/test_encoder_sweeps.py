"""A sweep with baseline encoders, from the request to the study, its figures and its command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from typer.testing import CliRunner

from analysis import encoder_curves, figures, planning, player
from analysis.__main__ import app
from analysis.console import AxisName, summary
from analysis.costs import count, estimate
from analysis.datasets import open_dataset
from analysis.encoders import open_encoder
from analysis.encoders.transformers import Transformers
from analysis.errors import InvalidRequest, NoisescopeError
from analysis.features import load_x0
from analysis.noise import add_noise, noise_like
from analysis.planning import CLEAN, Bench
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import COLUMNS, Study
from analysis.sweeping import sweep

from . import vision

NAME = "encoder:tiny-vit"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoders") / "tiny-vit"
    vision.save("vit", folder)
    return f"transformers:{folder}"


@pytest.fixture
def asked(request_small: SweepRequest, place: str) -> SweepRequest:
    return request_small.model_copy(update={"encoders": (place,), "baselines": False, "blocks": ("mid.res1",)})


@pytest.fixture(scope="module")
def swept(tiny_folder: Path, place: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    store = Store(tmp_path_factory.mktemp("swept"))
    request = SweepRequest(
        backend=str(tiny_folder), encoders=(place,), levels=3, blocks=("mid.res1",), label_draws=4, n_train=300, n_validation=60, n_test=80
    )
    return sweep(request, store), store


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many images encoders are shown, a number a batch, without the blank one that each is tried with."""
    seen: list[int] = []
    real = Transformers.__call__

    def counted(self: Transformers, x: torch.Tensor) -> torch.Tensor:
        if hasattr(self, "identity"):
            seen.append(len(x))
        return real(self, x)

    monkeypatch.setattr(Transformers, "__call__", counted)
    return seen


def test_an_encoder_has_a_curve_and_a_line_beside_the_model(swept: tuple[Study, Store]) -> None:
    table = swept[0].table("curve")
    assert list(table.columns) == list(COLUMNS)
    assert table.groupby("source").size().to_dict() == {
        "baseline": 3,
        "clean": 1,
        "encoder": 3,
        "encoder-clean": 1,
        "model": 3,
        "random": 3,
    }
    rows = table[table.source.str.startswith("encoder")]
    assert set(rows.block) == set(rows.backend) == {"tiny-vit"}
    assert set(rows["head"]) == {"logistic"}
    assert rows[rows.source == "encoder-clean"].sigma.tolist() == [CLEAN]
    assert rows.groupby("source").input.unique().map(list).to_dict() == {"encoder": ["noisy"], "encoder-clean": ["clean"]}
    assert (rows.depth.isna() & (rows.pooling == "flat")).all()


def test_the_result_says_what_is_drawn_first_and_names_the_encoder(swept: tuple[Study, Store]) -> None:
    study, result = swept[0], swept[0].result()
    line = study.table("curve").query("source == 'encoder-clean'").iloc[0]
    assert result["short"]["series"][NAME] == "encoder/tiny-vit/flat"
    assert len(result["short"]["curves"][NAME][0]) == 3
    assert result["encoders"] == {"tiny-vit": {"accuracy": line.accuracy, "ci": [line.ci_low, line.ci_high], "head": "logistic"}}
    assert f"From clean images the encoder tiny-vit reads {100 * line.accuracy:.1f} %" in result["sentence"]
    assert "encoder/tiny-vit/flat" in result["verdicts"]
    assert {"10/encoder/tiny-vit/flat", "10/encoder-clean/tiny-vit/flat"} <= set(study.correct())
    assert f"Encoder tiny-vit on clean images: {100 * line.accuracy:.1f} %." in summary(study, AxisName.timestep)
    (facts,) = study.facts["receipt"]["encoders"]
    assert (facts["seen"], facts["resolution"], facts["dimension"]) == ("labels", [16, 16], 16)
    assert "transformers" in study.facts["receipt"]["packages"]


def test_an_encoder_is_shown_the_images_that_the_model_is_shown(swept: tuple[Study, Store], place: str) -> None:
    study, store = swept
    bench = Bench(SweepRequest.model_validate(study.facts["request"]), store)
    ids, sigma = bench.test[:9], bench.sigmas[1]
    x0 = load_x0(bench.dataset, ids, bench.model)
    noisy = add_noise(x0, torch.full((9,), sigma), noise_like(x0, ids.tolist(), bench.request.seed, 2))
    encoder = open_encoder(place)
    with torch.inference_mode():
        expected = {(NAME, sigma, 2): encoder(noisy), ("encoder-clean:tiny-vit", CLEAN, 0): encoder(x0)}
    for (source, level, draw), vector in expected.items():
        found = store.cell(bench.features(source, draw), level, "tiny-vit", "flat", ids)
        np.testing.assert_allclose(found, vector, rtol=1e-4, atol=1e-5)


def test_an_encoder_alone_is_enough_and_what_is_stored_is_not_read_again(asked: SweepRequest, store: Store, reads: list[int]) -> None:
    foreseen = estimate(Bench(asked, store), processes=0)
    reads.clear()
    first = sweep(asked, store)
    assert set(first.table("curve").source) == {"model", "encoder", "encoder-clean"}
    assert foreseen.encoder_passes == sum(reads)
    assert foreseen.passes == first.facts["receipt"]["passes"]
    assert 0 < foreseen.encoder_seconds <= foreseen.seconds
    reads.clear()
    again = sweep(asked, store)
    assert not reads
    assert again.key == first.key
    assert again.facts["results"] == first.facts["results"]
    rest = estimate(Bench(asked, store), processes=0)
    assert (rest.encoder_passes, rest.seconds, rest.share) == (0, 0.0, 1.0)


def test_a_sweep_without_encoders_knows_nothing_of_them(small_study: Study, request_small: SweepRequest, store: Store) -> None:
    assert "encoders" not in json.dumps({**small_study.facts, "created": ""})
    assert set(small_study.result()["short"]["series"]) == {"model", "random", "baseline"}
    assert count(Bench(request_small, store)).encoded.total() == 0


@pytest.mark.slow
def test_a_label_that_is_all_there_is_to_see_is_read_when_clean_and_lost_in_noise(
    asked: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = copy(open_dataset("digits", 8))
    painted = 255 * (np.arange(64) // 6 == dataset.label_set().values[:, None])  # six white pixels on black, others for each class
    dataset.images = np.repeat(painted.reshape(-1, 8, 8, 1), 3, axis=3).astype(np.uint8)
    monkeypatch.setattr(planning, "open_dataset", lambda *_: dataset)
    study = sweep(asked, store)
    curve = study.table("curve").query("source == 'encoder'").sort_values("sigma").accuracy.tolist()
    assert study.result()["encoders"]["tiny-vit"]["accuracy"] == 1
    assert curve[0] > 0.99  # σ = .01
    assert curve[-1] < 0.25  # σ = 20, ten classes


def test_with_clean_input_an_encoder_has_a_line_and_no_curve(asked: SweepRequest, store: Store, reads: list[int]) -> None:
    study = sweep(asked.model_copy(update={"input": "clean"}), store)
    assert set(study.table("curve").source) == {"model", "encoder-clean"}
    assert study.result()["encoders"]
    bench = Bench(asked, store)
    assert sum(reads) == 140 + len(np.unique(np.concatenate([bench.task(10, draw).train for draw in range(4)])))


def test_draws_are_averaged_for_an_encoder_as_for_the_model(asked: SweepRequest, store: Store, reads: list[int]) -> None:
    request = asked.model_copy(update={"average_draws": 2, "labels_per_class": (3,), "label_draws": 2, "eps_draws": 2})
    foreseen = count(Bench(request, store)).encoded.total()
    reads.clear()
    sweep(request, store)
    assert sum(reads) == foreseen
    bench = Bench(request, store)
    once = 140 + 30  # images of a draw; clean ones once for both draws
    assert foreseen == 3 * 2 * 2 * once + 140 + len(np.unique(np.concatenate([bench.task(3, draw).train for draw in range(2)])))


def test_numbers_are_read_from_an_encoder_by_the_same_ridge_regression(asked: SweepRequest, store: Store) -> None:
    changes = {"dataset": "shapes:600", "label_set": "size", "labels_per_class": ("all",), "eps_draws": 2, "n_train": 200}
    study = sweep(asked.model_copy(update=changes), store)
    rows = study.table("curve").query("source == 'encoder'")
    assert set(rows["head"]) == {"ridge"}
    assert "% of the variance (95 % interval" in study.result()["sentence"]


def test_baselines_up_to_so_many_labels_are_encoders_too(asked: SweepRequest, store: Store) -> None:
    request = asked.model_copy(update={"labels_per_class": (3, 10), "baseline_labels": 3, "label_draws": 2, "eps_draws": 2})
    study = sweep(request, store)
    sources = {labels: set(part.source) for labels, part in study.table("curve").groupby("labels_per_class")}
    assert sources == {"3": {"model", "encoder", "encoder-clean"}, "10": {"model"}}
    assert "encoders" not in study.result("10")


def test_other_weights_under_the_same_name_make_another_study(asked: SweepRequest, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "copy" / "tiny-vit"
    shutil.copytree(asked.encoders[0].removeprefix("transformers:"), folder)
    request = asked.model_copy(update={"encoders": (f"transformers:{folder}",)})
    first = Bench(request, store).features(NAME, 0)
    vision.save("dinov2", folder)
    assert Bench(request, store).features(NAME, 0) != first


@pytest.mark.parametrize(
    ("encoders", "words"),
    [
        (("timm:resnet18",), "Unknown encoder 'timm'"),
        (("transformers:/nowhere/at/all",), "is not on this machine"),
        (("transformers:",), "No place is given"),
    ],
)
def test_what_is_no_encoder_is_refused_before_anything_runs(asked: SweepRequest, store: Store, encoders: tuple, words: str) -> None:
    with pytest.raises(NoisescopeError, match=words):
        sweep(asked.model_copy(update={"encoders": encoders}), store)
    assert not store.root.exists()


def test_two_of_one_name_and_a_model_of_latents_are_refused(asked: SweepRequest, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="two that are called 'tiny-vit'"):
        sweep(asked.model_copy(update={"encoders": asked.encoders * 2}), store)
    latent = planning.catalog.card(asked.backend).model_copy(update={"space": "latent"})
    monkeypatch.setattr(planning.catalog, "card", lambda _: latent)
    with pytest.raises(InvalidRequest, match="encoders read pixels"):
        Bench(asked, store)


def test_sources_are_lent_only_to_a_request_with_the_same_encoders(asked: SweepRequest, store: Store) -> None:
    first = Bench(asked, store)
    assert set(first.sources) == {"model", NAME, "encoder-clean:tiny-vit"}
    lent = Bench(asked.model_copy(update={"levels": 4}), store, like=first).sources
    assert lent.keys() == first.sources.keys()
    assert all(lent[name] is opened for name, opened in first.sources.items())
    assert set(Bench(asked.model_copy(update={"encoders": ()}), store, like=first).sources) == {"model"}
    assert set(Bench(asked.model_copy(update={"input": "clean"}), store, like=first).sources) == {"model", "encoder-clean:tiny-vit"}


@pytest.mark.slow
def test_workers_find_what_one_process_finds(swept: tuple[Study, Store], store: Store) -> None:
    request = SweepRequest.model_validate(swept[0].facts["request"])
    assert sweep(request, store, processes=2).facts["results"] == swept[0].facts["results"]


def test_the_command_line_takes_encoders_and_refuses_what_is_none(asked: SweepRequest, store: Store) -> None:
    words = f"sweep --backend {asked.backend} --block mid.res1 --levels 3 --label-draws 3 --n-train 300 --n-test 60 --processes 0"
    common = [*words.split(), "--no-baselines", "--store", str(store.root), "--encoder"]
    result = CliRunner().invoke(app, [*common, asked.encoders[0]])
    assert "Encoder tiny-vit on clean images: " in result.stdout
    refused = CliRunner().invoke(app, [*common, "transformers:/nowhere/at/all"])
    assert isinstance(refused.exception, NoisescopeError)


def shown(figure: go.Figure) -> tuple[list[str], list[str]]:
    return [trace.name for trace in figure.data], [note.text for note in figure.layout.annotations]


def test_figures_draw_each_encoder_thin_and_by_name_and_stay_as_they_are_without(swept: tuple[Study, Store]) -> None:
    study, result = swept[0], swept[0].result()
    table, levels = study.table("curve"), study.facts["levels"]
    for make in (
        lambda: figures.blocks_figure(table, levels, "sigma", result["headline"]),
        lambda: player.start_figure(table, levels, result["short"], "sigma", ["data:,"] * 3),
    ):
        without = encoder_curves.add_encoders(make(), table[~table.source.str.startswith("encoder")], levels)
        assert without == make()
        figure = encoder_curves.add_encoders(make(), table, levels)
        assert [set(new) - set(old) for new, old in zip(shown(figure), shown(without), strict=True)] == [
            {"encoder tiny-vit, noised images"},
            {"encoder tiny-vit, clean images"},
        ]
        curve, line = figure.data[-1], figure.layout.shapes[-1]
        np.testing.assert_allclose(curve.y, result["short"]["curves"][NAME][0])
        assert line.y0 == result["encoders"]["tiny-vit"]["accuracy"]
        assert line.line.color == curve.line.color not in {trace.line.color for trace in make().data if trace.name == "linear readout"}
        assert curve.line.width < 2
        assert list(figure.frames) == list(make().frames)
