"""Baseline encoders: tiny random models of every kind, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from analysis import hub, registry
from analysis.__main__ import app
from analysis.catalog import Lacking, lacks
from analysis.encoders import open_encoder
from analysis.encoders.base import Encoder
from analysis.encoders.transformers import preprocessing
from analysis.errors import DamagedFile, InvalidRequest, NoisescopeError, UnknownName

from . import vision
from .standin import pretending, read_folder

SHOWN = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))  # noise leaves [-1, 1]
BY_HAND: dict[str, Callable[..., Tensor]] = {
    "resnet": lambda model, x: model.resnet(x).last_hidden_state.mean((2, 3)),
    "vit": lambda model, x: model.vit(x).last_hidden_state[:, 0],
    "dinov2": lambda model, x: model(x).pooler_output,
    "clip": lambda model, x: model.vision_model.post_layernorm(model.vision_model(x).last_hidden_state[:, 0]),
    "clip-vision": lambda model, x: model(x).pooler_output,
    "siglip": lambda model, x: model.vision_model(x).pooler_output,
    "siglip-vision": lambda model, x: model(x).pooler_output,
    "convnext": lambda model, x: model(x).pooler_output,
    "ijepa": lambda model, x: model(x).last_hidden_state.mean(1),
}
SEEN = {"resnet": "labels", "vit": "labels", "mae": "neither", "dinov2": "neither", "clip": "text", "siglip": "text", "convnext": "unknown"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, object]]:
    root = tmp_path_factory.mktemp("encoders")
    return {name: (root / f"tiny-{name}", vision.save(name, root / f"tiny-{name}")) for name in vision.MODELS}


def opened(folder: Path) -> Encoder:
    return open_encoder(f"transformers:{folder}")


@torch.inference_mode()
def read(encoder: Encoder, x: Tensor) -> Tensor:
    return encoder(x)


def prepared(x: Tensor) -> Tensor:
    """What a model is shown, by hand."""
    x = functional.interpolate((x + 1) / 2, (16, 16), mode="bilinear", antialias=True)
    return (x - torch.tensor(vision.MEAN).reshape(3, 1, 1)) / torch.tensor(vision.SPREAD).reshape(3, 1, 1)


@pytest.mark.parametrize("name", BY_HAND)
def test_a_vector_is_what_the_model_itself_gives(name: str, saved: dict) -> None:
    folder, model = saved[name]
    with torch.inference_mode():
        expected = BY_HAND[name](model, prepared(SHOWN))
    found = read(opened(folder), SHOWN)
    # The convolutions' memory format differs: equal to rounding.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert float(found.std(0).mean()) > 1e-3  # images differ


def test_mae_masks_and_shuffles_nothing(saved: dict) -> None:
    folder, model = saved["mae"]
    with torch.inference_mode():
        states = model.vit.embeddings.patch_embeddings(prepared(SHOWN)) + model.vit.embeddings.position_embeddings[:, 1:]
        first = model.vit.embeddings.cls_token + model.vit.embeddings.position_embeddings[:, :1]
        states = torch.cat([first.expand(len(states), -1, -1), states], 1)
        for layer in model.vit.layers:
            states = layer(states, None)
        expected = model.vit.layernorm(states)[:, 0]
    before = torch.random.get_rng_state()
    torch.testing.assert_close(read(opened(folder), SHOWN), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("name", vision.MODELS)
def test_vectors_are_the_same_each_time_and_in_every_batch(name: str, saved: dict) -> None:
    one, other = opened(saved[name][0]), opened(saved[name][0])
    found = read(one, SHOWN)
    assert torch.equal(found, read(other, SHOWN))
    assert one.identity == other.identity
    alone = torch.cat([read(one, image[None]) for image in SHOWN])
    torch.testing.assert_close(alone, found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_every_encoder_gives_one_vector_an_image_of_the_length_it_says(name: str, saved: dict) -> None:
    encoder = open_encoder(f"{name}:{saved['vit'][0]}" if name == "transformers" else name)
    for channels, side in ((1, 8), (3, 32)):
        found = read(encoder, torch.zeros(2, channels, side, side))
        assert found.shape == (2, encoder.dimension(channels, side))
    assert "/" not in encoder.name
    assert encoder.facts()["identity"] == encoder.identity


def test_nothing_of_an_encoder_is_trained(saved: dict) -> None:
    net = opened(saved["vit"][0]).net  # type: ignore[attr-defined]
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_noise_is_not_clipped_and_grey_is_shown_as_three_colours(saved: dict) -> None:
    encoder = opened(saved["vit"][0])
    assert not torch.allclose(read(encoder, 20 * SHOWN), read(encoder, (20 * SHOWN).clamp(-1, 1)))
    grey = SHOWN[:, :1]
    assert torch.equal(read(encoder, grey), read(encoder, grey.repeat(1, 3, 1, 1)))
    with pytest.raises(InvalidRequest, match="Images of 4 channels"):
        encoder(torch.zeros(1, 4, 8, 8))


@pytest.mark.parametrize("name", SEEN)
def test_it_says_what_it_is_and_what_it_saw_in_training(name: str, saved: dict) -> None:
    folder, model = saved[name]
    facts = opened(folder).facts()
    assert (facts["name"], facts["place"]) == (f"tiny-{name}", f"transformers:{folder}")
    assert (facts["seen"], facts["resolution"]) == (SEEN[name], [16, 16])
    part = {"resnet": "resnet", "vit": "vit", "mae": "vit", "clip": "vision_model", "siglip": "vision_model"}.get(name)
    assert facts["parameters"] == sum(p.numel() for p in (getattr(model, part) if part else model).parameters())


def test_identity_is_of_weights_configuration_and_preprocessing_and_not_of_the_place(saved: dict, tmp_path: Path) -> None:
    copies = {name: tmp_path / name for name in ("moved", "weights", "shown", "configuration", "version")}
    for copy in copies.values():
        shutil.copytree(saved["vit"][0], copy)
    tensors = load_file(copies["weights"] / "model.safetensors")
    tensors[next(name for name in tensors if "layernorm" in name)] += 1e-3
    save_file(tensors, copies["weights"] / "model.safetensors", metadata={"format": "pt"})
    change(copies["shown"] / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
    change(copies["configuration"] / "config.json", layer_norm_eps=1e-3)
    change(copies["version"] / "config.json", transformers_version="5.0.0")
    first = opened(saved["vit"][0]).identity
    found = {name: opened(copy).identity for name, copy in copies.items()}
    assert found["moved"] == found["version"] == first
    assert len({first, found["weights"], found["shown"], found["configuration"]}) == 4


def test_weights_in_several_files_are_those_of_one(saved: dict, tmp_path: Path) -> None:
    folder, model = saved["vit"]
    model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    encoder = opened(tmp_path / "shards")
    assert torch.equal(read(encoder, SHOWN), read(opened(folder), SHOWN))
    next((tmp_path / "shards").glob("model-*.safetensors")).unlink()
    with pytest.raises(DamagedFile, match="lack a file"):
        opened(tmp_path / "shards")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


SAID = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"size": 224}, (224, 224)),
        ({"size": {"height": 30, "width": 20}}, (30, 20)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "crop_size": 224, "do_center_crop": False}, (256, 256)),
        ({}, (18, 18)),
    ],
)
def test_the_size_is_the_crops_else_the_resized_images_else_the_networks(said: dict, size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID | said))
    assert preprocessing(tmp_path, {"image_size": 18}, "x").size == size


def test_preprocessing_may_stand_in_the_processors_file_and_may_leave_colours_alone(tmp_path: Path) -> None:
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 8, "do_normalize": False}}))
    found = preprocessing(tmp_path, {}, "x")
    assert (found.mean, found.spread) == ((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "size None"),
        ({"size": 8, "image_std": [0, 1, 1]}, "three spreads above 0"),
        ({"size": 8, "image_mean": None}, "mean None"),
        ({"size": 8, "rescale_factor": 1 / 127.5}, "allowed: by 1/255"),
        ({"size": 8, "do_rescale": False}, "multiplies bytes by 1;"),
    ],
)
def test_preprocessing_that_is_not_understood_is_refused(said: dict, words: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID | said))
    with pytest.raises(InvalidRequest, match=words):
        preprocessing(tmp_path, {}, "x")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    without_weights(folder)


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def lacking(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in tensors if name.endswith("cls_token")))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def of_text(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def of_both(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))


def of_its_own_code(folder: Path) -> None:
    change(folder / "config.json", model_type="my_own", auto_map={"AutoModel": "modeling.Own"})
    (folder / "modeling.py").write_text("raise SystemExit('this was run')")


def of_another_size(folder: Path) -> None:
    change(folder / "preprocessor_config.json", size={"height": 20, "width": 20})


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (without_weights, "has no model.safetensors"),
        (pickled, "never from pickled ones"),
        (cut, "cannot be read"),
        (lacking, "lack 1 tensors, such as .*cls_token"),
        (of_text, "does not read images"),
        (of_both, "does not read images"),
        (of_its_own_code, "no code of a repository is run"),
        (of_another_size, "gives no vector for an image of 20×20"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "has no preprocessor_config.json"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json cannot be read"),
    ],
)
def test_what_cannot_be_an_encoder_is_said_in_a_sentence(harm: Callable[[Path], object], words: str, saved: dict, tmp_path: Path) -> None:
    shutil.copytree(saved["vit"][0], tmp_path / "copy")
    harm(tmp_path / "copy")
    with pytest.raises(NoisescopeError, match=words) as raised:
        opened(tmp_path / "copy")
    assert str(raised.value).endswith(".")
    assert len(str(raised.value).splitlines()) == 1


def test_what_was_not_fetched_and_a_place_that_is_none_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretending(tmp_path, monkeypatch) as standin:
        with pytest.raises(InvalidRequest, match="'no/where/at/all' is not on this machine"):
            open_encoder("transformers:no/where/at/all")
        with pytest.raises(InvalidRequest, match=r"models fetch facebook/dinov2-small --encoder`, or 'Look it up'"):
            open_encoder("transformers:facebook/dinov2-small")
        with pytest.raises(InvalidRequest, match="No place is given"):
            open_encoder("transformers")
        with pytest.raises(UnknownName, match="Unknown encoder 'timm'"):
            open_encoder("timm:resnet18")
        assert standin.asked == []  # opening asks nothing of a network


def test_an_encoder_of_the_hub_is_fetched_and_opened_without_a_network(
    saved: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pretending(tmp_path, monkeypatch) as standin:
        more = {"pytorch_model.bin": b"x" * 9000, "onnx/model.safetensors": b"x"}
        commit = standin.repo("someone/tiny", read_folder(saved["vit"][0]) | more).branches["main"]
        assert lacks("someone/tiny", "encoder") == Lacking("encoder", "someone/tiny")
        result = CliRunner().invoke(app, ["models", "fetch", "someone/tiny", "--encoder"])
        assert result.exit_code == 0, result.output
        standin.close()
        for name in ("someone/tiny", f"someone/tiny@{commit[:7]}"):
            found = open_encoder(f"transformers:{name}")
            assert (found.name, found.facts()["revision"]) == ("tiny", commit)
            assert lacks(name, "encoder") is None
        assert found.identity == open_encoder(f"transformers:{saved['vit'][0]}").identity
        assert lacks("someone/tiny") is not None  # of a model that is studied, other files are wanted
        assert {file.name for file in hub.find("someone/tiny", kind="encoder").files} == {
            "config.json",
            "preprocessor_config.json",
            "model.safetensors",
        }
        listed = CliRunner().invoke(app, ["models", "list"]).output
        assert "someone/tiny" in listed


def test_a_repository_without_an_encoders_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretending(tmp_path, monkeypatch) as standin:
        standin.repo("someone/pickled", {"config.json": b"{}", "pytorch_model.bin": b"x"})
        with pytest.raises(InvalidRequest, match=r"no model\.safetensors"):
            hub.look_up("someone/pickled", kind="encoder")
