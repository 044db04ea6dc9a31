"""Presets: names, what they ask the hub for, and whether they were checked; against a stand-in of the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest

from analysis import hub, hub_calls, presets
from analysis.datasets import PRESETS, choices
from analysis.datasets._columns import choose
from analysis.errors import UnknownName, Unreachable
from analysis.hub_records import CONVERTED

from .standin import Standin, pretending, surroundings
from .test_decoded import EPS, PIXELS, ghostscript, png  # noqa: F401 - a fixture

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path / "store"))


def table(classes: int = 100, count: int = 40) -> datasets.Dataset:
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "fine_label": datasets.ClassLabel(num_classes=classes),
            "coarse_label": datasets.ClassLabel(num_classes=20),
        }
    )
    rows = {
        "img": [{"bytes": png(image), "path": None} for image in PIXELS[:count]],
        "fine_label": list(range(count)),
        "coarse_label": [i % 20 for i in range(count)],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def standin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A hub whose repositories have a file each, so that they are there."""
    monkeypatch.setattr(hub_calls, "PAUSE", 0.01)
    with pretending(tmp_path, monkeypatch) as server:
        for preset in PRESETS.values():
            server.repo(preset.repo_id, {"train.parquet": b"x"}, "dataset")
        yield server


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the `datasets` library, which has CIFAR-100 in two splits, whatever it is asked for."""
    calls: list[Any] = []
    whole = table()

    def load(*place: str, **options: Any) -> datasets.DatasetDict:
        calls.append((place, options))
        return datasets.DatasetDict(train=whole.select(range(30)), test=whole.select(range(30, 40)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def test_every_preset_says_what_is_known_of_it() -> None:
    assert list(PRESETS) == ["cifar10", "cifar100", "tiny-imagenet", "imagenette", "flowers102", "pets", "dtd", "cub"]
    for name, preset in PRESETS.items():
        chosen = choose(preset.argument())
        assert (preset.name, chosen.place) == (name, preset.repo_id)
        assert preset.repo_id.count("/") == 1
        assert chosen.options["image"] == preset.image
        assert chosen.labels == preset.labels
        assert set(preset.splits) == {"train", "test"}
        assert preset.licence
        assert preset.source
    assert set(PRESETS) < set(choices())


def test_verifying_keeps_date_and_revision_of_what_is_as_described(standin: Standin, asked: list[Any], tmp_path: Path) -> None:
    commit = standin.repos["dataset", "uoft-cs/cifar100"].branches["main"]
    assert presets.checked() == {}
    (found,) = presets.verify(["cifar100"])
    assert (found.name, found.revision, found.reason) == ("cifar100", commit, "")
    assert asked == [(("uoft-cs/cifar100", "cifar100"), {"revision": commit, "streaming": True})]
    assert presets.checked()["cifar100"]["revision"] == commit
    (other,) = presets.verify(["cub"])
    assert other.reason == "it has the columns img, fine_label, coarse_label, not image, label"
    assert set(presets.checked()) == {"cifar100"}
    said = json.loads((tmp_path / "store" / "presets.json").read_text())
    (tmp_path / "store" / "presets.json").write_text(json.dumps({"cifar100": said["cifar100"] | {"of": "elsewhere/cifar100"}}))
    assert presets.checked() == {}  # what was verified is not what the preset says now


def test_another_number_of_classes_or_a_lacking_split_is_told(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *place, **options: datasets.DatasetDict(train=table(99), test=table(99)))
    assert next(iter(presets.verify(["cifar100"]))).reason == "its column fine_label has 99 classes, not 100"
    monkeypatch.setattr(datasets, "load_dataset", lambda *place, **options: datasets.DatasetDict(train=table()))
    assert next(iter(presets.verify(["cifar100"]))).reason == "it has the splits train, not test"


@pytest.mark.parametrize("image", [EPS, b"no image", None])
def test_the_first_image_is_read_and_no_postscript_run(
    standin: Standin,
    monkeypatch: pytest.MonkeyPatch,
    ghostscript: Path,  # noqa: F811
    image: bytes | None,
) -> None:
    made = table()
    rows = {
        **made.cast_column("img", datasets.Image(decode=False)).to_dict(),
        "img": [{"bytes": image, "path": None} if image else None] * 40,
    }
    whole = datasets.Dataset.from_dict(rows, features=made.features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *place, **options: datasets.DatasetDict(train=whole, test=whole))
    assert next(iter(presets.verify(["cifar100"]))).reason == "its first image cannot be read"
    assert not ghostscript.exists()


def test_a_repository_that_is_gone_or_needs_code_is_a_reason_and_no_network_is_an_error(standin: Standin, asked: list[Any]) -> None:
    del standin.repos["dataset", "uoft-cs/cifar100"]
    assert "does not have the data set uoft-cs/cifar100" in next(iter(presets.verify(["cifar100"]))).reason
    standin.repo("uoft-cs/cifar100", {"cifar100.py": b"x"}, "dataset")
    assert "without running code" in next(iter(presets.verify(["cifar100"]))).reason
    with pytest.raises(UnknownName, match="Unknown preset 'cifar'"):
        list(presets.verify(["cifar"]))
    hub.fetch(hub.look_up("tanganke/dtd", kind="dataset"))
    standin.close()
    with pytest.raises(Unreachable, match="does not answer"):
        list(presets.verify())
    with pytest.raises(Unreachable, match="does not answer, so dtd was not checked"):  # what was fetched before is no check
        list(presets.verify(["dtd"]))
    assert asked == []


@pytest.mark.slow
def test_a_preset_that_the_hub_converted_is_verified_on_the_conversion(tmp_path: Path, standin: Standin) -> None:
    rows = {"image": [{"bytes": png(image), "path": None} for image in PIXELS], "label": [i % 10 for i in range(40)]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)})
    datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "made.parquet"))
    content = (tmp_path / "made.parquet").read_bytes()
    repo = standin.repo("frgfm/imagenette", {"imagenette.py": b"raise SystemExit"}, "dataset")
    commit = repo.push(
        {f"{config}/{split}/0000.parquet": content for config in ("160px", "320px") for split in ("train", "validation")}, CONVERTED
    )
    done = call("verify", "imagenette", **surroundings(standin, tmp_path / "hf"))
    assert (done.stdout, done.returncode) == (f"imagenette\t{commit}\n", 0), done.stderr


def call(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis", "presets", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False)


def test_the_command_lists_presets_as_never_checked() -> None:
    done = call()
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(PRESETS)
    assert all(line.endswith("checked: never") for line in lines)


def test_without_a_network_verifying_is_one_sentence_and_code_two() -> None:
    done = call("verify", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: 127.0.0.1 does not answer (ConnectError)")
    assert done.stdout == ""
