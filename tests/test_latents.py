"""Models of latents beside plain diffusers: vectors by hooks of the test's own, prompts, VAE, sides, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from analysis.backends import _inside, describe, open_backend
from analysis.backends._latent import Latent
from analysis.backends._prompts import Prompts, words
from analysis.backends.sd3 import StableDiffusion3
from analysis.backends.stable_diffusion import StableDiffusion
from analysis.errors import DamagedFile, InvalidRequest
from analysis.features import capture, load_x0
from analysis.figures import axis_title, noise_axis
from analysis.noise import add_noise
from analysis.planning import Bench
from analysis.probed import ProbedModel, Target
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

from . import latents
from .families import LATENT, SIDE

pytestmark = pytest.mark.usefixtures("own_store")
TOLD = [name for name in LATENT if not name.startswith("dit")]
PROMPT = "prompt:a photo of a red fox"
SIGMA = 0.6


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("latents")
    return {name: make(out) for name, make in LATENT.items()}


def opened(places: dict[str, Path], name: str) -> Latent:
    backend = open_backend(str(places[name]) + SIDE.get(name.partition(":")[0], ""))
    assert isinstance(backend, Latent)
    return backend


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def pipeline_of(place: Path) -> Any:
    named = json.loads((place / "model_index.json").read_text())["_class_name"]
    return getattr(diffusers, named).from_pretrained(place, local_files_only=True)


def plain(place: Path, x: Tensor, sigma: float, prompt: str) -> tuple[Tensor, dict[str, Tensor]]:
    """D(x_σ) and every layer's output by plain diffusers, in each pipeline's own words."""
    made = pipeline_of(place)
    net = getattr(made, "transformer", None) or made.unet
    outputs: dict[str, Any] = {}
    for path, module in net.named_modules():
        module.register_forward_hook(lambda _m, _i, output, path=path: outputs.__setitem__(path, output))
    count = len(x)

    def many(value: Tensor) -> Tensor:
        return value.expand(count, *value.shape[1:])

    cpu = torch.device("cpu")
    with torch.no_grad():
        if hasattr(made.scheduler, "alphas_cumprod"):
            alphas = made.scheduler.alphas_cumprod
            t = int((((1 - alphas) / alphas).sqrt() / sigma).log().abs().argmin())
            alpha = alphas[t]
            u = x * alpha.sqrt()
            steps = torch.tensor([t] * count)
            if isinstance(made, diffusers.DiTPipeline):
                raw = net(u, timestep=steps, class_labels=torch.tensor([5 if prompt == "" else int(prompt)] * count)).sample[:, :4]
            elif isinstance(made, diffusers.StableDiffusionXLPipeline):
                states, _, pooled, _ = made.encode_prompt(prompt, device=cpu, do_classifier_free_guidance=False)
                side = made.vae_scale_factor * net.config.sample_size
                times = made._get_add_time_ids((side, side), (0, 0), (side, side), torch.float32, made.text_encoder_2.config.projection_dim)
                if not prompt:
                    states, pooled = states * 0, pooled * 0
                added = {"text_embeds": many(pooled), "time_ids": many(times)}
                raw = net(u, steps, many(states), added_cond_kwargs=added).sample
            else:
                states, _ = made.encode_prompt(prompt, cpu, 1, False)
                wide = net.config.time_cond_proj_dim
                told = None
                if wide:
                    told = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, torch.zeros(count), wide)
                raw = net(u, steps, many(states), timestep_cond=told).sample
            scheduler = diffusers.DDIMScheduler.from_config(made.scheduler.config, clip_sample=False)
            scheduler.set_timesteps(scheduler.config.num_train_timesteps)
            clean = scheduler.step(raw, t, u).pred_original_sample
        else:
            time = round(1000 * sigma / (1 + sigma)) / 1000
            u = (1 - time) * x
            steps = torch.full((count,), 1000 * time)
            if isinstance(made, diffusers.FluxPipeline):
                states, pooled, ids = made.encode_prompt(
                    prompt, None, device=cpu, max_sequence_length=512 if net.config.guidance_embeds else 256
                )
                height = x.shape[-1]
                packed = made._pack_latents(u, count, 4, height, height)
                guided = torch.full((count,), 3.5) if net.config.guidance_embeds else None
                places = made._prepare_latent_image_ids(count, height // 2, height // 2, cpu, torch.float32)
                raw = net(packed, many(states), many(pooled), steps / 1000, places, ids, guided).sample
                raw = made._unpack_latents(raw, 2 * height, 2 * height, 2)
            else:
                states, _, pooled, _ = made.encode_prompt(prompt, None, None, device=cpu, do_classifier_free_guidance=False)
                raw = net(hidden_states=u, timestep=steps, encoder_hidden_states=many(states), pooled_projections=many(pooled)).sample
            clean = u - time * raw
    return clean, outputs


def at(backend: Latent) -> float:
    """A level of the model."""
    return float(backend.schedule.nearest(torch.tensor([SIGMA], dtype=torch.float64)))


@pytest.mark.parametrize("name", LATENT)
@pytest.mark.parametrize("told", [True, False])
def test_blocks_what_lies_inside_and_the_denoiser_are_plain_diffusers(name: str, told: bool, places: dict[str, Path]) -> None:
    backend = opened(places, name)
    sigma = at(backend)
    x = add_noise(drawn(2, *backend.card.x0_shape), torch.tensor([sigma] * 2), drawn(2, *backend.card.x0_shape).flip(0))
    condition = ("class:2" if name.startswith("dit") else PROMPT) if told else "null"
    theirs, outputs = plain(places[name], x, sigma, condition.partition(":")[2])
    with torch.no_grad(), capture(backend, [block.name for block in backend.card.every], stop=False) as taps:
        ours = taps(x, torch.tensor([sigma] * 2, dtype=torch.float64), condition)
    assert taps.made is not None
    torch.testing.assert_close(taps.made, theirs, rtol=1e-4, atol=1e-4)
    assert len(ours) == len(backend.card.every)
    for block in backend.card.every:
        value = outputs[block.module]
        value = (value[-1] if name.startswith(("sd3", "flux")) else value[0]) if isinstance(value, tuple) else value
        value = getattr(value, "sample", value)
        side = backend.card.resolution // block.stride
        if value.ndim == 3:  # tokens, row by row, behind those of a text
            value = torch.stack([value[:, -side * side + i] for i in range(side * side)], -1).reshape(2, -1, side, side)
        torch.testing.assert_close(ours[block.name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()), msg=block.name)


@pytest.mark.parametrize("name", LATENT)
def test_latents_are_the_vaes_mean_shifted_and_scaled_and_come_back(name: str, places: dict[str, Path]) -> None:
    backend, made = opened(places, name), pipeline_of(places[name])
    images = drawn(2, 3, backend.card.resolution, backend.card.resolution).clamp(-1, 1)
    with torch.no_grad():
        mean = made.vae.encode(images).latent_dist.mean
        config = made.vae.config
        expected = (mean - (config.shift_factor or 0)) * config.scaling_factor
        x0 = backend.encode(images)
        torch.testing.assert_close(x0, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(backend.decode(x0), made.vae.decode(mean).sample, rtol=1e-4, atol=1e-4)
    assert x0.shape[1:] == backend.card.x0_shape
    with pytest.raises(InvalidRequest, match="resize them"):
        backend.encode(images[..., :-1])


@pytest.mark.parametrize("name", TOLD)
def test_text_encoders_are_opened_once_for_a_prompt_also_by_another_process(
    name: str, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = Prompts.parts
    monkeypatch.setattr(Prompts, "parts", staticmethod(lambda *given, **named: asked.append("opened") or real(*given, **named)))
    first = opened(places, name)
    first.encode(torch.zeros(1, 3, first.card.resolution, first.card.resolution))
    assert asked == []  # not before a prompt is needed
    told = first.told("prompt:a blue house")
    first.told("prompt:a blue house")
    assert asked == ["opened"]
    again = opened(places, name).told("prompt:a blue house")
    assert asked == ["opened"]
    assert again.tokens == told.tokens
    assert all(torch.equal(again.tensors[key], told.tensors[key]) for key in told.tensors)
    assert not torch.equal(*(first.told(c).tensors["encoder_hidden_states"] for c in ("prompt:a blue house", "prompt:a red house")))


@pytest.mark.parametrize("name", TOLD)
def test_words_and_their_places_are_told(name: str, places: dict[str, Path]) -> None:
    told = opened(places, name).told(PROMPT)
    assert len(told.tokens) == told.tensors["encoder_hidden_states"].shape[1]
    found = [word for word, _ in words(told.tokens)]
    assert found[:6] == ["a", "photo", "of", "a", "red", "fox"]
    assert found[6:] == (found[:6] if name.startswith("sd3") else [])  # which reads it twice


def test_words_of_several_tokens_are_one() -> None:
    assert words(("", "fo", "x</w>", "a</w>", "", "▁ho", "use", "▁in", "")) == [
        ("fox", (1, 2)),
        ("a", (3,)),
        ("house", (5, 6)),
        ("in", (7,)),
    ]


@pytest.mark.parametrize("name", ["stable-diffusion:epsilon", "flux:dev"])
def test_a_prompt_that_is_too_long_is_cut_and_that_is_said(name: str, places: dict[str, Path]) -> None:
    backend = opened(places, name)
    told = backend.told("prompt:" + "a red fox in snow " * 5 + "zz")
    assert any("is longer than the 16 tokens" in one and "zz" in one for one in told.said)
    kept = backend.told("prompt:" + "a red fox in snow " * 5 + "yy")
    if name.startswith("stable"):  # what was cut tells nothing
        assert torch.equal(told.tensors["encoder_hidden_states"], kept.tensors["encoder_hidden_states"])
    assert backend.told(PROMPT).said == ()


def test_an_empty_prompt_is_null(places: dict[str, Path]) -> None:
    backend = opened(places, "stable-diffusion:xl")
    assert float(backend.told("null").tensors["encoder_hidden_states"].abs().max()) == 0  # as its files say
    for key, value in backend.told("prompt:").tensors.items():
        assert torch.equal(value, backend.told("null").tensors[key])
    plain_ = opened(places, "stable-diffusion:epsilon")
    assert float(plain_.told("null").tensors["encoder_hidden_states"].abs().max()) > 0


def test_stable_diffusion_3_without_its_t5_says_so(tmp_path: Path) -> None:
    backend = open_backend(str(latents.sd3(tmp_path / "sd3", with_t5=False)))
    assert isinstance(backend, Latent)
    assert any("no T5 encoder" in one for one in backend.told(PROMPT).said)


@pytest.mark.parametrize("name", ["stable-diffusion:epsilon", "sd3:plain", "flux:dev"])
def test_images_of_another_side_are_read_where_the_network_can(name: str, places: dict[str, Path]) -> None:
    place = str(places[name])
    step, most = describe(place).sides or (0, 0)
    side = 2 * step if 2 * step != describe(place).resolution else 3 * step
    backend = open_backend(f"{place}?side={side}")
    assert (backend.card.resolution, backend.card.identity) == (side, f"{describe(place).identity}:{side}px")
    x = drawn(1, *backend.card.x0_shape)
    with torch.no_grad(), capture(backend, [block.name for block in backend.card.blocks], stop=False) as taps:
        maps = taps(x, torch.tensor([0.5]))
    assert {b.name: side // b.stride for b in backend.card.blocks} == {name: value.shape[-1] for name, value in maps.items()}
    for wrong in (side + 1, step * (most // step) + step, 0):
        with pytest.raises(InvalidRequest, match=f"allowed for .*: multiples of {step} up to {most}"):
            describe(f"{place}?side={wrong}")


def test_a_side_that_cannot_be_is_said(places: dict[str, Path]) -> None:
    with pytest.raises(InvalidRequest, match=r"allowed for .*: its own, 16"):
        describe(f"{places['dit:imagenet']}?side=32")
    with pytest.raises(InvalidRequest, match="side=PIXELS"):
        describe(f"{places['dit:imagenet']}?size=32")
    with pytest.raises(InvalidRequest, match="allowed for digits-ddpm: its own, 8"):
        describe("digits-ddpm?side=16")


def test_what_is_missing_is_one_sentence(places: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(places["stable-diffusion:epsilon"], tmp_path / "blind")
    shutil.rmtree(tmp_path / "blind" / "vae")
    with pytest.raises(InvalidRequest, match="has no folder `vae`"):
        describe(str(tmp_path / "blind"))
    shutil.copytree(places["stable-diffusion:epsilon"], tmp_path / "mute")
    shutil.rmtree(tmp_path / "mute" / "tokenizer")
    backend = open_backend(str(tmp_path / "mute"))
    with pytest.raises(InvalidRequest, match="has no tokenizer, without which it cannot be told a prompt"):
        backend.denoise(drawn(1, *backend.card.x0_shape), torch.tensor([0.5]))
    shutil.rmtree(tmp_path / "mute" / "text_encoder")
    with pytest.raises(InvalidRequest, match="has no folder `text_encoder`"):
        describe(str(tmp_path / "mute"))


@pytest.mark.parametrize(
    ("changes", "words_"),
    [
        ({"in_channels": 9}, "in_channels 9: it is told more than a prompt.*the nearest that is read is StableDiffusionPipeline"),
        ({"class_embed_type": "timestep"}, "class_embed_type 'timestep'"),
        ({"addition_embed_type": "image"}, "addition_embed_type 'image'"),
    ],
)
def test_networks_that_are_told_more_are_refused(changes: dict[str, Any], words_: str, places: dict[str, Path], tmp_path: Path) -> None:
    place = tmp_path / "more"
    shutil.copytree(places["stable-diffusion:epsilon"], place)
    config = place / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(InvalidRequest, match=words_):
        describe(str(place))


def changed(place: Path, out: Path, file: str, **values: Any) -> Path:
    shutil.copytree(place, out)
    (out / file).write_text(json.dumps(json.loads((out / file).read_text()) | values))
    return out


@pytest.mark.parametrize(
    ("name", "file", "values", "words_"),
    [
        ("dit:imagenet", "vae/config.json", {"_class_name": "AutoencoderTiny"}, "an AutoencoderTiny; allowed: AutoencoderKL"),
        (
            "dit:imagenet",
            "model_index.json",
            {"_class_name": "PixArtAlphaPipeline"},
            "reads a PixArtAlphaPipeline; the nearest that is read",
        ),
        ("flux:dev", "transformer/config.json", {"in_channels": 32}, "reads 32 channels; allowed: 16 of latents alone"),
    ],
)
def test_other_pipelines_and_vaes_are_refused(
    name: str, file: str, values: dict[str, Any], words_: str, places: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match=words_):
        describe(str(changed(places[name], tmp_path / "other", file, **values)))


@pytest.mark.parametrize("part", ["transformer", "vae"])
def test_weights_that_are_not_all_there_are_no_random_ones(part: str, places: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(places["dit:imagenet"], tmp_path / "half")
    path = tmp_path / "half" / part / "diffusion_pytorch_model.safetensors"
    kept = load_file(path)
    save_file(dict(list(kept.items())[1:]), path, {"format": "pt"})

    def use() -> Tensor:
        return open_backend(str(tmp_path / "half")).encode(torch.zeros(1, 3, 16, 16))

    with pytest.raises(DamagedFile, match="lack 1 tensors, such as"):
        use()


def test_prompts_are_encoded_in_full_precision_whatever_is_around(places: dict[str, Path]) -> None:
    backend = opened(places, "stable-diffusion:epsilon")
    with torch.autocast("cpu", torch.bfloat16):
        around = backend.tell("prompt:a red house").tensors["encoder_hidden_states"]  # what it would be
        lowered = backend.told("prompt:a red house").tensors["encoder_hidden_states"]
    plain_ = backend.tell("prompt:a red house").tensors["encoder_hidden_states"]
    assert torch.equal(lowered, plain_)
    assert not torch.equal(around, plain_)


@pytest.mark.slow
def test_the_baseline_of_latents_is_a_models_own(places: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    benches = [Bench(request(str(places[name])), store) for name in ("stable-diffusion:epsilon", "stable-diffusion:v")]
    keys = {bench.features(source, 0).key() for bench in benches for source in bench.sources if source in ("baseline", "clean")}
    assert len(keys) == 2 * len({source for source in benches[0].sources if source in ("baseline", "clean")})


def test_the_second_attention_of_a_joint_block_is_of_the_image(places: dict[str, Path]) -> None:
    config = dict(opened(places, "sd3:plain").net.config) | {"dual_attention_layers": (0,)}
    with torch.device("meta"):
        net = SD3Transformer2DModel.from_config(config)
    (first, *_) = StableDiffusion3.layers(net)
    names = {name for name, _ in _inside._inside(first, net)}
    assert {"layer0.attn2.q", "layer0.attn2.k", "layer0.attn2.v", "layer0.attn2.out"} <= names


def test_levels_of_a_flow_are_those_of_its_times(places: dict[str, Path]) -> None:
    card = describe(str(places["sd3:plain"]))
    times = np.arange(1, 1000) / 1000
    np.testing.assert_allclose(card.sigmas, times / (1 - times), rtol=1e-12)  # t = 1 has no signal and is dropped
    np.testing.assert_allclose(card.timesteps, 1000 * times)
    assert card.noise == "flow"


def request(place: str, **more: Any) -> SweepRequest:
    return SweepRequest(
        backend=place,
        dataset="shapes:240",
        labels_per_class=(2,),
        label_draws=2,
        eps_draws=2,
        levels=3,
        n_train=60,
        n_validation=12,
        n_test=12,
        **more,
    )


@pytest.mark.parametrize(
    ("name", "processes"), [("stable-diffusion:epsilon", 0), pytest.param("sd3:plain", 2, marks=pytest.mark.slow), ("flux:dev", 0)]
)
def test_a_sweep_encodes_every_image_once(
    name: str, processes: int, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(places[name]) + SIDE.get(name.partition(":")[0], "")
    inner = next(block.name for block in describe(place).inside)
    blocks = (describe(place).blocks[-1].name, inner)
    store, encoded = Store(tmp_path / "store"), []
    real = Latent.encode

    def counted(self: Latent, images: Tensor) -> Tensor:
        encoded.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Latent, "encode", counted)
    asked = request(place, blocks=blocks)
    study = sweep(asked, store, processes=processes)
    bench = Bench(asked, store)
    units = store.root.glob("latents/*/0/*.safetensors")
    ids = np.concatenate([store.read(unit, ["ids"])["ids"] for unit in store.units("latents", identity_of(bench), 0.0)])
    assert list(units)
    assert len(ids) == len(set(ids.tolist()))
    if processes == 0:
        assert sum(encoded) == len(ids)
        before = sum(encoded)
        sweep(request(place, blocks=blocks, sigmas=(0.2, 0.5, 1.0, 3.0)), store)  # other levels
        assert sum(encoded) == before
    fresh = load_x0(bench.dataset, ids[:5], bench.model)
    torch.testing.assert_close(load_x0(bench.dataset, ids[:5], bench.model, store), fresh, rtol=1e-5, atol=1e-5)
    assert study.facts["request"]["condition"] == "null"
    assert set(study.table().block.dropna()) >= set(blocks)
    assert study.card.space == "latent"
    assert all(level["latent"] for level in study.facts["levels"])


def identity_of(bench: Bench) -> Any:
    from analysis.specs import LatentIdentity

    return LatentIdentity(backend=bench.card.identity, dataset=bench.dataset.identity)


def test_a_sweep_is_told_a_prompt(places: dict[str, Path], tmp_path: Path) -> None:
    place = str(places["stable-diffusion:epsilon"])
    asked = request(place, blocks=("mid.res0",), condition="prompt:a red fox", baselines=False)
    study = sweep(asked, Store(tmp_path / "store"))
    assert study.facts["request"]["condition"] == "prompt:a red fox"


@pytest.mark.parametrize("name", ["stable-diffusion:epsilon", "dit:imagenet", "sd3:plain", "flux:dev"])
def test_attribution_reaches_the_pixels_through_the_vae(name: str, places: dict[str, Path]) -> None:
    backend = opened(places, name)
    block, side = backend.card.blocks[1], backend.card.resolution
    weight = drawn(3, block.channels)
    with torch.inference_mode():  # as a sweep does, before
        backend.denoise(backend.encode(torch.zeros(1, 3, side, side)), torch.tensor([1.0]))
    probed = ProbedModel(
        backend, block.name, at(backend), weight, torch.zeros(3), drawn(1, *backend.card.x0_shape), Target(index=2), condition="null"
    )
    image = drawn(1, 3, side, side).clamp(-1, 1).requires_grad_()
    maps: list[Tensor] = []
    handle = probed.tap.register_forward_hook(lambda _m, _i, output: maps.append(output))
    value = probed(image)
    handle.remove()
    value.sum().backward()
    torch.testing.assert_close((maps[0] * weight[2, :, None, None]).sum(1).mean((-2, -1)), value[:, 0], rtol=1e-4, atol=1e-5)
    assert image.grad is not None
    assert float((image.grad != 0).float().mean()) > 0.5


def test_the_axis_of_a_model_of_latents_says_so() -> None:
    levels = [{"sigma": s, "timestep": t, "log_snr": 0.0} for s, t in ((0.1, 10.0), (1.0, 200.0))]
    assert axis_title(levels, "sigma") == "noise level σ"
    assert axis_title([level | {"latent": 1.0} for level in levels], "sigma") == "noise level σ of the latents"
    assert "of the latents" in noise_axis([level | {"latent": 1.0} for level in levels], "timestep")["title"]["text"]


def test_a_residual_branch_is_what_the_block_adds(places: dict[str, Path]) -> None:
    backend = opened(places, "stable-diffusion:epsilon")
    block = backend.net.down_blocks[0].resnets[0]
    given: list[tuple[Tensor, Tensor]] = []
    handle = block.register_forward_hook(lambda _m, inputs, output: given.append((inputs[0], output)))
    x = drawn(1, *backend.card.x0_shape)
    with torch.no_grad(), capture(backend, ["down0.res0.residual"], stop=False) as taps:
        branch = taps(x, torch.tensor([0.5]))["down0.res0.residual"]
    handle.remove()
    torch.testing.assert_close(branch, given[0][1] - given[0][0], rtol=1e-4, atol=1e-5)


def test_the_plugin_reads_no_network_of_pixels(tmp_path: Path) -> None:
    make: Callable[[Path], Path] = LATENT["dit:imagenet"]
    assert not StableDiffusion.claims(make(tmp_path))
