"""Segments on the Ask page, without a browser: what a worker would answer is answered in this process."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis.__main__ import app
from analysis.answers import Answers
from analysis.datasets import open_dataset
from analysis.label_images import VOID, png
from analysis.lane import Answer
from analysis.store import Store
from app.components import asking, painting
from app.components.album import Shot

from .test_start import MAIN, texts

ONE = Lock()


@cache
def answers() -> Answers:
    """What a worker would say, with a store of its own: one for all tests, because to open a model takes seconds."""
    return Answers(Store(mkdtemp()), "cpu", 0)


def worker(_root: Path, _device: str, question: Mapping[str, Any], data: bytes = b"") -> Answer:
    with ONE:  # as a worker answers: one thread has the model
        return answers()(question, data)


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "ask", worker)


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    given = {"backend": "shapes-ddpm", "dataset": "shapes", "by": "segments", "block": "up1.res0", "sigma": "0.3", **query}
    for name, value in given.items():
        page.query_params[name] = value
    page.run()
    return settle(page.switch_page("app_pages/ask.py").run())


def settle(page: AppTest) -> AppTest:
    """Draw until nothing is on its way."""
    for _ in range(20):
        if all(asked.ended.wait(120) for asked in page.session_state["asked"].values()):
            page.run()
        if all(asked.ended.is_set() for asked in page.session_state["asked"].values()):
            return page
    raise AssertionError("answers keep coming")


def press(page: AppTest, words: str) -> AppTest:
    next(button for button in page.button if button.label == words).click()
    return settle(page.run())


@cache
def masks() -> dict[bytes, np.ndarray]:
    """The true mask of every image of `shapes`, by its pixels."""
    dataset = open_dataset("shapes")
    found = dataset.masks(dataset.ids)
    assert found is not None
    return {image.tobytes(): mask for image, mask in zip(dataset.images, found[1], strict=True)}


def paint(page: AppTest, images: int = 2, classes: tuple[int, ...] = (0, 1)) -> AppTest:
    """Strokes of the true classes on the first images, as the board would give them."""
    examples, found = next(load(asked.answer[1])["images"] for asked in page.session_state["asked"].values() if asked.name == "images"), {}
    for image in examples[:images]:
        mask, labels = masks()[image.tobytes()], np.full((16, 16), VOID, np.uint8)
        for k in classes:
            rows, columns = np.nonzero(mask == k)
            labels[rows[::7], columns[::7]] = k
        found[Shot("", image, "").key, 16] = labels
    page.session_state["strokes"] = found
    return settle(page.run())


def test_it_opens_with_an_image_to_paint_on_and_says_what_to_do() -> None:
    page = visit()
    assert not page.exception
    assert "Paint a short stroke of each class" in texts(page)
    assert "Nothing is painted yet" in texts(page)
    assert next(button for button in page.button if button.label == "Label the rest").disabled
    assert [field.value for field in page.text_input] == ["background", "shape"]  # the masks that the data know


def test_strokes_label_the_rest_and_are_scored_by_the_masks_of_the_data() -> None:
    page = press(paint(visit()), "Label the rest")
    assert not page.exception
    assert [metric.label for metric in page.metric] == ["Mean IoU", "background", "shape"]
    assert 60 < float(page.metric[0].value.split()[0]) < 100
    markup = " ".join(str(element.proto.body) for element in page.get("html"))
    assert markup.count("<figure") == 24
    assert "painted: " in markup
    words = next(code.value for code in page.code if "analysis segment" in code.value)
    assert shlex.split(words)[:4] == ["python", "-m", "analysis", "segment"]
    assert "--mask strokes/02.png" in words
    assert "--truth masks/24.png" in words
    assert "seg-by=strokes" in next(code.value for code in page.code if "seg-by" in code.value)


def test_another_stroke_is_answered_at_once() -> None:
    page = press(paint(visit()), "Label the rest")
    before = page.metric[0].value
    page = paint(page, images=4)
    assert page.metric[0].value != before
    page = paint(page, images=0)
    assert not page.metric
    assert "Nothing is painted yet" in texts(page)


def test_one_class_alone_is_a_sentence_and_one_without_a_stroke_is_said() -> None:
    page = paint(visit(), classes=(1,))
    assert "Only class B is painted" in texts(page)
    assert next(button for button in page.button if button.label == "Label the rest").disabled
    page.number_input[0].set_value(3)
    page = press(paint(settle(page.run())), "Label the rest")
    assert "Nothing is painted of third" in texts(page)


def test_every_level_is_scored_after_one_click_whose_cost_is_said() -> None:
    page = press(paint(visit()), "Label the rest")
    assert "24 images × 16 levels = 384 passes" in texts(page)
    page = press(page, "Score every level")
    assert not page.exception
    assert "segments meet the masks best at σ" in texts(page)
    assert "--over 16" in next(code.value for code in page.code if "analysis segment" in code.value)


def test_segments_are_found_without_labels() -> None:
    page = press(visit(**{"seg-by": "clusters", "seg-k": "3"}), "Find segments")
    assert not page.exception
    markup = " ".join(str(element.proto.body) for element in page.get("html"))
    assert "C</span>" in markup
    assert "--clusters 3" in next(code.value for code in page.code if "analysis segment" in code.value)


def test_several_blocks_and_levels_come_back_with_a_link() -> None:
    page = visit(**{"seg-blocks": "up0.res1,up1.res0", "seg-sigmas": "0.15,nothing", "seg-draws": "4"})
    assert not page.exception
    assert page.multiselect[0].value == ["up0.res1", "up1.res0"]
    assert "blocks up0.res1, up1.res0" in texts(page)
    assert "the mean over 4 draws of noise" in texts(page)
    assert "asks to read σ = 'nothing'" in texts(page)
    assert "σ = 0.15; the nearest of 16 levels, σ = 0.128, is read" in texts(page)


def test_a_mask_of_ones_own_is_scored_and_one_that_is_none_is_said(tmp_path: Path) -> None:
    page = paint(visit())
    page.session_state["segment-known"] = False
    page = settle(page.run())
    page.get("file_uploader")[1].set_value([("no.png", b"no", "image/png")])
    page = settle(page.run())
    assert any("no.png: The mask is no PNG" in warning.value for warning in page.warning)
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 1
    page.get("file_uploader")[1].set_value([("mine.png", png(mask), "image/png")])
    page = press(settle(page.run()), "Label the rest")
    assert "Scored on 1 image," in texts(page)
    assert "Of one image there is no interval" in texts(page)


def test_what_is_painted_on_an_image_may_be_its_true_mask() -> None:
    page = paint(visit(), images=3)
    page.session_state["segment-known"] = False
    page = settle(page.run())
    assert "on 3 images" in texts(page)
    next(toggle for toggle in page.toggle if "is its true mask" in toggle.label).set_value(True)
    page = press(settle(page.run()), "Label the rest")
    assert "on 2 images" in texts(page)
    assert "Scored on 1 image," in texts(page)
    page = press(page, "Forget all strokes")
    assert "Nothing is painted yet" in texts(page)


def test_the_command_line_makes_the_same_segments_from_what_is_taken_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = press(press(paint(visit()), "Label the rest"), "Label images (zip)")
    with zipfile.ZipFile(io.BytesIO(page.session_state["file-made"][2])) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path)
    assert [sum(name.startswith(folder) for name in names) for folder in ("images/", "segments/", "strokes/", "masks/")] == [24, 24, 2, 24]
    words = shlex.split(next(code.value for code in page.code if "analysis segment" in code.value))
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, words[3:])
    assert found.exit_code == 0, found.output
    for name in names:
        if name.startswith("segments/"):
            again = tmp_path / "again" / f"{Path(name).stem}-segments.png"
            assert (np.asarray(Image.open(again)) == np.asarray(Image.open(tmp_path / name))).all()
    mean = pd.read_csv(tmp_path / "again" / "iou.csv").query("`class` == 'mean'").iloc[0]
    assert page.metric[0].value == f"{100 * mean.iou:.0f} %"
    assert mean.sigma == pytest.approx(0.3014, rel=1e-3)  # the level nearest to the link's .3


def test_strokes_travel_as_runs() -> None:
    labels = np.full((4, 4), VOID, np.uint8)
    labels[1, 1:3], labels[3] = 1, 0
    assert painting.runs(labels) == "0x5,2x2,0x5,1x4"
    assert (painting.unrun(painting.runs(labels), 4) == labels).all()  # type: ignore[union-attr]
    for wrong in ("", "0x15", "9x16", "0x16;", "a", "1x999999999999"):
        assert painting.unrun(wrong, 4) is None
