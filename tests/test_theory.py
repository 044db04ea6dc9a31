"""The mixture and its exact posterior, against brute force in the ambient space, importance sampling and the paper's formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import special_ortho_group

from analysis.errors import InvalidRequest
from analysis.theory import MoLRG, Posterior, closed_form, draw

MIXTURES = [
    MoLRG(),
    MoLRG(dims=(2, 4, 3), weights=(0.2, 0.5, 0.3)),
    MoLRG(dims=(3, 5), angle=50),
    MoLRG(dims=(2, 3, 2), weights=(0.6, 0.3, 0.1), angle=70, delta=0.4),
    MoLRG(dims=(2, 3, 2), angle=70, separation=1.5),
]


def ambient_bases(spec: MoLRG, seed: int = 0) -> list[np.ndarray]:
    """U_k (n, d_k) as the paper writes them, in a rotated ambient space: U_k = √c V_0 + √(1-c) V_k, or of two classes cos θ U_1 + sin θ V."""
    frame = special_ortho_group.rvs(spec.ambient, random_state=seed)
    own = [frame[:, spec.block(k)] for k in range(spec.classes)]
    if spec.orthogonal:
        return own
    c, shared = math.cos(math.radians(spec.angle)), min(spec.dims[0], spec.dims[1])
    if spec.classes == 2:
        second = own[1].copy()
        second[:, :shared] = c * own[0][:, :shared] + math.sqrt(1 - c**2) * own[1][:, :shared]
        return [own[0], second]
    common = sorted(spec.dims)[-2]
    V0, found = frame[:, spec.span : spec.span + common], []
    for U in own:
        count = min(U.shape[1], common)
        U = U.copy()
        U[:, :count] = math.sqrt(c) * V0[:, :count] + math.sqrt(1 - c) * U[:, :count]
        found.append(U)
    return found


def into(spec: MoLRG, bases: list[np.ndarray]) -> np.ndarray:
    """(n, r): the span's basis in the ambient space."""
    return np.hstack(bases) @ np.linalg.inv(np.hstack(spec.bases))


def ambient_covariances(bases: list[np.ndarray], delta: float) -> list[np.ndarray]:
    found = []
    for k, U in enumerate(bases):
        left, size, _ = np.linalg.svd(np.hstack([V for other, V in enumerate(bases) if other != k]), full_matrices=False)
        rest = left[:, size > 1e-9]
        found.append(U @ U.T + delta**2 * rest @ rest.T)
    return found


def brute_force(spec: MoLRG, bases: list[np.ndarray], x: np.ndarray, sigma: float) -> np.ndarray:
    """The posterior mean in the ambient space, from n × n covariances."""
    logs, means = [], []
    for p, U, cov in zip(spec.weights, bases, ambient_covariances(bases, spec.delta), strict=True):
        mu = spec.separation * U[:, :1]
        seen = cov + sigma**2 * np.eye(spec.ambient)
        solved = np.linalg.solve(seen, x - mu)
        logs.append(math.log(p) - 0.5 * np.linalg.slogdet(seen)[1] - 0.5 * ((x - mu) * solved).sum(0))
        means.append(mu + cov @ solved)
    w = np.exp(np.stack(logs) - np.max(logs, 0))
    return np.einsum("kn,krn->rn", w / w.sum(0), np.stack(means))


@pytest.mark.parametrize("spec", MIXTURES)
@pytest.mark.parametrize("sigma", [0.05, 0.5, 5.0])
def test_the_span_loses_nothing_and_rotating_the_ambient_space_changes_nothing(spec: MoLRG, sigma: float) -> None:
    bases = ambient_bases(spec, seed=3)
    Q = into(spec, bases)
    assert np.allclose(Q.T @ Q, np.eye(spec.span), atol=1e-9)
    x = np.random.default_rng(0).normal(size=(spec.ambient, 50))  # most of it outside the span
    assert np.allclose(Q @ Posterior(spec).mean(Q.T @ x, sigma), brute_force(spec, bases, x, sigma), atol=1e-8)


@pytest.mark.parametrize("spec", MIXTURES[:4])
def test_subspaces_have_the_angle_that_is_asked_for(spec: MoLRG) -> None:
    for k, U in enumerate(spec.bases):
        assert np.allclose(U.T @ U, np.eye(spec.dims[k]))
        assert np.abs(spec.others[k].T @ spec.others[k] - np.eye(spec.span - spec.dims[k])).max() < 1e-9
        for V in spec.bases[:k]:
            angles = np.degrees(np.arccos(np.clip(np.linalg.svd(U.T @ V)[1], -1, 1)))
            assert np.allclose(angles, spec.angle, atol=1e-6)


