"""Decoded images in a file: made once, read through a memory map, made again where the source or the file changed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from analysis.datasets import _streamed, forget, open_dataset
from analysis.datasets.base import Dataset, image_ids
from analysis.errors import InvalidData, StoreUnavailable

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
ROOT = Path(__file__).parent.parent


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def table(path: Path, images: list[bytes], **columns: list) -> Path:
    """A Parquet file of one row group, as the hub writes small sets; columns of text."""
    features = {"img": datasets.Image(), **{name: datasets.Value("string") for name in columns}}
    rows = {"img": [{"bytes": image, "path": None} for image in images], **columns}
    path.parent.mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.to_parquet(str(path), batch_size=len(images))
    return path


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    return tmp_path / "store" / "images"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return table(tmp_path / "d.parquet", [*map(png, PIXELS), b"no image"], kind=["x", "y", "z", "x"] * 10 + ["z"])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were decoded, as they come."""
    names: list[str] = []
    real = _streamed.decode
    monkeypatch.setattr(_streamed, "decode", lambda given, side: names.append(given.name) or real(given, side))
    return names


def same(first: Dataset, second: Dataset) -> None:
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.split, second.split)
    for name, labels in first.label_sets.items():
        np.testing.assert_array_equal(labels.values, second.label_sets[name].values)
        assert (labels.classes, labels.kind) == (second.label_sets[name].classes, second.label_sets[name].kind)
    told = ("identity", "skipped", "resized", "duplicates", "name")
    assert [getattr(first, name) for name in told] == [getattr(second, name) for name in told]


def test_images_are_a_read_only_map_that_behaves_like_the_array(place: Path) -> None:
    data = open_dataset(str(place), 8)
    assert isinstance(data.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0, 0, 0, 0] = 1
    rows = data.images[data.rows(data.members("test"))]
    assert not isinstance(rows, np.memmap)
    assert rows.flags.writeable
    np.testing.assert_array_equal(image_ids(data.images), data.ids)
    assert {image.tobytes() for image in data.images} == {image.tobytes() for image in PIXELS}


def test_a_second_opening_decodes_nothing_and_is_the_same(place: Path, decoded: list[str]) -> None:
    first = open_dataset(str(place), 8)
    assert len(decoded) == 41
    again = open_dataset(str(place), 8)
    assert len(decoded) == 41
    assert again.skipped == ("train: an image: no image that can be read",)
    same(first, again)


def test_numbers_and_a_given_split_come_back_as_they_were(tmp_path: Path) -> None:
    for name, part in (("train", slice(0, 28)), ("test", slice(24, 40))):
        rows = {"img": [{"bytes": png(image), "path": None} for image in PIXELS[part]], "size": np.linspace(0, 1, 40)[part].tolist()}
        made = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())
        (tmp_path / "d").mkdir(exist_ok=True)
        made.to_parquet(str(tmp_path / "d" / f"{name}.parquet"))
    first, again = (open_dataset(str(tmp_path / "d"), 8) for _ in range(2))
    same(first, again)
    assert (again.duplicates, int((again.split == "test").sum()), again.given is not None) == (4, 16, True)
    np.testing.assert_array_equal(first.label_set("size").numbers, again.label_set("size").numbers)


def test_a_source_that_changed_is_decoded_again(place: Path, decoded: list[str]) -> None:
    first = open_dataset(str(place), 8)
    table(place, [png(image) for image in PIXELS[:30]], kind=["x", "y"] * 15)
    again = open_dataset(str(place), 8)
    assert (len(decoded), len(again.ids)) == (71, 30)
    assert first.identity != again.identity
    assert len(first.images[first.rows(first.ids)]) == 40  # what is in use stays what it was


