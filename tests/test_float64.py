"""Not every device has float64: noise levels are float64 on the CPU alone, and come to a device in its images' own type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from analysis import gauge, views
from analysis.answers import Answers
from analysis.backends.base import Backend
from analysis.datasets.base import Dataset
from analysis.diagnosis import diagnose
from analysis.features import load_x0, read_features
from analysis.noise import add_noise, noise_like
from analysis.probed import ProbedModel
from analysis.specs import SweepRequest
from analysis.steps import finish
from analysis.store import Store
from analysis.studies import find_study
from tests.toys import AtOnce


class Moves(TorchFunctionMode):
    """Counts the tensors that are told a device, and those of them that are float64 when they get there."""

    every = wide = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.Tensor.to and any(isinstance(told, torch.device | torch.Tensor) for told in [*args[1:], *(kwargs or {}).values()]):
            self.every += 1
            self.wide += found.dtype == torch.float64
        return found


def test_a_level_goes_to_the_device_and_its_type_in_one_step() -> None:
    images = torch.ones(2, 1, 2, 2, device="meta")
    made = add_noise(images, torch.tensor([0.1, 0.2], dtype=torch.float64), images)
    assert (made.device.type, made.dtype) == ("meta", torch.float32)


def test_on_the_cpu_an_image_is_the_same_to_the_last_bit() -> None:
    x0, eps = torch.randn(2, 64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    sigma = torch.logspace(-3, 2, 64, dtype=torch.float64)
    by_hand = x0.numpy() + sigma.numpy().astype(np.float32)[:, None, None, None] * eps.numpy()
    assert (add_noise(x0, sigma, eps).numpy() == by_hand).all()


def probed(model: Backend, x0: torch.Tensor, ids: np.ndarray) -> object:
    weight = np.ones((2, model.block("mid.res1").channels), np.float32)
    return ProbedModel(model, "mid.res1", 0.5, weight, np.zeros(2, np.float32), noise_like(x0[:1], [0], 0, 0))(x0.expand(-1, 3, -1, -1))


READERS: dict[str, Callable[[Backend, torch.Tensor, np.ndarray], object]] = {
    "features": lambda model, x0, ids: read_features(model, ["mid.res1/1"], x0, noise_like(x0, ids.tolist(), 0, 0), 0.5, 2),
    "errors": lambda model, x0, ids: gauge.errors_of(model, x0, ids, 0.5, 0, "none", lambda: None, 2),
    "views": lambda model, x0, ids: views.noised(model, np.zeros((8, 8, 3), np.uint8), (0.1, 0.5), 0, 0),
    "diagnosis": lambda model, x0, ids: finish(diagnose(model, x0, ids, 0.5, "none", ["mid.res1"])),
    "probed": probed,
}


@pytest.mark.parametrize("what", READERS)
def test_no_float64_is_moved_to_a_device(what: str, tiny: Backend, digits: Dataset) -> None:
    ids = digits.members("test", 4)
    x0 = load_x0(digits, ids, tiny)
    with Moves() as moves:
        READERS[what](tiny, x0, ids)
    assert moves.every > 0
    assert moves.wide == 0


@pytest.mark.parametrize("what", ["strip", "noised"])
def test_no_float64_is_moved_to_a_device_by_an_answer(what: str, request_small: SweepRequest, store: Store) -> None:
    answers = Answers(store, "cpu", 0, AtOnce())
    question = {"strip": {"request": request_small.canonical()}, "noised": {"study": find_study("digits").key, "count": 20, "level": 2}}
    with Moves() as moves:
        answers({"ask": what, **question[what]})
    assert moves.every > 0
    assert moves.wide == 0
