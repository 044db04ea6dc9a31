"""The batched solver against autograd, scikit-learn and closed forms."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from analysis import solver
from analysis.solver import Solution, fit

PENALTIES = (1e-3, 1e-1, 10.0)


def objective(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, penalty: float) -> Tensor:
    """Mean loss + ||W||² / (2 C n), written out."""
    logits = x @ weight.T + bias
    if logits.shape[1] == 1:
        losses = torch.log1p(torch.exp(-(2 * y[:, None] - 1) * logits))[:, 0]
    else:
        losses = torch.logsumexp(logits, 1) - logits[torch.arange(len(y)), y]
    return losses.mean() + (weight**2).sum() / (2 * penalty * len(y))


def problem(count: int, size: int, classes: int, seed: int = 0, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Classes that overlap, unequal scales, every class there."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    centres = rng.normal(0, spread, (classes, size))
    return (centres[labels] + rng.normal(size=(count, size))) * rng.uniform(0.5, 2, size) + rng.normal(size=size), labels


def solved(x: np.ndarray, y: np.ndarray, classes: int, dtype: torch.dtype = torch.float64, **more: float) -> Solution:
    return fit(torch.from_numpy(x)[None].to(dtype), torch.from_numpy(y), classes, PENALTIES, **more)  # type: ignore[arg-type]


def by_sklearn(x: np.ndarray, y: np.ndarray, penalty: float) -> tuple[Tensor, Tensor]:
    model = LogisticRegression(C=penalty, max_iter=3000, tol=1e-8).fit(x, y)
    return torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("count", "size"), [(80, 6), (30, 50)])
def test_what_is_said_of_objective_and_gradient_is_autograds(classes: int, count: int, size: int) -> None:
    x, y = problem(count, size, classes)
    found = solved(x, y, classes, most=3)  # on the way, where the gradient is not 0
    for place, penalty in enumerate(PENALTIES):
        weight, bias = (part[0, place].clone().requires_grad_() for part in (found.weight, found.bias))
        value = objective(torch.from_numpy(x), torch.from_numpy(y), weight, bias, penalty)
        value.backward()
        assert weight.grad is not None
        assert bias.grad is not None
        assert float(found.objective[0, place]) == pytest.approx(float(value.detach()), rel=1e-10)
        steepest = max(float(weight.grad.abs().max()), float(bias.grad.abs().max()))
        assert float(found.gradient[0, place]) == pytest.approx(steepest, rel=1e-6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    count=st.integers(20, 120),
    size=st.integers(1, 60),
    classes=st.integers(2, 6),
    seed=st.integers(0, 10_000),
    spread=st.floats(0, 5),
    scale=st.floats(-3, 3),
    copies=st.booleans(),
)
def test_the_objective_is_no_worse_than_sklearns(
    count: int, size: int, classes: int, seed: int, spread: float, scale: float, copies: bool
) -> None:
    """Any sizes, more features than images, separable or mixed, small and large features, and features that are copies of others.

    Features of a hundred, separable and all but without a penalty, take L-BFGS thousands of steps: that is marked.
    """
    x, y = problem(count, size, classes, seed, spread)
    x *= 10**scale
    x = np.concatenate([x, x[:, :3], np.zeros((count, 1))], 1) if copies else x
    found = solved(x, y, classes, tolerance=1e-9, most=2000)
    assert scale > -1 or bool(found.converged.all())
    for place, penalty in enumerate(PENALTIES):
        if not found.converged[0, place]:  # marked
            continue
        theirs = float(objective(torch.from_numpy(x), torch.from_numpy(y), *by_sklearn(x, y, penalty), penalty))
        ours = float(objective(torch.from_numpy(x), torch.from_numpy(y), found.weight[0, place], found.bias[0, place], penalty))
        assert ours <= theirs * (1 + 1e-6) + 1e-12
        assert float(found.objective[0, place]) == pytest.approx(ours, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_weights_are_sklearns(classes: int) -> None:
    x, y = problem(200, 8, classes)
    found = solved(x, y, classes, tolerance=1e-14)
    for place, penalty in enumerate(PENALTIES):
        weight, bias = by_sklearn(x, y, penalty)
        torch.testing.assert_close(found.weight[0, place], weight, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(found.bias[0, place], bias, rtol=1e-3, atol=1e-5)


def test_single_precision_comes_as_near_as_it_can() -> None:
    x, y = problem(3000, 40, 6)
    tight = solved(x, y, 6, tolerance=1e-14)
    found = solved(x, y, 6, torch.float32)
    assert bool(found.converged.all())
    assert found.objective.numpy() == pytest.approx(tight.objective.numpy(), rel=1e-6)


def test_cells_together_are_cells_alone() -> None:
    (a, y), (b, _) = problem(150, 7, 3, seed=1), problem(150, 7, 3, seed=2, spread=3)
    both = fit(torch.from_numpy(np.stack([a, b])), torch.from_numpy(y), 3, PENALTIES)
    for place, x in enumerate((a, b)):
        alone = solved(x, y, 3)
        assert both.objective[place].numpy() == pytest.approx(alone.objective[0].numpy(), rel=1e-7)
        torch.testing.assert_close(both.weight[place], alone.weight[0], rtol=1e-2, atol=1e-3)


def test_images_in_chunks_are_images_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problem(100, 5, 3)
    whole = solved(x, y, 3)
    monkeypatch.setattr(solver, "CHUNK", 7 * len(PENALTIES) * 3)
    assert solved(x, y, 3).objective.numpy() == pytest.approx(whole.objective.numpy(), rel=1e-9)


def test_labels_that_say_nothing_leave_the_odds_of_the_classes() -> None:
    x, y = np.zeros((100, 3)), np.repeat([0, 1, 2], [50, 30, 20])
    found = solved(x, y, 3, tolerance=1e-14)
    assert bool((found.weight == 0).all())
    shares = torch.softmax(found.bias[0], 1).numpy()
    assert shares == pytest.approx(np.tile([0.5, 0.3, 0.2], (len(PENALTIES), 1)), rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_blocks_are_the_hessians(classes: int) -> None:
    x, y = problem(40, 3, classes)
    points, rows, ridge = torch.from_numpy(np.c_[x, np.ones(40)]), 1 if classes == 2 else classes, torch.tensor([0.1, 0.1, 0.1, 0.2])
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(rows, 4)))
    descent = solver._Descent(points[None], torch.from_numpy(y), rows, ridge[None], torch.ones(1, 1, 4))
    found = descent._blocks(points[None], (weights @ points.T)[None, None], ridge[None, None, None].double())

    def value(weights: Tensor) -> Tensor:
        logits = points @ weights.T
        losses = (
            torch.nn.functional.softplus((1 - 2 * torch.from_numpy(y)) * logits[:, 0])
            if rows == 1
            else torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="none")
        )
        return losses.mean() + (ridge * weights**2).sum() / 2

    hessian = torch.autograd.functional.hessian(value, weights)
    for direction in range(4):
        torch.testing.assert_close(found[0, 0, :, :, direction] @ hessian[:, direction, :, direction], torch.eye(rows).double())


def test_blocks_save_steps_where_odds_are_uneven(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 8, 1500)
    hidden = (rng.normal(size=(8, 40))[y] + rng.normal(size=(1500, 40))) / np.arange(1, 41)  # wide in few directions
    x = hidden @ rng.normal(size=(40, 40))
    x = (x - x.mean(0)) / x.std(0)
    with_blocks = solved(x, y, 8)
    monkeypatch.setattr(solver, "FRESH", ())
    without = solved(x, y, 8)
    assert with_blocks.steps * 2 < without.steps
    assert with_blocks.objective.numpy() == pytest.approx(without.objective.numpy(), rel=2e-6)


def test_what_did_not_converge_is_marked() -> None:
    x, y = problem(200, 20, 4)
    found = solved(x, y, 4, most=1)
    assert found.steps == 1
    assert not bool(found.converged[0, -1])
    assert float(found.gradient[0, -1]) > 1e-3


@pytest.mark.gpu
def test_a_gpu_finds_the_same() -> None:
    x, y = problem(500, 20, 4)
    there = fit(torch.from_numpy(x)[None].float().cuda(), torch.from_numpy(y).cuda(), 4, PENALTIES)
    assert there.objective.cpu().numpy() == pytest.approx(solved(x, y, 4).objective.numpy(), rel=1e-5)


MEMORY = """
import resource, sys
import subprocess
import sys

import numpy as np
import torch
from analysis import probing
from analysis.heads.logistic import Logistic
torch.set_num_threads(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rng = np.random.default_rng(0)
y = rng.integers(0, 10, 50_000)
x = rng.standard_normal((50_000, 2048), dtype=np.float32)
x[np.arange(len(x)), y] += 2
found = probing.probe(Logistic(), "feature", (x, y), (x[:500], y[:500]), x[:500], 10)
assert found.converged == 1, found.converged
assert (found.logits[:500].argmax(1) == y[:500]).mean() > 0.5
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_fifty_thousand_images_of_two_thousand_features_take_two_gigabytes() -> None:
    said = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert int(said) * 1024 < 2e9
