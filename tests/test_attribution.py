"""What captum says of a probe, against what is worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import Tensor, nn

from analysis.attribution import METHODS, Settings, attribute, baseline, methods_for
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.errors import InvalidData, InvalidRequest, UnknownName
from analysis.explaining import over_draws
from analysis.features import capture, pool
from analysis.noise import noise_like
from analysis.probed import ProbedModel, Target, batch_that_fits

from .toys import Latent, Toy, convolution, edges

W = torch.tensor([[1.0, 0.0, 2.0], [0.0, -4.0, 0.0]])  # two classes, three features
B = torch.tensor([0.5, -0.5])
PIXELS = torch.tensor([[[[0.2, 0.6]], [[-0.4, 0.8]], [[1.0, -1.0]]]])  # (1, 3, 1, 2): two pixels
SETTINGS = Settings(steps=4, samples=4, batch=4)


def two_pixels(target: Target | None = None, **more: object) -> ProbedModel:
    """The identity, averaged over two pixels and read by W and B."""
    return ProbedModel(Toy(nn.Identity()), "first", 1e-6, W, B, target=target, **more)  # type: ignore[arg-type]


def small(backend: Backend, **more: object) -> tuple[ProbedModel, Tensor]:
    """A random head on a block of the tiny model, and an image; float32 maps agree to about 1e-6 of their range."""
    generator = torch.Generator().manual_seed(1)
    block = backend.block("up0.res0")
    eps = noise_like(torch.empty(1, 1, 8, 8), [1], 0, 0)
    head = torch.randn(3, block.channels, generator=generator), torch.randn(3, generator=generator)
    return ProbedModel(backend, block.name, 0.5, *head, **{"eps": eps} | more), torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1  # type: ignore[arg-type]


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (Target(kind="class", index=0), 0.4 + 0.5),  # .4 + 2 · 0
        (Target(kind="class", index=1), -4 * 0.2 - 0.5),
        (Target(kind="difference", index=0, minus=1), 0.9 + 1.3),
        (Target(kind="channel", index=1), 0.2),
        (Target(kind="loss"), 0.0),  # the identity leaves nothing of a clean image
    ],
)
def test_a_target_is_what_it_says(target: Target, value: float) -> None:
    torch.testing.assert_close(two_pixels(target)(PIXELS), torch.tensor([[value]]))


def test_integrated_gradients_of_a_linear_path_are_the_way_times_the_weight() -> None:
    found = attribute(two_pixels(), PIXELS, "integrated_gradients", SETTINGS)
    by_hand = torch.tensor([[(0.2 + 2 * 1.0) / 2, (0.6 - 2 * 1.0) / 2]])  # from grey, which is 0
    torch.testing.assert_close(found, by_hand)


def test_integrated_gradients_start_at_the_blurred_image_where_asked() -> None:
    found = attribute(two_pixels(), PIXELS, "integrated_gradients", SETTINGS.model_copy(update={"baseline": "blurred"}))
    way = PIXELS - baseline(PIXELS, "blurred")
    torch.testing.assert_close(found, (way[0] * W[0][:, None, None]).sum(0) / 2)


def test_grad_cam_of_a_linear_path_is_weight_times_map() -> None:
    found = attribute(two_pixels(Target(index=1)), PIXELS, "layer_grad_cam", SETTINGS)
    torch.testing.assert_close(found, torch.tensor([[-2 * -0.4, -2 * 0.8]]))  # ∂logit/∂place = -4 / 2


@pytest.mark.parametrize(
    ("method", "by_hand"),
    [
        ("saliency", [1.5, 1.5]),  # (1 + 2) / 2
        ("noise_tunnel", [1.5, 1.5]),
        ("input_x_gradient", [1.1, -0.7]),
        ("occlusion", [1.1, -0.7]),
        ("layer_activation", [(1.2 / 3) ** 0.5, (2.0 / 3) ** 0.5]),
    ],
)
def test_the_other_methods_by_hand(method: str, by_hand: list[float]) -> None:
    torch.testing.assert_close(attribute(two_pixels(), PIXELS, method, SETTINGS), torch.tensor([by_hand]))


def test_the_activation_of_a_channel_is_its_own_map() -> None:
    found = attribute(two_pixels(Target(kind="channel", index=1)), PIXELS, "layer_activation")
    torch.testing.assert_close(found, PIXELS[0, 1])


def test_the_loss_has_the_gradient_worked_out_by_hand() -> None:
    """D = 3x: loss = -mean (2x)², gradient -8x / 6, the clean image on both sides."""
    probed = ProbedModel(Toy(convolution(3 * torch.eye(3))), "first", 1e-6, W, B, target=Target(kind="loss"))
    torch.testing.assert_close(attribute(probed, PIXELS, "saliency"), (8 * PIXELS / 6).abs().sum(1)[0])


def test_the_denoising_loss_reaches_the_blocks_map() -> None:
    """Behind the block everything is tripled: ∂loss/∂map = -6 (3x - x) / 6 = -2x, as the clean image stays as it is."""
    probed = ProbedModel(Toy(convolution(torch.eye(3)), convolution(3 * torch.eye(3))), "first", 1e-6, W, B)
    found = attribute(probed.changed(target=Target(kind="loss")), PIXELS, "layer_grad_cam")
    torch.testing.assert_close(found, (-2 * PIXELS.mean(3, keepdim=True) * PIXELS).sum(1)[0])


@pytest.mark.parametrize("side", [1, 2])
def test_the_probed_model_says_what_the_probe_says_of_stored_features(tiny: Backend, side: int) -> None:
    probed, image = small(tiny)
    weight = torch.randn(3, probed.block.channels * side**2)
    with capture(tiny, ["up0.res0"], lambda value: pool(value, side)) as taps:
        features = taps(image.mean(1, keepdim=True) + probed.sigma * probed.eps, torch.tensor([probed.sigma]))["up0.res0"]  # type: ignore[operator]
    ours = probed.changed(weight=weight, side=side, target=Target(index=2))(image)
    torch.testing.assert_close(ours, (features @ weight.T + probed.bias)[:, 2:3], atol=1e-5, rtol=1e-5)


def test_every_image_of_a_batch_gets_the_same_noise(tiny: Backend) -> None:
    probed, image = small(tiny)
    torch.testing.assert_close(probed(image.expand(3, -1, -1, -1)), probed(image).expand(3, -1), atol=1e-5, rtol=1e-5)


def test_maps_are_captums_own(tiny: Backend) -> None:
    probed, image = small(tiny)
    by_hand = IntegratedGradients(probed).attribute(image, torch.zeros_like(image), n_steps=4).sum(1)[0]
    torch.testing.assert_close(attribute(probed, image, "integrated_gradients", SETTINGS), by_hand, atol=1e-5, rtol=1e-4)
    windows = Occlusion(probed).attribute(image, (3, 2, 2), (3, 1, 1), 0.0)[0, 0]
    torch.testing.assert_close(attribute(probed, image, "occlusion", Settings(patch=2)), windows, atol=1e-5, rtol=1e-4)


PLANTED = edges()
QUADRANT = torch.zeros(1, 3, 16, 16)
QUADRANT[..., :8, 8:] = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("method", methods_for(PLANTED))
def test_the_informative_quadrant_gets_most_of_the_map(method: str) -> None:
    """Texture too faint for the network's threshold everywhere, a strong one in a quadrant."""
    faint = 0.01 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    head = torch.randn(2, 8, generator=torch.Generator().manual_seed(2)), torch.zeros(2)
    found = attribute(ProbedModel(PLANTED, "first", 1e-6, *head), QUADRANT + faint, method, Settings(noise=0.05)).abs()
    share = float(found[:8, 8:].sum() / found.sum())
    assert share > (0.9 if method == "occlusion" else 0.5)


