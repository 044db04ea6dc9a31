"""Class folders read by their names alone, beside what the `datasets` library makes of the same folder."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest

from analysis.datasets import hub, open_dataset
from analysis.datasets._configs import is_told
from analysis.datasets._folders import class_folders
from analysis.errors import InvalidData
from tests.test_decoded import PIXELS, png, same

NAMES = {
    "classes": lambda i: f"{('cat', 'Ant', 'b 3')[i % 3]}/{i}.{('png', 'PNG')[i % 2]}",
    "splits": lambda i: f"{'train' if i < 30 else 'test'}/{'ab'[i % 2]}/{i}.png",
    "three splits": lambda i: f"{('train', 'val', 'test')[i // 15]}/{'ab'[i % 2]}/{i}.png",
    "no test": lambda i: f"{'train' if i < 30 else 'validation'}/{'ab'[i % 2]}/{i}.png",
}
LEFT = {
    "a class that may be a split": lambda i: f"{('contest', 'b')[i % 2]}/{i}.png",
    "a file that may name a split": lambda i: f"{'ab'[i % 2]}/{'train' if i < 30 else 'test'}_{i}.png",
    "another depth": lambda i: f"{'ab'[i % 2]}/{'deeper/' if i == 7 else ''}{i}.png",
    "no folders": lambda i: f"{i}.png",
    "one class": lambda i: f"a/{i}.png",
    "four folders deep": lambda i: f"x/y/{'ab'[i % 2]}/{i}.png",
}


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))


def write(folder: Path, layout: object) -> Path:
    for i, image in enumerate(PIXELS):
        path = folder / layout(i)  # type: ignore[operator]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return folder


@pytest.mark.parametrize("card", ["", "Pets.", "---\nlicense: cc0-1.0\n---\nPets."], ids=["bare", "words", "a licence"])
@pytest.mark.parametrize("layout", NAMES.values(), ids=NAMES)
def test_it_is_what_the_library_makes_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: object, card: str) -> None:
    place = write(tmp_path / "d", layout)
    if card:
        (place / "README.md").write_text(card)
    assert class_folders(str(place), None, True) is not None
    monkeypatch.setattr(datasets, "load_dataset_builder", None)
    ours = open_dataset(str(place), 8)
    monkeypatch.undo()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "other"))
    monkeypatch.setattr(hub, "class_folders", lambda *_: None)
    same(open_dataset(str(place), 8), ours)
    assert ours.label_set().name == "label"


@pytest.mark.parametrize("layout", LEFT.values(), ids=LEFT)
def test_what_is_not_plainly_class_folders_is_left_to_the_library(tmp_path: Path, layout: object) -> None:
    place = write(tmp_path / "d", layout)
    assert class_folders(str(place)) is None
    assert len(open_dataset(str(place), 8).ids) == 40


@pytest.mark.parametrize("name", ["README.md", "a/metadata.csv", "a/.hidden.png", "b/more.zip", "__more/a.png"])
def test_another_file_leaves_the_folder_to_the_library(tmp_path: Path, name: str) -> None:
    place = write(tmp_path / "d", lambda i: f"{'ab'[i % 2]}/{i}.png")
    assert class_folders(str(place)) is not None
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(b"x")
    assert class_folders(str(place)) is None


@pytest.mark.parametrize(
    "header", ["configs:\n- {config_name: default, data_files: a/*}", "dataset_info: {features: [{name: image, dtype: image}]}", "x: [y"]
)
def test_a_readme_that_says_how_it_is_read_leaves_the_folder_to_the_library(tmp_path: Path, header: str) -> None:
    place = write(tmp_path / "d", lambda i: f"{'ab'[i % 2]}/{i}.png")
    (place / "README.md").write_text(f"---\n{header}\n---\n")
    assert is_told(str(place))
    if header.startswith("configs"):
        assert len(open_dataset(str(place), 8).ids) == 20
    elif header.startswith("x"):
        with pytest.raises(InvalidData, match="cannot be opened"):
            open_dataset(str(place), 8)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    place = write(tmp_path / "d", lambda i: f"{'ab'[i % 2]}/{i}.png")
    (tmp_path / "mine.png").write_bytes(png(np.zeros((8, 8, 3), np.uint8)))
    (place / "a" / "link.png").symlink_to(tmp_path / "mine.png")
    data = open_dataset(str(place), 8)
    assert (len(data.ids), data.skipped) == (40, ("train: link.png: no image data",))
