"""Teach, on the Image page, without a browser; what a worker would answer is answered in this process."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from analysis import teaching
from analysis.datasets.base import Dataset
from analysis.errors import NoisescopeError
from analysis.lane import Answer
from app.components import album, asking

from .test_image import answers, own, png, settle, visit, worker
from .test_start import texts

__all__ = ["own"]  # a fixture of every test here
PNG = "image/png"


def few(digits: Dataset, digit: int, count: int = 5) -> list[np.ndarray]:
    return list(digits.images[np.flatnonzero(digits.label_set(None).values == digit)[:count]])


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def of_digits(digits: Dataset, count: int = 5) -> dict[str, bytes]:
    return {f"set/{name}/{k}.png": png(image) for name, d in (("zero", 0), ("one", 1)) for k, image in enumerate(few(digits, d, count))}


def opened(**query: str) -> AppTest:
    page = visit(**query)
    page.session_state["image-view"] = "teach"
    return settle(page.run())


def uploader(page: AppTest, key: str) -> Any:
    return next(box for box in page.get("file_uploader") if box.proto.id.split("-", 2)[2].startswith(key))


def give(page: AppTest, key: str, *files: tuple[str, bytes]) -> AppTest:
    uploader(page, key).set_value([(name, data, PNG) for name, data in files])
    return settle(page.run())


def pick(page: AppTest, number: int, keys: list[str]) -> AppTest:
    page.session_state[f"box-picks-{number}"] = keys
    return settle(page.run())


def press(page: AppTest, label: str) -> AppTest:
    next(button for button in page.button if button.label == label).click()
    return settle(page.run())


def names(page: AppTest) -> list[str]:
    return [field.value for field in page.text_input if field.label == "Name"]


def dropped(digits: Dataset) -> AppTest:
    """Two boxes of five digits each."""
    page = opened()
    for number, digit in ((1, 0), (2, 1)):
        page = give(page, f"box-files-{number}", *((f"{digit}-{k}.png", png(image)) for k, image in enumerate(few(digits, digit))))
    for field, name in zip([field for field in page.text_input if field.label == "Name"], ("zero", "one"), strict=True):
        field.set_value(name)
    return settle(page.run())


def test_ten_digits_in_two_boxes_are_undecided_and_read_images(digits: Dataset) -> None:
    page = press(dropped(digits), "Teach")
    assert not page.exception
    assert [metric.label for metric in page.metric] == ["Best noise level", "Right there", "Guessing", "Shape of the curve"]
    assert page.metric[3].value == "undecided, n = 10"
    assert "every image is read right, so there is no room for a rise" in texts(page)
    page = press(page, "Read images with it")
    assert not page.exception
    assert page.metric[0].value in ("zero", "one")
    assert ", which it is" in texts(page)
    assert "were fitted with this image" in texts(page)


def test_examples_are_picked_and_an_image_is_in_one_box_at_most(digits: Dataset) -> None:
    page = opened()
    options = [list(pills.options) for pills in page.get("button_group") if "or pick" in pills.label]
    assert options[0] == options[1]
    page = pick(page, 1, examples(page)[:2])
    left, right = (list(pills.options) for pills in page.get("button_group") if "or pick" in pills.label)
    assert (len(left), len(right)) == (24, 22)


def examples(page: AppTest) -> list[str]:
    """Keys of the study's examples, classes in turn."""
    from safetensors.numpy import load

    (asked,) = [asked for name, asked in page.session_state["asked"].items() if "'examples'" in name]
    return [album.Shot("", image, "").key for image in load(asked.answer[1])["images"]]


def test_picked_examples_are_taught(digits: Dataset) -> None:
    page = opened()
    keys = examples(page)
    page = press(pick(pick(page, 1, [keys[0], keys[10]]), 2, [keys[1], keys[11]]), "Teach")
    assert page.metric[3].value == "undecided, n = 4"
    assert "would have seen a rise of" in texts(page) or "no room for a rise" in texts(page)


