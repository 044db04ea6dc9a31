"""When a model makes up its mind, against data whose exact denoiser is known: x_0 = ±1, one pixel.

+1 has probability p, so D(x; σ) = tanh(x/σ² + h) with h = ln(p/(1-p))/2. Its one block gives D itself; the probe reads its sign.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from analysis.backends import open_backend
from analysis.backends.base import Backend
from analysis.deciding import Asked, Watcher, ask, join
from analysis.errors import InvalidRequest, UnknownName
from analysis.features import read_features
from analysis.noise import Schedule, noise_like
from analysis.readout import Readout
from analysis.sampling import _scheduler, descend, sample, to_pixels, visited
from analysis.settling import settled
from analysis.specs import Block
from analysis.studies import find_study

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
DDPM = Schedule.variance_preserving(torch.cumprod(1 - BETAS, 0))


class TwoPoints(Backend):
    """The model of that data."""

    def __init__(self, p: float = 0.5) -> None:
        self.schedule, self.net, self.h, self.passes = DDPM, torch.nn.ModuleDict({"out": torch.nn.Identity()}), np.log(p / (1 - p)) / 2, 0
        block = Block(name="out", module="out", stage="layer", depth=0, channels=1, stride=1)
        card = {"unconditional": "none", "x0_shape": (1, 1, 1), "resolution": 1, "space": "pixel", "blocks": (block,)}
        self.card: Any = SimpleNamespace(**card, every=(block,), inside=())

    load, encode, device = None, None, torch.device("cpu")  # type: ignore[assignment]

    def denoise(self, x: torch.Tensor, sigma: torch.Tensor, condition: str | None = None) -> torch.Tensor:
        self.passes += 1
        return self.net["out"](torch.tanh(x / (sigma**2).to(x).reshape(-1, 1, 1, 1) + self.h))


def sign(name: str = "sign") -> Asked:
    """Whether the feature is below or above 0, at any level."""
    probes = {(level, "out"): (np.array([[-1.0], [1.0]]), np.zeros(2)) for level in range(2)}
    return Asked(name, Readout(("minus", "plus"), (0.01, 20.0), "1", "none", probes), "out")


def which(*sigmas: float) -> Asked:
    """Not what the feature is, but which level's probe was asked."""
    probes = {(level, "out"): (np.zeros((len(sigmas), 1)), np.eye(len(sigmas))[level]) for level in range(len(sigmas))}
    return Asked("which", Readout(tuple(str(sigma) for sigma in sigmas), sigmas, "1", "none", probes), "out")


@pytest.fixture(scope="module")
def digits_watched() -> Any:
    return Watcher(open_backend("digits-ddpm"), [ask(find_study("digits"))], steps=5)


def test_a_class_is_settled_where_the_exact_denoisers_way_settles_it() -> None:
    """The way is Euler's method in σ, by hand in double precision; at high σ all lean to the more probable point."""
    levels, x = visited(DDPM, "ddim", 60), noise_like(torch.empty(200, 1, 1, 1), range(200), 3, 0).numpy().ravel().astype(float)
    x, h, signs = x * np.sqrt(1 + levels[0] ** 2), np.log(4) / 2, []
    for now, then in zip(levels, [*levels[1:], 0.0], strict=True):
        made = np.tanh(x / now**2 + h)
        signs.append(made > 0)
        x = x + (then - now) * (x - made) / now
    expected = [levels[max((t + 1 for t in range(60) if way[t] != way[-1]), default=0)] for way in np.array(signs).T]
    reading = join(Watcher(TwoPoints(0.8), [sign()], steps=60).watch(range(200), 3)).readings["sign"]
    assert len(set(expected)) > 5
    np.testing.assert_array_equal(settled(reading.logits, levels).at, expected)
    assert 0.7 < reading.final.mean() < 0.9  # as often as in the data


def test_forks_keep_the_class_as_often_as_noise_leaves_its_sign() -> None:
    """Of p = ½ the sign of x_σ never changes on the way: x_0 = 1 is kept with probability Φ(1/σ)."""
    watcher = Watcher(TwoPoints(), [sign()], steps=50)
    found = list(watcher.forks(np.ones((1, 1, 1, 1), np.float32), {"sign": 1}, [0.01, 1.0, 3.0, 150.0], count=600))
    for one in found:
        share, low, high = one.kept["sign"]
        assert low < share <= high
        assert abs(share - norm.cdf(1 / one.sigma)) < 0.06  # three standard errors of 600
    assert found[0].kept["sign"][0] == 1
    assert 0.44 < found[-1].kept["sign"][0] < 0.56


