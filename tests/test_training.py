from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from analysis import release, training
from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.datasets.base import Dataset
from analysis.errors import DamagedFile, InvalidData, InvalidRequest, NoisescopeError, StoreUnavailable, UnknownName
from analysis.recipes import RECIPES, Recipe, recipe
from analysis.specs import Card
from analysis.timesteps import draw_timesteps
from analysis.training import Run

from .conftest import TINY


def tiny(steps: int = 6) -> Recipe:
    return recipe("digits-ddpm", network=TINY, steps=steps, batch=8, warmup=2)


def train(spec: Recipe, out: Path, folder: Path, **options: Any) -> Card:
    return training.train(spec, open_dataset("digits"), folder, out, **{"save_every": 0.0} | options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "diffusion_pytorch_model.safetensors")


def interrupted(monkeypatch: pytest.MonkeyPatch, where: str, number: int) -> None:
    """A signal to end comes in the middle of the sixth step."""
    real = getattr(Run, where)

    def method(run: Run, *given: Any) -> Any:
        if run.step in (5, 6) and not signalled:
            signalled.append(run.step)
            os.kill(os.getpid(), number)
        return real(run, *given)

    signalled: list[int] = []
    monkeypatch.setattr(Run, where, method)


@pytest.mark.parametrize("where", ["advance", "_batch", "_rate", "_average", "save"])
@pytest.mark.parametrize(("data", "number"), [("digits", signal.SIGINT), ("shapes", signal.SIGTERM)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, number: int, where: str
) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    spec, images = recipe("digits-ddpm", network=TINY, steps=10, batch=8, warmup=2, flips=True), open_dataset(data, 8)
    training.train(spec, images, tmp_path / "whole", tmp_path / "a", save_every=0)
    with monkeypatch.context() as patch:
        interrupted(patch, where, number)
        with pytest.raises(KeyboardInterrupt):
            training.train(spec, images, tmp_path / "cut", tmp_path / "b", save_every=0)
    assert not (tmp_path / "b").exists()
    training.train(spec, images, tmp_path / "cut", tmp_path / "b")
    states = [load_file(tmp_path / run / "checkpoint.safetensors") for run in ("whole", "cut")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] if name != "log")  # the log has seconds
    logs = [pd.read_parquet(tmp_path / run / "log.parquet").drop(columns="seconds") for run in ("whole", "cut")]
    pd.testing.assert_frame_equal(*logs)
    assert sorted(set(logs[0].step)) == [4, 8, 10]


