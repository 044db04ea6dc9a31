"""Guided-diffusion checkpoints against fixed vectors: outputs and block outputs of the published implementation.

`assets/adm_vectors.safetensors` holds, of four small networks, an input, the output and the output of every block; weights are drawn
here as they were there, from a seed over the sorted names.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from analysis.backends import describe, open_backend
from analysis.backends._adm import Untold, blocks_of, converted, network, read
from analysis.backends.adm import assumed, trained
from analysis.errors import DamagedFile, InvalidRequest, NoisescopeError

from .families import adm_state

VECTORS = Path(__file__).parent / "assets" / "adm_vectors.safetensors"
UNTOLD = {
    "plain": Untold(4),
    "deep": Untold(8),
    "classes": Untold(4, head_channels=None, heads=4),
    "newer": Untold(8, head_channels=32, heads_first=False),
}
pytestmark = pytest.mark.usefixtures("own_store")
each = pytest.mark.parametrize("name", UNTOLD)


def vectors(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Facts of a network, and its tensors: `x`, `out`, and its blocks' outputs from `1`."""
    with safe_open(VECTORS, framework="pt") as file:
        facts = json.loads(file.metadata()[name])
        return facts, {key.partition("/")[2]: file.get_tensor(key) for key in file.keys() if key.startswith(f"{name}/")}  # noqa: SIM118


def weights(name: str) -> dict[str, Tensor]:
    facts, _ = vectors(name)
    rng, found = np.random.RandomState(facts["seed"]), {}
    for key, shape in sorted(facts["shapes"].items()):
        drawn = rng.standard_normal(shape)
        scaled = drawn / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.1 * drawn + key.endswith("weight")
        found[key] = torch.from_numpy(scaled).float()
    return found


def largest_error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, in parts of the largest number."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@each
def test_the_output_and_every_blocks_output_are_the_published_implementations(name: str) -> None:
    (facts, known), state = vectors(name), weights(name)
    found = read(state)
    net = trained(state, found, UNTOLD[name]).eval()
    seen: dict[str, Tensor] = {}
    layers = blocks_of(found)
    for block, path in ((layer.name, layer.path) for layer in layers):
        net.get_submodule(path).register_forward_hook(lambda m, i, o, block=block: seen.update({block: o}))
    label = None if facts["label"] is None else torch.tensor([facts["label"]])
    with torch.no_grad():
        out = net(known["x"], facts["timestep"], label).sample
    assert largest_error(out, known["out"]) < 1e-5
    assert [layer.literature for layer in layers] == [f"ADM {i + 1}" for i in range(facts["blocks"])]
    assert all(largest_error(seen[block], known[str(i)]) < 1e-5 for i, block in enumerate((layer.name for layer in layers), 1))


@pytest.mark.parametrize("change", [{"heads": 2}, {"head_channels": 32}, {"heads_first": False}])
def test_another_reading_of_the_attention_is_seen(change: dict[str, Any]) -> None:
    (facts, known), state = vectors("deep"), weights("deep")
    net = trained(state, read(state), replace(UNTOLD["deep"], **change)).eval()
    with torch.no_grad():
        assert largest_error(net(known["x"], facts["timestep"]).sample, known["out"]) > 1e-3


@each
def test_the_architecture_is_told_from_the_state_dict(name: str) -> None:
    found = read(weights(name))
    told = {
        "plain": (32, (32, 64), 1, (False, True), 3, None, False, False),
        "deep": (32, (32, 64, 128), 1, (False, True, True), 6, None, True, True),
        "classes": (32, (32, 64), 2, (False, True), 6, 5, True, True),
        "newer": (64, (32, 64), 1, (False, True), 6, 3, True, True),
    }[name]
    assert told == (
        found.base,
        found.widths,
        found.resnets,
        found.attends,
        found.out_channels,
        found.classes,
        found.scale_shift,
        found.resnet_sampling,
    )


