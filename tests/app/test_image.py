"""The Image page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import base64
import io
import shlex
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from safetensors.numpy import load
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis.__main__ import app as command_line
from analysis.answers import Answers
from analysis.datasets.base import Dataset
from analysis.errors import NoisescopeError
from analysis.jobs import Jobs
from analysis.lane import Answer
from analysis.looking import table
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import find_study
from app.components import adding, album, asking, canvas, seen

from .test_start import MAIN, texts

Ask = Callable[..., Answer]
ONE = Lock()


@cache
def answers() -> Answers:
    """What a worker would say, with a store of its own: one for all tests, because to open a model takes seconds."""
    return Answers(Store(mkdtemp()), "cpu", 0)


def worker(_root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
    with ONE:  # as a worker answers: one thread has the model
        return answers()(question, data)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", worker)
    st.cache_data.clear()
    return Jobs(tmp_path)


def visit(backend: str = "digits-ddpm", dataset: str = "digits", **query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in {"backend": backend, "dataset": dataset, **query}.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/image.py").run())


def settle(page: AppTest) -> AppTest:
    """Draw until nothing is on its way."""
    for _ in range(20):
        if all(asked.ended.wait(120) for asked in page.session_state["asked"].values()):
            page.run()
        if all(asked.ended.is_set() for asked in page.session_state["asked"].values()):
            return page
    raise AssertionError("answers keep coming")


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def drop(page: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    page.get("file_uploader")[0].set_value(list(files))
    return settle(page.run())


NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


def test_it_opens_on_an_example_and_says_what_is_read() -> None:
    page = visit()
    assert not page.exception
    assert [metric.label for metric in page.metric] == ["Read as", "Probability", "Five levels together", "Denoising error"]
    assert page.metric[0].value == "0"
    assert "reads this image as **0**" in texts(page)
    assert ", which it is" in texts(page)


def test_the_numbers_are_those_of_the_library(digits: Dataset) -> None:
    from analysis import views
    from analysis.backends import open_backend
    from analysis.readout import of_study

    page, study = visit(), find_study("digits")
    test = digits.members("test")
    row = next(row for row in digits.rows(test) if digits.label_set(None).values[row] == 0)
    told = views.read(open_backend("digits-ddpm"), of_study(study), digits.images[row], 0, 8)
    level = min(range(16), key=lambda i: abs(study.facts["levels"][i]["sigma"] / study.result()["verdict"]["peak_sigma"] - 1))
    assert page.metric[1].value == f"{100 * told['mean/up1.res0'][level].max():.0f} %"


def test_another_block_and_level_move_everything() -> None:
    page = visit(run=find_study("digits").key, block="mid.res0", sigma="1.0")
    assert "block mid.res0" in texts(page)
    assert "At σ = 0.96" in texts(page)
    assert "in block mid.res0 at σ = 0.96" in texts(page)


def test_an_image_that_is_dropped_is_read_and_chosen() -> None:
    page = drop(visit(), ("mine.txt", png(NOISE), "text/plain"))  # what a file is called says nothing
    assert not page.exception
    assert "mine.txt: 60×40 pixels" in texts(page)


def test_a_photograph_is_told_from_digits_and_what_fits_is_offered() -> None:
    page = drop(visit(), ("mine.png", png(NOISE), "image/png"))
    assert "This is not the kind of image that digits-ddpm knows" in texts(page)
    assert "draw a digit" in texts(page)
    next(button for button in page.button if "cifar10-ddpm" in button.label).click()
    page = settle(page.run())
    assert page.session_state["backend"] == "cifar10-ddpm"
    assert "mine.png" in texts(page)


def test_what_is_no_image_is_said_and_the_rest_is_taken() -> None:
    page = drop(visit(), ("bad.png", b"<svg onload='alert(1)'/>", "image/png"), ("good.png", png(NOISE), "image/png"))
    assert not page.exception
    assert any("bad.png" in warning.value for warning in page.warning)
    assert "good.png: 60×40 pixels" in texts(page)


def test_no_session_sees_anothers_images() -> None:
    one = drop(visit(), ("secret.png", png(NOISE), "image/png"))
    other = visit()
    assert "secret.png" in texts(one)
    assert "secret.png" not in texts(other)
    assert len(other.session_state["album"]) == 0


def test_an_image_that_is_forgotten_is_gone() -> None:
    page = drop(visit(), ("mine.png", png(NOISE), "image/png"))
    next(button for button in page.button if button.label == "Forget this image").click()
    page = settle(page.run())
    assert "mine.png" not in texts(page)
    assert page.metric[0].value == "0"


@pytest.mark.parametrize("cut", ["crop", "fit", "box"])
def test_the_part_that_is_read_can_be_chosen(cut: str) -> None:
    page = drop(visit(), ("mine.png", png(NOISE), "image/png"))
    (key,) = page.session_state["album"]
    page.session_state[f"cut-{key}"] = cut
    page = settle(page.run())
    assert not page.exception
    assert len(page.slider) == (4 if cut == "box" else 1)


def test_what_can_be_composed_is_what_the_data_are_made_of() -> None:
    from analysis.datasets.shapes import HUES, SHAPES, TEXTURES

    assert {name: tuple(classes) for name, classes in adding.PARTS.items()} == {"shape": SHAPES, "texture": TEXTURES, "hue": HUES}


def test_a_shape_is_composed_and_its_labels_are_known() -> None:
    page = visit("shapes-ddpm", "shapes", run=find_study("shapes-hue").key)
    page.session_state["way"] = "compose"
    page.run()
    next(button for button in page.button if button.label == "Make one").click()
    page = settle(page.run())
    assert not page.exception
    assert page.metric[0].value == "red"
    assert ", which it is" in texts(page)


def test_without_probes_the_page_says_what_to_do() -> None:
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["backend"], page.query_params["dataset"] = "digits-ddpm", "shapes"
    page.run()
    page.switch_page("app_pages/image.py").run()
    assert "Measure it on the Curve page first" in texts(page)


def test_what_the_worker_says_is_wrong_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Answer:
        raise NoisescopeError("The worker for cpu does not answer.")

    monkeypatch.setattr(asking, "ask", refuse)
    page = visit()
    assert not page.exception
    assert "does not answer" in " ".join(error.value for error in page.error)
    assert [button.label for button in page.main.button] == ["Try again"]


def test_while_the_worker_starts_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    never = Event()
    monkeypatch.setattr(asking, "ask", lambda *_, **__: never.wait(30) and ({}, b""))
    page = AppTest.from_file(MAIN, default_timeout=60)
    page.query_params["backend"], page.query_params["dataset"] = "digits-ddpm", "digits"
    page.run()
    page.switch_page("app_pages/image.py").run()
    assert "digits-ddpm is being opened" in texts(page)
    never.set()


def test_a_drawing_is_scaled_to_fill_the_square_and_averaged() -> None:
    cells = np.zeros((32, 32), int)
    cells[10:18, 20:22] = 1  # 8 high, 2 wide: 32 high and 8 wide when it fills the square
    image = canvas.picture("".join(map(str, cells.ravel())), 8)
    assert image is not None
    assert image.shape == (8, 8, 3)
    assert (image[:, 3:5] == 255).all()
    assert (image[:, [0, 1, 6, 7]] == 0).all()


@pytest.mark.parametrize("cells", ["", "0" * 1024, "2" * 1024, "01"])
def test_an_empty_drawing_or_none_is_no_picture(cells: str) -> None:
    assert canvas.picture(cells, 8) is None


def test_the_small_pictures_are_the_images(digits: Dataset) -> None:
    from app.components.album import GENERATED, Shot, thumb

    shot = Shot("x", digits.images[0], GENERATED)
    picture = Image.open(io.BytesIO(base64.b64decode(thumb(shot).partition(",")[2])))
    assert np.array_equal(np.asarray(picture)[2::5, 2::5], digits.images[0])


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return settle(page.run())


def captions(page: AppTest) -> str:
    return " ".join(caption.value for caption in page.caption)


def test_maps_are_made_on_a_click_and_say_what_they_are() -> None:
    page = visit()
    assert "2,640 passes of this image, about" in captions(page)
    assert "mean over 8 draws" not in captions(page)
    page = press(page, "Explain")
    assert not page.exception
    assert "Integrated Gradients of “0”, block up1.res0, baseline mid-grey, mean over 8 draws of noise" in captions(page)
    assert "Completeness gap" in captions(page)


@pytest.mark.parametrize("target", ["difference", "channel", "loss"])
def test_every_target_can_be_chosen(target: str) -> None:
    page = visit()
    page.session_state["target"], page.session_state["method"], page.session_state["map-draws-2"] = target, "saliency", 2
    page = press(settle(page.run()), "Explain")
    assert not page.exception
    words = {"difference": "“0” rather than “", "channel": "channel 0", "loss": "the denoising loss"}
    assert f"Saliency of {words[target]}" in captions(page)


def test_the_checks_say_whether_to_believe_a_map_and_mark_one_that_hardly_changes() -> None:
    page = visit()
    page.session_state["method"] = "layer_activation"
    page = press(settle(page.run()), "Should you believe it?")
    assert not page.exception
    assert any("hardly changes" in warning.value for warning in page.warning)
    assert "Like a random probe's" in [metric.label for metric in page.metric]


def test_a_map_that_is_cancelled_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Event

    page, gate = visit(), Event()

    def slow(root: Path, device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        if question["ask"] == "explain":
            gate.wait(5)
        return worker(root, device, question, data)

    monkeypatch.setattr(asking, "ask", slow)
    next(button for button in page.button if button.label == "Explain").click()
    page.run()
    next(button for button in page.button if button.label == "Cancel").click()
    page.run()
    gate.set()
    assert "explaining" not in page.session_state
    assert [asked.wanted for name, asked in page.session_state["asked"].items() if "explain" in name] == [False]


def test_what_is_on_the_page_is_noted_for_the_report() -> None:
    page = visit()
    kinds = [part.kind for part in page.session_state["leaflet"]]
    assert kinds.count("figure") == 4
    assert kinds.count("html") == 2
    assert list(page.session_state["sheets"]) == ["Strip", "Class activation"]


@pytest.mark.parametrize("what", ["methods", "draws", "neighbours"])
def test_one_answer_that_fails_is_said_and_the_rest_stands(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def failing(root: Path, device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        if question["ask"] == what:
            raise NoisescopeError("The worker ended over this.")
        return worker(root, device, question, data)

    monkeypatch.setattr(asking, "ask", failing)
    page = visit()
    assert not page.exception
    assert "The worker ended over this." in " ".join([*(e.value for e in page.error), *(i.value for i in page.info)])
    assert page.metric[0].value == "0"


def test_the_end_of_a_job_asks_nothing_again_that_does_not_depend_on_it(own: Jobs) -> None:
    page = press(visit(), "Explain")
    before = [name for name in page.session_state["asked"] if "'explain'" in name or "'view'" in name]
    job = own.submit(SweepRequest())
    own.take("cpu")
    own.finish(job.id, "some-study")
    page = settle(page.run())
    assert [name for name in page.session_state["asked"] if "'explain'" in name or "'view'" in name] == before


def test_how_often_the_probe_is_right_stands_below_what_it_says() -> None:
    table, study = find_study("digits").table("curve"), find_study("digits")
    rows = table[(table.source == "model") & (table.block == "up1.res0") & (table.labels_per_class == "10")].sort_values("sigma")
    share = rows.accuracy.iloc[5]
    assert f"fitted with 10 labels a class, is right on {100 * share:.0f} % of test images at this level" in captions(visit(run=study.key))


def test_what_was_dropped_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    monkeypatch.setattr(adding, "release", lambda files: released.extend(file.name for file in files))
    drop(visit(), ("mine.png", png(NOISE), "image/png"))
    assert released == ["mine.png"]


def test_the_album_lets_the_oldest_go() -> None:
    page = drop(visit(), ("first.png", png(NOISE), "image/png"))
    album.MAX_HELD, before = 3000, album.MAX_HELD  # pixels: one of the two has 2,400
    try:
        page = drop(page, ("second.png", png(NOISE[::-1]), "image/png"))
    finally:
        album.MAX_HELD = before
    assert [shot.name for shot in page.session_state["album"].values()] == ["second.png"]


@pytest.mark.parametrize("cut", ["crop", "fit", "box"])
def test_the_receipts_command_reads_what_the_page_reads(tmp_path: Path, cut: str) -> None:
    page = drop(visit(), ("my photo.png", png(NOISE), "image/png"))
    page.session_state[f"cut-{page.session_state['image-key']}"] = cut
    page = settle(page.run())
    words = shlex.split(next(block.value for block in page.code if "study look" in block.value))
    (tmp_path / "my photo.png").write_bytes(png(NOISE))
    words[words.index("my photo.png")], out = str(tmp_path / "my photo.png"), tmp_path / "look.parquet"
    words[words.index("look.csv")] = str(out)
    assert words[:3] == ["python", "-m", "analysis"]
    done = CliRunner().invoke(command_line, [*words[3:], "--store", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    (*_, draws) = [found.answer for found in page.session_state["asked"].values() if found.answer and "pace" in found.answer[0]]
    study = find_study("digits")
    pd.testing.assert_frame_equal(pd.read_parquet(out), table(study, study.facts["classes"], load(draws[1])), check_dtype=False)


def test_a_receipt_says_what_is_not_in_its_link() -> None:
    page = visit()
    assert "are not in it" in captions(page)
    assert any("noisescope-" in block.value and "study look" in block.value for block in page.code)  # an example is saved first
    link = next(block.value for block in page.code if block.value.startswith("http"))
    assert {"backend", "dataset", "run", "block", "sigma", "axis"} == {part.partition("=")[0] for part in link.partition("?")[2].split("&")}


def test_what_takes_longer_than_a_moment_is_read_on_a_button(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOMENT", 0.0)
    page = visit(run=find_study("digits").key, sigma="3.0")  # a level that no other test reads
    assert "known images are to be read at this noise level first" in captions(page)
    assert "The nearest of" not in captions(page)
    page = press(page, "Read them")
    assert "The nearest of 898 training images" in captions(page)


def test_a_page_that_nobody_draws_any_more_asks_for_no_further_step(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def endless(_root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
        asked.append(question["asker"])
        time.sleep(0.02)
        return {"done": 1, "of": 2, "left": 1}, b""

    monkeypatch.setattr(asking, "ask", endless)
    monkeypatch.setattr(asking, "LEFT", 0.3)
    left = asking.Asked()
    asking._pursue(left, {"ask": "explain", "asker": "a"}, "cpu", b"")
    assert not left.wanted
    assert left.ended.is_set()
    assert 1 < len(asked) < 20


def test_two_tabs_do_not_drive_one_answer() -> None:
    one, other = visit(), visit()
    assert one.session_state["asker"] != other.session_state["asker"]


def test_of_many_answers_the_one_that_was_looked_at_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "KEPT", 12)
    page = visit()
    first = {name for name in page.session_state["asked"] if "'view'" in name}
    for level in range(14):
        page.session_state["level"] = 20 * level
        page = settle(page.run())
    assert first <= set(page.session_state["asked"])
    assert len(page.session_state["asked"]) <= 12
