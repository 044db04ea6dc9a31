"""Word maps: what is read is plain attention, the pass is left as it is, and a planted word is found where it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from analysis import attending, prompted, word_maps
from analysis.attending import Attention, shares
from analysis.backends import open_backend
from analysis.backends.base import Backend, Told
from analysis.devices import TOLERANCE
from analysis.errors import InvalidRequest, UnknownName
from analysis.prompted import merged
from benchmarks.word_maps import peak
from tests import latents

PROMPT = "a red fox, in unsnow"  # the last is of two and one byte-pair tokens: un snow
FAMILIES: dict[str, Callable[[Path], Path]] = {"stable": latents.stable, "xl": latents.xl, "sd3": latents.sd3, "flux": latents.flux}
SIGMA = 0.5


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backend]:
    """A tiny random pipeline of every family, FLUX for small images."""
    folders = {name: make(tmp_path_factory.mktemp(name)) for name, make in FAMILIES.items()}
    return {name: open_backend(f"{folder}?side=32" if name == "flux" else str(folder)) for name, folder in folders.items()}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, opened: dict[str, Backend]) -> Backend:
    return opened[request.param]


def image(model: Backend, seed: int = 0) -> np.ndarray:
    side = model.card.resolution
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def read(model: Backend, prompt: str = PROMPT, others: tuple[str, ...] = (), **more: Any) -> word_maps.Maps:
    return word_maps.maps(model, [image(model)], prompted.prompted(model, prompt, others), [SIGMA], **more)


def attention(q: Tensor, k: Tensor) -> Tensor:
    """(B, H, N, d), (B, H, K, d) -> (B, H, N, K), as the textbook has it."""
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)


@contextmanager
def outputs(model: Backend, *paths: str) -> Iterator[dict[str, Any]]:
    """What modules return, by path, in order."""
    seen: dict[str, Any] = {}
    hooks = [
        model.net.get_submodule(path).register_forward_hook(lambda _m, _i, output, path=path: seen.__setitem__(path, output))
        for path in paths
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def heads(value: Tensor, count: int) -> Tensor:
    return value.unflatten(-1, (count, -1)).transpose(1, 2)


def cross(model: Backend, path: str) -> Tensor:
    with outputs(model, f"{path}.to_q", f"{path}.to_k") as seen:
        read(model)
    return attention(*(heads(seen[f"{path}.{name}"], 2) for name in ("to_q", "to_k")))


def of_sd3(model: Backend) -> Tensor:
    """Image first, then text."""
    path = "transformer_blocks.1.attn"
    with outputs(model, *(f"{path}.{name}" for name in ("to_q", "to_k", "add_k_proj"))) as seen:
        read(model)
    q, k, text = (heads(seen[f"{path}.{name}"], 2) for name in ("to_q", "to_k", "add_k_proj"))
    return attention(q, torch.cat([k, text], 2))[..., q.shape[2] :]


def of_flux(model: Backend) -> Tensor:
    """Text first, then image, turned by their places."""
    path = "transformer_blocks.1.attn"
    with outputs(model, *(f"{path}.{name}" for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k")), "pos_embed") as seen:
        read(model)
    q = torch.cat([seen[f"{path}.norm_added_q"], seen[f"{path}.norm_q"]], 1)
    k = torch.cat([seen[f"{path}.norm_added_k"], seen[f"{path}.norm_k"]], 1)
    q, k = (apply_rotary_emb(value, seen["pos_embed"], sequence_dim=1).transpose(1, 2) for value in (q, k))
    length = seen[f"{path}.norm_added_q"].shape[1]
    return attention(q, k)[:, :, length:, :length]


REFERENCES: dict[str, tuple[str, Callable[[Backend], Tensor]]] = {
    "stable": ("down0.res0", lambda model: cross(model, "down_blocks.0.attentions.0.transformer_blocks.0.attn2")),
    "xl": ("up1.res1", lambda model: cross(model, "up_blocks.1.attentions.1.transformer_blocks.0.attn2")),
    "sd3": ("layer1", of_sd3),
    "flux": ("layer1", of_flux),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_maps_are_those_of_plain_attention_and_sum_to_one(name: str, opened: dict[str, Backend]) -> None:
    model, (block, reference) = opened[name], REFERENCES[name]
    given, found, plain = prompted.prompted(model, PROMPT), read(opened[name], heads=block), reference(opened[name])
    place = found.blocks.index(block)
    assert found.heads is not None
    for i, word in enumerate(given.words):
        wanted = plain[..., list(word.places)].sum(-1)  # (1, H, N)
        torch.testing.assert_close(found.maps[block][0, 0, i].flatten(), wanted.mean(1)[0], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(found.heads[0, 0, :, i].flatten(1), wanted[0], rtol=1e-4, atol=1e-7)
    special = plain[..., list(given.special)].sum(-1).mean()
    torch.testing.assert_close(found.special[0, 0, place], special, rtol=1e-4, atol=1e-7)
    whole = found.share.sum(-1) + found.special + found.image
    torch.testing.assert_close(whole, torch.ones_like(whole))
    assert (found.image.max() < 1e-5) == (name in ("stable", "xl"))


def test_in_a_single_stream_the_text_stands_first(opened: dict[str, Backend]) -> None:
    model, path = opened["flux"], "single_transformer_blocks.1.attn"
    with outputs(model, f"{path}.norm_q", f"{path}.norm_k", "pos_embed") as seen:
        found = read(model)
    q, k = (apply_rotary_emb(seen[f"{path}.{name}"], seen["pos_embed"], sequence_dim=1).transpose(1, 2) for name in ("norm_q", "norm_k"))
    given = prompted.prompted(model, PROMPT)
    plain = attention(q, k)[:, :, len(given.told.tokens) :].mean(1)
    for i, word in enumerate(given.words):
        wanted = plain[0, :, list(word.places)].sum(-1)
        torch.testing.assert_close(found.maps["single1"][0, 0, i].flatten(), wanted, rtol=1e-4, atol=1e-7)


def test_attention_of_the_image_to_itself_alone_is_not_read(tmp_path: Path) -> None:
    """Stable Diffusion 3.5 has a second attention in some layers, and norms of queries and keys."""
    folder = latents.sd3(tmp_path)
    config = SD3Transformer2DModel.load_config(folder / "transformer") | {"dual_attention_layers": (0, 1), "qk_norm": "rms_norm"}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SD3Transformer2DModel.from_config(config)
    net.save_pretrained(folder / "transformer")
    found = read(open_backend(str(folder)), others=("house",))
    whole = found.share[..., :-1].sum(-1) + found.special + found.image
    torch.testing.assert_close(whole, torch.ones_like(whole))
    assert found.special.min() > 0.5  # 323 of 333 places, beside 16 of the image


def test_a_distilled_network_and_a_lower_precision_have_maps_too(tmp_path: Path, opened: dict[str, Backend]) -> None:
    assert read(open_backend(str(latents.lcm(tmp_path))), others=("house",)).over.isfinite().all()
    for name in ("stable", "flux"):
        lower, whole = read(opened[name].at("bfloat16"), others=("house",)), read(opened[name], others=("house",))
        assert not torch.equal(lower.over, whole.over)
        assert ((lower.over - whole.over).square().mean() / whole.over.square().mean()).sqrt() < TOLERANCE["bfloat16"]


def test_every_block_that_reads_the_text_is_there(opened: dict[str, Backend]) -> None:
    assert read(opened["stable"]).blocks == ("down0.res0", "mid.res0", "up1.res0", "up1.res1")
    assert read(opened["sd3"]).blocks == ("layer0", "layer1", "layer2")
    assert read(opened["flux"]).blocks == ("layer0", "layer1", "single0", "single1")


def test_a_pass_under_observation_gives_the_same_bits(model: Backend) -> None:
    x = torch.randn(2, *model.card.x0_shape, generator=torch.Generator().manual_seed(1))
    levels, condition, seen = torch.full((2,), SIGMA, dtype=torch.float64), f"prompt:{PROMPT}", []
    with torch.inference_mode():
        plain = model.denoise(x, levels, condition)
        with attending.attending(model, len(model.told(condition).tokens), lambda block, given: seen.append(shares(given, torch.ones(1, given.text.stop - given.text.start, 1)))):  # type: ignore[attr-defined]  # fmt: skip
            assert torch.equal(model.denoise(x, levels, condition), plain)
    assert seen


def test_nothing_listens_after_an_exception(opened: dict[str, Backend]) -> None:
    model = opened["stable"]

    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), attending.attending(model, 16, fail):
        model.denoise(torch.zeros(1, 4, 8, 8), torch.tensor([SIGMA]), f"prompt:{PROMPT}")
    model.denoise(torch.zeros(1, 4, 8, 8), torch.tensor([SIGMA]), f"prompt:{PROMPT}")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.net.modules())


def test_chunks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, extra = (torch.randn(2, 3, n, 4, generator=generator) for n in (10, 7, 2))
    given, groups = Attention(torch.nn.Identity(), q, k, 0.5, slice(2, 7)), torch.eye(5)[None]
    whole = shares(given, groups, [extra[:1]], each=True)
    monkeypatch.setattr(attending, "BUDGET", 2 * 4 * 3 * 7 * 4)  # four queries
    for one, other in zip(whole, shares(given, groups, [extra[:1]], each=True), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(whole.groups, torch.softmax(q @ k.transpose(-1, -2) * 0.5, -1)[..., 2:])


def test_weights_of_a_block_are_never_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(2, 4, 2, 512, 8).unbind()
    monkeypatch.setattr(attending, "BUDGET", 1 << 20)
    with torch.inference_mode():
        held = peak(lambda: shares(Attention(torch.nn.Identity(), q, k, 1.0, slice(0, 16)), torch.ones(1, 16, 1)))
    assert 1 << 18 < held < 1 << 20  # all weights of one image would be 2 MB


def test_another_word_is_as_if_its_keys_were_added(opened: dict[str, Backend]) -> None:
    model, path = opened["stable"], "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    given = prompted.prompted(model, PROMPT, ["blue house"])
    with outputs(model, f"{path}.to_q") as seen:
        found = read(model, others=("blue house",))
        q = heads(seen[f"{path}.to_q"], 2)
    to_k: Any = model.net.get_submodule(f"{path}.to_k")
    (other,) = given.others
    keys = heads(to_k(given.told.tensors["encoder_hidden_states"]), 2)
    added = heads(to_k(other.told.tensors["encoder_hidden_states"][:, list(other.word.places)]), 2)
    assert added.shape[2] == 2  # blue, house
    wanted = attention(q, torch.cat([keys, added], 2))[..., -2:].sum(-1).mean(1)
    assert found.words[-1] == "+ blue house"
    torch.testing.assert_close(found.maps["down0.res0"][0, 0, -1].flatten(), wanted[0].detach(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.maps["down0.res0"][:, :, :-1], read(model).maps["down0.res0"])


def test_the_logits_of_another_word_are_those_of_its_keys(opened: dict[str, Backend]) -> None:
    """CLIP reads from left to right, so that until the first attention to the text a longer prompt changes nothing."""
    model, logits = opened["stable"], []

    def take(block: Any, given: Attention) -> None:
        logits.append((given.q @ given.k.transpose(-1, -2)).mul(given.scale).mean(1))

    (other,) = prompted.prompted(model, "a red fox", ["snow"]).others
    x0, eps = word_maps.drawn(model, [image(model)])
    longer = word_maps._Pass(model, prompted.prompted(model, "a red fox snow"), 1, [], (), None)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(longer, "take", take)
        longer.run(x0, eps, torch.tensor([SIGMA], dtype=torch.float64))
    single = word_maps._Pass(model, prompted.prompted(model, "a red fox", ["snow"]), 1, [], (), None)
    with torch.inference_mode():
        single.run(x0, eps, torch.tensor([SIGMA], dtype=torch.float64))
    found = single.found["down0.res0"][0][1]
    torch.testing.assert_close(found[..., 0], logits[0][..., list(other.word.places)].mean(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_in_joint_attention_another_word_has_its_own_pass(name: str, opened: dict[str, Backend]) -> None:
    found, longer = read(opened[name], "a red fox", ("snow",)), read(opened[name], "a red fox snow")
    torch.testing.assert_close(found.over[:, :, -1], longer.over[:, :, -1], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(found.over[:, :, :-1], read(opened[name], "a red fox").over, rtol=1e-4, atol=1e-7)
    assert found.logits.shape == (1, 1, 1, *found.over.shape[-2:])


def test_images_do_not_depend_on_each_other(model: Backend) -> None:
    given, images = prompted.prompted(model, "a fox", ["snow"]), [image(model, 0), image(model, 1)]
    both = word_maps.maps(model, images, given, [0.1, SIGMA])
    alone = word_maps.maps(model, images[1:], given, [SIGMA])
    torch.testing.assert_close(both.over[1:, 1:], alone.over, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(both.logits[1:, 1:], alone.logits, rtol=1e-4, atol=1e-5)


def test_only_blocks_that_are_asked_for_are_kept(opened: dict[str, Backend]) -> None:
    found = read(opened["stable"], blocks=["up1.res0"])
    assert list(found.maps) == ["up1.res0"]
    assert found.share.shape == (1, 1, 4, 6)
    with pytest.raises(UnknownName, match=r"up0\.res0"):
        read(opened["stable"], blocks=["up0.res0"])


def test_over_blocks_is_the_mean_of_enlarged_maps(opened: dict[str, Backend]) -> None:
    found = read(opened["stable"])
    small = found.maps["mid.res0"][0, 0]  # 4 × 4; the others are 8 × 8
    large = torch.nn.functional.interpolate(small[None], (8, 8), mode="bilinear")[None]
    own = [value for name, value in found.maps.items() if name != "mid.res0"]
    torch.testing.assert_close(found.over, torch.stack([*own, large]).mean(0))
    torch.testing.assert_close(found.share[:, :, 0], found.maps["down0.res0"].mean((-2, -1)))


def test_a_word_of_several_tokens_sums_them(opened: dict[str, Backend]) -> None:
    words = prompted.prompted(opened["stable"], PROMPT).words
    assert [(word.name, word.places) for word in words] == [
        *(("a", (1,)), ("red", (2,)), ("fox", (3,)), (",", (4,)), ("in", (5,)), ("unsnow", (6, 7, 8)))
    ]


def test_in_stable_diffusion_3_a_word_has_places_with_both_encoders(opened: dict[str, Backend]) -> None:
    words = {word.name: word.places for word in prompted.prompted(opened["sd3"], "a red fox").words}
    assert words == {"a": (1, 16), "red": (2, 17), "fox": (3, 18)}


def test_words_of_two_encoders_meet_where_they_are_the_same() -> None:
    clip = [("a", (1,)), ("fox", (2,)), (",", (3,)), ("don", (4,))]
    t5 = [("a", (10,)), ("fox,", (11, 12)), ("don't", (13,)), ("sleep", (14,))]
    found = dict(merged([clip, t5]))
    assert found == {"a": (1, 10), "fox": (2, 11, 12), ",": (3,), "don": (4,), "don't": (13,), "sleep": (14,)}


def test_a_second_word_of_a_name_has_a_number(opened: dict[str, Backend]) -> None:
    given = prompted.prompted(opened["stable"], "a red fox in a house", ["fox", "snow"])
    assert given.names == ["a", "red", "fox", "in", "a (2)", "house", "+ fox", "+ snow"]


def test_what_is_cut_is_said_and_another_word_is_then_said_alone(opened: dict[str, Backend]) -> None:
    given = prompted.prompted(opened["stable"], "fox " * 15 + "in snow", ["house"])
    assert len(given.words) == 14
    assert any("cut: “fox in snow”" in sentence for sentence in given.said)
    assert "The prompt leaves no room for “house”: it is said alone." in given.said
    assert given.others[0].word.places == (1,)


def test_an_empty_prompt_has_maps_of_other_words_alone(opened: dict[str, Backend]) -> None:
    assert read(opened["stable"], "", ("fox",)).words == ("+ fox",)
    with pytest.raises(InvalidRequest, match="no word"):
        prompted.prompted(opened["stable"], " ")


def test_a_model_that_is_told_no_text_is_refused_in_a_sentence(tiny: Backend, tmp_path: Path, opened: dict[str, Backend]) -> None:
    with pytest.raises(InvalidRequest, match="told no text"):
        prompted.prompted(tiny, "a fox")
    with pytest.raises(InvalidRequest, match="told no text"):
        prompted.prompted(open_backend(str(latents.dit(tmp_path))), "a fox")
    with pytest.raises(InvalidRequest, match="at most 8"):
        prompted.prompted(opened["stable"], "a fox", [str(n) for n in range(9)])


def test_focus_is_the_share_of_the_highest_tenth() -> None:
    flat, peak = torch.ones(10, 10), torch.zeros(10, 10)
    peak[0, 0] = 1.0
    torch.testing.assert_close(word_maps.focus(torch.stack([flat, peak, peak + flat])), torch.tensor([0.1, 1.0, 11 / 101]))


def test_a_words_map_lies_where_its_colour_is(tmp_path: Path) -> None:
    """The first cross-attention is set so that `red` answers to the colour on the left of the image, `blue` to the other."""
    model: Any = open_backend(str(latents.stable(tmp_path)))
    side, width = model.card.resolution, 16
    half = np.zeros((side, side, 3), np.uint8)
    half[:, : side // 2, 0], half[:, side // 2 :, 2] = 255, 255
    with torch.no_grad():
        x0 = word_maps.x0_of(model, half)
        ends = x0[0, :, :, :3].mean((1, 2)), x0[0, :, :, -3:].mean((1, 2))
        colour, middle = ends[0] - ends[1], (ends[0] + ends[1]) / 2
        net, path = model.net, model.net.down_blocks[0]
        net.conv_in.weight.zero_(), net.conv_in.bias.zero_()
        for channel, sign in ((0, 1.0), (1, -1.0)):
            net.conv_in.weight[channel, :, 1, 1] = sign * colour
            net.conv_in.bias[channel] = -sign * (colour @ middle)
        for module in (path.resnets[0].conv2, path.attentions[0].transformer_blocks[0].attn1.to_out[0]):
            module.weight.zero_(), module.bias.zero_()  # nothing but the colour goes on
        path.attentions[0].proj_in.weight.copy_(torch.eye(width).reshape(path.attentions[0].proj_in.weight.shape))
        path.attentions[0].proj_in.bias.zero_()
        layer = path.attentions[0].transformer_blocks[0].attn2
        layer.to_q.weight.zero_(), layer.to_k.weight.zero_()
        for head in (0, layer.to_q.weight.shape[0] // 2):
            layer.to_q.weight[head, 0], layer.to_q.weight[head, 1] = 1.0, -1.0
            layer.to_k.weight[head, 2], layer.to_k.weight[head, 3] = 4.0, -4.0  # states are one-hot: red stands at place 2, blue at 3
    tokens = ("", "a</w>", "red</w>", "blue</w>", *[""] * 12)
    model.kept = {"prompt:a red blue": Told({"encoder_hidden_states": torch.eye(width)[None]}, tokens)}
    found = word_maps.maps(model, [half], prompted.prompted(model, "a red blue"), [0.03]).maps["down0.res0"][0, 0]
    left, right = found[:, :, : side // 4].mean((1, 2)), found[:, :, side // 4 :].mean((1, 2))
    assert left[1] > 3 * right[1]
    assert right[2] > 3 * left[2], (left, right)
    torch.testing.assert_close(left[0] + right[0], 2 * found[0].mean())
