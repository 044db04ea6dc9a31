"""Samplers against data whose exact denoiser is known: x_0 ~ N(0, s² I), D(x; σ) = s²/(s²+σ²) x."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from analysis.backends import open_backend
from analysis.datasets import open_dataset
from analysis.errors import InvalidRequest
from analysis.noise import Schedule, noise_like
from analysis.sampling import sample, sheet, to_pixels

S = 0.2
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
DDPM = Schedule.variance_preserving(torch.cumprod(1 - BETAS, 0))
FLOW = Schedule.flow_matching(torch.linspace(0.005, 0.995, 400, dtype=torch.float64))


def exact(schedule: Schedule) -> Any:
    """A backend of that data, as far as a sampler looks."""
    card = SimpleNamespace(conditions=("none",), image_channels=1, resolution=4, space="pixel")

    def denoise(x: torch.Tensor, sigma: torch.Tensor, condition: str) -> torch.Tensor:
        return x * (S**2 / (S**2 + sigma**2)).to(x).reshape(-1, 1, 1, 1)

    return SimpleNamespace(card=card, schedule=schedule, device=torch.device("cpu"), denoise=denoise)


def heun(levels: np.ndarray) -> float:
    """What algorithm 1 of arXiv 2206.00364, without churn, makes of x = 1 times the highest of descending levels."""
    slope = lambda x, sigma: (x - x * S**2 / (S**2 + sigma**2)) / sigma  # noqa: E731
    x = levels[0]
    for now, then in zip(levels, [*levels[1:], 0.0], strict=True):
        first = slope(x, now)
        ahead = x + (then - now) * first
        x = ahead if then == 0 else x + (then - now) * (first + slope(ahead, then)) / 2
    return float(x)


@pytest.mark.parametrize("schedule", [DDPM, FLOW], ids=["ddpm", "flow"])
@pytest.mark.parametrize(("sampler", "steps", "tolerance"), [("ddim", 50, 0.2), ("ddim", 200, 0.06), ("heun", 50, 0.03)])
def test_samples_tend_to_the_closed_form(schedule: Schedule, sampler: Any, steps: int, tolerance: float) -> None:
    """The flow's solution is x_0 = x_T s/√(s²+σ_T²); DDIM is of first order in the step, Heun of second."""
    made = sample(exact(schedule), 20, 3, sampler, steps)
    noise = noise_like(torch.empty(20, 1, 4, 4), list(range(20)), 3, 0)
    top = float(schedule.sigmas[-1])
    started = noise * top if sampler == "heun" else noise * (1 + top**2) ** 0.5
    wanted = started * S / (S**2 + top**2) ** 0.5
    assert (made - wanted).abs().max() < tolerance * wanted.abs().max()


def test_heun_is_karras_algorithm_on_his_levels() -> None:
    low, high = (float(DDPM.sigmas[i]) ** (1 / 7) for i in (0, -1))
    levels = (high + np.linspace(0, 1, 25) * (low - high)) ** 7
    made = sample(exact(DDPM), 4, 0, "heun", 25)
    started = noise_like(torch.empty(4, 1, 4, 4), list(range(4)), 0, 0)
    # The network knows the schedule's 1,000 levels, of which the nearest is up to 1.2 % off each of these.
    np.testing.assert_allclose(made, started * heun(levels), rtol=0.02)


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_an_image_depends_on_the_seed_and_its_number_alone(sampler: Any) -> None:
    backend = open_backend("digits-ddpm")
    whole, parts = sample(backend, 6, 1, sampler, 5), sample(backend, 4, 1, sampler, 5, batch=3)
    torch.testing.assert_close(whole[:4], parts, rtol=1e-4, atol=1e-5)  # another batch size: equal up to rounding
    assert not torch.allclose(whole, sample(backend, 6, 2, sampler, 5))


def test_the_digits_model_makes_images_like_digits() -> None:
    made = to_pixels(sample(open_backend("digits-ddpm"), 100, steps=25))[..., 0]
    real = open_dataset("digits").images[..., 0]
    assert abs(made.mean() - real.mean()) < 10
    # Pixel by pixel: 100 samples of a spread of about 70 have means known to 7 shades; 25 is three of them and the sampler's bias.
    assert np.abs(made.mean(0) - real.mean(0)).max() < 40
    assert np.corrcoef(made.mean(0).ravel(), real.mean(0).ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("sampler", "steps", "words"), [("euler", 10, "'ddim' and 'heun'"), ("ddim", 1, "2 to 1000"), ("heun", 2000, "2 to")]
)
def test_what_is_no_sampler_is_refused(sampler: Any, steps: int, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        sample(exact(DDPM), 1, 0, sampler, steps)


def test_a_sheet_has_its_images_row_by_row() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3), dtype=np.uint8)
    page = np.asarray(Image.open(io.BytesIO(sheet(images, 3))))
    assert page.shape == (4, 9, 3)
    np.testing.assert_array_equal(page[2:4, 3:6], images[4])
    assert (page[2:4, 6:] == 255).all()


def test_pixels_run_from_minus_one_to_one() -> None:
    pixels = to_pixels(torch.tensor([[[[-1.0, 0.0, 1.0, 7.0]]]]))
    assert pixels.shape == (1, 1, 4, 3)
    assert pixels[0, 0, :, 2].tolist() == [0, 128, 255, 255]
