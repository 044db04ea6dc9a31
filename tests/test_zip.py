"""Zips of class folders and of Parquet files, kind and hostile."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
from PIL import Image

from analysis.datasets import describe, open_dataset
from analysis.errors import InvalidData, InvalidRequest
from tests.test_decoded import PIXELS, png, table


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))


def pack(path: Path, files: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def pets(top: str = "") -> dict[str, bytes]:
    return {f"{top}{'cat' if i % 2 else 'ant'}/{i}.png": png(PIXELS[i]) for i in range(40)}


def test_a_zip_of_class_folders_is_what_the_folder_is(tmp_path: Path) -> None:
    files = pets("pets/")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    zipped, folder = open_dataset(pack(tmp_path / "pets.zip", files), 8), open_dataset(str(tmp_path / "pets"), 8)
    assert zipped.identity == folder.identity
    assert zipped.label_set().classes == folder.label_set().classes == ("ant", "cat")
    np.testing.assert_array_equal(zipped.label_set().values, folder.label_set().values)
    np.testing.assert_array_equal(zipped.images, folder.images)


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "val")])
def test_folders_named_like_splits_are_splits(tmp_path: Path, train: str, test: str) -> None:
    files = {f"d/{train if i < 30 else test}/{'ab'[i % 2]}/{i}.png": png(PIXELS[i]) for i in range(40)}
    data = open_dataset(pack(tmp_path / "d.zip", files), 8)
    assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}
    assert data.label_set().classes == ("a", "b")


@pytest.mark.parametrize("name", ["valid", "val", "dev", "train", "Test"])
def test_a_class_that_is_called_like_a_split_is_a_class(tmp_path: Path, name: str) -> None:
    plain = {f"{(name, 'plane')[i % 2]}/{i}.png": png(PIXELS[i]) for i in range(40)}
    data = open_dataset(pack(tmp_path / "d.zip", plain), 8)
    assert (sorted(data.label_set().classes), data.given) == (sorted((name, "plane")), None)
    within = {f"{'train' if i < 30 else 'test'}/{(name, 'plane')[i % 2]}/{i}.png": png(PIXELS[i]) for i in range(40)}
    data = open_dataset(pack(tmp_path / "e.zip", within), 8)
    assert sorted(data.label_set().classes) == sorted((name, "plane"))
    assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}


def test_a_zip_of_parquet_files_is_read_row_by_row(tmp_path: Path) -> None:
    for name, part in (("train", slice(0, 30)), ("test", slice(30, 40))):
        labels = ["x", "y"] * (len(PIXELS[part]) // 2)
        table(tmp_path / "d" / f"{name}-00000-of-00001.parquet", [png(image) for image in PIXELS[part]], kind=labels)
    files = {f"d/data/{path.name}": path.read_bytes() for path in (tmp_path / "d").iterdir()}
    zipped, folder = open_dataset(pack(tmp_path / "d.zip", files)), open_dataset(str(tmp_path / "d"))  # the side is of the first image
    assert zipped.identity == folder.identity
    np.testing.assert_array_equal(zipped.split, folder.split)
    assert list(open_dataset(f"{tmp_path / 'd.zip'}?image=img&label=kind", 8).label_sets) == ["kind"]
    with pytest.raises(InvalidData, match="no column of images 'photo'; its columns are img, kind"):
        open_dataset(f"{tmp_path / 'd.zip'}?image=photo", 8)


def test_what_leads_out_of_the_zip_hides_or_is_no_image_goes_nowhere(tmp_path: Path) -> None:
    odd = {
        "../../outside/evil.png": png(PIXELS[0]),
        "/etc/evil.png": png(PIXELS[1]),
        "__MACOSX/cat/._1.png": b"x",
        "cat/.hidden.png": b"x",
        "cat/notes.txt": b"x",
        "inner.zip": b"PK\x03\x04",
    }
    before = set(tmp_path.parent.rglob("*.png"))
    data = open_dataset(pack(tmp_path / "d.zip", {f"{'ab'[i % 2]}/{i}.png": png(PIXELS[i]) for i in range(2, 40)} | odd), 8)
    assert (len(data.ids), [line.split(": ")[1] for line in data.skipped]) == (40, ["cat/notes.txt", "inner.zip"])
    assert data.label_set().classes == ("a", "b", "etc", "outside")
    assert set(tmp_path.parent.rglob("*.png")) == before


def test_damaged_images_and_copies_are_listed_or_counted(tmp_path: Path) -> None:
    files = pets() | {"ant/broken.png": b"no image", "cat/again.png": png(PIXELS[1]), "cat/cut.png": png(PIXELS[3])[:40]}
    data = open_dataset(pack(tmp_path / "d.zip", files), 8)
    assert (len(data.ids), data.duplicates) == (40, 1)
    assert sorted(line.split(":")[1].strip() for line in data.skipped) == ["ant/broken.png", "cat/cut.png"]


def test_an_image_whose_bytes_were_altered_in_the_zip_is_listed(tmp_path: Path) -> None:
    place = Path(pack(tmp_path / "d.zip", pets(), zipfile.ZIP_STORED))
    content = place.read_bytes()
    place.write_bytes(content.replace(png(PIXELS[5]), png(PIXELS[5])[:-20] + b"\0" * 20, 1))
    data = open_dataset(str(place), 8)
    assert (len(data.ids), data.skipped) == (39, ("train: cat/5.png: damaged in the zip",))


def test_an_image_that_unpacks_to_too_much_is_listed_and_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.datasets import _zipped as zips

    monkeypatch.setattr(zips, "MOST", 1000)
    data = open_dataset(pack(tmp_path / "d.zip", pets() | {"ant/bomb.png": b"\0" * 1_000_000}), 8)
    assert data.skipped == ("train: ant/bomb.png: more than 1,000 bytes",)
    monkeypatch.setattr(zips, "MOST_FILES", 40)
    with pytest.raises(InvalidRequest, match="holds 41 files; allowed: at most 40"):
        open_dataset(str(tmp_path / "d.zip"), 4)


def test_what_is_no_parquet_or_too_much_of_it_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.datasets import _zipped as zips

    written: list[str] = []
    monkeypatch.setattr(zips, "unpacked", lambda archive, info, *_: written.append(info.filename))
    place = pack(tmp_path / "t.zip", {f"{name}.parquet": b"PAR1" + b"\0" * 600 for name in ("train", "test")})
    monkeypatch.setattr(zips, "MOST_TABLES", 1000)
    with pytest.raises(InvalidRequest, match="unpack to 1,208 bytes; allowed: at most 1,000, and there is room"):
        describe(place)
    monkeypatch.setattr(zips, "MOST_TABLES", 2000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=zips.SPARE + 1_207))
    with pytest.raises(InvalidRequest, match=r"there is room for 1,207 in .*Unpack it yourself"):
        describe(place)
    with pytest.raises(InvalidData, match=r"\(b\.parquet is no Parquet file\)"):
        describe(pack(tmp_path / "u.zip", {"a.parquet": b"PAR1", "b.parquet": b"\0" * 1_000_000}))
    assert written == []


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
def test_images_of_every_mode_are_read(tmp_path: Path, content: bytes, seen: tuple[int, int, int]) -> None:
    data = open_dataset(pack(tmp_path / "d.zip", {"a/1.png": content, "b/2.png": png(PIXELS[0]), "b/3.png": png(PIXELS[1])}), 8)
    assert (len(data.ids), data.skipped) == (3, ())
    assert min(np.abs(image.astype(int) - seen).max() for image in data.images) <= 3  # JPEG is lossy, by a shade or two


def turned() -> bytes:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(PIXELS[0], 1)).save(out, "PNG", exif=exif)
    return out.getvalue()


def test_a_photograph_that_says_which_side_is_up_is_turned_and_copies_are_one(tmp_path: Path) -> None:
    data = open_dataset(pack(tmp_path / "d.zip", {"a/1.png": turned(), "a/2.png": png(PIXELS[0]), "b/3.png": png(PIXELS[1])}), 8)
    assert (len(data.ids), data.duplicates) == (2, 1)


def test_transparent_parts_are_mid_grey_in_a_zip_as_in_a_folder(tmp_path: Path) -> None:
    faded = np.dstack([PIXELS[0], np.arange(64, dtype=np.uint8).reshape(8, 8) * 4])
    out = io.BytesIO()
    Image.fromarray(faded, "RGBA").save(out, "PNG")
    files = pets("pets/") | {"pets/ant/faded.png": out.getvalue()}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    zipped, folder = open_dataset(pack(tmp_path / "d.zip", files), 8), open_dataset(str(tmp_path / "pets"), 8)
    np.testing.assert_array_equal(zipped.images, folder.images)
    alpha = faded[..., 3:] / 255
    laid = alpha * faded[..., :3] + (1 - alpha) * 128
    assert min(np.abs(image - laid).max() for image in folder.images.astype(int)) <= 1  # of rounding


def test_a_file_is_told_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    animation = io.BytesIO()
    Image.fromarray(PIXELS[0]).save(animation, "GIF")
    odd = {"ant/one.dat": png(PIXELS[38]), "cat/two.gif": animation.getvalue(), "bat/three.png": animation.getvalue(), "bat/4": b"x"}
    data = open_dataset(pack(tmp_path / "d.zip", {name: c for i, (name, c) in enumerate(pets().items()) if i < 38} | odd), 8)
    assert len(data.ids) == 39
    none = "none of JPEG, PNG, WebP and BMP"
    assert [line.split(": ")[1] for line in data.skipped if none in line] == ["bat/4", "bat/three.png", "cat/two.gif"]


def test_a_picture_of_too_many_pixels_is_listed_and_not_decoded(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (6000, 6000)).save(out, "PNG")
    assert len(out.getvalue()) < 20_000
    data = open_dataset(pack(tmp_path / "d.zip", pets() | {"ant/vast.png": out.getvalue()}), 8)
    assert [line.partition(";")[0] for line in data.skipped] == ["train: ant/vast.png: The picture has 36.0 megapixels"]


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_a_folder_as_browsers_send_it_has_its_classes_one_level_deeper(tmp_path: Path, slash: str) -> None:
    files = {slash.join(("mine", ("train", "test")[i >= 30], "ab"[i % 2], f"{i}.png")): png(PIXELS[i]) for i in range(40)}
    data = open_dataset(pack(tmp_path / "d.zip", files), 8)
    assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}
    assert data.label_set().classes == ("a", "b")


def test_pictures_in_no_class_stay_without_a_label(tmp_path: Path) -> None:
    loose = {"loose.png": png(PIXELS[39]), "train/loose.png": png(PIXELS[38])}
    split = {f"{'test' if i < 9 else 'train'}/{name}": c for i, (name, c) in enumerate(pets().items()) if i < 38}
    data = open_dataset(pack(tmp_path / "d.zip", split | loose), 8)
    assert (len(data.ids), int((data.label_set().values < 0).sum())) == (40, 2)
    assert open_dataset(pack(tmp_path / "e.zip", {f"{i}.png": png(PIXELS[i]) for i in range(9)}), 8).label_sets == {}


def locked(path: Path) -> None:
    """Say of every file that it is encrypted."""
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        struct.pack_into("<H", content, at + 8, 1)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b""), "cannot be opened"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "cannot be opened"),
        (locked, "encrypted"),
        (lambda path: pack(path, {"notes.txt": b"x"}), "holds 1 files, none an image"),
        (lambda path: pack(path, {"t.parquet": b"PAR1 and no more"}), "cannot be opened"),
        (lambda path: pack(path, pets(), zipfile.ZIP_LZMA), "compressed in a rare way"),
    ],
)
def test_a_zip_that_is_none_is_one_sentence(tmp_path: Path, damage: object, says: str) -> None:
    place = Path(pack(tmp_path / "d.zip", pets()))
    damage(place)  # type: ignore[operator]
    with pytest.raises(InvalidData, match=says) as raised:
        open_dataset(str(place), 8)
    assert len(str(raised.value).splitlines()) == 1


def test_a_zip_of_images_has_no_columns_to_choose(tmp_path: Path) -> None:
    place = pack(tmp_path / "d.zip", pets())
    with pytest.raises(InvalidRequest, match="takes no config"):
        open_dataset(f"{place}?config=small", 8)
    with pytest.raises(InvalidData, match=r"no label column 'breed'; .*: label"):
        open_dataset(f"{place}?label=breed", 8)
    with pytest.raises(InvalidRequest, match="There is no zip"):
        open_dataset(str(tmp_path / "no" / "where.zip"), 8)
