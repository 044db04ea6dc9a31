"""Trained denoisers: the paper's form reaches the posterior mean where it can; what the worker answers of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from analysis.answers import Answers
from analysis.errors import InvalidRequest, UnknownName
from analysis.steps import finish
from analysis.store import Store
from analysis.theory import MoLRG
from analysis.theory_networks import Step, training
from analysis.theory_snr import snr

SPEC, SIGMAS = MoLRG(ambient=12, dims=(2, 2), delta=0.2), (0.05, 0.25, 1.0)
QUESTION = {"ask": "theory-denoiser", "ambient": 12, "dims": [2, 2], "sigmas": list(SIGMAS), "samples": 2000}


def test_the_papers_network_reaches_the_posterior_mean() -> None:
    steps: list[Step] = []
    found = finish(training(SPEC, SIGMAS, samples=4000), steps.append)
    exact = snr(SPEC, SIGMAS, 100_000)
    assert np.abs(found.value / exact.value - 1).max() < 0.15  # 4,000 samples alone leave 5 %
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].of


def test_a_perceptron_learns_something_of_it() -> None:
    found = finish(training(SPEC, SIGMAS, "mlp", steps=300, samples=2000))
    assert found.value[0] == pytest.approx(25, rel=0.2)  # with little noise any denoiser that copies has it
    assert (found.low < found.value).all()


def test_the_same_seed_trains_the_same_network() -> None:
    one, two = (finish(training(SPEC, SIGMAS, "mlp", steps=20, samples=500)).value for _ in range(2))
    assert np.array_equal(one, two)


def told(store: Store, **question: Any) -> list[tuple[Mapping[str, Any], bytes]]:
    answers = Answers(store, "cpu", 0)
    found = [answers(QUESTION | question)]
    while "left" in found[-1][0]:
        found.append(answers(QUESTION | question))
    return found


def test_a_worker_tells_how_far_it_is_and_answers_with_the_curve(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.theory_answers.STEP", 0.0)
    monkeypatch.setattr("analysis.theory_networks.STEPS", {"mlp": 30})
    answers = told(store, form="mlp")
    assert "steps of training" in answers[0][0]["doing"]
    arrays = load(answers[-1][1])
    assert arrays["sigmas"].tolist() == list(SIGMAS)
    assert (arrays["low"] < arrays["value"]).all()


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"form": "transformer"}, "Unknown form 'transformer'"),
        ({"delta": 0.0}, "delta is 0"),
        ({"sigmas": [0.1] * 65}, "65 levels"),
        ({"input": "blurred"}, "input is 'blurred'"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(store: Store, question: dict[str, Any], said: str) -> None:
    with pytest.raises((InvalidRequest, UnknownName), match=said):
        told(store, **question)