@pytest.mark.parametrize(
    ("widths", "resnets", "attends", "base", "classes", "side", "millions"),
    [
        ((192, 384, 576, 768), 3, 1, 192, 1000, 64, 296),
        ((256, 256, 512, 768, 1024), 2, 2, 256, 1000, 128, 422),
        ((256, 256, 512, 512, 1024, 1024), 2, 3, 256, 1000, 256, 554),
        ((256, 256, 512, 512, 1024, 1024), 2, 3, 256, None, 256, 553),
        ((128, 256, 256, 512, 512, 1024, 1024), 2, 4, 256, 1000, 512, 559),
    ],
)
def test_published_checkpoints_are_known_by_their_shapes(
    widths: tuple[int, ...], resnets: int, attends: int, base: int, classes: int | None, side: int, millions: int
) -> None:
    state = adm_state(widths, resnets, attends, base, classes)
    found = read(state)
    untold, notes = assumed(found)
    assert (untold.resolution, found.classes, found.multipliers[-1]) == (side, classes, widths[-1] / base)
    assert f"{side}x{side}_diffusion" in notes[0]
    with torch.device("meta"):
        net = network(found, untold)
    net.load_state_dict(converted(state, found, untold), strict=True, assign=True)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6) == millions  # as the paper's tables have them; 553 without classes


def test_the_network_of_256_has_37_blocks_as_the_literature_counts_them() -> None:
    layers = blocks_of(read(adm_state((256, 256, 512, 512, 1024, 1024), 2, 3, 256, None)))
    by_number = {layer.literature: layer.name for layer in layers}
    assert len(layers) == 37
    # 18 of the encoder, the middle, 18 of the decoder; 24 is the second ResNet of the decoder at 16×16.
    assert [by_number[f"ADM {i}"] for i in (1, 2, 4, 18, 19, 20, 22, 24, 37)] == [
        "conv_in",
        "down0.res0",
        "down0.down",
        "down5.res1",
        "mid",
        "up0.res0",
        "up0.up",
        "up1.res1",
        "up5.res2",
    ]
    assert [layer.stage for layer in layers] == ["down"] * 18 + ["mid"] + ["up"] * 18


def saved(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "small.pt")
    return str(folder / "small.pt")


def test_a_file_is_described_and_opened(tmp_path: Path) -> None:
    state = weights("deep") | {"out.2.weight": weights("deep")["out.2.weight"].half()}
    place = saved(state, tmp_path)
    card = describe(place)
    assert (card.family, card.name, card.resolution, card.parameters) == ("adm", "small", 64, sum(v.numel() for v in state.values()))
    assert card.parameter_bytes == 4 * card.parameters
    assert "assumed" in card.notes[0]
    assert "half precision" in card.notes[1]
    backend = open_backend(place)
    assert backend.card == card
    x = torch.zeros(1, 3, 64, 64)
    assert backend.denoise(x, torch.tensor([1.0])).shape == x.shape


def test_epsilon_is_the_first_half_of_the_output(tmp_path: Path) -> None:
    backend = open_backend(saved(weights("deep"), tmp_path))
    x, sigma = torch.randn(1, 3, 64, 64), torch.tensor([backend.card.sigmas[86]], dtype=torch.float64)
    scale = float(backend.schedule.input_scale(sigma))
    eps = backend.net(x * scale, 86).sample[:, :3]
    torch.testing.assert_close(backend.denoise(x, sigma), x - float(sigma) * eps, rtol=1e-5, atol=1e-5)


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights("plain").items() if not key.startswith(name)}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (without("output_blocks"), "a classifier"),
        (without("input_blocks.2."), "conv_resample"),
        (without("middle_block.1."), "The middle is not"),
        (without("time_embed"), "no guided-diffusion network"),
        (without("out.0.bias"), "Missing key"),
        (without("nothing") | {"extra.weight": torch.zeros(1)}, "no place"),
        (without("nothing") | {"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}, "an upsampler"),
        (without("nothing") | {"output_blocks.0.0.skip_connection.weight": torch.zeros(64, 128, 3, 3)}, "3×3 convolution"),
        (without("output_blocks.1.1"), "differ in attention|not as many ResNets"),
        ({"epoch": 3}, "no state dict"),
    ],
)
def test_what_cannot_be_expressed_is_refused_and_said(state: dict[str, Any], words: str, tmp_path: Path) -> None:
    place = saved(state, tmp_path)
    with pytest.raises(InvalidRequest, match=words):
        open_backend(place)


class Planted:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint ran')",)


def test_a_file_with_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"model": Planted()}, tmp_path / "bad.pt")
    with pytest.raises(DamagedFile, match="could run code"):
        open_backend(str(tmp_path / "bad.pt"))


def test_a_truncated_file_is_one_sentence(tmp_path: Path) -> None:
    place = Path(saved(weights("plain"), tmp_path))
    place.write_bytes(place.read_bytes()[:-1000])
    with pytest.raises(NoisescopeError, match="cannot be read"):
        open_backend(str(place))
