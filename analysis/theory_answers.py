"""What a worker answers about a mixture: a denoiser trained on its samples, told as it is trained, and the SNR that it reaches."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InvalidRequest
from .lane import Question, Steps, Teller
from .own import pack
from .steps import relay
from .theory import MoLRG
from .theory_networks import Step, training

STEP = 0.2  # seconds of training between two answers
LEVELS, SAMPLES = 64, 50_000  # at most
SPEC = ("ambient", "dims", "weights", "delta", "angle", "separation")


class TheoryAnswers:
    """The answers by name."""

    def __init__(self) -> None:
        self.answers: dict[str, Teller] = {"theory-denoiser": self.denoiser}

    def denoiser(self, question: Question, data: bytes) -> Steps:
        """The SNR (value, low, high, all (S,)) of a network of the `form` asked for. Raises InvalidRequest, UnknownName."""
        spec, sigmas = _spec(question), [float(sigma) for sigma in question.get("sigmas", ())]
        samples = int(question.get("samples", 10_000))
        if len(sigmas) > LEVELS or samples > SAMPLES:
            raise InvalidRequest(f"{len(sigmas)} levels and {samples} samples are asked for; allowed: at most {LEVELS} and {SAMPLES:,}.")
        way = training(
            spec,
            sigmas,
            str(question.get("form", "lowrank")),
            str(question.get("input", "noisy")),
            samples=samples,
            seed=int(question.get("seed", 0)),
        )
        found = yield from relay(way, _so_far, STEP)
        arrays: dict[str, np.ndarray] = {name: getattr(found, name) for name in ("sigmas", "value", "low", "high")}
        return {"samples": found.samples}, pack(arrays)


def _spec(question: Question) -> MoLRG:
    given: dict[str, Any] = {name: question[name] for name in SPEC if name in question}
    for name in ("dims", "weights"):
        given |= {name: tuple(given[name])} if name in given else {}
    return MoLRG(**given)


def _so_far(step: Step) -> tuple[dict[str, Any], bytes]:
    return {"done": step.done, "of": step.of, "doing": f"{step.done:,} of {step.of:,} steps of training …"}, b""