def test_what_it_costs_is_said_before(digits: Dataset) -> None:
    page = dropped(digits)
    assert "10 images × 16 noise levels × 5 draws of noise = 800 passes of the network, and 1,040 small probes, about" in texts(page)
    assert "taught" not in page.session_state or not page.session_state["taught"]


def test_too_few_images_are_a_sentence_and_nothing_is_asked() -> None:
    page = opened()
    assert "Class 'Class 1' has 0 images; allowed: at least two" in texts(page)
    assert next(button for button in page.button if button.label == "Teach").disabled
    assert "teaching" not in page.session_state


def test_two_classes_of_one_name_are_a_sentence(digits: Dataset) -> None:
    page = dropped(digits)
    next(field for field in page.text_input if field.value == "zero").set_value("one")
    assert "allowed: two or more with different names" in texts(settle(page.run()))


@pytest.mark.slow
def test_a_zip_of_two_folders_fills_the_boxes(digits: Dataset) -> None:
    page = opened()
    uploader(page, "set-zip").set_value(("set.zip", zipped(**of_digits(digits)), "application/zip"))
    page = settle(page.run())
    assert names(page) == ["one", "zero"]
    assert "10 images of 2 classes are in the boxes" in " ".join(success.value for success in page.success)
    assert press(page, "Teach").metric[3].value == "undecided, n = 10"


def test_a_folder_fills_the_boxes_too(digits: Dataset) -> None:
    page = give(opened(), "set-folder", *of_digits(digits).items())
    assert names(page) == ["one", "zero"]
    assert not page.exception


def test_a_corrupt_member_is_left_out_and_named(digits: Dataset) -> None:
    page = give(opened(), "set-folder", *of_digits(digits).items(), ("set/one/bad.png", png(few(digits, 1)[0])[:-20]))
    assert "1 file was left out" in texts(page)
    assert "`bad.png`: The file is damaged" in texts(page)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped(**{"a/1.png": png(np.zeros((8, 8, 3), np.uint8))}), "all images lie in one folder, 'a'"),
        (zipped(**{"a/inner.zip": zipped(x=b"x")}), "holds another zip"),
        (b"PK\x03\x04 and no more", "no zip, or a damaged one"),
        (zipped(**{f"{k % 2}/{k}.png": b"" for k in range(201)}), "more than 200 files"),
    ],
)
def test_a_zip_that_cannot_be_used_is_a_sentence_and_the_boxes_stay(data: bytes, words: str) -> None:
    page = opened()
    uploader(page, "set-zip").set_value(("set.zip", data, "application/zip"))
    page = settle(page.run())
    assert not page.exception
    assert words in texts(page)
    assert names(page) == ["Class 1", "Class 2"]


def test_a_file_that_is_no_image_is_said_at_its_box(digits: Dataset) -> None:
    page = give(opened(), "box-files-2", ("bad.png", b"no image"), ("good.png", png(few(digits, 1)[0])))
    assert any("bad.png" in warning.value for warning in page.warning)
    assert len(page.session_state["box-picks-2"]) == 1


def test_classes_are_added_and_removed() -> None:
    page = opened()
    for _ in range(8):
        page = press(page, "Add a class")
    assert names(page) == [f"Class {k}" for k in range(1, 11)]
    assert "Add a class" not in [button.label for button in page.button]
    for _ in range(10):
        page.button(key=f"box-remove-{page.session_state['boxes'][0]}").click()
        page = settle(page.run())
    assert len(names(page)) == 2


@pytest.mark.slow
def test_boxes_and_what_was_taught_are_there_when_one_comes_back(digits: Dataset) -> None:
    page = press(dropped(digits), "Teach")
    page = settle(page.switch_page("app_pages/runs.py").run().switch_page("app_pages/image.py").run())
    assert names(page) == ["zero", "one"]
    assert page.metric[3].value == "undecided, n = 10"
    assert "The boxes have changed" not in texts(page)


