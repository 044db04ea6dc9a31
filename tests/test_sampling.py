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
from analysis.catalog import card
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
    card = SimpleNamespace(unconditional="none", x0_shape=(1, 4, 4), resolution=4, space="pixel")

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


def ddim(levels: np.ndarray) -> float:
    """What DDIM makes of x = √(1+σ_T²) over descending levels: in x/√ᾱ it is Euler's method in σ (arXiv 2010.02502, eq. 14)."""
    x = np.sqrt(1 + levels[0] ** 2)
    for now, then in zip(levels, [*levels[1:], 0.0], strict=True):
        x += (then - now) * (x - x * S**2 / (S**2 + now**2)) / now
    return float(x)


@pytest.mark.parametrize("schedule", [DDPM, FLOW], ids=["ddpm", "flow"])
@pytest.mark.parametrize("steps", [10, 50, 200, 30, 60, 61, 300])
def test_ddim_is_eulers_method_on_the_levels_that_it_visits(schedule: Schedule, steps: int) -> None:
    """Whether or not the number of steps divides the number of levels."""
    every = len(schedule.sigmas)
    visited = np.linspace(every, 0, steps, endpoint=False).round().astype(int) - 1
    made = sample(exact(schedule), 4, 0, "ddim", steps)
    started = noise_like(torch.empty(4, 1, 4, 4), list(range(4)), 0, 0)
    np.testing.assert_allclose(made, started * ddim(schedule.sigmas.numpy()[visited]), rtol=1e-3)  # float32 betas


def test_heun_of_fifty_steps_is_karras_algorithm() -> None:
    low, high = (float(DDPM.sigmas[i]) ** (1 / 7) for i in (0, -1))
    levels = (high + np.linspace(0, 1, 50) * (low - high)) ** 7
    started = noise_like(torch.empty(4, 1, 4, 4), list(range(4)), 0, 0)
    # Each level is up to half a level off the nearest known one; the offsets have both signs and cancel to 0.04 %.
    np.testing.assert_allclose(sample(exact(DDPM), 4, 0, "heun", 50), started * heun(levels), rtol=0.002)


def test_twice_the_steps_leave_half_the_error_of_ddim_and_a_quarter_of_heuns() -> None:
    noise, top = noise_like(torch.empty(4, 1, 4, 4), list(range(4)), 0, 0), float(DDPM.sigmas[-1])
    error = {}
    for sampler, start in (("ddim", (1 + top**2) ** 0.5), ("heun", top)):
        for steps in (25, 50, 100):
            made = sample(exact(DDPM), 4, 0, sampler, steps)
            error[sampler, steps] = abs(float((made / noise).mean()) / (start * S / (S**2 + top**2) ** 0.5) - 1)
    assert 1.6 < error["ddim", 50] / error["ddim", 100] < 2.4
    assert error["heun", 25] / error["heun", 50] > 3


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
@pytest.mark.parametrize(("space", "seen"), [("pixel", 1.0), ("latent", 3.0)])
def test_pixels_are_clipped_and_latents_are_not(sampler: Any, space: str, seen: float) -> None:
    backend = exact(DDPM)
    backend.card.space, backend.denoise = space, lambda x, sigma, condition: torch.full_like(x, 3.0)
    torch.testing.assert_close(sample(backend, 2, 0, sampler, 20), torch.full((2, 1, 4, 4), seen), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("conditions", "asked"), [(("none",), "none"), (("cat", "null", "dog"), "null"), (("cat", "dog"), "cat")])
def test_a_sample_is_of_no_class_where_the_model_knows_that(conditions: tuple[str, ...], asked: str) -> None:
    backend, seen = exact(DDPM), set()
    backend.card.unconditional = card("digits-ddpm").model_copy(update={"conditions": conditions}).unconditional
    backend.denoise = lambda x, sigma, condition: seen.add(condition) or x * 0
    sample(backend, 1, 0, "ddim", 2)
    assert seen == {asked}


def test_the_digits_models_shades_spread_like_those_of_digits() -> None:
    made = to_pixels(sample(open_backend("digits-ddpm"), 100, 0, "heun", 15))[..., 0].astype(float)
    real = open_dataset("digits").images[..., 0].astype(float)
    # A digit's mean shade spreads by 8.6, so 100 of them are known to 0.9: three of these and the model's own bias of 1 to 2.
    assert abs(made.mean() - real.mean()) < 5
    assert abs(made.std() / real.std() - 1) < 0.06  # 1 to 2 % less spread over three seeds: what a small model blurs


def test_colour_stays_colour() -> None:
    pixels = to_pixels(torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 3, 1, 1))
    assert pixels.tolist() == [[[[0, 128, 255]]]]
