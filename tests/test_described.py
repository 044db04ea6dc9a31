"""Data sets described without decoding an image, beside what opening them gives; and the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest

from analysis import hub
from analysis.datasets import _streamed, describe, open_dataset
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.specs import DataCard

from .standin import Fault, Standin, pretending, surroundings, write_folder
from .test_decoded import PIXELS, png, table

ROOT = Path(__file__).parent.parent
ID = "somebody/pets"
SPLITS = {"train": slice(0, 30), "test": slice(30, 40)}
HALF = {"train": 30, "test": 10}


@pytest.fixture(autouse=True)
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    with pretending(tmp_path, monkeypatch) as server:
        yield server


def tables(tmp_path: Path) -> dict[str, bytes]:
    """Two Parquet files of two columns of classes, one of numbers, and one of names, which is no label."""
    files = {}
    for split, rows in SPLITS.items():
        images = [png(image) for image in PIXELS[rows]]
        path = table(
            tmp_path / "made.parquet", images, kind=(["x", "y"] * 15)[: len(images)], name=[f"{split}{i}" for i in range(len(images))]
        )
        made = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
        made = made.add_column("mask", [{"bytes": image, "path": None} for image in images]).cast_column("mask", datasets.Image())
        made = made.add_column("age", np.arange(len(images)) + 0.5)
        made.to_parquet(str(path))
        files[f"data/{split}-00000-of-00001.parquet"] = path.read_bytes()
    return files


def pictures() -> dict[str, bytes]:
    return {f"{split}/{'ab'[i % 2]}/{i}.png": png(PIXELS[i]) for split, rows in SPLITS.items() for i in range(40)[rows]}


def zipped(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def agrees(card: DataCard, name: str) -> None:
    """With what opening it gives: label sets and images by the split that it came with."""
    data = open_dataset(name)
    labels = {label: None if found.kind == "continuous" else len(found.classes) for label, found in data.label_sets.items()}
    read = {label: card.labels[label] for label in card.chosen}
    assert (card.name, read, card.edge) == (data.name, labels, data.images.shape[1])
    assert sum(card.rows.values()) == len(data.ids)
    assert data.given is None or card.rows["test"] == Counter(data.split)["test"]


def test_tables_of_a_folder_a_file_a_zip_and_the_hub_are_told_by_their_columns(tmp_path: Path, standin: Standin) -> None:
    files = tables(tmp_path)
    standin.repo(ID, files, "dataset", license="cc0-1.0")
    hub.fetch(hub.look_up(ID, kind="dataset"))
    size, commit = sum(map(len, files.values())), standin.repos["dataset", ID].branches["main"]
    folder, archive = write_folder(tmp_path / "d", files), zipped(tmp_path / "z.zip", files)
    one = f"{folder}/data/train-00000-of-00001.parquet"
    told = {"images": ("img", "mask"), "labels": {"kind": 2, "age": None}, "chosen": ("kind", "age"), "rows": HALF, "edge": 8}
    assert describe(ID) == DataCard(name=ID, **told, licence="cc0-1.0", bytes=size, revision=commit)
    assert describe(folder) == DataCard(name="d", **told, bytes=size)
    assert describe(archive) == DataCard(name="z.zip", **told, bytes=Path(archive).stat().st_size)
    assert describe(one).rows == {"train": 30}
    for name in (ID, folder, archive, one):
        agrees(describe(name), name)
    assert describe(f"{folder}?image=mask&label=age").images == ("mask", "img")
    assert (describe(f"{folder}?label=age").chosen, describe(f"{folder}?label=age").labels) == (("age",), {"kind": 2, "age": None})
    with pytest.raises(InvalidData, match="no label column 'sex'"):
        describe(f"{folder}?label=sex")


TOLD = b"---\nconfigs:\n- config_name: default\n  data_files: [{split: train, path: train/**}, {split: test, path: test/**}]\n---\n"


@pytest.mark.parametrize("card", [{}, {"README.md": TOLD}], ids=["plain", "by the library"])
def test_class_folders_and_zips_of_them_are_told_by_their_names(tmp_path: Path, card: dict[str, bytes]) -> None:
    for name in (write_folder(tmp_path / "d", pictures() | card), zipped(tmp_path / "z.zip", pictures() | card)):
        found = describe(name)
        assert (found.images, found.labels, found.rows, found.edge) == (("image",), {"label": 2}, HALF, 8)
        agrees(found, name)


def test_plugins_presets_and_what_the_hub_converted_are_told(tmp_path: Path, standin: Standin) -> None:
    agrees(describe("digits"), "digits")
    assert (describe("digits").labels, describe("digits").licence, describe("digits").bytes) == ({"digit": 10}, "CC BY 4.0", None)
    assert describe("shapes:100").labels | {"size": None} == describe("shapes:100").labels
    rows = table(tmp_path / "made.parquet", [png(image) for image in PIXELS], label=["x", "y"] * 20).read_bytes()
    standin.repo("nelorth/oxford-flowers", {"run.py": b"x"}, "dataset", license=None).push(
        {f"default/{split}/0000.parquet": rows for split in SPLITS}, "refs/convert/parquet"
    )
    with pytest.raises(InvalidRequest, match="datasets fetch nelorth/oxford-flowers`"):
        describe("flowers102")
    hub.fetch(hub.look_up("nelorth/oxford-flowers", kind="dataset"))
    with pytest.raises(InvalidData, match="no column of images 'image'"):
        describe("nelorth/oxford-flowers?image=image")
    found = describe("flowers102?image=img")
    assert (found.licence, found.rows, found.labels) == ("unstated", {"train": 40, "test": 40}, {"label": 2})
    with pytest.raises(UnknownName):
        describe("nothing")


def test_no_image_is_decoded_and_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, archive = write_folder(tmp_path / "d", tables(tmp_path)), zipped(tmp_path / "z.zip", pictures())

    def never(*_: object) -> None:
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(_streamed, "decode", never)
    assert describe(folder).rows == describe(archive).rows == HALF
    assert not (tmp_path / "store").exists()


@pytest.mark.skipif("NOISESCOPE_TEST_DATA" not in os.environ, reason="NOISESCOPE_TEST_DATA does not say where the test data are")
def test_cifar10_is_told() -> None:
    found = describe(os.environ["NOISESCOPE_TEST_DATA"] + "/cifar10?image=img&label=label")
    assert (found.images, found.labels, found.rows, found.edge) == (("img",), {"label": 10}, {"train": 50_000, "test": 10_000}, 32)


def call(standin: Standin, home: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "analysis", "datasets", *words]
    environment = surroundings(standin, home, COLUMNS="300", NOISESCOPE_STORE=str(home / "store"))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment, check=False)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_the_commands_look_fetch_list_and_describe(tmp_path: Path, standin: Standin) -> None:
    files = tables(tmp_path)
    commit = standin.repo("uoft-cs/cifar10", files, "dataset", license="cc0-1.0").branches["main"]
    code, said = call(standin, tmp_path, "describe", "uoft-cs/cifar10")
    assert (code, len(said.splitlines()), "python -m analysis datasets fetch uoft-cs/cifar10" in said) == (2, 1, True)
    code, said = call(standin, tmp_path, "look", "cifar10")
    assert (code, f"uoft-cs/cifar10, main at {commit}: licence cc0-1.0." in said) == (0, True)
    assert "data/train-00000-of-00001.parquet\t" in said
    standin.faults.append(Fault(cut=3_000))
    code, said = call(standin, tmp_path, "fetch", "cifar10")
    assert (code, f"uoft-cs/cifar10 is in {tmp_path / 'hub'}" in said) == (0, True)
    standin.close()
    code, said = call(standin, tmp_path, "list")
    size = hub.in_units(sum(map(len, files.values())))
    assert "digits\tbundled\n" in said
    assert [line.endswith("preset, here") for line in said.splitlines() if line.startswith("cifar10\t")] == [True]
    assert f"uoft-cs/cifar10\t{size}\tcc0-1.0\tmain at {commit}\tfetched on " in said
    code, said = call(standin, tmp_path, "describe", "uoft-cs/cifar10")
    assert said.splitlines() == [
        "uoft-cs/cifar10: 30 train, 10 test images, the first of 8 pixels; licence cc0-1.0.",
        "Images: img, mask. Labels: kind (2 classes), age (numbers).",
        f"{size}, at {commit}.",
    ]
    code, said = call(standin, tmp_path, "describe", "uoft-cs/cifar10", "--json")
    assert json.loads(said)["rows"] == HALF
    code, said = call(standin, tmp_path, "fetch", "no/where")
    assert (code, said.startswith("Error: 127.0.0.1 does not answer (ConnectError)"), len(said.splitlines())) == (2, True, 1)