def test_a_fork_begins_at_the_samplers_nearest_level_and_visits_those_below_it() -> None:
    watcher = Watcher(TwoPoints(), [sign()], steps=19)
    made = watcher.fork(np.ones((1, 1, 1, 1), np.float32), {"sign": 1}, 2.0, count=3)
    levels = visited(DDPM, "ddim", 19)
    assert made.sigma == levels[np.abs(np.log(levels / 2.0)).argmin()]
    np.testing.assert_array_equal(made.made.sigmas, levels[levels <= made.sigma])


def test_forks_at_levels_that_are_one_to_the_sampler_are_made_once() -> None:
    watcher = Watcher(TwoPoints(), [sign()])
    assert len(list(watcher.forks(np.ones((1, 1, 1, 1), np.float32), {"sign": 1}, [2.2, 2.25, 0.5, 0.001, 0.01], 2))) == 3


def test_a_forks_noise_is_none_that_a_sample_began_with() -> None:
    watcher, blank = Watcher(TwoPoints(), [sign()]), np.zeros((1, 1, 1, 1), np.float32)
    signs = watcher.fork(blank, {"sign": 1}, 2.0, 40).made.readings["sign"].final
    begun = (noise_like(torch.empty(40, 1, 1, 1), range(40), 0, 0) > 0).numpy().ravel()
    assert 8 < (signs == begun).sum() < 32


def test_each_level_is_read_by_the_probe_nearest_in_log_sigma_and_marked_where_that_is_outside() -> None:
    made = join(Watcher(TwoPoints(), [which(0.5, 1.0, 10.0)], steps=19).watch(range(2)))
    reading, levels = made.readings["which"], made.sigmas
    wanted = np.where(levels < np.sqrt(0.5), 0, np.where(levels < np.sqrt(10), 1, 2))
    np.testing.assert_array_equal(reading.logits.argmax(-1), np.stack([wanted, wanted], 1))
    np.testing.assert_array_equal(reading.probed, np.array([0.5, 1.0, 10.0])[wanted])
    np.testing.assert_array_equal(reading.outside, (levels < 0.5) | (levels > 10))


def test_several_questions_are_read_from_the_same_passes() -> None:
    model = TwoPoints()
    made = join(Watcher(model, [sign(), which(1.0, 5.0), sign("again")], steps=7, batch=2).watch(range(3)))
    assert model.passes == 2 * 7
    np.testing.assert_array_equal(made.readings["again"].logits, made.readings["sign"].logits)


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_what_is_watched_is_what_would_be_sampled(digits_watched: Watcher, sampler: Any) -> None:
    made = join(replace(digits_watched, sampler=sampler).watch(range(3), 1))
    np.testing.assert_array_equal(made.x0, sample(digits_watched.backend, 3, 1, sampler, 5).numpy())
    np.testing.assert_array_equal(made.sigmas, visited(digits_watched.backend.schedule, sampler, 5))


def test_a_sample_is_a_function_of_the_seed_and_its_number_alone(digits_watched: Watcher) -> None:
    whole = join(replace(digits_watched, batch=2).watch(range(6), 1))
    (alone,) = digits_watched.watch(range(5, 6), 1)
    np.testing.assert_allclose(alone.x0, whole.x0[5:], rtol=1e-4, atol=1e-5)  # another batch size: equal up to rounding
    np.testing.assert_allclose(alone.readings["digit"].logits, whole.readings["digit"].logits[:, 5:], rtol=1e-3, atol=1e-2)
    assert np.abs(alone.noisy.astype(int) - whole.noisy[:, 5:]).max() <= 1


def test_the_logits_are_the_studys_probes_of_the_features_at_each_level(digits_watched: Watcher) -> None:
    model, one = digits_watched.backend, digits_watched.asked[0]
    made = join(digits_watched.watch(range(3), 2))
    with torch.inference_mode():
        noise = noise_like(torch.empty(3, 1, 8, 8), range(3), 2, 0)
        for step, (sigma, x, _) in enumerate(descend(model, noise, "ddim", 5)):
            if sigma:
                level = int(np.abs(np.log(one.readout.sigmas) - np.log(sigma)).argmin())
                features = read_features(model, [f"{one.block}/1"], x, None, sigma, 3)[f"{one.block}/1"].numpy()
                wanted = one.readout.logits(level, one.block, features)
                np.testing.assert_allclose(made.readings["digit"].logits[step], wanted, rtol=1e-4, atol=1e-3)