@pytest.mark.slow
def test_when_a_box_changes_the_result_says_what_it_is_of(digits: Dataset) -> None:
    page = press(dropped(digits), "Teach")
    assert "The boxes have changed since" in texts(pick(page, 1, page.session_state["box-picks-1"][:3]))


def test_teaching_is_cancelled_and_begun_again(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Event()

    def slow(root: Path, device: str, question: dict, data: bytes = b"") -> Answer:
        if question["ask"] == "teach" and not held.is_set():
            held.wait(5)
            return {"done": 1, "of": 9, "left": 8}, b""
        return worker(root, device, question, data)

    page = dropped(digits)
    monkeypatch.setattr(asking, "ask", slow)
    next(button for button in page.button if button.label == "Teach").click()
    page.run()
    next(button for button in page.button if button.label == "Cancel").click()
    page.run()
    held.set()
    page = settle(page)
    assert not page.metric
    assert "teaching" not in page.session_state
    assert press(page, "Teach").metric[3].value == "undecided, n = 10"


def test_what_goes_wrong_stands_there_and_can_be_tried_again(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: Path, device: str, question: dict, data: bytes = b"") -> Answer:
        if question["ask"] == "teach":
            raise NoisescopeError("The worker for cpu does not answer.")
        return worker(root, device, question, data)

    page = dropped(digits)
    monkeypatch.setattr(asking, "ask", refuse)
    page = press(page, "Teach")
    assert "does not answer" in texts(page)
    monkeypatch.setattr(asking, "ask", worker)
    assert press(page, "Try again").metric[3].value == "undecided, n = 10"


def test_no_session_sees_what_another_taught(digits: Dataset) -> None:
    one, other = press(dropped(digits), "Teach"), opened()
    assert "taught: zero / one" not in texts(other)
    assert (names(one), names(other)) == (["zero", "one"], ["Class 1", "Class 2"])
    assert not other.metric
    assert not other.session_state["album"]


def test_nothing_is_written(digits: Dataset, tmp_path: Path) -> None:
    opened()  # looking stores features of the run's own images
    before = _files(tmp_path, answers().store.root)
    press(dropped(digits), "Teach")
    assert _files(tmp_path, answers().store.root) == before


def _files(*folders: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_maps_with_the_taught_probe_are_of_its_classes(digits: Dataset) -> None:
    page = press(press(dropped(digits), "Teach"), "Read images with it")
    page = press(page, "Explain")
    assert not page.exception
    assert "of “zero”" in texts(page) or "of “one”" in texts(page)


def test_a_map_with_the_taught_probe_is_checked(digits: Dataset) -> None:
    page = press(press(press(dropped(digits), "Teach"), "Read images with it"), "Should you believe it?")
    assert not page.exception
    assert "Infidelity" in [metric.label for metric in page.metric]


def test_the_runs_probes_and_the_taught_ones_read_in_turn(digits: Dataset) -> None:
    page = press(press(dropped(digits), "Teach"), "Read images with it")
    page.session_state["class"] = "one"
    page = settle(page.run())
    page.session_state["read-with"] = "run"
    page = settle(page.run())
    assert not page.exception
    assert page.metric[0].value in "0123456789"
    assert "are not in a link" not in texts(page)


def test_the_numbers_are_those_of_the_library(digits: Dataset) -> None:
    from analysis.backends import open_backend
    from analysis.readout import of_study
    from analysis.studies import find_study

    study = find_study("digits")
    images, readout = np.stack(few(digits, 0) + few(digits, 1)), of_study(study)
    steps = teaching.teach(open_backend("digits-ddpm"), images, np.repeat([0, 1], 5), ["a", "b"], readout, "up1.res0")
    try:
        while True:
            next(steps)
    except StopIteration as end:
        found = end.value
    page = press(dropped(digits), "Teach")
    assert page.metric[1].value == f"{100 * found.curve[0].max():.0f} %"
    assert page.metric[0].value == f"σ ≈ {found.verdict.peak_sigma:.2g}"