def test_only_images_outside_the_test_split_are_trained_on(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    seen = {image.numpy().tobytes() for image in run.images}
    test = torch.from_numpy(digits.images[digits.split == "test"]).permute(0, 3, 1, 2)
    assert len(run.images) == (digits.split != "test").sum()
    assert not any(image.numpy().tobytes() in seen for image in test)


def test_a_finite_set_is_trained_on_as_it_is() -> None:
    finite = open_dataset("shapes:50", 8)
    run = Run(tiny(), finite)
    batch = (run._batch(torch.arange(8)) + 1) * 127.5
    grey = torch.from_numpy(finite.images[finite.split != "test"]).float().mean(-1)
    assert all(((image - grey).abs().amax((1, 2)) < 0.01).any() for image in batch[:, 0])


def test_training_reduces_the_loss(digits: Dataset) -> None:
    run = Run(recipe("digits-ddpm", network=TINY, steps=60, batch=32, warmup=5), digits)
    losses = [run.advance() for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_trained_model_opens_and_its_card_tells_how_it_was_made(tmp_path: Path) -> None:
    card = train(tiny(), tmp_path / "model", tmp_path / "run.ckpt")
    assert open_backend(str(tmp_path / "model")).card == card
    assert (card.training["steps"], card.training["images_seen"], card.training["data"]) == (6, 48, "digits")
    other = training.train(tiny(2), open_dataset("shapes:50", 8), tmp_path / "other", tmp_path / "model2")
    assert other.training["data"] == "shapes"  # and not the recipe's


def test_the_card_says_on_what_the_steps_were_made_and_not_where_the_model_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(tiny(4), tmp_path / "model", tmp_path / "run", minutes=1e9).training["hardware"]
    assert f"{torch.get_num_threads()} thread(s), torch {torch.__version__}" in first
    monkeypatch.setattr(training, "describe_device", lambda _: "another machine")
    assert train(tiny(4), tmp_path / "model", tmp_path / "run", minutes=0).training["hardware"] == first


def test_steps_on_several_machines_are_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Run.advance

    def three(run: Run) -> float:
        if run.step == 3:
            raise RuntimeError("the machine is lost")
        return real(run)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "advance", three)
        with pytest.raises(RuntimeError):
            train(tiny(4), tmp_path / "model", tmp_path / "run")
    monkeypatch.setattr(training, "describe_device", lambda _: "another machine")
    hardware = train(tiny(4), tmp_path / "model", tmp_path / "run").training["hardware"]
    assert [part.rpartition(": ")[2] for part in hardware.split("; ")] == ["3 steps", "1 steps"]
    assert "another machine" in hardware


def test_another_runs_model_is_not_written_over(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    with pytest.raises(InvalidRequest, match=r"another run's model \(steps_planned 2, not 3\); give --out another folder"):
        train(tiny(3), tmp_path / "model", tmp_path / "longer")
    with pytest.raises(InvalidRequest, match=r"another run's model \(data_identity"):
        training.train(tiny(2), open_dataset("shapes:50", 8), tmp_path / "other", tmp_path / "model")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InvalidRequest, match="is a file"):
        train(tiny(2), tmp_path / "file", tmp_path / "run")


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
    with pytest.raises(InvalidRequest, match="no run of digits-ddpm on digits to write"):
        train(tiny(3), tmp_path / "new", tmp_path / "none", minutes=0)
    assert not (tmp_path / "new").exists()


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


@pytest.mark.parametrize("damage", ["empty", "junk", "cut", "flipped"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, damage: str) -> None:
    train(tiny(2), tmp_path / "model", tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    whole = checkpoint.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - value for value in whole[middle : middle + 4]) + whole[middle + 4 :]
    checkpoint.write_bytes({"empty": b"", "junk": b"not a checkpoint at all", "cut": whole[:-100], "flipped": flipped}[damage])
    with pytest.raises(DamagedFile, match=r"checkpoint\.safetensors is damaged.*delete it"):
        train(tiny(2), tmp_path / "model", tmp_path)


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    with pytest.raises(DamagedFile, match="another recipe"):
        train(tiny(3), tmp_path / "model", tmp_path / "run")
    with pytest.raises(DamagedFile, match="other data"):
        training.train(tiny(2), open_dataset("shapes:500", 8), tmp_path / "run", tmp_path / "model")


FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")]


@pytest.mark.parametrize("error", FULL, ids=["python", "safetensors"])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()

    def full(_: Any, path: Path, *__: Any) -> None:
        path.write_bytes(b"half")
        raise error

    run = Run(tiny(2), open_dataset("digits"))
    run.restore(tmp_path / "run")
    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(StoreUnavailable, match=r"disk is full|free some disk"):
        run.save(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert not list((tmp_path / "run").glob(".*"))


@pytest.mark.parametrize("error", FULL, ids=["python", "safetensors"])
def test_a_full_disk_leaves_the_last_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}

    def full(_: UNet2DModel, folder: Path, **__: Any) -> None:
        folder.mkdir()
        (folder / "diffusion_pytorch_model-00001-of-00005.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(UNet2DModel, "save_pretrained", full)
        with pytest.raises(StoreUnavailable, match=r"disk is full|free some disk"):
            train(tiny(2), tmp_path / "model", tmp_path / "run", minutes=0)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


def test_what_a_killed_export_left_is_not_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / "model" / ".new").mkdir(parents=True)
    (tmp_path / "model" / ".new" / "diffusion_pytorch_model.safetensors.index.json").write_text("{}")
    card = train(tiny(2), tmp_path / "model", tmp_path / "run")
    assert open_backend(str(tmp_path / "model")).card == card


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_is_not_taken_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    spec, images = tiny(), open_dataset("digits")
    clean, real = training.train(spec, images, tmp_path / "clean", tmp_path / "a"), Run._batch
    hooks = []

    def poisoned(run: Run, generator: torch.Generator) -> torch.Tensor:
        batch = real(run, generator)
        if run.step == 3 and what == "gradient":
            hooks.append(run.net.conv_in.weight.register_hook(lambda grad: grad * float("inf")))
        return batch * float("nan") if run.step == 3 and what == "loss" else batch

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_batch", poisoned)
        with pytest.raises(NoisescopeError, match=rf"The {what} became (nan|inf) at step 3; the last checkpoint is good"):
            training.train(spec, images, tmp_path / "run", tmp_path / "b", save_every=0)
    assert training.train(spec, images, tmp_path / "run", tmp_path / "b").identity == clean.identity


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(
        UnknownName, match="allowed: cifar10-ddpm, cifar10-study, digits-ddpm, digits-ddpm-classes, digits-study, shapes-ddpm, shapes-study"
    ):
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
    if (name, damage) == ("card.json", "remove"):
        pytest.skip("a folder without a card is any diffusers folder: tests/test_families.py")
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


def test_timesteps_follow_a_normal_logarithm_of_sigma_where_the_recipe_says_so() -> None:
    spec, alphas = tiny(1).model_copy(update={"batch": 4000, "log_sigma": (-1.2, 1.2)}), DDPMScheduler().alphas_cumprod
    sigmas = ((1 - alphas) / alphas).sqrt().log()
    found = sigmas[draw_timesteps(spec, alphas, torch.Generator().manual_seed(0))]
    assert found.median() == pytest.approx(-1.2, abs=0.08)
    assert found.quantile(0.84) - found.median() == pytest.approx(1.2, abs=0.1)
    for sigma in (0.0001, 0.2, 0.296, 1e6):  # below, inside and above the schedule's levels
        alone = spec.model_copy(update={"log_sigma": (float(np.log(sigma)), 0.0)})
        (t,) = set(draw_timesteps(alone, alphas, torch.Generator()).tolist())
        assert t == int((sigmas - np.log(sigma)).abs().argmin())
    assert "log_sigma" not in tiny(1).canonical()