def test_the_samples_have_the_models_covariance() -> None:
    spec = MoLRG(dims=(2, 3), angle=60, delta=0.5)
    drawn = draw(spec, 200_000)
    for x, cov in zip(drawn.x0, spec.covariances, strict=True):
        assert np.abs(x @ x.T / x.shape[1] - cov).max() < 0.02  # √(2/100,000) is .0045
    assert drawn.counts == [100_000, 100_000]


@pytest.mark.parametrize(
    "spec",
    [
        MoLRG(ambient=3, dims=(1, 1), delta=0.4),
        MoLRG(ambient=4, dims=(1, 2), weights=(0.3, 0.7), delta=0.4, angle=50),
        MoLRG(ambient=5, dims=(1, 2, 1), weights=(0.2, 0.3, 0.5), delta=0.4, angle=65),
    ],
)
def test_the_posterior_mean_is_what_importance_sampling_finds(spec: MoLRG) -> None:
    sigma, rng, bases = 0.5, np.random.default_rng(1), ambient_bases(spec)
    guesses = []
    for p, U, cov in zip(spec.weights, bases, ambient_covariances(bases, spec.delta), strict=True):
        values, vectors = np.linalg.eigh(cov)
        root = vectors * np.sqrt(np.maximum(values, 0))
        guesses.append(root @ rng.normal(size=(U.shape[0], round(p * 600_000))))
    x0, Q = np.hstack(guesses), into(spec, bases)
    x = x0[:, rng.integers(0, x0.shape[1], 5)] + sigma * rng.normal(size=(spec.ambient, 5))
    exact = Q @ Posterior(spec).mean(Q.T @ x, sigma)
    for column in range(5):
        log = -((x[:, column : column + 1] - x0) ** 2).sum(0) / (2 * sigma**2)
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        found = x0 @ weight
        error = np.sqrt(((x0 - found[:, None]) ** 2 @ weight**2).max())
        assert np.abs(found - exact[:, column]).max() < 5 * error


@pytest.mark.parametrize("sigma", [0.008, 0.3, 2.0, 50.0])
def test_it_reduces_to_the_closed_form(sigma: float) -> None:
    spec = MoLRG(dims=(4, 4, 4))
    x = draw(spec, 300).at(sigma)
    assert np.allclose(Posterior(spec).mean(x, sigma), closed_form(x, spec.bases, spec.delta, sigma), atol=1e-10)


def test_weights_hold_where_one_class_is_sure() -> None:
    spec = MoLRG(delta=1e-3)
    w = Posterior(spec).weights(draw(spec, 100).at(1e-3), 1e-3)
    assert np.isfinite(w).all()
    assert np.allclose(w.sum(0), 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dims": (30, 30)}, "ambient is 50 and the subspaces have 60 dimensions together"),
        ({"dims": (5, 5, 5), "ambient": 19, "angle": 60}, r"\(K\+1\) d = 20 dimensions; allowed"),
        ({"delta": 0.0}, "delta is 0; allowed: a number from 1e-06 to 1e"),
        ({"delta": 1e160}, "allowed: a number from 1e-06"),
        ({"angle": 1e-7}, "allowed: from 0.1 to 90 degrees"),
        ({"separation": 1e200}, "allowed: a number from 0 to 1e"),
        ({"delta": -1.0}, "delta is -1"),
        ({"delta": math.nan}, "delta is nan"),
        ({"weights": (0.5, 0.6)}, "adds up to 1.1; allowed: proportions above 0 that add up to 1"),
        ({"weights": (1.0, 0.0)}, "allowed: proportions above 0"),
        ({"weights": (0.2, 0.3, 0.5)}, "weights has 3 proportions and dims 2 classes"),
        ({"dims": (5,)}, "two subspace dimensions or more"),
        ({"dims": ()}, "dims is empty"),
        ({"dims": (5, 0)}, "whole numbers from 1"),
        ({"angle": 0.0}, "angle is 0; allowed: from 0.1 to 90 degrees"),
        ({"angle": 91.0}, "angle is 91"),
        ({"separation": -1.0}, "separation is -1"),
    ],
)
def test_what_cannot_be_is_one_sentence(given: dict, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as error:
        MoLRG(**given)
    assert str(error.value).endswith(".")


def test_as_few_dimensions_as_are_needed_are_enough() -> None:
    assert MoLRG(ambient=10).span == 10
    assert MoLRG(ambient=10, angle=60).span == 10  # two classes need no common subspace
    assert MoLRG(ambient=20, dims=(5, 5, 5), angle=60).span == 15