def test_a_latent_models_map_is_of_the_image() -> None:
    probed = ProbedModel(Latent(nn.Identity(), resolution=4), "first", 1.0, W, B, eps=torch.randn(1, 3, 2, 2))
    image = torch.rand(1, 3, 4, 4)
    found = attribute(probed, image, "integrated_gradients", SETTINGS)
    torch.testing.assert_close(found, 2 * (image[0] * W[0][:, None, None]).sum(0) / 16)  # doubled, and averaged over 16 pixels


def test_guided_grad_cam_is_for_networks_with_relus(tiny: Backend) -> None:
    probed, image = small(tiny)
    assert methods_for(edges()) == list(METHODS)
    assert methods_for(tiny) == [name for name in METHODS if name != "guided_grad_cam"]
    with pytest.raises(InvalidRequest, match=r"Guided Grad-CAM changes the gradients of ReLU modules, and digits-ddpm has none"):
        attribute(probed, image, "guided_grad_cam")


@pytest.mark.parametrize("kind", ["class", "loss"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind(kind: str, method: str) -> None:
    probed = ProbedModel(edges(), "first", 1e-6, torch.ones(2, 8), B, target=Target(kind=kind))  # type: ignore[arg-type]
    image, state = QUADRANT.clone(), torch.random.get_rng_state()
    attribute(probed, image, method, SETTINGS)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (hooks(probed), image.requires_grad, image.grad) == (0, False, None)


def test_a_pass_that_fails_leaves_no_hook(tiny: Backend) -> None:
    left, (probed, image) = iter([None, None]), small(tiny)

    def tire(*_: object) -> None:
        if next(left, "over") == "over":
            raise KeyboardInterrupt

    handle = tiny.net.conv_in.register_forward_pre_hook(tire)
    try:
        with pytest.raises(KeyboardInterrupt):
            attribute(probed, image, "integrated_gradients", SETTINGS.model_copy(update={"batch": 1}))
    finally:
        handle.remove()
    assert hooks(probed) == 0


def test_noise_has_a_seed_of_its_own(tiny: Backend) -> None:
    probed, image = small(tiny)
    a, b, other = (attribute(probed, image, "noise_tunnel", SETTINGS.model_copy(update={"seed": s})) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)


def test_batches_change_nothing(tiny: Backend) -> None:
    probed, image = small(tiny)
    for method in ("integrated_gradients", "occlusion"):
        one, many = (attribute(probed, image, method, Settings(steps=8, batch=batch)) for batch in (3, 64))
        torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-4)


def test_a_batch_is_no_more_than_what_is_free(tiny: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    probed, image = small(tiny)
    assert batch_that_fits(probed, image) == 16
    monkeypatch.setattr("analysis.probed.psutil.virtual_memory", lambda: type("Memory", (), {"available": 1}))
    assert batch_that_fits(probed, image) == 1


def test_a_map_over_draws_is_their_mean_with_their_spread(tiny: Backend) -> None:
    probed, image = small(tiny)
    maps = list(over_draws(probed, image, "saliency", Settings(), image_id=1, draws=3))
    noise = [noise_like(torch.empty(1, 1, 8, 8), [1], 0, draw) for draw in range(3)]
    each = torch.stack([attribute(probed.changed(eps=eps), image, "saliency") for eps in noise])
    assert [found.draws for found in maps] == [1, 2, 3]
    torch.testing.assert_close(maps[-1].mean, each.mean(0))
    torch.testing.assert_close(maps[-1].spread, each.std(0))


def test_cells_below_their_spread_are_unsure_and_one_draw_is_sure_of_nothing(tiny: Backend) -> None:
    probed, image = small(tiny)
    first, last = over_draws(probed, image, "integrated_gradients", SETTINGS, image_id=1, draws=2)
    assert not first.sure.any()
    assert last.spread is not None
    assert torch.equal(last.sure, last.mean.abs() > last.spread)


def test_clean_input_has_one_map_and_no_spread(tiny: Backend) -> None:
    probed, image = small(tiny)
    (found,) = over_draws(probed, image, "saliency", Settings(), image_id=1, draws=0)
    torch.testing.assert_close(found.mean, attribute(probed.changed(eps=None), image, "saliency"))
    assert found.sure.all()


def test_the_gap_falls_with_the_steps(tiny: Backend) -> None:
    probed, image = small(tiny)
    few, many = (list(over_draws(probed, image, "integrated_gradients", Settings(steps=n), 1, 2))[-1].gap for n in (1, 16))
    assert many is not None
    assert few is not None
    assert many < few / 10


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: two_pixels(Target(index=2)), "one class from 0 to 1"),
        (lambda: two_pixels(Target(kind="difference", index=1)), "two different classes"),
        (lambda: two_pixels(Target(kind="difference", index=1, minus=1)), "two different classes"),
        (lambda: two_pixels(Target(kind="channel", index=3)), "channel 3; allowed: 0 to 2"),
        (lambda: two_pixels(side=2), r"weight is \(2, 3\); allowed for first pooled to 2×2: \(2, 12\)"),
        (lambda: two_pixels(eps=torch.zeros(2, 3, 1, 2)), "eps has 2 draws"),
        (lambda: attribute(two_pixels(), PIXELS[0], "saliency"), "one image"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        make()


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match=r"Unknown method 'salience'; allowed: .* Did you mean 'saliency'\?"):
        attribute(two_pixels(), PIXELS, "salience")


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidData, match="Saliency at σ = 1e-06 is not finite"):
        attribute(two_pixels().changed(weight=W * float("nan")), PIXELS, "saliency")


