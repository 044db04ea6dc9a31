"""What every model family must do, over tiny random networks of each; and what a folder of diffusers is read as."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, ScoreSdeVeScheduler, UNet2DModel
from safetensors.numpy import load
from torch import Tensor, nn

from analysis import catalog, hub, registry
from analysis.backends import describe, open_backend
from analysis.backends._latent import Latent
from analysis.backends.base import NOWHERE, Backend, Excerpt
from analysis.backends.unet2d import UNet2D
from analysis.costs import estimate
from analysis.errors import DamagedFile, InvalidRequest
from analysis.features import capture, read_features
from analysis.generated import generate
from analysis.noise import add_noise
from analysis.planning import Bench
from analysis.resolving import resolve
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.sweeping import sweep

from .families import LATENT, MADE, SIDE, epsilon, folder, pipeline
from .standin import pretending, read_folder

pytestmark = pytest.mark.usefixtures("own_store")
pixels = pytest.mark.parametrize("name", [name for name in MADE if name not in LATENT])
each = pytest.mark.parametrize("name", MADE)
everyone = pytest.mark.parametrize("name", [*MADE, *catalog.models()])
CLASSES = [name for name in MADE if name.endswith(":classes")]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("families")
    return {name: str(make(out)) + SIDE.get(name.partition(":")[0], "") for name, make in MADE.items()}


def opened(places: dict[str, str], name: str, weights: str = "trained") -> Backend:
    return open_backend(places.get(name, name), weights)


def images(backend: Backend, count: int) -> Tensor:
    """As x_0 of a model, in [-1, 1]."""
    return torch.rand((count, *backend.card.x0_shape), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_every_family_has_tiny_models() -> None:
    assert {name.partition(":")[0] for name in MADE} == set(registry.names("backends"))


@everyone
def test_declared_channels_and_strides_are_the_observed_ones(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    blocks, side = backend.card.blocks, backend.card.resolution
    with capture(backend, [block.name for block in blocks], stop=False) as taps:
        maps = taps(images(backend, 1), torch.tensor([0.5]))
    assert {b.name: (b.channels, side // b.stride) for b in blocks} == {k: (v.shape[1], v.shape[-1]) for k, v in maps.items()}


@everyone
def test_blocks_are_listed_in_the_order_of_execution(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    order: list[str] = []
    for block in backend.card.blocks:
        backend.net.get_submodule(block.module).register_forward_hook(lambda m, i, o, n=block.name: order.append(n))
    backend.denoise(images(backend, 1), torch.tensor([1.0]))
    assert order == [block.name for block in backend.card.blocks]


@everyone
def test_the_card_is_what_the_network_says(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    assert backend.card == describe(places.get(name, name))
    assert backend.card.parameters == sum(p.numel() for p in backend.net.parameters())
    loaded = [*backend.net.parameters(), *(backend.vae.parameters() if isinstance(backend, Latent) else ())]
    assert backend.card.parameter_bytes == sum(p.numel() * p.element_size() for p in loaded)
    np.testing.assert_allclose(backend.card.sigmas, backend.schedule.sigmas, rtol=1e-12)


@each
def test_a_batch_of_one_is_a_slice_of_a_batch_of_four(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    x, sigma, names = images(backend, 4), torch.tensor([0.1, 0.5, 1.0, 3.0]), [block.name for block in backend.card.blocks]
    with torch.no_grad(), capture(backend, names, stop=False) as taps:
        four, made = taps(x, sigma), taps.made
        one = taps(x[2:3], sigma[2:3])
    for block, whole in [*four.items(), ("", made)]:
        alone = one[block] if block else taps.made
        assert alone is not None
        assert whole is not None
        assert float((alone - whole[2:3]).abs().max()) <= 1e-5 * float(whole.abs().max()), block


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks) for module in net.modules())


@each
def test_no_hook_is_left_also_after_an_exception(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)

    def fails(_: Tensor) -> Tensor:
        raise FloatingPointError

    block = backend.card.blocks[2].name
    with capture(backend, [block]) as taps:
        taps(images(backend, 1), torch.tensor([1.0]))
        assert hooks(backend.net) == 1
    with pytest.raises(FloatingPointError), capture(backend, [block], reduce=fails) as taps:
        taps(images(backend, 1), torch.tensor([1.0]))
    assert hooks(backend.net) == 0


@everyone
def test_gradients_reach_the_image(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    x = images(backend, 1).requires_grad_()
    backend.denoise(x, torch.tensor([0.5])).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().min()) > 0


@everyone
def test_random_weights_are_the_seeds_own_and_no_others(name: str, places: dict[str, str]) -> None:
    a, again, b = (opened(places, name, f"random:{seed}") for seed in (0, 0, 1))
    first = [next(backend.net.parameters()) for backend in (a, again, b)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])
    assert len({a.card.identity, b.card.identity, describe(places.get(name, name)).identity}) == 3
    assert a.card.identity == again.card.identity


@each
def test_a_copy_elsewhere_is_the_same_model(name: str, places: dict[str, str], tmp_path: Path) -> None:
    place, mark, side = places[name].partition("?")
    copy, given = tmp_path / "elsewhere.pt", Path(place)
    shutil.copytree(given, copy := tmp_path / "elsewhere") if given.is_dir() else shutil.copyfile(given, copy)
    ours, theirs = opened(places, name), open_backend(f"{copy}{mark}{side}")
    assert theirs.card == ours.card.model_copy(update={"name": "elsewhere"})
    x, sigma = images(ours, 1), torch.tensor([0.5])
    assert torch.equal(ours.denoise(x, sigma), theirs.denoise(x, sigma))


@each
def test_a_model_of_the_hub_is_the_one_in_its_folder(
    name: str, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, mark, side = places[name].partition("?")
    given, ours = Path(place), opened(places, name)
    files = read_folder(given) if given.is_dir() else {given.name: given.read_bytes()}
    with pretending(tmp_path, monkeypatch) as server:
        commit = server.repo("someone/model", files).branches["main"]
        hub.fetch(hub.look_up("someone/model", checkpoint=given.name if given.is_file() else None))
        theirs = open_backend(f"someone/model{mark}{side}")
    facts = {"repo_id": "someone/model", "revision": commit, "name": theirs.card.name}
    if name in LATENT:  # large files were verified when they came and are not read again to say what they are
        facts["identity"] = f"{name.partition(':')[0]}:{commit[:16]}" + (":32px" if mark else "")
    assert theirs.card == ours.card.model_copy(update=facts)
    x0, eps = images(ours, 2), images(ours, 2).flip(0)
    names, sigma = [f"{block.name}/1" for block in ours.card.blocks], ours.card.sigmas[300]
    read = [read_features(backend, names, x0, eps, sigma, 2, backend.card.conditions[0]) for backend in (ours, theirs)]
    assert all(torch.equal(read[0][block], read[1][block]) for block in names)
    assert torch.equal(ours.denoise(x0, torch.tensor([0.5, 1.0])), theirs.denoise(x0, torch.tensor([0.5, 1.0])))


def scheduler_of(name: str, place: str) -> DDPMScheduler:
    """The schedule that the model was made with, which samples without clipping."""
    if name.startswith("adm"):
        return DDPMScheduler(clip_sample=False)
    inner = Path(place) / "scheduler"
    return DDPMScheduler.from_pretrained(inner if inner.is_dir() else place, clip_sample=False, variance_type="fixed_small")


@pixels
@pytest.mark.parametrize("t", [0, 14, 388])
def test_the_denoiser_is_what_the_scheduler_makes_of_the_network(name: str, t: int, places: dict[str, str]) -> None:
    backend, scheduler = opened(places, name), scheduler_of(name, places[name])
    x0, step = images(backend, 1), torch.tensor([t])
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    sigma = backend.schedule.sigmas[backend.schedule.timesteps == t]
    noisy, told = scheduler.add_noise(x0, eps, step), (step * 0,) if backend.net.class_embedding is not None else ()
    raw = backend.net(noisy, step, *told).sample[:, : x0.shape[1]]
    theirs = scheduler.step(raw, t, noisy).pred_original_sample
    ours = backend.denoise(add_noise(x0, sigma, eps), sigma, "class:0" if told else None)
    # x_σ in float32, in and out of two scales: 1e-6 of numbers up to 1 + σ.
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def learnt(backend: Backend, scheduler: DDPMScheduler, steps: int, std: float) -> None:
    """Train the network in diffusers' own words, on white noise.

    Of a standard deviation of 1 that looks the same at every level, once scaled, so that the timestep alone tells how much of it is ε.
    But then the mean of v is 0 at every level: of another one it is not.
    """
    net, generator = backend.net.requires_grad_(True), torch.Generator().manual_seed(0)
    optimizer, count = torch.optim.AdamW(net.parameters(), 3e-3), len(scheduler.alphas_cumprod)
    for _ in range(steps):
        x0, eps = white(16, backend, std, generator)
        t = torch.randint(0, count, (len(x0),), generator=generator)
        kind = scheduler.config["prediction_type"]
        target = {"epsilon": eps, "sample": x0, "v_prediction": scheduler.get_velocity(x0, eps, t)}[kind]
        told = (torch.zeros(len(x0), dtype=torch.long),) if net.class_embedding is not None else ()
        loss = (net(scheduler.add_noise(x0, eps, t), t, *told).sample[:, : x0.shape[1]] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.requires_grad_(False)


def white(count: int, backend: Backend, std: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x_0 and ε (B, c, 8, 8) without any structure."""
    x0, eps = torch.randn(2, count, backend.card.image_channels, 8, 8, generator=generator)
    return std * x0, eps