def test_pictures_are_of_the_networks_input_and_of_its_denoised_image(digits_watched: Watcher) -> None:
    made = join(digits_watched.watch(range(3), 2))
    noise = noise_like(torch.empty(3, 1, 8, 8), range(3), 2, 0)
    np.testing.assert_array_equal(made.noisy[0], to_pixels(noise))  # at the highest level the input is the noise
    assert np.abs(made.clean[-1].astype(int) - to_pixels(torch.from_numpy(made.x0))).max() <= 1
    assert join(replace(digits_watched, pictures=False).watch(range(2))).noisy is None


def test_it_stops_between_two_batches_and_leaves_no_hook_behind() -> None:
    model = TwoPoints()
    batches = Watcher(model, [sign()], steps=7, batch=2).watch(range(100))
    assert next(batches).x0.shape == (2, 1, 1, 1)
    batches.close()  # type: ignore[attr-defined]
    assert model.passes == 7
    assert not model.net["out"]._forward_hooks


def test_a_pass_that_fails_leaves_no_hook() -> None:
    class Tired(TwoPoints):
        def denoise(self, x: torch.Tensor, sigma: torch.Tensor, condition: str | None = None) -> torch.Tensor:
            if self.passes == 3:
                raise KeyboardInterrupt
            return super().denoise(x, sigma, condition)

    model = Tired()
    with pytest.raises(KeyboardInterrupt):
        join(Watcher(model, [sign()]).watch(range(9)))
    assert not model.net["out"]._forward_hooks


def test_samples_are_bit_for_bit_those_of_the_plain_loop(tiny: Backend) -> None:
    scheduler = _scheduler(tiny.schedule, "ddim", 9, True)
    x = noise_like(torch.empty(4, 1, 8, 8), range(4), 5, 0)
    with torch.inference_mode():
        for timestep in scheduler.timesteps:
            alpha = scheduler.alphas_cumprod[int(timestep)].double()
            levels = tiny.schedule.nearest(((1 - alpha) / alpha).sqrt().expand(4))
            noisy = x * float(alpha.rsqrt())
            eps = (noisy - tiny.denoise(noisy, levels, "none")) / levels.to(x).reshape(-1, 1, 1, 1)
            x = scheduler.step(eps, timestep, x).prev_sample
    assert torch.equal(sample(tiny, 4, 5, "ddim", 9), x)


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_a_way_taken_up_at_a_level_goes_on_as_it_would_have(sampler: Any) -> None:
    noise = noise_like(torch.empty(8, 1, 1, 1), range(8), 0, 0)
    whole = list(descend(TwoPoints(0.8), noise, sampler, 19))
    sigma, x, _ = whole[12]
    again = list(descend(TwoPoints(0.8), x, sampler, 19, sigma))
    assert [step[0] for step in again] == [step[0] for step in whole[12:]]
    torch.testing.assert_close(again[-1][1], whole[-1][1], rtol=1e-4, atol=1e-5)  # the scale is taken out and put back


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asked": []}, "at least one"),
        ({"asked": [sign(), sign()]}, "a name of its own"),
        ({"asked": [replace(sign(), block="nowhere")]}, "Unknown block"),
    ],
)
def test_what_cannot_be_asked_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((InvalidRequest, UnknownName), match=words):
        replace(Watcher(TwoPoints(), [sign()]), **changes)


def test_pictures_are_what_a_person_sees_of_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TwoPoints()
    monkeypatch.setattr(model, "decode", lambda x0: 0.25 * x0.expand(-1, 3, 2, 2))  # three channels, twice as wide
    made = join(Watcher(model, [sign()]).watch(range(2)))
    assert made.clean is not None
    assert made.clean.shape[-3:] == (2, 2, 3)
    assert set(np.unique(made.clean[-1])) <= {96, 159}  # ±1 at the end: (±.25 + 1) · 127.5
    assert join(Watcher(model, [sign()], pictures=False).watch(range(2))).clean is None


@pytest.mark.parametrize(("sigma", "count", "words"), [(-1.0, 16, "above 0"), (float("inf"), 16, "above 0"), (1.0, 0, "at least 1")])
def test_a_fork_that_cannot_be_is_refused(sigma: float, count: int, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        Watcher(TwoPoints(), [sign()]).fork(np.ones((1, 1, 1, 1), np.float32), {"sign": 1}, sigma, count)
