from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file

from analysis import release, training
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset, image_ids
from analysis.errors import DamagedFile, InvalidData, InvalidRequest, NoisescopeError, StoreUnavailable, UnknownName
from analysis.recipes import RECIPES, Recipe, recipe
from analysis.specs import Card
from analysis.training import Run

from .conftest import TINY


def tiny(steps: int = 6) -> Recipe:
    return recipe("digits-ddpm", network=TINY, steps=steps, batch=8, warmup=2)


def train(spec: Recipe, out: Path, folder: Path, **options: Any) -> Card:
    return training.train(spec, open_dataset("digits"), folder, out, **{"save_every": 0.0} | options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "diffusion_pytorch_model.safetensors")


@pytest.mark.parametrize("data", ["digits", "shapes:500"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    spec, images = recipe("digits-ddpm", network=TINY, steps=10, batch=8, warmup=2, flips=True), open_dataset(data, 8)
    training.train(spec, images, tmp_path / "whole", tmp_path / "a")
    real = Run.advance

    def until_five(run: Run) -> float:
        if run.step == 5:
            raise KeyboardInterrupt
        return real(run)

    monkeypatch.setattr(Run, "advance", until_five)
    with pytest.raises(KeyboardInterrupt):
        training.train(spec, images, tmp_path / "cut", tmp_path / "b")
    monkeypatch.setattr(Run, "advance", real)
    training.train(spec, images, tmp_path / "cut", tmp_path / "b")
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [pd.read_parquet(tmp_path / run / "log.parquet").drop(columns="seconds") for run in ("whole", "cut")]
    pd.testing.assert_frame_equal(*logs)
    assert sorted(set(logs[0].step)) == [4, 8, 10]


def test_only_images_outside_the_test_split_are_trained_on(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    seen = {image.numpy().tobytes() for image in run.images}
    test = torch.from_numpy(digits.images[digits.split == "test"]).permute(0, 3, 1, 2)
    assert len(run.images) == (digits.split != "test").sum()
    assert not any(image.numpy().tobytes() in seen for image in test)


def test_a_data_set_without_end_gives_new_images_at_every_step() -> None:
    shapes = open_dataset("shapes:500")
    first, again, later, other = (image_ids(shapes.fresh(*step, 200)) for step in ((0, 0), (0, 0), (0, 1), (1, 0)))
    np.testing.assert_array_equal(first, again)
    assert len(set(first) | set(later) | set(other) | set(shapes.ids)) == 1100


def test_training_reduces_the_loss(digits: Dataset) -> None:
    run = Run(recipe("digits-ddpm", network=TINY, steps=60, batch=32, warmup=5), digits)
    losses = [run.advance() for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_trained_model_opens_and_its_card_tells_how_it_was_made(tmp_path: Path) -> None:
    card = train(tiny(), tmp_path / "model", tmp_path / "run.ckpt")
    assert open_backend(str(tmp_path / "model")).card == card
    assert (card.training["steps"], card.training["images_seen"], card.training["data"]) == (6, 48, "digits")


def test_the_weights_leave_as_the_recipe_says_and_are_read_in_float32(tmp_path: Path) -> None:
    train(tiny(1).model_copy(update={"weights": "float16"}), tmp_path / "model", tmp_path / "run")
    assert {value.dtype for value in weights(tmp_path / "model").values()} == {torch.float16}
    assert {value.dtype for value in open_backend(str(tmp_path / "model")).net.parameters()} == {torch.float32}


def test_a_model_in_shards_opens_like_one_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny(1), tmp_path / "whole", tmp_path / "run")
    monkeypatch.setattr(release, "SHARD", "20KB")
    train(tiny(1), tmp_path / "cut", tmp_path / "run")
    assert len(list((tmp_path / "cut").glob("*.safetensors"))) > 1
    whole, cut = (open_backend(str(tmp_path / name)).net.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    next((tmp_path / "cut").glob("*.safetensors")).unlink()
    with pytest.raises(DamagedFile, match="restore"):
        open_backend(str(tmp_path / "cut"))


def test_training_for_some_minutes_writes_the_model_as_it_is(tmp_path: Path) -> None:
    train(tiny(3), tmp_path / "model", tmp_path / "run")
    card = train(tiny(3), tmp_path / "model", tmp_path / "run", minutes=0)
    assert (card.training["steps"], card.training["steps_planned"]) == (3, 3)
    assert train(tiny(3), tmp_path / "new", tmp_path / "none", minutes=0).training["steps"] == 0


def test_samples_are_kept_along_the_way(tmp_path: Path) -> None:
    train(tiny(4), tmp_path / "model", tmp_path / "run", sample_every=2)
    assert [path.name for path in sorted((tmp_path / "run" / "samples").iterdir())] == ["step-0000002.png", "step-0000004.png"]


def test_the_log_splits_the_loss_by_noise_level(tmp_path: Path) -> None:
    train(recipe("digits-ddpm", network=TINY, steps=30, batch=32, warmup=5), tmp_path / "model", tmp_path / "run")
    log = pd.read_parquet(tmp_path / "run" / "log.parquet")
    assert (len(log), log.step.unique().tolist(), log.images.unique().tolist()) == (10, [30], [960])
    assert log.timestep_low.tolist() == list(range(0, 1000, 100))
    assert log.sigma.is_monotonic_increasing
    assert log.loss.notna().all()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", None])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    train(tiny(2), tmp_path / "model", tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(content if content is not None else checkpoint.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"checkpoint\.safetensors is damaged.*delete it"):
        train(tiny(2), tmp_path / "model", tmp_path)


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    with pytest.raises(DamagedFile, match="another recipe"):
        train(tiny(3), tmp_path / "model", tmp_path / "run")
    with pytest.raises(DamagedFile, match="other data"):
        training.train(tiny(2), open_dataset("shapes:500", 8), tmp_path / "run", tmp_path / "model")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Run(tiny(2), open_dataset("digits"))
    run.restore(tmp_path / "run")
    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(StoreUnavailable, match="disk is full"):
        run.save(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*"))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    run.advance()
    run.net.conv_in.weight.data.fill_(float("nan"))
    with pytest.raises(NoisescopeError, match="became nan at step 1"):
        run.advance()


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(UnknownName, match="allowed: cifar10-ddpm, digits-ddpm, shapes-ddpm"):
        recipe("cats")
    with pytest.raises(InvalidRequest, match="allowed for cifar10-ddpm: small, base"):
        recipe("cifar10-ddpm", "huge")


def test_every_recipe_is_of_the_size_it_should_be() -> None:
    counts = {(one.name, one.size): sum(p.numel() for p in UNet2DModel(**one.network).parameters()) for one in RECIPES}
    assert counts["shapes-ddpm", "small"] <= 1_500_000
    assert counts["cifar10-ddpm", "small"] * 2 <= 10_000_000  # bytes in float16
    assert 15_000_000 <= counts["cifar10-ddpm", "base"] <= 36_000_000


def test_images_of_another_size_than_the_recipe_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidData, match="8 pixels wide; shapes-ddpm reads 16"):
        Run(recipe("shapes-ddpm"), digits)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "config.json", "scheduler_config.json", "card.json"])
@pytest.mark.parametrize("damage", ["truncate", "remove"])
def test_a_damaged_model_folder_is_one_sentence(tmp_path: Path, name: str, damage: str) -> None:
    train(tiny(1), tmp_path / "model", tmp_path / "run.ckpt")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[:-50]) if damage == "truncate" else path.unlink()
    with pytest.raises(NoisescopeError, match=r"restore|allowed"):
        open_backend(str(tmp_path / "model"))


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path: Path) -> None:
    train(tiny(1), tmp_path / "model", tmp_path / "run.ckpt")
    card = tmp_path / "model" / "card.json"
    facts = json.loads(card.read_text())
    card.write_text(json.dumps(facts | {"identity": "unet2d:sha256:0"}))
    with pytest.raises(DamagedFile, match="not those of its card"):
        open_backend(str(tmp_path / "model"))