SHORT = ("unet2d:epsilon",)
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in MADE if name not in (*SHORT, *LATENT)]


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_a_little_training_makes_a_denoiser_at_every_noise_level(
    name: str, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, std = opened(places, name, "random:0"), 0.5 if name.endswith(":v") else 1.0
    x0, eps = white(32, backend, std, torch.Generator().manual_seed(1))
    told = "class:0" if "class:0" in backend.card.conditions else None
    levels = (0.3, 1.0, 2.0)

    def seen() -> tuple[list[float], list[float]]:
        """By level: squared error in parts of the least there can be, s²σ²/(s²+σ²), and how far the slope of D on x_σ is from s²/(s²+σ²)."""
        errors, slopes = [], []
        for sigma in levels:
            x, whole = x0 + sigma * eps, std**2 + sigma**2
            with torch.no_grad():
                made = backend.denoise(x, torch.full((32,), sigma), told)
            errors.append(float((made - x0).square().mean()) * whole / (std * sigma) ** 2)
            slopes.append(abs(float((made * x).sum() / x.square().sum()) - std**2 / whole))
        return errors, slopes

    before, _ = seen()
    learnt(backend, scheduler_of(name, places[name]), 120 if name.startswith("adm") else 250, std)
    errors, slopes = seen()
    assert all(error < was for error, was in zip(errors, before, strict=True))
    assert max(errors) < 1.3
    assert max(slopes) < 0.06
    schedule, real = backend.schedule, backend.schedule.timestep
    wrong = {"timestep": lambda sigma: (real(sigma) + 100).clamp(max=schedule.timesteps[-1]), "input_scale": torch.ones_like}
    for what, given in wrong.items():
        with monkeypatch.context() as planted:
            planted.setattr(schedule, what, given)
            assert max(seen()[1]) > 0.06, what  # it is seen


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_the_networks_own_and_the_mean_lies_between(name: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    classes = backend.net.class_embedding.num_embeddings
    assert backend.card.conditions == ("mean", *(f"class:{k}" for k in range(classes)))
    assert any("never trained" in note for note in backend.card.notes)
    x, sigma = images(backend, 2), torch.tensor([backend.card.sigmas[300]] * 2, dtype=torch.float64)
    said = backend.denoise(x, sigma, "class:1")
    raw = backend.net(x * float(backend.schedule.input_scale(sigma[0])), 300, torch.tensor([1, 1])).sample[:, :3]
    torch.testing.assert_close(said, x - float(sigma[0]) * raw, rtol=1e-5, atol=1e-5)
    mean = backend.denoise(x, sigma, "mean")
    assert torch.equal(mean, backend.denoise(x, sigma))
    backend.net.class_embedding.weight.data[:] = backend.net.class_embedding.weight.mean(0)
    torch.testing.assert_close(mean, backend.denoise(x, sigma, "class:2"), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_features_of_a_model_with_classes_use_their_mean(name: str, places: dict[str, str]) -> None:
    card = describe(places[name])
    assert resolve(SweepRequest(backend=places[name]), card).condition == "mean"
    assert resolve(SweepRequest(backend=places[name], condition="class:0"), card).condition == "class:0"
    with pytest.raises(Exception, match="'class:99'; allowed: "):
        resolve(SweepRequest(backend=places[name], condition="class:99"), card)
    with pytest.raises(InvalidRequest, match="condition 'none'; allowed"):
        opened(places, name).denoise(images(opened(places, name), 1), torch.tensor([1.0]), "none")


def test_a_card_may_say_that_the_last_row_is_a_null_class(places: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(places["unet2d:classes"], tmp_path / "null")
    said = describe(places["unet2d:classes"]).model_copy(update={"conditions": ("null", "class:0"), "notes": ()})
    (tmp_path / "null" / "card.json").write_text(said.model_dump_json())
    backend = open_backend(str(tmp_path / "null"))
    x, sigma = images(backend, 1), torch.tensor([1.0])
    last = opened(places, "unet2d:classes").denoise(x, sigma, "class:3")
    assert torch.equal(backend.denoise(x, sigma), last)
    assert resolve(SweepRequest(), backend.card).condition == "null"


@pytest.mark.parametrize("name", ["unet2d:classes", "unet2d:pipeline", pytest.param("adm:classes", marks=pytest.mark.slow)])
def test_a_sweep_goes_through_with_random_weights_as_baseline(name: str, places: dict[str, str], tmp_path: Path) -> None:
    card = describe(places[name])
    request = SweepRequest(
        backend=places[name],
        dataset="digits" if card.resolution == 8 else "shapes:300",
        levels=3,
        blocks=tuple(block.name for block in card.blocks[-2:]),
        head="ridge",
        labels_per_class=(2,),
        label_draws=2,
        eps_draws=1,
        n_train=60,
        n_validation=12,
        n_test=12,
    )
    store = Store(tmp_path / "swept")
    assert estimate(Bench(request, store), 0).passes > 0  # what the form asks first
    study = sweep(request, store, processes=0)
    assert study.facts["request"]["condition"] == card.conditions[0]
    if name in CLASSES:
        made = generate(study, places[name], count=12, steps=2)
        kept = load(made.path("generated.safetensors").read_bytes())
        assert all(np.isfinite(value).all() for key, value in kept.items() if key != "ids")
    assert set(study.table().source) >= {"model", "random", "baseline"}
    assert study.card == card


@each
@pytest.mark.parametrize("weights", ["trained", "random:3"])
def test_a_model_that_is_only_to_say_what_it_is_takes_no_memory(name: str, weights: str, places: dict[str, str]) -> None:
    whole, empty = opened(places, name, weights), open_backend(places[name], weights, NOWHERE)
    assert empty.card == whole.card
    assert {one.device.type for one in empty.net.parameters()} == {NOWHERE}


def lines(name: str, places: dict[str, str], condition: str) -> Callable[[Tensor, Tensor], Tensor]:
    card = describe(places[name])
    there = next(block for block in card.blocks if block.name == "up0.res0")
    text = UNet2D.snippet(Excerpt(places[name], card, there, card.sigmas[86], card.timesteps[86], "1", condition=condition))
    found: dict[str, Any] = {}
    exec(text, found)
    return found["feature"]


@pytest.mark.parametrize(
    ("name", "condition"),
    [("unet2d:pipeline", "none"), ("unet2d:classes", "mean"), ("unet2d:classes", "class:2"), ("unet2d:v", "none")],
)
def test_the_lines_of_plain_diffusers_give_our_feature(name: str, condition: str, places: dict[str, str]) -> None:
    backend = opened(places, name)
    x0, eps = images(backend, 3), torch.randn(images(backend, 3).shape, generator=torch.Generator().manual_seed(0))
    ours = read_features(backend, ["up0.res0/1"], x0, eps, backend.card.sigmas[86], 3, condition)["up0.res0/1"]
    theirs = lines(name, places, condition)(x0, eps)
    torch.testing.assert_close(theirs, torch.as_tensor(ours), rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


BETAS: dict[str, Callable[[], Any]] = {
    "linear": DDPMScheduler,
    "scaled": lambda: DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    "cosine": lambda: DDIMScheduler(beta_schedule="squaredcos_cap_v2"),
    "sigmoid": lambda: DDPMScheduler(beta_schedule="sigmoid", num_train_timesteps=400),
    "given": lambda: DDIMScheduler(trained_betas=np.linspace(1e-3, 0.2, 50).tolist(), num_train_timesteps=50, thresholding=True),
    "zero": lambda: DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    "zero of DDIM": lambda: DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
}


@pytest.mark.parametrize("name", BETAS)
def test_levels_are_those_of_the_schedulers_own_betas(name: str, tmp_path: Path) -> None:
    scheduler = BETAS[name]()
    card = describe(str(folder(tmp_path / "model", scheduler)))
    alphas = np.cumprod(1 - scheduler.betas.numpy().astype(np.float64))
    with np.errstate(divide="ignore"):
        sigmas = np.sqrt(1 / alphas - 1)
    if name.startswith("zero"):  # the last level has no signal left
        assert sigmas[-1] == np.inf
        assert len(card.sigmas) == len(sigmas) - 1
    last = len(card.sigmas)
    # The scheduler multiplies in float32: 1e-4 of σ at most levels, more where β is nearly nothing, and in the cosine's last two.
    np.testing.assert_allclose(card.sigmas[: last - 2], sigmas[: last - 2], rtol=5e-3)
    np.testing.assert_array_equal(card.timesteps, np.arange(last))


def test_both_layouts_of_a_folder_are_read(tmp_path: Path) -> None:
    assert not describe(str(epsilon(tmp_path))).pipeline
    card = describe(str(pipeline(tmp_path)))
    assert (card.pipeline, card.image_channels, card.resolution) == (True, 1, 8)


def test_the_readme_and_the_hubs_own_folders_say_where_a_model_comes_from(tmp_path: Path) -> None:
    place = folder(tmp_path / "models--some--tiny-model" / "snapshots" / "0123abc")
    (place / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    card = describe(str(place))
    assert (card.name, card.repo_id, card.revision, card.license) == ("some/tiny-model", "some/tiny-model", "0123abc", "apache-2.0")


WIDE: dict[str, Any] = {"act_fn": "silu", "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1}
DOWN, UP = ["DownBlock2D"] * 6, ["UpBlock2D"] * 6


@pytest.mark.parametrize(
    ("network", "millions", "blocks"),
    [
        (
            {
                "sample_size": 32,
                "block_out_channels": [128, 256, 256, 256],
                "down_block_types": ["DownBlock2D", "AttnDownBlock2D", *DOWN[:2]],
                "up_block_types": [*UP[:2], "AttnUpBlock2D", "UpBlock2D"],
                "norm_eps": 1e-6,
            },
            35.7,  # arXiv 2303.09769
            28,
        ),
        (
            {
                "sample_size": 256,
                "block_out_channels": [128, 128, 256, 256, 512, 512],
                "down_block_types": [*DOWN[:4], "AttnDownBlock2D", "DownBlock2D"],
                "up_block_types": ["UpBlock2D", "AttnUpBlock2D", *UP[:4]],
                "norm_eps": 1e-6,
            },
            114,  # arXiv 2006.11239, appendix B
            42,
        ),
    ],
)
def test_ddpms_own_networks_are_described_without_memory(network: dict[str, Any], millions: float, blocks: int) -> None:
    with torch.device("meta"):
        net = UNet2DModel(in_channels=3, out_channels=3, layers_per_block=2, **WIDE, **network)
    card = UNet2D(net, DDPMScheduler()).card
    assert round(card.parameters / 1e6, 1 if millions < 100 else 0) == millions
    assert len(card.blocks) == blocks
    assert card.parameter_bytes == 4 * card.parameters
    assert {block.stride for block in card.blocks} == {2**i for i in range(len(network["block_out_channels"]))}


def changed(place: Path, file: str, **values: Any) -> Path:
    facts = json.loads((place / file).read_text())
    (place / file).write_text(json.dumps(facts | values))
    return place


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("scheduler_config.json", {"prediction_type": "flow_prediction"}, "prediction_type is 'flow_prediction'"),
        ("scheduler_config.json", {"_class_name": "EulerDiscreteScheduler"}, "no β schedule says"),
        ("config.json", {"sample_size": None}, "sample_size is None"),
        ("config.json", {"sample_size": [8, 16]}, "sample_size is"),
        ("config.json", {"in_channels": 4}, "4 input"),
        ("config.json", {"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ("config.json", {"class_embed_type": "identity"}, "class_embed_type is 'identity'"),
        ("config.json", {"_class_name": "UNet3DConditionModel"}, "No model family here reads"),
    ],
)
def test_what_is_not_read_is_refused_and_said(file: str, values: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=words):
        describe(str(changed(folder(tmp_path / "model"), file, **values)))


def test_a_folder_of_another_family_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text('{"_class_name": "PixArtTransformer2DModel"}')
    (tmp_path / "model_index.json").write_text('{"_class_name": "PixArtAlphaPipeline"}')
    assert not UNet2D.claims(tmp_path)
    with pytest.raises(InvalidRequest, match="No model family here reads a PixArtAlphaPipeline; the nearest that is read is"):
        describe(str(tmp_path))


@pytest.mark.parametrize("scheduler", [ScoreSdeVeScheduler, EulerDiscreteScheduler])
def test_a_schedule_of_another_kind_of_noise_is_refused(scheduler: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="allowed: DDPM"):
        describe(str(folder(tmp_path / "model", scheduler())))


def test_weights_in_a_pickle_alone_are_refused(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    weights = place / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InvalidRequest, match="a pickle"):
        describe(str(place))


def test_half_precision_alone_is_read_as_float32(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    net = UNet2DModel.from_pretrained(place)
    (place / "diffusion_pytorch_model.safetensors").unlink()
    net.half().save_pretrained(place, variant="fp16")
    backend = open_backend(str(place))
    assert next(backend.net.parameters()).dtype == torch.float32
    assert backend.card.parameter_bytes == 4 * backend.card.parameters


def test_a_truncated_folder_is_one_sentence(tmp_path: Path) -> None:
    place = folder(tmp_path / "model")
    weights = place / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(DamagedFile, match="cannot be read"):
        open_backend(str(place))
