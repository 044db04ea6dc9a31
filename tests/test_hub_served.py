"""Data sets of the hub: looked up, fetched through the libraries' real code from a stand-in on this machine, and opened offline."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from analysis import hub, hub_calls, hub_fetch
from analysis.datasets import open_dataset
from analysis.datasets.hub import Hub
from analysis.errors import InvalidData, InvalidRequest, NotAllowed, Unreachable
from analysis.hub_choice import of_config
from analysis.hub_records import CONVERTED, HubFile

from .standin import LARGE, Fault, Standin, pretending, write_folder
from .test_decoded import PIXELS, png, same, table

ID = "somebody/pets"
TEST_DATA = os.environ.get("NOISESCOPE_TEST_DATA")


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    monkeypatch.setattr(hub_calls, "PAUSE", 0.01)
    monkeypatch.setattr(hub_fetch, "CHUNK", 1000)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    with pretending(tmp_path, monkeypatch) as server:
        yield server


def parquet(tmp_path: Path, rows: slice, **columns: list[str]) -> bytes:
    count = len(PIXELS[rows])
    columns = columns or {"kind": (["x", "y"] * count)[:count]}
    return table(tmp_path / "made.parquet", [png(image) for image in PIXELS[rows]], **columns).read_bytes()


def configs(**files: dict[str, str]) -> bytes:
    """A README that describes configurations: of each, its splits and their files."""
    lines = ["---", "license: cc0-1.0", "configs:"]
    for name, splits in files.items():
        lines += [f"- config_name: {name}", "  data_files:", *(f"  - {{split: {split}, path: {path}}}" for split, path in splits.items())]
    return "\n".join([*lines, "---", ""]).encode()


@pytest.fixture
def pets(tmp_path: Path, standin: Standin) -> str:
    """The commit of somebody/pets, which has two splits, one of them of a name of its own."""
    files = {f"data/{name}.parquet": parquet(tmp_path, rows) for name, rows in (("train", slice(0, 30)), ("extra", slice(30, 40)))}
    files["README.md"] = configs(default={"train": "data/train.parquet", "extra": "data/extra.parquet"})
    return standin.repo(ID, files, "dataset").branches["main"]


def fetch(repo_id: str = ID, revision: str | None = None) -> Path:
    return hub.fetch(hub.look_up(repo_id, revision, "dataset"))


def opened(name: str, side: int = 8) -> Hub:
    found = open_dataset(name, side)
    assert isinstance(found, Hub)
    return found


def test_what_was_fetched_is_opened_without_a_network_and_without_a_second_copy(
    tmp_path: Path, standin: Standin, pets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch()
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *to, **_: asked.append(to))
    monkeypatch.setattr(socket.socket, "connect", lambda _, to: asked.append(to))
    data = opened(f"{ID}?test=extra")
    assert (data.name, data.revision, len(data.ids), list(data.label_sets)) == (ID, pets, 40, ["kind"])
    tested = {image.tobytes() for image in data.images[data.split == "test"]}
    assert tested == {image.tobytes() for image in PIXELS[30:]}
    changed = {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()}
    same(opened(f"{ID}?test=extra"), data)
    assert not asked
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store" / "images").iterdir()} == changed  # decoded once
    assert not list((tmp_path / "cache").rglob("*.parquet")) + list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("network", ["there", "away", "switched off"])
def test_one_that_was_not_fetched_says_how_to_fetch_it_and_nothing_is_asked(
    standin: Standin, pets: str, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", network == "switched off")
    if network == "away":
        standin.close()
    with pytest.raises(
        InvalidRequest, match=rf"under that id: fetch it with `python -m analysis datasets fetch {ID}`, or with 'Look it up'"
    ):
        open_dataset(f"{ID}?test=extra", 8)
    with pytest.raises(InvalidRequest, match=rf"datasets fetch {ID} --revision v2`"):
        open_dataset(f"{ID}@v2", 8)
    with pytest.raises(InvalidRequest, match="datasets fetch uoft-cs/cifar10`"):
        open_dataset("cifar10", 8)
    assert not standin.asked


def test_a_data_set_that_moved_is_read_as_it_was_fetched_last_and_the_old_one_by_its_commit(
    tmp_path: Path, standin: Standin, pets: str
) -> None:
    fetch()
    first = opened(f"{ID}?test=extra")
    repo = standin.repos["dataset", ID]
    moved = repo.push(repo.commits[pets] | {"data/extra.parquet": parquet(tmp_path, slice(30, 38))})
    assert len(opened(f"{ID}?test=extra").ids) == 40
    record = hub.look_up(ID, kind="dataset")
    assert f"main of {ID} has moved from {pets[:7]} to {moved}" in str(record.said)
    hub.fetch(record)
    again = opened(f"{ID}?test=extra")
    assert (again.revision, len(again.ids), again.name) == (moved, 38, ID)
    old = opened(f"{ID}@{pets[:7]}?test=extra")
    assert (old.revision, old.name) == (pets, ID)
    same(old, first)


def test_a_cut_connection_goes_on_and_what_is_half_here_is_not_opened(tmp_path: Path, standin: Standin, pets: str) -> None:
    standin.repos["dataset", ID].push({"train.parquet": parquet(tmp_path, slice(0, 40), note=["long" * 40] * 40)})
    record = hub.look_up(ID, kind="dataset")
    assert record.bytes > LARGE
    standin.faults += [Fault(cut=3_000), *(Fault(cut=0) for _ in range(hub_calls.TRIES))]
    with pytest.raises(Unreachable):
        hub.fetch(record)
    with pytest.raises(InvalidRequest, match="datasets fetch"):
        open_dataset(ID, 8)
    standin.faults.append(Fault(cut=1_500))
    hub.fetch(record)
    assert len(opened(ID).ids) == 40
    assert any("range" in headers for _, path, headers in standin.asked if path.startswith("/lfs/"))


def test_a_gated_data_set_opens_to_who_accepted_its_licence(tmp_path: Path, standin: Standin, pets: str) -> None:
    standin.repos["dataset", ID].gated, standin.token = True, "hf_neverToBeSeen"
    with pytest.raises(NotAllowed, match=f"The data set {ID} is gated: accept its licence"):
        fetch()
    with pytest.raises(InvalidRequest, match="datasets fetch"):
        open_dataset(ID, 8)
    (tmp_path / "token").write_text("hf_neverToBeSeen")
    fetch()
    assert len(opened(f"{ID}?test=extra").ids) == 40


def test_columns_and_splits_are_chosen_and_wrong_ones_are_named(tmp_path: Path, standin: Standin) -> None:
    images = [png(image) for image in PIXELS]
    made = datasets.Dataset.from_dict(
        {
            "photo": [{"bytes": image, "path": None} for image in images],
            "mask": [{"bytes": image, "path": None} for image in images[::-1]],
            "kind": ["x", "y"] * 20,
            "sex": ["f", "m", "m", "f"] * 10,
        }
    )
    for name in ("photo", "mask"):
        made = made.cast_column(name, datasets.Image())
    made.to_parquet(str(tmp_path / "made.parquet"))
    standin.repo(ID, {"train.parquet": (tmp_path / "made.parquet").read_bytes()}, "dataset")
    fetch()
    assert list(opened(ID).label_sets) == ["kind", "sex"]
    data, other = opened(f"{ID}?image=photo&label=sex"), opened(f"{ID}?image=mask")
    assert list(data.label_sets) == ["sex"]
    values = {image.tobytes(): int(k) for image, k in zip(other.images, other.label_set("kind").values, strict=True)}
    assert [values[PIXELS[i].tobytes()] for i in (39, 38, 37)] == [0, 1, 0]
    with pytest.raises(
        InvalidData, match=rf"'{ID}' has no column of images 'img'; its columns are photo, mask, kind, sex: .*here photo, mask"
    ):
        open_dataset(f"{ID}?image=img", 8)
    with pytest.raises(InvalidData, match=rf"'{ID}' has no label column 'breed'; .*: kind, sex"):
        open_dataset(f"{ID}?label=breed", 8)
    with pytest.raises(InvalidData, match=rf"'{ID}' has no split 'valid'; its splits are train"):
        open_dataset(f"{ID}?test=valid", 8)


def coarse_and_fine(tmp_path: Path) -> dict[str, bytes]:
    """Two configurations of the same images with other labels, in folders as the hub has them."""
    files = {}
    for name, label in (("coarse", "x"), ("fine", "z")):
        for split, rows in (("train", slice(0, 30)), ("test", slice(30, 40))):
            labels = {"label": [f"{label}{i % 2}" for i in range(len(PIXELS[rows]))]}
            files[f"{name}/{split}-00000-of-00001.parquet"] = parquet(tmp_path, rows, **labels)
    return files


def described() -> bytes:
    return configs(**{name: {split: f"{name}/{split}-*" for split in ("train", "test")} for name in ("coarse", "fine")})


@pytest.mark.parametrize("readme", [True, False])
def test_one_configuration_is_fetched_and_opened_and_another_added_later(tmp_path: Path, standin: Standin, readme: bool) -> None:
    files = coarse_and_fine(tmp_path) | ({"README.md": described()} if readme else {})
    standin.repo(ID, files, "dataset")
    record = hub.look_up(ID, kind="dataset", config="fine")
    beside = ["README.md"] if readme else []
    assert [file.name for file in record.files] == [*beside, "fine/test-00000-of-00001.parquet", "fine/train-00000-of-00001.parquet"]
    hub.fetch(record)
    assert opened(f"{ID}?config=fine").label_set("label").classes == ("z0", "z1")
    with pytest.raises(InvalidRequest, match=r"configuration 'odd'; .*fine"):
        hub.look_up(ID, kind="dataset", config="odd")
    hub.fetch(hub.look_up(ID, kind="dataset", config="coarse"))
    assert opened(f"{ID}?config=coarse").label_set("label").classes == ("x0", "x1")
    assert opened(f"{ID}?config=fine").label_set("label").classes == ("z0", "z1")


@pytest.mark.parametrize(
    "said",
    [
        "  data_files: small/*.parquet",
        "  data_files: [small/a.parquet, small/b.parquet]",
        "  data_files: {train: small/a.parquet, test: [small/b.parquet]}",
        "  data_files: [{split: train, path: [small/a.parquet, small/b.parquet]}]",
        "  data_dir: small",
    ],
)
def test_files_of_a_configuration_in_every_way_that_a_readme_says_them(said: str) -> None:
    files = [HubFile(name=name, size=1, blob=f"{i:040x}") for i, name in enumerate(["small/a.parquet", "small/b.parquet", "c.parquet"])]
    found = of_config(files, "tiny", yaml.safe_load(f"- config_name: tiny\n{said}\n- config_name: big\n"), ID)
    assert [file.name for file in found] == ["small/a.parquet", "small/b.parquet"]


def served(standin: Standin, files: dict[str, bytes]) -> str:
    standin.repo(ID, files, "dataset")
    fetch()
    return ID


@pytest.mark.parametrize("place", ["a folder", "the hub"])
@pytest.mark.parametrize("readme", [True, False], ids=["described", "folders alone"])
def test_a_configuration_is_read_alike_from_a_folder_and_from_the_hub(tmp_path: Path, standin: Standin, place: str, readme: bool) -> None:
    files = coarse_and_fine(tmp_path) | ({"README.md": described()} if readme else {"README.md": b"No more than words."})
    name = served(standin, files) if place == "the hub" else write_folder(tmp_path / "d", files)
    for config, classes in (("coarse", ("x0", "x1")), ("fine", ("z0", "z1"))):
        data = open_dataset(f"{name}?config={config}", 8)
        assert (len(data.ids), data.label_set().classes, data.duplicates) == (40, classes, 0)
        assert {image.tobytes() for image in data.images[data.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}
    with pytest.raises(InvalidData, match="has no configuration 'small'; its configurations are coarse, fine"):
        open_dataset(f"{name}?config=small", 8)
    if readme:
        with pytest.raises(InvalidData, match=r"has the configurations coarse, fine; choose one, as .*\?config=coarse"):
            open_dataset(name, 8)


def test_a_readme_reaches_no_file_outside_its_folder(tmp_path: Path, standin: Standin, pets: str) -> None:
    secret = table(tmp_path / "secret.parquet", [png(PIXELS[0])])
    for path in (str(secret), "../../../../../secret.parquet", f"{standin.endpoint}/datasets/{ID}/resolve/main/data/train.parquet"):
        name = served(standin, {"train.parquet": parquet(tmp_path, slice(0, 9)), "README.md": configs(default={"train": path})})
        asked = len(standin.asked)
        with pytest.raises(InvalidData, match="allowed: files of its own folder"):
            open_dataset(name, 8)
        assert len(standin.asked) == asked
    made = {"unet/train.parquet": parquet(tmp_path, slice(0, 9)), "unet/README.md": configs(default={"train": str(secret)})}
    with pytest.raises(InvalidData, match="allowed: files of its own folder"):
        open_dataset(f"{served(standin, made)}?config=unet", 8)


@pytest.mark.skipif(not TEST_DATA, reason="NOISESCOPE_TEST_DATA does not say where the test data are")
def test_cifar10_in_the_layout_of_its_repository_has_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))
    (tmp_path / "d" / "plain_text").mkdir(parents=True)
    (tmp_path / "d" / "README.md").write_bytes(configs(plain_text={name: f"plain_text/{name}-*" for name in ("train", "test")}))
    for path in Path(str(TEST_DATA), "cifar10").glob("*.parquet"):
        (tmp_path / "d" / "plain_text" / path.name).symlink_to(path)
    source = Hub(f"{tmp_path / 'd'}?config=plain_text&image=img&label=label", 32, images=False).open()
    parts = list(source.rows(["label"]))
    assert {name: sum(part.rows for part in parts if part.split == name) for name in ("train", "test")} == {"train": 50_000, "test": 10_000}
    assert np.bincount([value for part in parts for value in part.columns["label"]]).tolist() == [6000] * 10


def by_code(tmp_path: Path, standin: Standin, *names: str) -> str:
    """A repository that only code could read, and what the hub made of it; the commit of the latter."""
    repo = standin.repo(ID, {"pets.py": b"raise SystemExit", "README.md": b"---\nlicense: cc0-1.0\n---\n"}, "dataset", license="cc0-1.0")
    files = {f"{name}/{split}/0000.parquet": parquet(tmp_path, rows) for name in names for split, rows in SPLITS.items()}
    return repo.push({".gitattributes": b"x"} | files, CONVERTED)


SPLITS = {"train": slice(0, 30), "valid": slice(30, 40)}


def test_of_a_repository_that_needs_code_the_hubs_own_conversion_is_taken_and_said(tmp_path: Path, standin: Standin) -> None:
    commit = by_code(tmp_path, standin, "default")
    record = hub.look_up(ID, kind="dataset")
    assert (record.commit, record.converted, record.license, len(record.files)) == (commit, True, "cc0-1.0", 2)
    assert f"The files of {ID} are for code to read, which is not run: these are of the hub's own conversion" in str(record.said)
    hub.fetch(record)
    standin.close()
    assert str(hub.look_up(ID, kind="dataset").said).startswith(f"{record.said} The hub does not answer")
    for name in (ID, f"{ID}@{CONVERTED}", f"{ID}@{commit[:9]}"):
        data = opened(f"{name}?test=valid")
        assert (data.name, data.revision, len(data.ids), int((data.split == "test").sum())) == (ID, commit, 40, 10)


def test_the_conversion_may_be_asked_for_by_its_name(tmp_path: Path, standin: Standin) -> None:
    commit = by_code(tmp_path, standin, "320px", "160px")
    record = hub.look_up(ID, CONVERTED, "dataset")
    assert (record.commit, record.converted, record.said) == (commit, False, None)
    hub.fetch(record)
    assert opened(f"{ID}@{CONVERTED}?config=320px&test=valid").revision == commit
    with pytest.raises(InvalidData, match="has the configurations 160px, 320px; choose one"):
        open_dataset(f"{ID}@{CONVERTED}", 8)
    with pytest.raises(InvalidData, match="has no configuration 'full_size'"):
        open_dataset(f"{ID}@{CONVERTED}?config=full_size", 8)
    with pytest.raises(InvalidRequest, match="datasets fetch"):
        open_dataset(ID, 8)


def test_where_the_hub_has_converted_nothing_it_says_what_the_repository_lacks(standin: Standin) -> None:
    standin.repo(ID, {"pets.py": b"raise SystemExit"}, "dataset")
    with pytest.raises(InvalidRequest, match="nothing that can be read without running code"):
        hub.look_up(ID, kind="dataset")
    with pytest.raises(InvalidRequest, match="nothing that can be read without running code"):
        hub.look_up(ID, standin.repos["dataset", ID].branches["main"], "dataset")


def test_what_lies_beside_a_loading_script_is_read_only_where_nothing_was_converted(tmp_path: Path, standin: Standin) -> None:
    repo = standin.repo(ID, class_folders() | {"pets.py": b"raise SystemExit"}, "dataset")
    assert not hub.look_up(ID, kind="dataset").converted
    commit = repo.push({"default/train/0000.parquet": parquet(tmp_path, slice(0, 9))}, CONVERTED)
    assert hub.look_up(ID, kind="dataset").commit == commit
    repo.push(repo.commits[repo.branches["main"]] | {"train.parquet": parquet(tmp_path, slice(0, 9))})
    assert not hub.look_up(ID, kind="dataset").converted


def class_folders() -> dict[str, bytes]:
    return {f"{'train' if i < 30 else 'test'}/{'ab'[i % 2]}/{i}.png": png(image) for i, image in enumerate(PIXELS)}


def zips(tmp_path: Path) -> dict[str, bytes]:
    files = {}
    for split, rows in (("train", range(30)), ("test", range(30, 40))):
        with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
            for i in rows:
                archive.writestr(f"{'ab'[i % 2]}/{i}.png", png(PIXELS[i]))
        files[f"data/{split}.zip"] = (tmp_path / "made.zip").read_bytes()
    return files


@pytest.mark.parametrize("readme", [{}, {"README.md": b"---\nlicense: cc0-1.0\n---\nPets."}], ids=["bare", "with a card"])
@pytest.mark.parametrize("layout", [lambda _: class_folders(), zips], ids=["class folders", "zips"])
def test_images_and_zips_of_a_repository_are_what_they_are_in_a_folder(
    tmp_path: Path, standin: Standin, layout: Callable[[Path], dict[str, bytes]], readme: dict[str, bytes]
) -> None:
    files = layout(tmp_path) | readme | {".cache/data/train.zip.metadata": b"of `hf download`"}
    from_hub, from_folder = opened(served(standin, files)), open_dataset(write_folder(tmp_path / "d", files), 8)
    assert (from_hub.name, from_folder.name) == (ID, "d")
    from_hub.name = from_folder.name
    same(from_hub, from_folder)
    assert (len(from_hub.ids), from_hub.skipped, from_hub.label_set().classes) == (40, (), ("a", "b"))
    assert {image.tobytes() for image in from_hub.images[from_hub.split == "test"]} == {image.tobytes() for image in PIXELS[30:]}


def test_a_path_or_a_folder_that_is_there_is_no_hub_id(tmp_path: Path, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidData, match="There is no folder or Parquet file '/nowhere/pets'"):
        open_dataset("/nowhere/pets", 8)
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "somebody" / "pets", class_folders())
    assert (opened(ID).name, opened(ID).revision, len(opened(ID).ids)) == ("pets", "", 40)


def test_a_preset_is_opened_by_its_name_with_its_configuration_and_columns(tmp_path: Path, standin: Standin) -> None:
    files = {"README.md": configs(cifar100={name: f"cifar100/{name}-*" for name in ("train", "test")})}
    for split, rows in (("train", slice(0, 30)), ("test", slice(30, 40))):
        count = len(PIXELS[rows])
        columns = {"fine_label": (["a", "b", "c"] * count)[:count], "coarse_label": (["p", "q"] * count)[:count]}
        files[f"cifar100/{split}-00000-of-00001.parquet"] = parquet(tmp_path, rows, **columns)
    standin.repo("uoft-cs/cifar100", files, "dataset")
    fetch("uoft-cs/cifar100")
    data = opened("cifar100")
    assert (data.name, list(data.label_sets), int((data.split == "test").sum())) == ("uoft-cs/cifar100", ["fine_label", "coarse_label"], 10)
    assert list(opened("cifar100?label=coarse_label").label_sets) == ["coarse_label"]
