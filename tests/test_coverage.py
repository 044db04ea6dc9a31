"""How often 95 % intervals hold the truth: runs are simulated whose accuracy is known, with images, label draws and draws of ε that scatter.

Whether a probe is right is a latent normal above a threshold: the sum of what is the image's, the image's at a level, the label draw's,
the ε draw's, the image's under one ε, and a residual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from analysis import dynamics
from analysis.comparing import at_one
from analysis.errors import InvalidRequest
from analysis.resampling import Resamples, between, grouped, resamples


@dataclass(frozen=True)
class World:
    """R label draws under E draws of ε, N test images; standard deviations of the latent parts, and where two levels' latents lie."""

    draws: int = 15
    eps: int = 3
    images: int = 300
    image: float = 1.0
    labels: float = 0.1
    noise: float = 0.05
    residual: float = 0.5
    own: float = 0.0  # an image under one ε
    middle: tuple[float, float] = (0.5, 0.9)
    one_labels: bool = False  # every draw has the same labelled images

    @property
    def resamples(self) -> Resamples:
        draw = np.arange(self.draws)
        return resamples(np.zeros_like(draw) if self.one_labels else draw, draw % self.eps, self.images, times=2)

    @property
    def truth(self) -> np.ndarray:
        parts = (self.image, 0.3 * self.image, self.labels, self.noise, self.residual, self.own)
        return np.asarray(norm.cdf(np.array(self.middle) / np.linalg.norm(parts)))

    def run(self, rng: np.random.Generator, images: np.ndarray | None = None, labels: np.ndarray | None = None) -> np.ndarray:
        """(R, 2, N), of given images (N,) and label draws (R,) where another run has seen them."""
        draw = np.arange(self.draws)
        value = np.array(self.middle)[None, :, None] + (rng.normal(0, self.image, self.images) if images is None else images)
        value = value + rng.normal(0, 0.3 * self.image, (1, 2, self.images))
        value = value + (rng.normal(0, self.labels, self.draws) if labels is None else labels)[:, None, None]
        value = value + rng.normal(0, self.noise, self.eps)[draw % self.eps][:, None, None]
        value = value + rng.normal(0, self.own, (self.eps, 2, self.images))[draw % self.eps]
        return np.asarray(value + rng.normal(0, self.residual, (self.draws, 2, self.images)) > 0)


def coverage(world: World, runs: int, seed: int = 0) -> dict[str, float]:
    """The share of runs whose interval holds the truth: of a curve, of its change, of two paired runs and of two that share images alone."""
    rng, truth = np.random.default_rng(seed), world.truth
    one, other = world.resamples, world.resamples
    same, apart = (one, one), (one, replace(other, images=one.images))
    held = np.zeros(4)
    for _ in range(runs):
        seen, drawn = rng.normal(0, world.image, world.images), rng.normal(0, world.labels, world.draws)
        first, second, third = world.run(rng, seen, drawn), world.run(rng, seen, drawn), world.run(rng, seen)
        _, low, high = dynamics.curve(first, one)
        _, down, up = dynamics.change(first, one)
        paired, unpaired = at_one(first[:, 0], second[:, 0], same), at_one(first[:, 0], third[:, 0], apart)
        held += [
            low[0] <= truth[0] <= high[0],
            down[1] <= truth[1] - truth[0] <= up[1],
            paired.low <= 0 <= paired.high,
            unpaired.low <= 0 <= unpaired.high,
        ]
    return dict(zip(("curve", "change", "paired", "apart"), (held / runs).tolist(), strict=True))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # Of 100 runs at 93 to 97 %, fewer than 86 or more than 100 are beyond chance (p < .01).
    assert binom.cdf(85, 100, 0.93) < 0.01
    found = coverage(World(images=200), 100)
    assert all(0.86 <= share <= 1 for share in found.values()), found


def test_intervals_are_no_wider_than_what_varies() -> None:
    # Nothing but a residual that is drawn anew: counted once a factor it would be three times the variance, 1.73 times the error.
    # It is 1.2 times, since the draws' own variance, none, is never found below none.
    rng, world = np.random.default_rng(0), World(image=0.0, labels=0.0, noise=0.0, residual=1.0)
    means, errors = [], []
    for _ in range(100):
        right = world.run(rng)
        means.append(right.mean((0, 2))[0])
        errors.append(world.resamples.spread(right).error()[0][0])
    assert 1 < np.mean(errors) / np.std(means) < 1.45  # the deviation of 100 is known to 7 %: three times that on either side


def by_hand() -> np.ndarray:
    """Four draws, under two of ε in turn, of two images: (4, 1, 2)."""
    return np.array([[1, 0], [1, 1], [1, 0], [0, 1]], dtype=float)[:, None]


def test_the_parts_of_the_variance_by_hand() -> None:
    # Image means 3/4 and 1/2. Draw means 1/2, 1, 1/2, 1/2; of ε 0 they are 1/2, of ε 1 they are 3/4, and all are 5/8.
    found = resamples(np.arange(4), np.arange(4) % 2, 2, times=2).spread(by_hand())
    ((images, freedom),) = found.images
    assert images[0, 0] == pytest.approx(((1 / 8) ** 2 + (1 / 8) ** 2) / 1 / 2)
    assert freedom == 1
    groups, inside = found.draws[0].groups, found.draws[0].inside
    assert inside
    assert groups.scatter[0, 0] == pytest.approx(((1 / 8) ** 2 + (1 / 8) ** 2) / 1 / 2)
    # What a group adds to each image's mean: of ε 0 (1 - 3/4)/2 and (0 - 1/2)/2, of ε 1 the same with the other sign.
    assert groups.shared[0, 0] == pytest.approx(2 / 1 * 2 * ((3 / 16) ** 2 * 2) / 1 / 2)
    assert inside.scatter[0, 0] == pytest.approx(((1 / 4) ** 2 + (1 / 4) ** 2) / 2 / 4)
    # Off their ε's mean the draws of ε 0 are nowhere, those of ε 1 by 1/2 at the first image alone.
    assert inside.shared[0, 0] == pytest.approx(2 * ((1 / 4) ** 2 * 2) / 1 / 2 / 2 / 4)
    assert (groups.freedom, inside.freedom) == (1, 2)


