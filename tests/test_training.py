from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from analysis import training
from analysis.backends import open_backend
from analysis.datasets.base import Dataset
from analysis.errors import DamagedFile, NoisescopeError, UnknownName
from analysis.training import Run, recipe, train

from .conftest import TINY


def tiny(steps: int = 6) -> training.Recipe:
    return recipe("digits-ddpm", network=TINY, steps=steps, batch=8, warmup=2)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "diffusion_pytorch_model.safetensors")


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny(), tmp_path / "whole", tmp_path / "whole.ckpt", every=2)
    real = Run.advance

    def until_four(run: Run) -> float:
        if run.step == 5:
            raise KeyboardInterrupt
        return real(run)

    monkeypatch.setattr(Run, "advance", until_four)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path / "cut", tmp_path / "cut.ckpt", every=2)
    monkeypatch.setattr(Run, "advance", real)
    train(tiny(), tmp_path / "cut", tmp_path / "cut.ckpt", every=2)
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_only_images_outside_the_test_split_are_trained_on(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    seen = {image.numpy().tobytes() for image in run.images}
    test = torch.from_numpy(digits.images[digits.split == "test"]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert len(run.images) == (digits.split != "test").sum()
    assert not any(image.numpy().tobytes() in seen for image in test.mean(1, keepdim=True))


def test_training_reduces_the_loss(digits: Dataset) -> None:
    run = Run(recipe("digits-ddpm", network=TINY, steps=60, batch=32, warmup=5), digits)
    losses = [run.advance() for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_trained_model_opens_and_its_card_tells_how_it_was_made(tmp_path: Path) -> None:
    card = train(tiny(), tmp_path / "model", tmp_path / "run.ckpt", every=2)
    assert open_backend(str(tmp_path / "model")).card == card
    assert (card.training["steps"], card.training["images_seen"], card.training["data"]) == (6, 48, "digits")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", None])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    checkpoint = tmp_path / "run.ckpt"
    train(tiny(2), tmp_path / "model", checkpoint, every=2)
    checkpoint.write_bytes(content if content is not None else checkpoint.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"run\.ckpt is damaged.*delete it"):
        train(tiny(2), tmp_path / "model", checkpoint)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "model", tmp_path / "run.ckpt", every=2)
    with pytest.raises(DamagedFile, match="another recipe"):
        train(tiny(3), tmp_path / "model", tmp_path / "run.ckpt")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(digits: Dataset) -> None:
    run = Run(tiny(), digits)
    run.advance()
    run.net.conv_in.weight.data.fill_(float("nan"))
    with pytest.raises(NoisescopeError, match="became nan at step 1"):
        run.advance()


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(UnknownName, match="allowed: digits-ddpm"):
        recipe("cats")


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
