"""How often the verdict is wrong, and what rise it sees: simulated curves of known shape, correlated as measured ones are.

Whether a probe is right is a latent normal above a threshold, the sum of four parts, each an autoregressive series over
the noise levels: the image, the draw of labels, the image under one ε, and what is left. Shares and correlations are
measured on a real study by inverting the bivariate normal for the pairs that share one part or another.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from analysis import dynamics
from analysis.intervals import wilson
from analysis.studies import find_study


@dataclass(frozen=True)
class Part:
    """Share of the latent variance, and its correlation from one level to the next."""

    share: float
    next_level: float


@dataclass(frozen=True)
class Latent:
    image: Part
    draw: Part
    noise: Part  # an image under one ε
    rest: Part


def _latent(both: float, one: float, other: float) -> float:
    """The correlation of two standard normals that exceed thresholds with chances `one`, `other` and, together, `both`."""
    at = norm.ppf([one, other])

    def gap(r: float) -> float:
        return float(multivariate_normal.cdf(at, cov=[[1, r], [r, 1]])) - both

    low, high = -0.5, 0.9999
    return low if gap(low) > 0 else high if gap(high) < 0 else float(brentq(gap, low, high, xtol=1e-5))


def measure(correct: np.ndarray, eps_draws: int = 3, levels: int = 8) -> Latent:
    """The parts' shares and correlations in (R, S, N) bool, averaged over the first `levels` levels."""
    x = correct[:, :levels].astype(float)
    draws, _, images = x.shape
    same_eps = (np.arange(draws)[:, None] - np.arange(draws)[None]) % eps_draws == 0
    other_draw = ~np.eye(draws, dtype=bool)
    found = {lag: np.zeros(4) for lag in (0, 1)}
    for lag in (0, 1):
        for s in range(levels - 1):
            a, b = x[:, s], x[:, s + lag]
            pairs = a @ b.T / images  # (R, R): both right on the same image
            per_draw = (a.sum(1) * b.sum(1) - (a * b).sum(1)).mean() / (images * (images - 1))
            chances = (a.mean(), b.mean())
            image = _latent(float(pairs[other_draw & ~same_eps].mean()), *chances)
            noise = _latent(float(pairs[other_draw & same_eps].mean()), *chances) - image
            draw = _latent(float(per_draw), *chances)
            whole = 1.0 if lag == 0 else _latent(float(np.diag(pairs).mean()), *chances)
            found[lag] += np.array([image, draw, noise, whole - image - draw - noise]) / (levels - 1)
    shares = np.clip(found[0], 1e-4, 1)
    ratios = np.clip(found[1] / shares, 0, 0.999)
    return Latent(*(Part(float(s), float(r)) for s, r in zip(shares / shares.sum(), ratios, strict=True)))


def simulate(accuracy: np.ndarray, latent: Latent, draws: int, images: int, eps_draws: int, rng: np.random.Generator) -> np.ndarray:
    """`correct` (R, S, N) bool with the given true accuracies (S,)."""

    def series(part: Part, *shape: int) -> np.ndarray:
        steps = rng.standard_normal((len(accuracy), *shape))
        for s in range(1, len(accuracy)):
            steps[s] = part.next_level * steps[s - 1] + np.sqrt(1 - part.next_level**2) * steps[s]
        return np.sqrt(part.share) * steps

    eps = np.arange(draws) % eps_draws
    value = series(latent.image, 1, images) + series(latent.draw, draws, 1) + series(latent.noise, eps_draws, images)[:, eps]
    value = value + series(latent.rest, draws, images)
    return np.moveaxis(value < norm.ppf(accuracy)[:, None, None], 0, 1)


def shapes(levels: int = 16, high: float = 0.9, chance: float = 0.1) -> dict[str, np.ndarray]:
    """True curves (S,) by name; those without a number in their name must not be called unimodal."""
    x = np.arange(levels)
    drop = 1 / (1 + np.exp((x - 9.5) / 0.9))
    plateau = chance + (high - chance) * np.where(x < 6, 1.0, drop / drop[5])
    hump = np.exp(-(((x - 4) / 2.0) ** 2)) - np.exp(-4.0)
    rises = {f"rise of {points}": np.minimum(plateau + points / 100 * np.clip(hump, 0, None) / hump.max(), 0.99) for points in (1, 2, 4)}
    falling = plateau - 0.02 * np.minimum(x, 6) / 6
    return {"flat": np.full(levels, high), "falling": falling, "plateau then falling": plateau} | rises


def run(times: int = 400, draws: int = 15, images: int = 719, eps_draws: int = 3, seed: int = 0) -> dict[str, object]:
    """Shares of verdicts for each true curve, with the share called unimodal and its 95 % interval."""
    study = find_study("digits")
    latent = measure(study.correct()["10/" + study.result("10")["headline"]], eps_draws)
    rng = np.random.default_rng(seed)
    draw = np.arange(draws)
    found: dict[str, object] = {}
    for name, accuracy in shapes().items():
        sigmas = np.geomspace(0.01, 20, len(accuracy))
        counts: dict[str, int] = {}
        covered = 0
        for _ in range(times):
            correct = simulate(accuracy, latent, draws, images, eps_draws, rng)
            resamples = dynamics.resamples(draw, draw % eps_draws, images, times=1000, seed=int(rng.integers(2**31)))
            verdict = dynamics.judge(correct, sigmas, resamples, seed=int(rng.integers(2**31)))
            counts[verdict.shape] = counts.get(verdict.shape, 0) + 1
            low, high = verdict.gain_ci
            covered += low <= float(accuracy.max() - accuracy[0]) <= high
        hits = counts.get("unimodal", 0)
        found[name] = {"unimodal": hits / times, "interval": wilson(hits, times), "verdicts": counts, "gain_covered": covered / times}
    return {"latent": asdict(latent), "times": times, "draws": draws, "images": images, "curves": found}