def test_another_side_is_another_file_and_both_stay(place: Path, store: Path, decoded: list[str]) -> None:
    assert open_dataset(str(place), 8).images.shape[1:3] == (8, 8)
    assert open_dataset(str(place), 4).images.shape[1:3] == (4, 4)
    open_dataset(str(place), 8)
    assert (len(decoded), len(list(store.glob("*.pixels")))) == (82, 2)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """One bit, with size and time as before."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("ending", ["pixels", "safetensors"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")], ids=["cut", "flip", "gone", "empty"])
def test_a_damaged_file_is_noticed_and_made_again(place: Path, store: Path, decoded: list[str], damage: object, ending: str) -> None:
    first = open_dataset(str(place), 8)
    kept = np.array(first.images), first.ids.copy()
    del first
    damage(next(store.glob(f"*.{ending}")))  # type: ignore[operator]
    again = open_dataset(str(place), 8)
    assert len(decoded) == 82
    np.testing.assert_array_equal(again.images, kept[0])
    np.testing.assert_array_equal(again.ids, kept[1])
    open_dataset(str(place), 8)
    assert len(decoded) == 82


def test_nothing_is_left_over_where_decoding_fails_or_ends(place: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _streamed.decode

    def stops(given: _streamed.Encoded, side: int) -> object:
        if given.name == "an image" and isinstance(given.content, bytes) and given.content == b"no image":
            raise KeyboardInterrupt
        return real(given, side)

    with monkeypatch.context() as patch:
        patch.setattr(_streamed, "decode", stops)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(str(place), 8)
    assert list(store.iterdir()) == []
    open_dataset(str(place), 8)
    assert sorted(path.suffix for path in store.iterdir()) == [".pixels", ".safetensors"]


def test_a_data_folder_that_cannot_be_written_is_one_sentence(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "file"))
    with pytest.raises(StoreUnavailable, match="set NOISESCOPE_STORE"):
        open_dataset(str(place), 8)


def test_slabs_come_out_as_one_whole_whatever_their_size(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from analysis.datasets import _decoded, _tables

    whole = open_dataset(str(place), 8)
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "other"))
    monkeypatch.setattr(_tables, "SLAB", 7)
    monkeypatch.setattr(_decoded, "CHUNK", 600)  # three images
    same(whole, open_dataset(str(place), 8))


def test_the_identity_is_what_it_was_when_the_whole_was_in_memory(place: Path) -> None:
    class Whole(Dataset):
        name = "d.parquet"

        def load(self):  # type: ignore[no-untyped-def]
            kinds = np.asarray([0, 1, 2, 0] * 10)
            return PIXELS, {"kind": (("x", "y", "z"), kinds)}

    whole, streamed = Whole("", 8), open_dataset(str(place), 8)
    assert whole.identity == streamed.identity
    np.testing.assert_array_equal(whole.images, streamed.images)
    np.testing.assert_array_equal(whole.label_set().values, streamed.label_set().values)


def test_columns_may_be_chosen_and_one_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path, decoded: list[str]) -> None:
    first, second = [png(image) for image in PIXELS[:20]], [png(image) for image in PIXELS[20:]]
    rows = {
        "photo": [{"bytes": image, "path": None} for image in first],
        "drawing": [{"bytes": image, "path": None} for image in second],
        "breed": ["a", "b"] * 10,
        "sex": ["f", "m", "m", "f"] * 5,
        "caption": [f"number {i}" for i in range(20)],
    }
    made = datasets.Dataset.from_dict(rows).cast_column("photo", datasets.Image()).cast_column("drawing", datasets.Image())
    made.to_parquet(str(tmp_path / "d.parquet"))
    place = str(tmp_path / "d.parquet")
    assert {image.tobytes() for image in open_dataset(place, 8).images} == {image.tobytes() for image in PIXELS[:20]}
    chosen = open_dataset(f"{place}?image=drawing&label=sex", 8)
    assert {image.tobytes() for image in chosen.images} == {image.tobytes() for image in PIXELS[20:]}
    assert list(chosen.label_sets) == ["sex"]
    before = len(decoded)
    assert list(open_dataset(f"{place}?image=drawing&label=sex,breed", 8).label_sets) == ["sex", "breed"]
    assert len(decoded) == before  # labels that are chosen otherwise are no reason to decode again
    with pytest.raises(
        InvalidData, match=r"no column of images 'picture'; its columns are photo, drawing, breed, sex, caption: .*photo, drawing"
    ):
        open_dataset(f"{place}?image=picture", 8)
    with pytest.raises(InvalidData, match="no label column 'caption'; its columns of classes or fractions are: breed, sex"):
        open_dataset(f"{place}?label=caption", 8)
    with pytest.raises(Exception, match="Unknown option of the data set 'lable'; allowed: config, image, label"):
        open_dataset(f"{place}?lable=sex", 8)


def test_a_split_of_another_name_may_be_chosen(tmp_path: Path) -> None:
    readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.parquet}\n  - {split: extra, path: b.parquet}\n---\n"
    table(tmp_path / "d" / "a.parquet", [png(image) for image in PIXELS[:30]])
    table(tmp_path / "d" / "b.parquet", [png(image) for image in PIXELS[30:]])
    (tmp_path / "d" / "README.md").write_text(readme)
    data = open_dataset(f"{tmp_path / 'd'}?test=extra", 8)
    assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}
    with pytest.raises(InvalidData, match="no split 'more'; its splits are train, extra"):
        open_dataset(f"{tmp_path / 'd'}?test=more", 8)


def peak(place: Path, store: Path) -> int:
    """Kilobytes that a fresh process had at most while it opened a data set for the first time.

    Of its own memory: what `getrusage` says counts the process that started it too.
    """
    code = (
        "import pathlib, re; from analysis.datasets import open_dataset; "
        f"data = open_dataset({str(place)!r}, 32); assert len(data.ids) == {int(place.stem)}; "
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    environment = os.environ | {"NOISESCOPE_STORE": str(store), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.slow
def test_twenty_times_the_images_need_no_more_memory(tmp_path: Path) -> None:
    rng, kilobytes = np.random.default_rng(1), []
    for count in (1_000, 20_000):
        images = [png(image) for image in rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)]
        place = table(tmp_path / f"{count}.parquet", images, kind=["a", "b"] * (count // 2))
        kilobytes.append(peak(place, tmp_path / "store"))
    small, large = kilobytes
    assert large <= 1.2 * small
    pixels = 20_000 * 32 * 32 * 3 / 1024
    assert large - small < pixels / 2  # most of the first bound is imports: neither the pixels nor the file were there at once


def test_what_lay_in_a_folder_is_forgotten_and_the_rest_stays(place: Path, tmp_path: Path, store: Path) -> None:
    (tmp_path / "gone").mkdir()
    other = tmp_path / "gone" / "d.parquet"
    other.write_bytes(place.read_bytes())
    open_dataset(str(place), 8)
    kept = set(store.iterdir())
    open_dataset(str(other), 8)
    open_dataset(str(other), 4)
    (store / "damaged.safetensors").write_bytes(b"x")
    other.unlink()
    assert len(set(store.iterdir())) == 7
    forget(tmp_path / "gone")
    assert set(store.iterdir()) == kept | {store / "damaged.safetensors"}


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for `gs`, which Pillow starts for PostScript, leaves a mark."""
    program = tmp_path / "programs" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho started >> {tmp_path / 'mark'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # not yet looked for
    monkeypatch.setattr(EpsImagePlugin, "gs_windows_binary", None)
    return tmp_path / "mark"


@pytest.mark.parametrize("side", [8, None])
@pytest.mark.parametrize("kind", ["table", "file"])
def test_a_strangers_postscript_is_not_run(tmp_path: Path, ghostscript: Path, side: int | None, kind: str) -> None:
    if kind == "table":
        place = table(tmp_path / "d.parquet", [EPS, *map(png, PIXELS)])
    else:
        place = tmp_path / "d"
        for name, content in [("a/0.png", EPS), ("a/1.png", png(PIXELS[0])), ("b/2.png", png(PIXELS[1]))]:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    data = open_dataset(str(place), side)
    assert [line.rpartition(": ")[2] for line in data.skipped] == ["no image that can be read"]
    assert data.images.shape[1:] == (8, 8, 3)  # and the side is of the first image that may be read
    assert not ghostscript.exists()


def test_a_second_column_of_images_is_not_decoded_by_the_library(tmp_path: Path, ghostscript: Path) -> None:
    (tmp_path / "d").mkdir()
    rows = {
        name: [{"bytes": image, "path": None} for image in images] for name, images in (("img", map(png, PIXELS)), ("mask", [EPS] * 40))
    }
    rows["label"] = [0, 1] * 20
    features = datasets.Features(img=datasets.Image(), mask=datasets.Image(), label=datasets.Value("int64"))
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "d" / "train.parquet"))
    told = "".join(f"  - name: {name}\n    dtype: image\n" for name in ("img", "mask"))
    told += "  - name: label\n    dtype:\n      class_label:\n        names: {'0': a, '1': b}\n"  # other than the file: the library casts
    (tmp_path / "d" / "README.md").write_text(f"---\ndataset_info:\n  features:\n{told}---\n")
    data = open_dataset(f"{tmp_path / 'd'}?image=img", 8)
    assert (len(data.ids), data.label_set("label").classes) == (40, ("a", "b"))
    assert not ghostscript.exists()
