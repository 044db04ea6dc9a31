"""Fusion: a label that two maps tell together, and neither alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import InvalidRequest
from analysis.fusing import foresee, fuse
from analysis.heads.attention import Attention

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture
def brief(small_networks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what does not hang on what is learned."""
    monkeypatch.setattr(Attention, "training", replace(Attention.training, least=20))


def bits(count: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Maps (n, 6, 2, 2) and (n, 4, 3, 3), a bit in channel 0 of each; the label is whether the bits differ."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 2, (2, count))
    maps = [rng.normal(size=(count, 6, 2, 2)), rng.normal(size=(count, 4, 3, 3))]
    for one, bit in zip(maps, (first, second), strict=True):
        one[:, 0] += 3 * (2 * bit - 1)[:, None, None]
    return [one.astype(np.float32) for one in maps], first ^ second


def best(maps: list[np.ndarray], labels: np.ndarray, new: list[np.ndarray], truth: np.ndarray) -> float:
    return max(float((head.predict_logits(new).argmax(1) == truth).mean()) for head in fuse(maps, labels, 2))


@pytest.mark.slow
def test_what_two_maps_tell_together_is_found_and_in_neither_alone() -> None:
    (maps, labels), (new, truth) = bits(300, 0), bits(300, 1)
    assert best(maps, labels, new, truth) > 0.9
    assert best(maps[:1], labels, new[:1], truth) < 0.6
    assert best(maps[1:], labels, new[1:], truth) < 0.6


@pytest.mark.usefixtures("brief")
def test_one_map_fused_with_nothing_is_the_attention_head() -> None:
    maps, labels = bits(40, 0)
    alone, head = fuse(maps[:1], labels, 2), Attention().fit(maps[0], labels, 2)
    for one, other in zip(alone, head, strict=True):
        np.testing.assert_array_equal(one.predict_logits(maps[:1]), other.predict_logits(maps[0]))


@pytest.mark.slow
def test_a_cell_tells_its_map_and_its_place() -> None:
    """The same numbers in another map, or in another place, are another image."""
    maps, labels = bits(40, 0)
    pair = [maps[0], maps[0][::-1].copy()]
    head = fuse(pair, labels, 2)[-1]
    logits = head.predict_logits(pair)
    assert np.abs(head.predict_logits(pair[::-1]) - logits).max() > 1e-2
    assert np.abs(head.predict_logits([one[:, :, ::-1] for one in pair]) - logits).max() > 1e-2


@pytest.mark.usefixtures("brief")
def test_fusing_leaves_the_global_random_state_alone_and_ends_alike() -> None:
    maps, labels = bits(40, 0)
    state = torch.manual_seed(3).get_state()
    one, two = (fuse(maps, labels, 2)[1].predict_logits(maps) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert torch.equal(torch.get_rng_state(), state)


def test_two_maps_are_foreseen_to_hold_more_than_one() -> None:
    maps, labels = bits(20, 0)
    one, two = foresee(maps[:1], labels, 2), foresee(maps, labels, 2)
    assert 0 < one.fit(10) < one.fit(10_000)
    assert two.memory > one.memory


def test_what_is_no_set_of_maps_is_refused() -> None:
    maps, labels = bits(20, 0)
    with pytest.raises(InvalidRequest, match="No maps are given"):
        fuse([], labels, 2)
    for wrong in (maps[1][:19], maps[1][:, :, :2], maps[1].reshape(20, -1)):
        with pytest.raises(InvalidRequest, match=r"Map 1 has the shape \(.*\(20, C, p, p\)"):
            fuse([maps[0], wrong], labels, 2)
