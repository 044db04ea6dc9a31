"""Several heads, label sets and regimes at once: what does not go together is left out and named, what comes to one run is one."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from analysis import noise
from analysis.__main__ import app
from analysis.answers import Answers
from analysis.combining import Combined, combine
from analysis.datasets.base import Dataset, LabelSet
from analysis.errors import Incompatible, InvalidData, InvalidRequest, UnknownName
from analysis.planning import Bench
from analysis.specs import SweepRequest, variants
from analysis.store import Store
from analysis.streaming import prepare, stream_all
from analysis.sweeping import sweep, sweep_all

SHAPES = SweepRequest(
    backend="shapes-ddpm", dataset="shapes:300", levels=3, blocks=("mid.res0",), labels_per_class=(4,), label_draws=2, eps_draws=2
).model_copy(update={"baselines": False})


def bench(store: Store, request: SweepRequest, like: Bench | None = None) -> Bench:
    return Bench(request, store, like=like)


def combined(store: Store, **values: list[Any]) -> Combined:
    return combine(variants(SHAPES, **values), lambda request, like: Bench(request, store, like=like))


def asked(found: Combined) -> list[tuple[str | None, str]]:
    return [(request.label_set, request.head) for request in found.requests]


def test_a_head_that_cannot_read_numbers_is_left_out_with_them_and_named(store: Store) -> None:
    found = combined(store, label_set=["hue", "size"], head=["logistic", "knn"])
    assert asked(found) == [("hue", "logistic"), ("hue", "knn"), ("size", "logistic")]
    assert found.said == "Left out: size with knn, because numbers are read by ridge regression alone."


def test_what_comes_to_the_same_run_is_one(store: Store) -> None:
    found = combined(store, label_set=["hue", "size"], head=["logistic", "ridge"])
    assert asked(found) == [("hue", "logistic"), ("hue", "ridge"), ("size", "logistic")]
    assert found.said == "logistic and ridge read size alike and are one run."
    assert [bench.head for bench in found.benches] == ["logistic", "ridge", "ridge"]


def test_many_are_told_in_one_sentence(store: Store) -> None:
    found = combined(store, label_set=["size", "turn"], label_noise=[0.0, 0.4], head=["logistic", "ridge", "knn", "centroid"])
    assert asked(found) == [("size", "logistic"), ("turn", "logistic")]
    assert found.said == (
        "Left out: size and turn with knn or centroid, because numbers are read by ridge regression alone; size and turn with "
        "40 % wrong labels, because these are of classes, not of numbers; logistic and ridge read size and turn alike and are one run each."
    )


def test_the_first_label_set_and_its_name_are_one_run_of_which_nothing_is_said(store: Store) -> None:
    first = Bench(SHAPES, store).labels.name
    found = combined(store, label_set=[None, first])
    assert (asked(found), found.said) == ([(None, "logistic")], "")


def test_heads_that_read_maps_are_left_out_of_principal_components(store: Store) -> None:
    requests = variants(SHAPES.model_copy(update={"pca": 4, "poolings": ("2",)}), head=["logistic", "cnn"])
    found = combine(requests, lambda request, like: Bench(request, store, like=like))
    assert asked(found) == [(None, "logistic")]
    assert found.said == "Left out: the first label set with cnn, because principal components leave no map to read."


def test_where_nothing_is_left_it_is_refused(store: Store) -> None:
    with pytest.raises(Incompatible, match="head knn tells classes apart and size is a number; allowed: ridge"):
        combined(store, label_set=["size", "turn"], head=["knn", "centroid"])


@pytest.mark.parametrize(("values", "error"), [({"head": ["logistic", "nope"]}, UnknownName), ({"n_test": [20, 1]}, InvalidRequest)])
def test_what_is_wrong_by_itself_is_not_passed_over(store: Store, values: dict[str, list[Any]], error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        combined(store, **values)
    assert not isinstance(raised.value, Incompatible)


def test_a_sweep_of_several_makes_what_is_left_and_tells_of_the_rest(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    requests = variants(SHAPES, label_set=["size"], head=["logistic", "ridge", "knn"])
    with caplog.at_level(logging.WARNING):
        (study,) = sweep_all(requests, store)
    said = (
        "Left out: size with knn, because numbers are read by ridge regression alone; logistic and ridge read size alike and are one run."
    )
    assert [record.getMessage() for record in caplog.records] == [said]
    assert study.key == sweep(requests[0], store).key


def test_the_command_line_says_it_and_goes_on(store: Store) -> None:
    words = (
        "sweep --backend shapes-ddpm --dataset shapes:300 --levels 3 --block mid.res0 --labels-per-class 4 --label-draws 2 --eps-draws 2"
    )
    words += " --no-baselines --processes 0 --label-set hue --label-set size --head knn --json"
    result = CliRunner().invoke(app, [*words.split(), "--store", str(store.root)])
    assert result.stderr.strip() == "Left out: size with knn, because numbers are read by ridge regression alone."
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["best_block"] == "mid.res0"


def test_a_worker_says_what_is_left(store: Store) -> None:
    requests = variants(SHAPES, label_set=["hue", "size"], head=["knn"])
    said, data = Answers(store, "cpu", 0)({"ask": "combine", "requests": [request.canonical() for request in requests]})
    assert said["requests"] == [requests[0].canonical()]
    assert said["said"].startswith("Left out: size with knn")
    assert data == b""


def test_without_a_store_what_does_not_go_together_is_left_out_too(caplog: pytest.LogCaptureFixture) -> None:
    asked = SHAPES.model_copy(update={"head": "ridge", "label_draws": 2})
    with caplog.at_level(logging.WARNING):
        found = stream_all(variants(asked, label_set=["hue", "size"], label_noise=[0.0, 0.4]), components=None)
    assert [one.curve.label_set[0] for one in found] == ["hue", "hue", "size"]
    assert caplog.messages == ["Left out: size with 40 % wrong labels, because these are of classes, not of numbers."]


def test_a_bench_that_lends_its_model_lends_it_to_requests_of_the_same_precision_alone(store: Store) -> None:
    found = combine([SHAPES.model_copy(update={"precision": name}) for name in ("float32", "bfloat16")], partial(bench, store))
    whole, lower = found.benches
    assert [one.features("model", 0).precision for one in (whole, lower)] == ["float32", "bfloat16"]
    same = bench(store, SHAPES.model_copy(update={"head": "knn"}), whole)
    assert same.sources["model"] is whole.sources["model"]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_numbers_that_are_all_the_same_are_refused(part: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Dataset.label_set

    def flat(dataset: Dataset, name: str | None = None) -> LabelSet:
        found = real(dataset, name)
        assert found.numbers is not None
        return replace(found, numbers=np.where(dataset.split == part, 0.5, found.numbers))

    monkeypatch.setattr(Dataset, "label_set", flat)
    asked = SHAPES.model_copy(update={"label_set": "size", "head": "ridge"})
    with pytest.raises(InvalidData, match=f"{part} images have the size 0.5, so nothing can be told"):
        bench(store, asked)
    with pytest.raises(InvalidData, match=f"{part} images have the size 0.5"):
        prepare(asked.model_copy(update={"label_draws": None}))


def test_no_bench_keeps_another_than_the_first_alive(store: Store) -> None:
    first = bench(store, SHAPES)
    second = bench(store, SHAPES.model_copy(update={"head": "knn"}), first)
    gone = weakref.ref(second)
    third = bench(store, SHAPES.model_copy(update={"head": "ridge"}), second)
    assert third.noise is first.noise
    del second
    gc.collect()
    assert gone() is None
    assert third.sources["model"] is first.sources["model"]


def test_an_images_noise_is_drawn_once_for_all_levels(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, int]] = []
    real = noise.noise_like

    def counted(x0: torch.Tensor, image_ids: Sequence[int], seed: int, draw: int) -> torch.Tensor:
        drawn.extend((draw, int(id)) for id in image_ids)
        return real(x0, image_ids, seed, draw)

    monkeypatch.setattr(noise, "noise_like", counted)
    sweep(SHAPES.model_copy(update={"n_test": 20, "n_validation": 10}), store)
    assert len(drawn) == len(set(drawn)) > 0
