"""Noise levels against diffusers' schedulers, which were written by others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from analysis import noise
from analysis.errors import InvalidRequest
from analysis.noise import Schedule, add_noise, log_snr, noise_like


def ddpm(kind: str) -> DDPMScheduler:
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule=kind)


@pytest.mark.parametrize("kind", ["linear", "squaredcos_cap_v2"])
def test_sigma_is_that_of_the_schedulers_own_array(kind: str) -> None:
    alphas = ddpm(kind).alphas_cumprod.numpy().astype(np.float64)
    schedule = Schedule.variance_preserving(ddpm(kind).alphas_cumprod)
    np.testing.assert_allclose(schedule.sigmas, np.sqrt((1 - alphas) / alphas), rtol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "squaredcos_cap_v2"])
def test_noised_images_are_those_of_diffusers(kind: str) -> None:
    scheduler = ddpm(kind)
    schedule = Schedule.variance_preserving(scheduler.alphas_cumprod)
    x0, eps, steps = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.tensor([0, 14, 388, 900])
    sigma = schedule.sigmas[steps]
    ours = add_noise(x0, sigma, eps) * schedule.input_scale(sigma).float().reshape(-1, 1, 1, 1)
    torch.testing.assert_close(ours, scheduler.add_noise(x0, eps, steps), rtol=1e-5, atol=1e-5)


def test_flow_matching_noises_as_diffusers_does() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    steps = scheduler.timesteps[[100, 500, 900]]
    times = scheduler.sigmas[[100, 500, 900]]
    schedule = Schedule.flow_matching(times, steps)
    x0, eps = torch.randn(3, 3, 8, 8), torch.randn(3, 3, 8, 8)
    order = torch.argsort(times)
    sigma = schedule.sigmas
    ours = add_noise(x0[order], sigma, eps[order]) * schedule.input_scale(sigma).float().reshape(-1, 1, 1, 1)
    torch.testing.assert_close(ours, scheduler.scale_noise(x0[order], steps[order], eps[order]), rtol=1e-5, atol=1e-5)


def test_published_levels_of_the_linear_schedule() -> None:
    # Hand-worked from β = 1e-4…0.02, T = 1000; three digits were published.
    schedule = Schedule.variance_preserving(ddpm("linear").alphas_cumprod)
    got = [float(schedule.sigmas[t]) for t in (0, 3, 14, 39, 86, 166, 274, 388, 999)]
    np.testing.assert_allclose(got, [0.010, 0.023, 0.060, 0.140, 0.296, 0.585, 1.088, 1.923, 157], rtol=0.03)


def test_a_level_at_infinity_is_dropped() -> None:
    schedule = Schedule.variance_preserving(torch.tensor([0.9, 0.5, 0.0]))
    assert schedule.sigmas.tolist() == pytest.approx([1 / 3, 1.0])


def test_the_nearest_level_is_nearest_in_log_sigma() -> None:
    schedule = Schedule.from_levels("vp", [0.01, 1.0], [0, 7])
    assert schedule.nearest(torch.tensor([0.09, 0.11])).tolist() == [0.01, 1.0]
    assert schedule.timestep(torch.tensor([0.09, 0.11])).tolist() == [0, 7]


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_level_that_is_no_level_is_refused(sigma: float) -> None:
    with pytest.raises(InvalidRequest, match="above 0"):
        Schedule.from_levels("vp", [0.01, 1.0], [0, 1]).nearest(torch.tensor([sigma]))


def test_log_snr_of_one_is_zero_and_of_e_is_minus_two() -> None:
    assert log_snr(torch.tensor([1.0, torch.e])).tolist() == pytest.approx([0, -2])


def test_spread_levels_start_lowest_and_are_the_schedules_own() -> None:
    schedule = Schedule.variance_preserving(ddpm("linear").alphas_cumprod)
    levels = schedule.spread(16)
    assert levels == sorted(set(levels))
    assert levels[0] == float(schedule.sigmas[0])
    assert set(levels) <= set(schedule.sigmas.tolist())


def test_epsilon_depends_on_seed_draw_and_image_alone() -> None:
    x0 = torch.zeros(3, 1, 8, 8)
    whole = noise_like(x0, [5, 6, 2**63 + 1], seed=0, draw=1)
    torch.testing.assert_close(noise_like(x0[:1], [6], 0, 1)[0], whole[1], rtol=0, atol=0)
    assert not torch.equal(noise_like(x0, [5, 6, 7], 0, 2)[0], whole[0])
    assert not torch.equal(noise_like(x0, [5, 6, 7], 1, 1)[0], whole[0])


def test_epsilon_is_standard_normal() -> None:
    eps = noise_like(torch.zeros(500, 1, 8, 8), range(500), 0, 0)
    # 32,000 numbers: the mean's standard error is .0056, the deviation's .004; five of each are allowed.
    assert abs(float(eps.mean())) < 0.028
    assert float(eps.std()) == pytest.approx(1, abs=0.02)


def test_what_was_drawn_is_kept_up_to_so_many_bytes_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x0, ids = torch.zeros(4, 3, 8, 8), [3, 1, 4, 15]
    size = 4 * x0.numel()
    drawn: list[int] = []
    real = noise.noise_like

    def counted(x0: torch.Tensor, image_ids: list[int], seed: int, draw: int) -> torch.Tensor:
        drawn.append(draw)
        return real(x0, image_ids, seed, draw)

    monkeypatch.setattr(noise, "noise_like", counted)
    kept = noise.Drawn(2 * size)
    for _ in range(3):
        for draw in (0, 1, 2):  # two have room
            assert torch.equal(kept(x0, ids, 7, draw), real(x0, ids, 7, draw))
    assert drawn == [0, 1, 2, 2, 2]
    assert not torch.equal(kept(x0, ids, 8, 0), kept(x0, ids, 7, 0))
    assert kept(x0[:, :1], ids, 7, 0).shape == (4, 1, 8, 8)
