"""Presets: names, what they ask the hub for, and whether they were checked; nothing here goes to the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest

from analysis import presets
from analysis.datasets import PRESETS, choices
from analysis.datasets._columns import choose
from analysis.errors import InvalidData, UnknownName
from tests.test_decoded import PIXELS, png

ROOT = Path(__file__).parent.parent
SHA = "0123456789abcdef0123456789abcdef01234567"


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
def hub(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A hub with CIFAR-100 in two splits; what is asked of it."""
    asked: list[Any] = []
    whole = table()

    def load(*place: str, **options: Any) -> datasets.DatasetDict:
        asked.append((place, options))
        return datasets.DatasetDict(train=whole.select(range(30)), test=whole.select(range(30, 40)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda self, name, timeout: SimpleNamespace(sha=SHA))
    return asked


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


def test_verifying_keeps_date_and_revision_of_what_is_as_described(hub: list[Any], tmp_path: Path) -> None:
    assert presets.checked() == {}
    (found,) = presets.verify(["cifar100"])
    assert (found.name, found.revision, found.reason) == ("cifar100", SHA, "")
    assert hub == [(("uoft-cs/cifar100", "cifar100"), {"revision": SHA, "streaming": True})]
    assert presets.checked()["cifar100"]["revision"] == SHA
    (other,) = presets.verify(["cub"])
    assert other.reason == "it has the columns img, fine_label, coarse_label, not image, label"
    assert set(presets.checked()) == {"cifar100"}
    said = json.loads((tmp_path / "store" / "presets.json").read_text())
    (tmp_path / "store" / "presets.json").write_text(json.dumps({"cifar100": said["cifar100"] | {"of": "elsewhere/cifar100"}}))
    assert presets.checked() == {}  # what was verified is not what the preset says now


def test_another_number_of_classes_or_a_lacking_split_is_told(hub: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *place, **options: datasets.DatasetDict(train=table(99), test=table(99)))
    assert next(iter(presets.verify(["cifar100"]))).reason == "its column fine_label has 99 classes, not 100"
    monkeypatch.setattr(datasets, "load_dataset", lambda *place, **options: datasets.DatasetDict(train=table()))
    assert next(iter(presets.verify(["cifar100"]))).reason == "it has the splits train, not test"


def test_a_repository_that_is_gone_is_a_reason_and_no_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: object, name: str, timeout: float) -> None:
        response = SimpleNamespace(headers={}, request=None, status_code=404)
        raise huggingface_hub.errors.RepositoryNotFoundError("404 Client Error.", response=response)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", gone)
    assert next(iter(presets.verify(["cifar100"]))).reason.startswith("404 Client Error")
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(InvalidData, match=r"cannot be reached \(no route\), so no preset was checked"):
        list(presets.verify())
    with pytest.raises(UnknownName, match="Unknown preset 'cifar'"):
        list(presets.verify(["cifar"]))


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
    assert line.startswith("Error: The hub cannot be reached")
    assert done.stdout == ""
