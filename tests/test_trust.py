"""Checks of maps whose worth is known beforehand."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from analysis import trust
from analysis.attribution import METHODS, Settings, attribute, methods_for
from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.errors import InvalidRequest
from analysis.probed import ProbedModel, Target
from analysis.steps import finish

from .test_attribution import SETTINGS, small
from .toys import Toy, edges

WORTH = torch.tensor([[4.0, 3.0], [-1.0, 2.0]])  # what each pixel adds to the target; 8 in all
IMAGE = torch.zeros(1, 3, 2, 2)
IMAGE[0, 0] = WORTH
GREY = torch.zeros_like(IMAGE)


def linear(**more: object) -> ProbedModel:
    """The first class's logit is the sum of the red pixels."""
    head = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]), torch.zeros(2)
    return ProbedModel(Toy(nn.Identity()), "first", 1e-6, *head, **more)  # type: ignore[arg-type]


def curves(attribution: Tensor, steps: int = 4) -> trust.Curves:
    return finish(trust.deletion_insertion(linear(), IMAGE, attribution, GREY, batch=3, steps=steps))


def test_a_map_that_adds_up_has_no_gap() -> None:
    assert trust.completeness(linear(), IMAGE, WORTH, GREY) == (0, 8)
    assert trust.completeness(linear(), IMAGE, WORTH + 1, GREY) == (4, 8)


def test_deletion_takes_the_highest_pixels_out_first_and_insertion_puts_them_in() -> None:
    found = curves(WORTH)
    assert found.deletion == (8, 4, 1, -1, 0)
    assert found.insertion == (0, 4, 7, 9, 8)
    assert found.share == (0, 0.25, 0.5, 0.75, 1)
    assert (found.deletion_area, found.insertion_area) == (2.0, 6.0)


def test_random_orders_start_and_end_where_the_others_do_and_lie_between() -> None:
    found = curves(WORTH)
    assert (found.random[0], found.random[-1], found.random_spread[0]) == (8, 0, 0)
    assert found.deletion_area < found.random_area < found.insertion_area


def test_a_map_without_contrast_is_a_random_order() -> None:
    areas = [
        finish(trust.deletion_insertion(linear(), IMAGE, torch.ones(2, 2), GREY, 64, steps=4, seed=seed)).deletion_area
        for seed in range(200)
    ]
    assert abs(sum(areas) / 200 - 4) < 0.3  # a random order's mean area is 4, half of 8; its standard deviation about 1.2


def test_a_blocks_map_is_enlarged_to_rank_pixels() -> None:
    assert trust.over_pixels(torch.zeros(1, 3, 4, 4), torch.eye(2)).shape == (4, 4)
    assert curves(torch.ones(1, 1)).deletion[-1] == 0


@pytest.mark.parametrize(("steps", "orders"), [(0, 8), (4, 1)])
def test_too_few_steps_or_orders_are_refused(steps: int, orders: int) -> None:
    with pytest.raises(InvalidRequest, match="at least 1 and 2"):
        finish(trust.deletion_insertion(linear(), IMAGE, WORTH, GREY, 4, steps=steps, random_orders=orders))


@pytest.mark.parametrize(("attribution", "missed"), [(WORTH, 0.0), (5 * WORTH, 0.0), (torch.zeros(2, 2), 1.0)])
def test_infidelity_is_the_share_of_changes_left_unexplained(attribution: Tensor, missed: float) -> None:
    assert trust.infidelity(linear(), IMAGE, attribution, GREY, batch=8) == pytest.approx(missed, abs=1e-5)


def test_infidelity_tells_a_wrong_map_from_a_right_one(tiny: Backend) -> None:
    probed, image = small(tiny)
    right = attribute(probed, image, "integrated_gradients")
    wrong = right.flatten()[torch.randperm(64, generator=torch.Generator().manual_seed(0))].reshape(8, 8)
    found = [trust.infidelity(probed, image, one, torch.zeros_like(image), 16) for one in (right, wrong)]
    assert found[0] < 0.5 * found[1]


