"""Images from folders, Parquet files and the hub's layout; nothing here goes to the network."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from analysis.datasets import _streamed, open_dataset
from analysis.errors import InvalidData, UnknownName
from analysis.tasks import choose_labelled

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))


def png(pixels: np.ndarray, mode: str = "RGB", form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, form)
    return out.getvalue()


def write(path: Path, images: list[bytes], **columns: Any) -> None:
    """A Parquet file as the hub keeps one; a column given as (names, values) is of class labels."""
    features: dict[str, Any] = {"img": datasets.Image()}
    rows: dict[str, Any] = {"img": [{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)]}
    for name, values in columns.items():
        if isinstance(values, tuple):
            features[name], values = datasets.ClassLabel(names=values[0]), values[1]
        else:
            features[name] = datasets.Value("string" if isinstance(values[0], str) else "int64")
        rows[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(str(path))


def two_splits(folder: Path, **changes: Any) -> Path:
    images = [png(image) for image in PIXELS]
    labels = (["cat", "dog"], [i % 2 for i in range(60)])
    for name, part in (("train", slice(0, 40)), ("test", slice(40, 60))):
        write(folder / f"{name}-00000-of-00001.parquet", images[part], label=(labels[0], labels[1][part]), **changes.get(name, {}))
    return folder


def test_a_given_test_split_stays_and_validation_is_a_tenth_of_the_rest(tmp_path: Path) -> None:
    data = open_dataset(str(two_splits(tmp_path / "pets")), 8)
    assert data.name == "pets"
    assert {s: int((data.split == s).sum()) for s in ("train", "validation", "test")} == {"train": 36, "validation": 4, "test": 20}
    tested = {image.tobytes() for image in data.images[data.split == "test"]}
    assert tested == {image.tobytes() for image in PIXELS[40:]}
    labels = data.label_set("label")
    first = data.rows(data.ids)[np.flatnonzero([image.tobytes() == PIXELS[7].tobytes() for image in data.images])[0]]
    assert labels.classes[labels.values[first]] == "dog"


def test_the_identity_is_of_the_pixels_and_not_of_the_place(tmp_path: Path) -> None:
    first = two_splits(tmp_path / "one")
    shutil.copytree(first, tmp_path / "two")
    assert open_dataset(str(first), 8).identity == open_dataset(str(tmp_path / "two"), 8).identity
    changed = PIXELS[0].copy()
    changed[0, 0, 0] ^= 1
    write(
        tmp_path / "two" / "train-00000-of-00001.parquet",
        [png(changed), *(png(i) for i in PIXELS[1:40])],
        label=(["cat", "dog"], [0, 1] * 20),
    )
    assert open_dataset(str(first), 8).identity != open_dataset(str(tmp_path / "two"), 8).identity


def test_a_picture_of_both_splits_is_a_test_image(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", [png(i) for i in PIXELS[:20]], label=(["a", "b"], [0, 1] * 10))
    write(tmp_path / "test-00000-of-00001.parquet", [png(i) for i in PIXELS[10:30]], label=(["a", "b"], [0, 1] * 10))
    data = open_dataset(str(tmp_path), 8)
    assert (data.duplicates, int((data.split == "test").sum()), len(data.ids)) == (10, 20, 30)


def test_one_file_without_a_test_split_is_split_by_id(tmp_path: Path) -> None:
    write(tmp_path / "all.parquet", [png(i) for i in PIXELS], kind=["x", "y", "z"] * 20)
    data = open_dataset(str(tmp_path / "all.parquet"), 8)
    assert (data.given, int((data.split == "test").sum())) == (None, 24)
    assert data.label_set("kind").classes == ("x", "y", "z")


def test_class_folders_give_their_names(tmp_path: Path) -> None:
    for k, name in enumerate(("bird", "ant")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(5):
            (tmp_path / "d" / name / f"{i}.png").write_bytes(png(PIXELS[5 * k + i]))
    labels = open_dataset(str(tmp_path / "d"), 8).label_set()
    assert (labels.classes, np.bincount(labels.values).tolist()) == (("ant", "bird"), [5, 5])


def test_unreadable_images_are_listed_left_out_and_do_not_shift_the_labels(tmp_path: Path) -> None:
    images = [png(i) for i in PIXELS[:6]]
    images[1], images[4] = b"no image", images[4][:30]
    write(tmp_path / "some.parquet", images, label=[str(i % 3) for i in range(6)])
    data = open_dataset(str(tmp_path / "some.parquet"), 8)
    assert len(data.ids) == 4
    assert [line.split(":")[1].strip() for line in data.skipped] == ["1.png", "4.png"]
    labels = data.label_set()
    found = {image.tobytes(): labels.classes[k] for image, k in zip(data.images, labels.values, strict=True)}
    assert [found[PIXELS[i].tobytes()] for i in (0, 2, 3, 5)] == ["0", "2", "0", "2"]


def test_when_no_image_can_be_read_it_says_so(tmp_path: Path) -> None:
    write(tmp_path / "none.parquet", [b"x", b"y"], label=["a", "b"])
    with pytest.raises(InvalidData, match="None of the 2 images"):
        open_dataset(str(tmp_path / "none.parquet"), 8)


def test_images_of_any_size_and_mode_become_their_middle_square(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = (200, 100, 50)
    images = [png(wide), png(PIXELS[0], "L"), png(PIXELS[1], "RGBA"), png(PIXELS[2], "P"), png(PIXELS[3], "CMYK", "JPEG")]
    write(tmp_path / "mixed.parquet", images)
    data = open_dataset(str(tmp_path / "mixed.parquet"), 8)
    assert data.images.shape == (5, 8, 8, 3)
    assert any((image == (200, 100, 50)).all() for image in data.images)
    assert data.label_sets == {}
    with pytest.raises(InvalidData, match="no labels"):
        data.label_set()


def test_columns_that_name_no_class_are_no_label_sets(tmp_path: Path) -> None:
    write(
        tmp_path / "d.parquet",
        [png(i) for i in PIXELS[:20]],
        file=[f"{i}.png" for i in range(20)],
        year=list(range(20)),
        grade=[1, 2, 3, 4] * 5,
    )
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    assert {name: labels.classes for name, labels in data.label_sets.items()} == {"grade": ("1", "2", "3", "4")}


def test_an_image_without_a_label_in_one_column_keeps_those_of_another(tmp_path: Path) -> None:
    columns = {"label": (["a", "b"], [0, 1, -1, 1] * 5), "kind": ["x", "y"] * 10}
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS[:20]], **columns)
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    assert (len(data.ids), data.skipped) == (20, ())
    assert {name: np.bincount(labels.values + 1, minlength=3).tolist() for name, labels in data.label_sets.items()} == {
        "label": [5, 5, 10],
        "kind": [0, 10, 10],
    }
    members = {split: len(data.members(split, None, data.label_set("label"))) for split in ("train", "validation", "test")}
    assert sum(members.values()) == 15


def test_copies_of_one_picture_whose_labels_disagree_have_none(tmp_path: Path) -> None:
    images = [png(PIXELS[i % 4]) for i in range(8)]
    write(tmp_path / "d.parquet", images, label=["a", "b", "a", "b", "a", "b", "b", "b"])
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    found = {image.tobytes(): k for image, k in zip(data.images, data.label_set().values, strict=True)}
    assert [found[PIXELS[i].tobytes()] for i in range(4)] == [0, 1, -1, 1]


def test_bytes_without_the_librarys_own_notes_are_images(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = [png(image) for image in PIXELS[:6]]
    for name, column in (("plain", encoded), ("pairs", [{"bytes": image, "path": None} for image in encoded])):
        pq.write_table(pa.table({"picture": column, "label": ["a", "b"] * 3}), tmp_path / f"{name}.parquet")
        data = open_dataset(str(tmp_path / f"{name}.parquet"), 8)
        assert (len(data.ids), data.label_set().classes) == (6, ("a", "b"))


def test_a_path_that_a_table_mentions_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(png(PIXELS[0]))
    rows = [{"bytes": png(PIXELS[1]), "path": "a.png"}, {"bytes": None, "path": str(tmp_path / "mine.png")}]
    features = datasets.Features({"img": datasets.Image()})
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_dict({"img": rows}, features=features).to_parquet(str(tmp_path / "set" / "train.parquet"), storage_options=None)
    for place in (tmp_path / "set", tmp_path / "set" / "train.parquet"):
        data = open_dataset(str(place), 8)
        assert (len(data.ids), data.skipped) == (1, ("train: mine.png: no image data",))


def test_a_photograph_that_says_which_side_is_up_is_turned(tmp_path: Path) -> None:
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # orientation: the top of the scene is the right side
    Image.fromarray(np.rot90(PIXELS[0], 1)).save(content, "PNG", exif=exif)
    write(tmp_path / "d.parquet", [content.getvalue(), png(PIXELS[0])])
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    assert (len(data.ids), data.duplicates) == (1, 1)


def test_what_pillow_raises_of_its_own_is_a_reason_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS[:3]])
    real = _streamed.fit_square

    def fails(image: Image.Image, side: int) -> np.ndarray:
        pixels = real(image, side)
        if np.array_equal(pixels, PIXELS[1]):
            raise RuntimeError("Failed to decode image")
        return pixels

    monkeypatch.setattr(_streamed, "fit_square", fails)
    assert open_dataset(str(tmp_path / "d.parquet"), 8).skipped == ("train: 1.png: Failed to decode image",)


def test_cropped_images_are_counted(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", [png(PIXELS[0]), png(PIXELS[1][:7]), png(np.zeros((20, 9, 3), np.uint8))])
    assert open_dataset(str(tmp_path / "d.parquet"), 8).resized == 2


@pytest.mark.parametrize("name", ["hub", "hub:"])
def test_the_library_without_a_place_is_one_sentence(name: str) -> None:
    with pytest.raises(InvalidData, match="give a hub id, a folder"):
        open_dataset(name)


def test_a_test_split_without_labels_gives_way_to_the_validation_split(tmp_path: Path) -> None:
    for name, part, labels in (("train", slice(0, 20), [0, 1]), ("validation", slice(20, 30), [0, 1]), ("test", slice(30, 40), [-1, -1])):
        images = [png(i) for i in PIXELS[part]]
        write(tmp_path / f"{name}-00000-of-00001.parquet", images, label=(["a", "b"], labels * (len(images) // 2)))
    data = open_dataset(str(tmp_path), 8)
    assert {s: int((data.split == s).sum()) for s in ("train", "validation", "test")} == {"train": 18, "validation": 2, "test": 10}


def test_one_class_cannot_be_probed(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS[:20]], label=["same"] * 20)
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    with pytest.raises(InvalidData, match="one class"):
        choose_labelled(data, data.label_set(), data.members("train"), 2, 0, 0)


def test_a_place_without_images_names_what_it_has(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"]}).to_parquet(str(tmp_path / "t.parquet"))
    with pytest.raises(InvalidData, match="no column of images; its columns are text"):
        open_dataset(str(tmp_path / "t.parquet"), 8)


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.parquet").write_bytes(content)
    with pytest.raises(InvalidData, match="cannot be opened") as raised:
        open_dataset(str(tmp_path / "d.parquet"), 8)
    assert len(str(raised.value).splitlines()) == 1


def test_a_place_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="There is no folder or Parquet file"):
        open_dataset(str(tmp_path / "nowhere"), 8)
    with pytest.raises(UnknownName):
        open_dataset("nowhere")


@pytest.mark.slow
@pytest.mark.skipif("NOISESCOPE_TEST_DATA" not in os.environ, reason="NOISESCOPE_TEST_DATA does not say where the test data are")
def test_cifar10_in_the_hubs_layout_is_whole() -> None:
    data = open_dataset(os.environ["NOISESCOPE_TEST_DATA"] + "/cifar10", 32)
    assert {s: int((data.split == s).sum()) for s in ("train", "validation", "test")} == {"train": 45000, "validation": 5000, "test": 10000}
    assert (data.images.shape, data.skipped, data.duplicates) == ((60000, 32, 32, 3), (), 0)
    values = data.label_set().values
    assert np.bincount(values).tolist() == [6000] * 10
    assert np.bincount(values[data.split == "test"]).tolist() == [1000] * 10


def test_a_second_opening_has_the_same_images_in_the_same_splits(tmp_path: Path) -> None:
    place = str(two_splits(tmp_path / "pets"))
    first, again = open_dataset(place, 8), open_dataset(place, 8)
    assert first.identity == again.identity
    np.testing.assert_array_equal(first.split, again.split)
    np.testing.assert_array_equal(first.images, again.images)


def test_a_set_that_comes_with_three_splits_keeps_them_apart(tmp_path: Path) -> None:
    parts = {"train": slice(0, 30), "validation": slice(30, 40), "test": slice(40, 60)}
    for name, part in parts.items():
        write(tmp_path / "d" / f"{name}-00000-of-00001.parquet", [png(i) for i in PIXELS[part]])
    data = open_dataset(str(tmp_path / "d"), 8)
    for name, part in parts.items():
        assert {image.tobytes() for image in data.images[data.split == name]} == {image.tobytes() for image in PIXELS[part]}


def test_names_in_a_column_of_text_are_sorted_and_stay_with_their_images(tmp_path: Path) -> None:
    names = ["sheep", "ant", "cow"]
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS], animal=names * 20)
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    labels = data.label_set("animal")
    assert labels.classes == ("ant", "cow", "sheep")
    found = {image.tobytes(): labels.classes[k] for image, k in zip(data.images, labels.values, strict=True)}
    assert [found[image.tobytes()] for image in PIXELS] == names * 20


@pytest.mark.parametrize("label", [["x", None, "y", "x"] * 5, (["x", "y"], [0, None, 1, 0] * 5)], ids=["text", "class label"])
def test_an_image_whose_label_is_none_has_no_label(tmp_path: Path, label: Any) -> None:
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS[:20]], label=label)
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    assert np.bincount(data.label_set().values + 1).tolist() == [5, 10, 5]


@pytest.mark.parametrize(
    ("mode", "form", "seen"),
    # Luma is 0.299 R + 0.587 G + 0.114 B = 124.2 (ITU-R 601); JPEG alone is lossy, by a shade or two where the colour is flat.
    [("RGBA", "PNG", (200, 100, 50)), ("P", "PNG", (200, 100, 50)), ("CMYK", "JPEG", (200, 100, 50)), ("L", "PNG", (124, 124, 124))],
)
def test_an_image_of_another_mode_keeps_its_colour_among_colour_images(tmp_path: Path, mode: str, form: str, seen: tuple) -> None:
    flat = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    content = io.BytesIO()  # a palette of its own: the web palette that `convert` takes by default has no such colour
    image = Image.fromarray(flat)
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(content, form)
    write(tmp_path / "d.parquet", [content.getvalue(), png(PIXELS[0])])
    images = open_dataset(str(tmp_path / "d.parquet"), 8).images.astype(int)
    assert min(np.abs(image - seen).max() for image in images) <= 3


def test_without_a_side_images_take_the_short_edge_of_the_first(tmp_path: Path) -> None:
    tall = np.zeros((40, 12, 3), np.uint8)
    tall[14:26] = (10, 200, 30)
    write(tmp_path / "d.parquet", [png(tall), png(PIXELS[0])])
    images = open_dataset(str(tmp_path / "d.parquet")).images
    assert images.shape == (2, 12, 12, 3)
    assert any((image == (10, 200, 30)).all() for image in images)


def test_an_unreadable_file_among_class_folders_is_listed_by_its_name(tmp_path: Path) -> None:
    for k, name in enumerate(("ant", "bird")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "d" / name / f"{name}{i}.png").write_bytes(png(PIXELS[4 * k + i]))
    (tmp_path / "d" / "ant" / "ant1.png").write_bytes(b"no image")
    data = open_dataset(str(tmp_path / "d"), 8)
    assert np.bincount(data.label_set().values).tolist() == [3, 4]
    assert [line.split(":")[1].strip() for line in data.skipped] == ["ant1.png"]


def test_unreadable_images_of_one_split_do_not_move_the_labels_of_another(tmp_path: Path) -> None:
    for name, start, bad in (("train", 0, 3), ("test", 20, 5)):
        images = [b"no image" if i == bad else png(PIXELS[start + i]) for i in range(20)]
        write(tmp_path / "d" / f"{name}-00000-of-00001.parquet", images, label=(["a", "b", "c"], [i % 3 for i in range(20)]))
    data = open_dataset(str(tmp_path / "d"), 8)
    assert {line.split(":")[0] for line in data.skipped} == {"train", "test"}
    values = {image.tobytes(): int(k) for image, k in zip(data.images, data.label_set().values, strict=True)}
    assert values == {PIXELS[s + i].tobytes(): i % 3 for s, bad in ((0, 3), (20, 5)) for i in range(20) if i != bad}


def test_a_file_that_was_cut_short_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", [png(i) for i in PIXELS])
    whole = (tmp_path / "d.parquet").read_bytes()
    (tmp_path / "d.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidData, match="cannot be opened") as raised:
        open_dataset(str(tmp_path / "d.parquet"), 8)
    assert len(str(raised.value).splitlines()) == 1


def test_why_an_image_cannot_be_read_says_nothing_of_this_process(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", [png(PIXELS[0]), b"no image"])
    (reason,) = open_dataset(str(tmp_path / "d.parquet"), 8).skipped
    assert reason.startswith("train: 1.png: ")
    assert " at 0x" not in reason


def test_a_column_of_lists_of_another_length_in_each_split_is_no_label_set(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name, part, tags in (("train", slice(0, 20), [1]), ("test", slice(20, 30), [1, 2])):
        rows = {"img": [{"bytes": png(i), "path": None} for i in PIXELS[part]], "tags": [tags] * len(PIXELS[part])}
        made = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image())
        made.to_parquet(str(tmp_path / "d" / f"{name}-00000-of-00001.parquet"))
    data = open_dataset(str(tmp_path / "d"), 8)
    assert (len(data.ids), data.label_sets) == (30, {})


def test_a_second_column_of_images_is_not_read(tmp_path: Path) -> None:
    rows = {"img": [{"bytes": png(i), "path": None} for i in PIXELS[:4]], "mask": [{"bytes": b"no image", "path": None}] * 4}
    made = datasets.Dataset.from_dict(rows).cast_column("img", datasets.Image()).cast_column("mask", datasets.Image())
    made.to_parquet(str(tmp_path / "d.parquet"))
    data = open_dataset(str(tmp_path / "d.parquet"), 8)
    assert (len(data.ids), data.skipped, data.label_sets) == (4, (), {})


def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 8).astype(np.uint16)[None], 8, 0)
    content = io.BytesIO()
    Image.fromarray(ramp).save(content, "PNG")
    write(tmp_path / "d.parquet", [content.getvalue()])
    seen = open_dataset(str(tmp_path / "d.parquet"), 8).images[0, 0, :, 0]
    np.testing.assert_allclose(seen, np.linspace(0, 255, 8), atol=1)