def test_degrees_of_freedom_are_those_of_what_varies() -> None:
    # Draws that say the same leave the images'; images that are all alike leave the draws'.
    easy = np.repeat((np.arange(50) < 30)[None, None], 6, 0)
    assert resamples(np.arange(6), np.arange(6) % 3, 50, times=2).spread(easy).error()[1] == pytest.approx(49)
    drawn = np.repeat(np.array([1.0, 0, 1, 0, 0, 1])[:, None, None], 50, 2)
    assert resamples(np.arange(6), np.arange(6), 50, times=2).spread(drawn).error()[1] == pytest.approx(5)


def test_resampled_curves_vary_as_the_standard_errors_say() -> None:
    right = World(labels=0.3).run(np.random.default_rng(1))
    found = resamples(np.arange(15), np.arange(15) % 3, 300).spread(right)
    np.testing.assert_allclose(found.deviations.std(0), found.error()[0], rtol=0.1)


def test_the_error_of_a_contrast_is_that_of_its_values() -> None:
    right = World(labels=0.3).run(np.random.default_rng(2))
    drawn = World().resamples
    difference = right[:, 1:].astype(float) - right[:, :1]
    found = drawn.spread(right).error(np.array([[-1.0, 1.0]]))
    np.testing.assert_allclose(found, drawn.spread(difference).error(), rtol=1e-9)
    np.testing.assert_allclose(found, between(right[:, :1], right[:, 1:], (drawn, drawn)).error(), rtol=1e-9)


def test_a_pair_that_shares_less_is_told_less_surely() -> None:
    rng, world = np.random.default_rng(3), World(labels=0.3)
    seen, drawn = rng.normal(0, 1, 300), rng.normal(0, 0.3, 15)
    first, second = world.run(rng, seen, drawn), world.run(rng, seen, drawn)
    one, other = world.resamples, world.resamples
    pairs = ((one, one), (one, replace(other, images=one.images)), (one, other))
    errors = [between(first, second, pair).error()[0][0] for pair in pairs]
    assert errors[0] < errors[1] < errors[2]


def test_runs_of_different_numbers_of_draws_are_paired_by_their_noise() -> None:
    # The same ε shifts both runs: paired, it is gone.
    shift = np.random.default_rng(4).normal(0, 1, 3)
    few, many = (np.repeat((0.2 + shift[np.arange(n) % 3])[:, None, None], 20, 2) for n in (6, 9))
    one, other = (resamples(np.arange(n), np.arange(n) % 3, 20, times=2) for n in (6, 9))
    shared = replace(other, images=one.images, groups=one.groups)
    assert between(few, many, (one, shared)).error()[0] == pytest.approx(0, abs=1e-9)
    assert between(few, many, (one, replace(other, images=one.images))).error()[0] > 0.5


def test_draws_are_grouped_by_what_they_share() -> None:
    draw = np.arange(6)
    assert grouped(draw, draw % 3).tolist() == [0, 1, 2, 0, 1, 2]
    assert grouped(np.zeros(3), np.arange(3)).tolist() == [0, 1, 2]
    assert grouped(draw, np.zeros(6)).tolist() == draw.tolist()
    assert grouped(draw // 2, draw).tolist() == [0, 0, 1, 1, 2, 2]
    assert grouped(np.zeros(4), np.zeros(4)).tolist() == [0, 1, 2, 3]
    with pytest.raises(InvalidRequest, match="cross in 6 pairs"):
        grouped(draw // 3, draw % 3)


WORLDS = {
    "as measured": World(),
    "labels scatter most": World(labels=0.3, noise=0.0),
    "images and a residual alone": World(labels=0.0, noise=0.0),
    "labels and noise scatter": World(noise=0.1, residual=0.1),
    "many images": World(images=2000, noise=0.0, residual=0.3),
    "six draws": World(draws=6, residual=0.3),
    "four draws under three of noise": World(draws=4, residual=0.3),
    "a draw of noise each": World(eps=15, noise=0.1, residual=0.3),
    "one draw of noise": World(draws=6, eps=1, noise=0.0, residual=0.3),
    "all labels": World(draws=3, labels=0.0, one_labels=True),
    "all labels, ten draws of noise": World(draws=10, eps=10, labels=0.0, noise=0.1, one_labels=True),
    "two draws": World(draws=2, eps=2, residual=0.3),
    "an image under one ε": World(own=1.0, residual=0.3, noise=0.0),
    "sixty images": World(images=60),
    "nearly all right": World(images=1000, middle=(2.2, 2.6)),
}


LIMITS = {  # known to be off: few draws of ε that make most of the variance, and few draws whose variance two runs apart each bring
    ("labels and noise scatter", "paired"): (0.91, 0.97),
    ("four draws under three of noise", "apart"): (0.93, 0.98),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_the_truth_in_95_of_100_runs(name: str) -> None:
    """Within 2 points, and 1 for what 2,000 runs leave to chance (two standard errors of .0049), but for what LIMITS says."""
    found = coverage(WORLDS[name], 2000)
    for what, share in found.items():
        low, high = LIMITS.get((name, what), (0.93, 0.97))
        assert low - 0.01 <= share <= high + 0.01, (what, found)