def test_the_loss_and_a_rearranged_map_do_not_meet() -> None:
    class Tokens(Toy):
        def as_map(self, block: object, output: Tensor) -> Tensor:  # type: ignore[override]
            return output.flip(-1)

    probed = ProbedModel(Tokens(nn.Identity()), "first", 1e-6, W, B, target=Target(kind="loss"))
    assert attribute(probed, PIXELS, "saliency").shape == (1, 2)
    with pytest.raises(InvalidRequest, match="choose a pixel method or another target"):
        attribute(probed, PIXELS, "layer_grad_cam")


def test_what_a_method_costs_is_what_it_takes(tiny: Backend) -> None:
    """Passes without a gradient count one, those with it two; what measures memory is left out."""
    for method in ("integrated_gradients", "occlusion", "layer_grad_cam", "layer_activation"):
        seen = []
        probed, image = small(tiny)
        handle = tiny.net.conv_in.register_forward_hook(lambda m, i, o, seen=seen: seen.append(len(o) * (2 if o.requires_grad else 1)))
        attribute(probed, image, method, SETTINGS)
        handle.remove()
        assert sum(seen) == METHODS[method].passes(SETTINGS, 8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_maps_on_a_gpu_are_those_on_the_cpu(tiny: Backend, tiny_folder: Path) -> None:
    """float32 sums in another order, and TF32 nowhere; SmoothGrad's noise is each device's own."""
    probed, image = small(tiny)
    there = probed.changed(backend=open_backend(str(tiny_folder), device="cuda"))
    for method in set(methods_for(tiny)) - {"noise_tunnel"}:
        found = attribute(there, image, method, SETTINGS).cpu()
        torch.testing.assert_close(found, attribute(probed, image, method, SETTINGS), atol=1e-4, rtol=1e-3)
