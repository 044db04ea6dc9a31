"""The lines of plain diffusers that a recipe gives: run here, on the same x0 and ε as ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis import catalog
from analysis.backends import open_backend
from analysis.backends.base import Backend, Excerpt
from analysis.features import read_features
from analysis.noise import noise_like
from analysis.specs import Precision

from .toys import Toy

DIGITS = open_backend("digits-ddpm")
BLOCKS = {block.name: block for block in DIGITS.card.blocks}
IDS = list(range(5))
X0 = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
EPS = noise_like(X0, IDS, 0, 0)


def excerpt(block: str, pooling: str = "1", level: int = 86, backend: Backend = DIGITS, **more: Any) -> Excerpt:
    card, place = backend.card, str(catalog.model_folder(backend.card.name))
    there = next(one for one in card.blocks if one.name == block)
    return Excerpt(place, card, there, card.sigmas[level], card.timesteps[level], pooling, **more)


def run(what: Excerpt) -> dict[str, Callable[..., torch.Tensor]]:
    """What the lines define."""
    text = DIGITS.snippet(what)
    assert text is not None
    found: dict[str, Any] = {}
    exec(text, found)
    return found


def same(found: torch.Tensor, ours: torch.Tensor) -> None:
    # Another memory format: float32 sums in another order, up to 2e-6 of the largest.
    torch.testing.assert_close(found, ours, rtol=1e-5, atol=1e-5 * float(ours.abs().max()))


@pytest.mark.parametrize("block", BLOCKS)
def test_the_lines_give_our_feature_in_every_block(block: str) -> None:
    what = excerpt(block)
    ours = read_features(DIGITS, [f"{block}/1"], X0, EPS, what.sigma, 5)[f"{block}/1"]
    same(run(what)["feature"](X0, EPS), ours)


@pytest.mark.parametrize("pooling", ["2", "4", "max", "gem"])
@pytest.mark.parametrize("level", [0, 500])
def test_every_pooling_at_any_level_is_ours_and_two_calls_do_not_disturb_each_other(pooling: str, level: int) -> None:
    what = excerpt("up0.res1", pooling, level)
    ours = read_features(DIGITS, [f"up0.res1/{pooling}"], X0, EPS, what.sigma, 5)[f"up0.res1/{pooling}"]
    feature = run(what)["feature"]
    feature(-X0, EPS)
    same(feature(X0, EPS), ours)


def test_clean_input_is_scaled_as_ours() -> None:
    what = excerpt("mid.res1", clean=True)
    ours = read_features(DIGITS, ["mid.res1/1"], X0, None, what.sigma, 5)["mid.res1/1"]
    same(run(what)["feature"](X0), ours)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("pooling", ["1", "2"])
def test_a_study_of_lower_precision_is_read_in_it(precision: Precision, pooling: str) -> None:
    what, name = excerpt("mid.res1", pooling, precision=precision), f"mid.res1/{pooling}"
    model = open_backend("digits-ddpm")
    model.net.to(memory_format=torch.contiguous_format)  # as diffusers has it: another one rounds other sums up
    whole, ours = (read_features(model.at(one), [name], X0, EPS, what.sigma, 5)[name] for one in ("float32", precision))
    found = run(what)["feature"](X0, EPS)
    assert found.dtype == torch.float32
    assert float((found - ours).norm()) < 0.1 * float((whole - ours).norm())


def test_several_draws_are_averaged() -> None:
    what = excerpt("mid.res1", draws=3)
    torch.manual_seed(1)
    found = run(what)["averaged"](X0)
    torch.manual_seed(1)
    draws = [torch.randn_like(X0) for _ in range(3)]
    same(found, sum(read_features(DIGITS, ["mid.res1/1"], X0, eps, what.sigma, 5)["mid.res1/1"] for eps in draws) / 3)


def test_three_colours_and_attention_are_read_too() -> None:
    cifar = open_backend("cifar10-ddpm")
    x0 = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    eps = noise_like(x0, [1, 2], 0, 0)
    block = next(block.name for block in cifar.card.blocks if "attentions" in block.module)
    what = excerpt(block, level=39, backend=cifar)
    same(run(what)["feature"](x0, eps), read_features(cifar, [f"{block}/1"], x0, eps, what.sigma, 2)[f"{block}/1"])


def test_it_is_about_twelve_lines_without_ours() -> None:
    text = DIGITS.snippet(excerpt("mid.res1"))
    assert text is not None
    lines = [line for line in text.splitlines() if line]
    assert 10 <= len(lines) <= 14
    assert max(map(len, lines)) < 120
    assert "analysis" not in text


def test_a_model_of_the_hub_is_loaded_from_there_at_its_revision() -> None:
    card = DIGITS.card.model_copy(update={"repo_id": "someone/digits", "revision": "abc123"})
    text = DIGITS.snippet(Excerpt("someone/digits", card, BLOCKS["mid.res1"], 1.0, 200.0, "1"))
    assert text is not None
    assert 'place, t = "someone/digits", 200' in text
    assert text.count('from_pretrained(place, revision="abc123")') == 2


def test_a_family_without_lines_says_none(tmp_path: Path) -> None:
    assert Toy(torch.nn.Identity()).snippet(excerpt("mid.res1")) is None
