"""The Map page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis import crew
from analysis.__main__ import app as command_line
from analysis.answers import Answers
from analysis.errors import NoisescopeError
from analysis.lane import Answer
from analysis.store import Store
from analysis.studies import find_study
from app.components import album, alike, asking, atlas, files, onemap
from tests.toys import AtOnce

from .test_generate import undecided
from .test_start import MAIN, texts

DIGITS, CIFAR, ONE = find_study("digits"), find_study("cifar10"), Lock()
SELECTED = f"selected:test:{DIGITS.facts['receipt']['dataset_identity']}"
BLOCK = DIGITS.result()["headline"].split("/")[1]


@cache
def answers(root: Path) -> Answers:
    return Answers(Store(root), "cpu", 0, AtOnce())


def worker(root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
    with ONE:  # as a worker answers: one thread has the model
        return answers(root)(question, data)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")  # what one test has laid out serves the next


@pytest.fixture(autouse=True)
def own(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISESCOPE_STORE", str(shared))
    monkeypatch.setattr(asking, "ask", worker)
    monkeypatch.setitem(atlas.CHOICES, "images", ("60", "40"))
    return shared


def visit(backend: str = "digits-ddpm", dataset: str = "digits", **query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": backend, "dataset": dataset, **query}.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/map.py").run())


def settle(page: AppTest) -> AppTest:
    """Draw until nothing new has been asked for."""
    for _ in range(30):
        before = list(page.session_state["asked"].values())
        assert all(asked.ended.wait(120) for asked in before)
        page.run()
        if list(page.session_state["asked"].values()) == before:
            return page
    raise AssertionError("answers keep coming")


def select(page: AppTest, label: str) -> Any:
    return next(box for box in page.selectbox if box.label == label)


def test_a_map_is_there_with_how_far_to_trust_it() -> None:
    page = visit()
    assert not page.exception
    assert f"UMAP of 60 test images in block {BLOCK} at σ = 0.13, coloured by digit." in texts(page)
    numbers = {metric.label: metric.value for metric in page.metric}
    assert set(numbers) == {"Class purity, space", "Class purity, map", "Trustworthiness", "Continuity", "Intrinsic dimension"}
    assert 0.9 < float(numbers["Trustworthiness"]) <= 1
    assert "distances between clumps, their sizes and their order do not" in texts(page)
    assert page.get("echarts_chart")


def test_a_pca_says_what_it_shows() -> None:
    page = visit(layout="pca")
    assert f"PCA of 60 test images in block {BLOCK}" in texts(page)
    assert "directions show" in texts(page)


def test_a_class_is_selected_by_its_name_and_stays_over_levels_and_pages() -> None:
    page = visit()
    select(page, "Find a class").set_value(3).run()
    page = settle(page)
    count = len(page.session_state[SELECTED])
    assert f"**{count} selected**" in texts(page)
    assert "Nearest to them, not selected" in texts(page)
    page = settle(page.slider(key="level").set_value(60).run())
    assert f"**{count} selected**" in texts(page)
    page.switch_page("app_pages/curve.py").run()
    page = settle(page.switch_page("app_pages/map.py").run())
    assert f"**{count} selected**" in texts(page)
    next(button for button in page.button if button.label == "Clear").click()
    assert "Draw around points" in texts(settle(page.run()))


def test_what_was_selected_and_is_not_shown_any_more_is_said() -> None:
    page = visit()
    select(page, "Find a class").set_value(0).run()
    page = settle(page)
    page.session_state[SELECTED] = page.session_state[SELECTED] | {12345}
    page = settle(page.run())
    assert "1 selected image is not among the 60 that are shown now." in texts(page)
    page.session_state[SELECTED] = {12345}
    assert "1 selected image is not among the 60" in texts(settle(page.run()))


@pytest.mark.parametrize("view", ["blocks", "levels", "noise", "trust", "alike", "content"])
def test_every_view_is_drawn_or_says_what_it_takes(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "MOMENT", 1000.0)
    page = visit(maps=view)
    assert not page.exception
    assert not page.error
    expected = {
        "blocks": "in every block, first to last, at σ = 0.13",
        "levels": f"in block {BLOCK} at every noise level",
        "noise": "moving over 16 noise levels",
        "trust": "Neighbours share their class most at",
        "alike": "Most alike are",
        "content": f"In block **{BLOCK}** a linear probe tells a place's row",
    }
    assert expected[view] in texts(page)


def test_what_takes_long_is_offered_first_with_what_it_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))  # nothing is there yet
    monkeypatch.setattr(atlas, "MOMENT", 0.0)
    page = visit(images="40", layout="pca")
    said = r"40 images are to be read at σ = 0\.13\. This takes 40 passes of an image, about (a second|\d+ seconds), once"
    assert re.search(said, page.info[0].value)
    assert "PCA of 40 test images" not in texts(page)
    next(button for button in page.button if button.label == "Make it").click()
    assert "PCA of 40 test images" in texts(settle(page.run()))


def test_what_is_cancelled_is_not_asked_for_again_until_it_is_wanted() -> None:
    page = visit()
    asked = page.session_state["asked"]
    name = next(name for name in asked if "'umap'" in name and "'map'" in name)
    question = {
        "ask": "map",
        "study": DIGITS.key,
        "count": 60,
        "dims": 2,
        "metric": "cosine",
        "seed": 0,
        "method": "umap",
        "block": BLOCK,
        "level": 5,
    }
    page.session_state["map-wanted"] = {f"umap:{sorted(question.items())}": False}  # what Cancel leaves
    page = settle(page.run())
    assert name in page.session_state["asked"]
    assert "It was cancelled; what is done is kept." in page.info[0].value
    assert "PCA of 60 test images" in texts(page)
    next(button for button in page.button if button.label == "Make it").click()
    assert "UMAP of 60 test images" in texts(settle(page.run()))


def test_a_selection_on_the_map_is_of_the_groups_that_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another colouring or layout is another chart: what was chosen by place in one means other images in the next."""
    keys: list[str] = []
    real = onemap.st.echarts_chart
    monkeypatch.setattr(onemap.st, "echarts_chart", lambda option, key, **more: (keys.append(key), real(option, key=key, **more))[1])
    page = visit(layout="pca")
    for name, value in (("colour", "prediction"), ("layout", "umap")):
        page.session_state[name] = value
        page = settle(page.run())
    assert "UMAP of 60 test images" in texts(page)
    assert "coloured by prediction" in texts(page)
    assert len(dict.fromkeys(keys)) == 3


