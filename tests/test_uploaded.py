"""A folder that a browser sends, as a data set of one session."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.datasets import _uploaded, open_dataset, uploaded
from analysis.datasets._uploaded import Uploaded
from analysis.datasets.base import image_ids
from analysis.errors import InvalidData, InvalidRequest
from tests.test_decoded import PIXELS, png


def pets() -> list[tuple[str, bytes]]:
    return [(f"pets/{'cat' if i % 2 else 'ant'}/{i}.png", png(PIXELS[i])) for i in range(40)]


def test_the_folder_is_the_class_and_every_split_has_images() -> None:
    data = uploaded(pets(), 8, "pets")
    assert (data.name, data.label_set().classes, len(data.ids), data.resized) == ("pets", ("ant", "cat"), 40, 0)
    np.testing.assert_array_equal(image_ids(data.images), data.ids)
    assert {name: int((data.split == name).sum()) for name in ("train", "validation", "test")} == {"train": 20, "validation": 4, "test": 16}
    found = {image.tobytes(): k for image, k in zip(data.images, data.label_set().values, strict=True)}
    assert all(found[PIXELS[i].tobytes()] == i % 2 for i in range(40))


def test_it_is_the_same_data_set_as_the_folder_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    for name, content in pets():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert Uploaded(pets(), 8).identity == open_dataset(str(tmp_path / "pets"), 8).identity


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    assert not isinstance(Uploaded(pets(), 8).images, np.memmap)
    assert list(tmp_path.iterdir()) == []


def test_folders_named_like_splits_are_splits() -> None:
    files = [(f"d\\{'train' if i < 30 else 'test'}\\{'ab'[i % 2]}\\{i}.png", png(PIXELS[i])) for i in range(40)]
    data = Uploaded(files, 8)
    assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}


def turned() -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(PIXELS[0], 1)).save(out, "PNG", exif=exif)
    return out.getvalue()


def as_mode(mode: str, form: str = "PNG") -> bytes:
    """A flat picture (200, 100, 50), or its luma 124, in another mode."""
    out, flat = io.BytesIO(), Image.new("RGB", (8, 8), (200, 100, 50))
    made = (
        Image.fromarray(np.full((8, 8), 124 * 257, np.uint16))
        if mode == "I;16"
        else flat.quantize(4)
        if mode == "P"
        else flat.convert(mode)
    )
    made.save(out, form)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (as_mode("L"), (124, 124, 124)),
        (as_mode("P"), (200, 100, 50)),
        (as_mode("RGBA"), (200, 100, 50)),
        (as_mode("I;16"), (124, 124, 124)),
        (as_mode("CMYK", "JPEG"), (200, 100, 50)),
    ],
    ids=["greyscale", "palette", "alpha", "sixteen bits", "cmyk"],
)
def test_images_of_every_mode_are_read(content: bytes, seen: tuple[int, int, int]) -> None:
    data = Uploaded([("a/1.png", content), ("b/2.png", png(PIXELS[0])), ("b/3.png", png(PIXELS[1]))], 8)
    assert (len(data.ids), data.skipped) == (3, ())
    assert min(np.abs(image.astype(int) - seen).max() for image in data.images) <= 3  # JPEG is lossy, by a shade or two


def test_a_photograph_that_says_which_side_is_up_is_turned_and_copies_are_one() -> None:
    data = Uploaded([("a/1.png", turned()), ("a/2.png", png(PIXELS[0])), ("b/3.png", png(PIXELS[1]))], 8)
    assert (len(data.ids), data.duplicates) == (2, 1)


def test_what_cannot_be_used_is_listed_with_the_reason() -> None:
    odd = [
        ("pets/ant/x.png", b"no image"),
        ("pets/cat/cut.png", png(PIXELS[3])[:40]),
        ("loose.png", png(PIXELS[5])),
        ("pets/cat/a.txt", b""),
    ]
    data = Uploaded(pets() + odd, 8)
    assert len(data.ids) == 40
    assert [line.split(":")[0] for line in data.skipped] == ["ant/x.png", "cat/cut.png", "loose.png", "cat/a.txt"]
    assert all(line.endswith((".", "class")) for line in data.skipped)


def test_files_may_come_one_by_one_and_other_sizes_are_cut_square() -> None:
    def coming() -> Iterator[tuple[str, bytes]]:
        for i in range(12):
            yield f"{'ab'[i % 2]}/{i}.png", png(np.kron(PIXELS[i], np.ones((2, 3, 1), np.uint8)))

    data = Uploaded(coming(), 8)
    assert (data.images.shape, data.resized) == ((12, 8, 8, 3), 12)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "no image lies in a folder"),
        ([("a/1.png", png(PIXELS[0]))], "one folder, 'a'"),
        ([("1.png", png(PIXELS[0])), ("2.png", png(PIXELS[1]))], "no image lies in a folder"),
    ],
)
def test_fewer_than_two_classes_are_one_sentence(files: list[tuple[str, bytes]], says: str) -> None:
    with pytest.raises(InvalidData, match=says):
        Uploaded(files, 8)


def test_too_many_files_are_one_sentence_before_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_uploaded, "MOST_FILES", 10)
    left = iter(pets())
    with pytest.raises(InvalidRequest, match="More than 10 files"):
        Uploaded(left, 8)
    assert len(list(left)) == 29
    monkeypatch.setattr(_uploaded, "MOST_HELD", 8 * 8 * 3 * 5)
    with pytest.raises(InvalidRequest, match="More than 5 files"):
        Uploaded(pets(), 8)
    with pytest.raises(InvalidRequest, match="The side is 0"):
        Uploaded(pets(), 0)
