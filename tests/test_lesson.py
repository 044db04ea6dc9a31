"""What may be taught, and labelled files as boxes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from analysis import lesson
from analysis.errors import InvalidData, InvalidRequest


def png(shade: int, size: tuple[int, int] = (12, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


def four(**more: bytes) -> list[tuple[str, bytes]]:
    return [(f"set/{folder}/{k}.png", png(40 * k + shade)) for folder, shade in (("a", 0), ("b", 20)) for k in range(2)] + list(
        more.items()
    )


def test_folders_become_classes_of_framed_images() -> None:
    found = lesson.of_files(four(), 8)
    assert {name: list(images) for name, images in found.classes.items()} == {
        "a": ["set/a/0.png", "set/a/1.png"],
        "b": ["set/b/0.png", "set/b/1.png"],
    }
    assert all(image.shape == (8, 8, 3) for images in found.classes.values() for image in images.values())
    assert not found.skipped


@pytest.mark.parametrize(
    ("path", "data", "why"),
    [
        ("set/a/note.txt", b"hello", "none of JPEG"),
        ("loose.png", png(9), "lies in no folder"),
        ("set/a/broken.png", png(9)[:-20], "damaged"),
        ("set/b/again.png", png(0, (30, 30)), "same picture as set/a/0.png"),
    ],
)
def test_what_is_left_out_is_named_with_its_reason(path: str, data: bytes, why: str) -> None:
    ((name, said),) = lesson.of_files([*four(), (path, data)], 8).skipped
    assert name == path
    assert why in said


def test_what_systems_put_into_folders_is_passed_over() -> None:
    assert not lesson.of_files([*four(), ("set/a/.DS_Store", b"x")], 8).skipped


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ([("a/x.png", png(1)), ("a/y.png", png(2))], InvalidData, "all images lie in one folder, 'a'"),
        ([(f"{k}/x.png", png(k)) for k in range(11)], InvalidData, "11 folders; allowed: at most 10"),
        ([(f"{k % 2}/{k}.png", png(1)) for k in range(201)], InvalidRequest, "201 files"),
    ],
)
def test_what_is_no_labelled_set_is_said(files: list[tuple[str, bytes]], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        lesson.of_files(files, 8)


@pytest.mark.parametrize(
    ("given", "name"), [(" a  b\n", "a b"), ("**![x](y)**", "!x(y)"), ("my_cat", "my_cat"), ("\x00", ""), ("x" * 99, "x" * 40)]
)
def test_a_name_holds_no_markdown(given: str, name: str) -> None:
    assert lesson.tidy(given) == name


def test_folders_whose_names_become_the_same_stay_apart() -> None:
    files = [(f"{name}/{k}.png", png(60 * k + shade)) for name, shade in (("a", 0), ("*a", 9)) for k in range(2)]
    assert sorted(map(len, lesson.of_files(files, 8).classes.values())) == [2, 2]


@pytest.mark.parametrize(("counts", "folds"), [([5, 5], 10), ([10, 10], 20), ([30, 30], 5), ([2, 40], 2)])
def test_images_are_scored_in_so_many_folds(counts: list[int], folds: int) -> None:
    assert lesson.folds(counts) == folds
    assert len(teaching_splits(counts)) == folds


def teaching_splits(counts: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    from analysis import teaching

    return teaching.splits(np.repeat(np.arange(len(counts)), counts))