def test_where_the_data_are_not_there_what_the_model_made_is_shown(own: Path) -> None:
    undecided(CIFAR, own)
    page = visit("cifar10-ddpm", "elsewhere", run="0123456789abcdef", block="mid.res0")
    assert not page.exception
    assert "60 images that the model generated, because the data are not here" in texts(page)
    assert "There is no map of block mid.res0" in texts(page)
    assert {metric.label for metric in page.metric} == {"Trustworthiness", "Continuity", "Intrinsic dimension"}
    assert "coloured by prediction" in texts(page)
    expected = {"blocks": "in every block", "levels": "at every noise level", "noise": "moving over 9 noise levels"}
    expected |= {
        "trust": "one class alone, so purity is not known",
        "alike": "one cell alone",
        "content": "In block **up1.res0** a linear probe",
    }
    for view, words in expected.items():
        page.session_state["maps"] = view
        page = settle(page.run())
        assert not page.exception, view
        assert not page.error, view
        assert words in texts(page), view


def test_large_answers_on_screen_are_not_let_go_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counting(root: Path, device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        asked.append(f"{question['ask']}/{question.get('method')}")
        return worker(root, device, question, data)

    monkeypatch.setattr(asking, "HELD", 1)
    monkeypatch.setattr(asking, "ask", counting)
    visit(layout="pca")
    assert len(asked) == len(set(asked))


def test_why_there_are_no_pictures_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(root: Path, device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        if question["ask"] == "noised":
            raise NoisescopeError("The device has too little memory.")
        return worker(root, device, question, data)

    monkeypatch.setattr(asking, "ask", wrong)
    page = visit(layout="pca")
    assert "The points have no pictures: The device has too little memory." in page.info[0].value
    assert "PCA of 60 test images" in texts(page)


def test_ones_own_image_is_placed_with_its_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit()
    found = load(worker(Path(asking.default_root()), "cpu", {"ask": "shown", "study": DIGITS.key, "count": 60})[1])
    shot = album.Shot("mine", found["images"][4].copy(), album.UPLOADED)
    page.session_state["album"] = {shot.key: shot}
    page = settle(page.run())
    assert not page.exception
    assert "**Nearest to mine**" in texts(page)
    assert "is approximate" in texts(page)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"layout": "tsne"}, "The link asks for layout = 'tsne'"),
        ({"maps": "globe"}, "The link asks for maps = 'globe'"),
        ({"images": "7"}, "The link asks for images = '7'"),
        ({"block": "up9"}, "block = 'up9'"),
        ({"map-seed": "-3"}, "map-seed = '-3'; allowed: 0 to 9999"),
        ({"colour": "taste"}, "colour = 'taste'"),
    ],
)
def test_a_link_that_asks_for_what_is_not_there_is_named(query: dict[str, str], words: str) -> None:
    page = visit(run=DIGITS.key, **query)
    assert not page.exception
    assert any(words in warning.value for warning in page.warning)