def most_moved(method: str) -> float:
    """The sensitivity, and that no two nudges are the same."""
    probed = linear()
    known = attribute(probed, IMAGE, method)
    moved = [trust.nudged(probed, IMAGE, known, method, SETTINGS, turn) for turn in range(trust.NUDGES)]
    assert len(set(moved)) == (trust.NUDGES if any(moved) else 1)
    return max(moved)


def test_a_map_that_does_not_read_the_image_is_not_sensitive() -> None:
    assert most_moved("saliency") == 0


def test_sensitivity_of_a_linear_map_is_the_nudge_over_the_image() -> None:
    found = most_moved("input_x_gradient")
    assert 0 < found <= 0.02 * 2 / 30**0.5  # four pixels nudged by .02 at most, over |(4, 3, -1, 2)|


@pytest.mark.parametrize(
    ("other", "alike"), [(WORTH, 1.0), (-2 * WORTH, 1.0), (torch.tensor([[1.0, 2.0], [4.0, 3.0]]), -1.0), (torch.ones(2, 2), 0.0)]
)
def test_similarity_is_of_the_order_of_magnitudes(other: Tensor, alike: float) -> None:
    assert trust.similarity(WORTH, other) == pytest.approx(alike)


def test_a_map_that_ignores_head_or_network_is_marked(tiny: Backend, tiny_folder: object) -> None:
    probed, image = small(tiny)
    blind = trust.examine(probed, image, "layer_activation", SETTINGS, tiny)
    assert (blind.random_head, blind.random_network, blind.hardly_changes) == (1.0, 1.0, ("probe", "network"))
    seeing = trust.examine(probed, image, "layer_grad_cam", SETTINGS, open_backend(str(tiny_folder), "random:7"))
    assert seeing.random_head is not None
    assert not seeing.hardly_changes


def test_a_channel_and_the_loss_have_no_head_to_randomise(tiny: Backend) -> None:
    probed, image = small(tiny, target=Target(kind="loss"))
    assert trust.examine(probed, image, "saliency", SETTINGS).random_head is None


def test_random_heads_are_as_wide_as_the_probe_and_have_a_seed(tiny: Backend) -> None:
    probed, image = small(tiny)
    attribution = attribute(probed, image, "saliency")
    a, b, c = (trust.randomised(probed, image, attribution, "saliency", Settings(seed=seed))[0] for seed in (0, 0, 1))
    assert a == b != c


@pytest.mark.parametrize("method", METHODS)
def test_what_is_found_is_json_and_touches_no_generator(method: str) -> None:
    probed = ProbedModel(edges(), "first", 1e-6, torch.randn(2, 8), torch.zeros(2))
    state, image = torch.random.get_rng_state(), torch.rand(1, 3, 16, 16)
    state = torch.random.get_rng_state()
    found = trust.examine(probed, image, method, SETTINGS, edges()).to_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert json.loads(json.dumps(found, allow_nan=False)) == found | {
        "curves": {k: list(v) if isinstance(v, tuple) else v for k, v in found["curves"].items()},
        "hardly_changes": list(found["hardly_changes"]),
    }
    assert (found["gap"] is None) == (method not in ("integrated_gradients", "input_x_gradient"))


def test_a_blank_image_gives_no_nan() -> None:
    found = trust.examine(linear(), GREY, "integrated_gradients", SETTINGS).to_dict()
    assert json.dumps(found, allow_nan=False)
    assert (found["change"], found["infidelity"]) == (0, 0)


def test_what_the_checks_cost_is_what_they_take(tiny: Backend) -> None:
    for method in ("occlusion", "layer_grad_cam"):
        seen: list[int] = []
        probed, image = small(tiny)
        handle = tiny.net.conv_in.register_forward_hook(lambda m, i, o, seen=seen: seen.append(len(o)))
        trust.examine(probed, image, method, Settings(batch=16), tiny)
        handle.remove()
        assert sum(seen) == trust.passes(method, Settings(), 8)


@pytest.mark.slow
def test_every_method_can_be_examined(tiny: Backend) -> None:
    probed, image = small(tiny)
    for method in methods_for(tiny):
        assert trust.examine(probed, image, method, SETTINGS, tiny).method == method