def test_without_a_run_the_page_says_what_to_do() -> None:
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["backend"], page.query_params["dataset"] = "digits-ddpm", "shapes"
    page.run()
    page.switch_page("app_pages/map.py").run()
    assert "Measure it on the Curve page first" in page.info[0].value


def test_what_the_worker_says_is_wrong_stands_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(root: Path, device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        if question["ask"] == "map":
            raise NoisescopeError("The features are not finite, so that images have no distance; choose another block or level.")
        return worker(root, device, question, data)

    monkeypatch.setattr(asking, "ask", wrong)
    page = visit()
    assert not page.exception
    assert "not finite" in page.error[0].value
    assert any(button.label == "Try again" for button in page.button)


def test_three_dimensions_are_drawn_by_plotly() -> None:
    page = visit(dims="3", layout="pca")
    assert not page.exception
    assert "In three dimensions a map is for looking around" in texts(page)
    assert np.isfinite(float(page.metric[-1].value))


def test_a_link_brings_the_view_back() -> None:
    page = visit(layout="pca", colour="prediction", distance="l2", **{"map-seed": "3"})
    assert not page.warning
    assert "coloured by prediction" in texts(page)
    (shared,) = [one.value for one in page.code if one.value.startswith("http")]
    for part in ("layout=pca", "colour=prediction", "distance=l2", "map-seed=3", f"block={BLOCK}", "maps=map"):
        assert part in shared, part


def test_the_receipt_has_a_link_and_a_command() -> None:
    page = visit(layout="pca")
    code = [one.value for one in page.code]
    assert any("layout=pca" in line and "images=60" in line for line in code)
    assert any(line.startswith("python -m analysis study map") and "--method pca" in line and "--count 60" in line for line in code)


def test_another_model_is_compared_at_its_own_nearest_level() -> None:
    shapes = find_study("shapes-shape")
    assert not alike.comparable(find_study("shapes-hue"), shapes)  # one model
    assert not alike.comparable(DIGITS, shapes)  # other images
    assert alike.comparable(DIGITS, replace(DIGITS, facts={**DIGITS.facts, "receipt": {**DIGITS.facts["receipt"], "revision": "other"}}))
    view = SimpleNamespace(sigma=0.25, block="mid.res0", axis="sigma")
    found = alike.of_other(view, CIFAR, "blocks")  # type: ignore[arg-type]
    assert set(found) == {block.name for block in CIFAR.card.blocks}
    assert [CIFAR.facts["levels"][level]["sigma"] for _, level in found.values()] == pytest.approx([0.2947] * len(found), abs=1e-3)
    assert [level for _, level in alike.of_other(view, CIFAR, "levels").values()] == list(range(9))  # type: ignore[arg-type]


def taken(page: AppTest, key: str) -> bytes:
    """What a button makes to be saved."""
    made = settle(page.button(key=key).click().run())
    assert not made.exception
    return bytes(made.session_state[files.MADE][2])


@pytest.mark.parametrize(
    "query",
    [{"maps": "levels"}, {"maps": "trust"}, {"maps": "alike", "with": "random"}, {"maps": "content"}],
    ids=lambda query: query["maps"],
)
def test_the_command_line_of_a_view_writes_the_numbers_that_its_receipt_saves(
    query: dict[str, str], shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(atlas, "MOMENT", 1000.0)
    page = visit(layout="pca", **query)
    found = pd.read_csv(BytesIO(taken(page, "many-csv")))
    (words,) = [shlex.split(one.value) for one in page.code if one.value.startswith("python")]
    assert words[:5] == ["python", "-m", "analysis", "study", "map"]
    monkeypatch.setattr(crew, "Crew", lambda count: AtOnce())
    out = tmp_path / words[-1]
    done = CliRunner().invoke(command_line, [*words[3:-1], str(out), "--store", str(shared)])
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_csv(out), found)
    (link,) = [one.value for one in page.code if one.value.startswith("http")]
    assert all(f"{name}={value}" in link for name, value in query.items())


def test_two_maps_side_by_side_come_back_by_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "MOMENT", 1000.0)
    page = visit(layout="pca", maps="alike", over="levels", pair="2,5")
    assert [select(page, name).value for name in ("Map of", "beside that of")] == [
        select(page, "Map of").options[2],
        select(page, "Map of").options[5],
    ]
    sigmas = [level["sigma"] for level in DIGITS.facts["levels"]]
    for level in (2, 5):
        assert f"PCA of 60 test images in block {BLOCK} at σ = {sigmas[level]:.2g}." in texts(page)
    (link,) = [one.value for one in page.code if one.value.startswith("http")]
    assert "pair=2%2C5" in link
    assert "over=levels" in link
    page = settle(select(page, "Map of").set_value(None).run())
    assert "pair" not in page.query_params
    page = visit(layout="pca", maps="alike", pair="2,500", **{"with": "nobody"})
    assert "pair" not in page.query_params
    assert "The link asks for with = 'nobody', which is not there; allowed: itself, random" in page.warning[0].value


def test_a_file_has_the_colours_of_the_screen_and_says_how_far_to_trust_it() -> None:
    page = visit(layout="pca", colour="right or wrong")
    said = taken(page, "map-html").decode()
    assert '<span class="name">right</span>' in said
    assert "PCA is linear" in said
    assert "share its class in the full space" in said
    svg = taken(page, "map-svg").decode()
    assert "Coloured by right or wrong." in svg
    assert "Trustworthiness" in svg
    table = pq.read_table(BytesIO(taken(page, "map-parquet")))
    assert "Trustworthiness" in table.schema.metadata[b"noisescope"].decode()
    assert len(table["neighbors"][0]["ids"]) == 15


def saves(page: AppTest) -> list[str]:
    return [one.proto.label for one in page.get("download_button")]


def test_a_file_of_one_run_is_not_saved_under_another() -> None:
    """The three runs of shapes have the same features, so the same PCA, and other labels."""
    page = visit("shapes-ddpm", "shapes", layout="pca", run=find_study("shapes-hue").key)
    made = taken(page, "map-csv").decode()
    assert any(label.startswith("Save CSV") for label in saves(page))
    other = find_study("shapes-shape").key
    page = settle(page.selectbox(key="run").set_value(other).run())
    assert not any(label.startswith("Save") for label in saves(page))
    assert pd.read_csv(BytesIO(taken(page, "map-csv"))).prediction.tolist() != pd.read_csv(BytesIO(made.encode())).prediction.tolist()


def test_the_receipt_of_many_maps_says_how_those_on_screen_are_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(atlas, "MOMENT", 1000.0)
    visit(maps="blocks", layout="pca", images="40")
    monkeypatch.setattr(atlas, "MOMENT", 0.0)  # the UMAPs are offered; PCAs are shown until then
    page = visit(maps="blocks", dims="3", images="40")
    assert "UMAPs of every block are to be made" in texts(page)
    assert "**layout**: PCA, 2 dimensions" in texts(page)
    assert "follows from" not in texts(page)
    (words,) = [one.value for one in page.code if one.value.startswith("python")]
    assert "--method pca --dims 2" in words


def test_pictures_are_waited_for_when_a_page_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit(layout="pca", dims="3")  # a solid map asks for none
    assert taken(page, "map-html").decode().count("data:image/webp") == 60


def test_many_maps_are_one_picture_with_one_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "MOMENT", 1000.0)
    page = visit(layout="pca", maps="levels")
    svg = ElementTree.fromstring(taken(page, "many-svg"))
    inner = svg.findall("{http://www.w3.org/2000/svg}svg")
    assert len(inner) == len(DIGITS.facts["levels"])
    assert len({(one.get("x"), one.get("y")) for one in inner}) == len(inner)


def test_what_failed_once_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit(layout="pca", images="40")

    def broken(*args: Any, **more: Any) -> Any:
        raise NoisescopeError("The process ended.")

    with monkeypatch.context() as patch:
        patch.setattr(asking, "ask", broken)
        page.button(key="map-parquet").click().run()
        assert "The process ended." in [error.value for error in page.error]
    assert taken(page, "map-parquet").startswith(b"PAR1")
