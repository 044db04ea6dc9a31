"""The class whose conditioning denoises an image best: a generative classifier that needs no head.

Li et al., Your Diffusion Model is Secretly a Zero-Shot Classifier, arXiv 2303.16203: arg min over classes c of the mean over levels and
draws of ||ε - ε̂(x_σ; σ, c)||². With ε̂ = (x_σ - D)/σ this is ||x_0 - D(x_σ; σ, c)||²/σ², here the mean over the numbers of x_0. Every
class is scored on the same levels and draws, as there. Where we depart: levels are fixed and even in log σ, not drawn; classes fall out
when they are shown to be above the lowest (paired_errors.py), not so many a stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .classified import DRAWS, LEVELS, Classified, check, classes
from .crew import Between, still_wanted
from .datasets.base import image_ids
from .devices import lowered
from .errors import InvalidRequest, UnknownName
from .noise import add_noise, noise_like
from .paired_errors import FIRST, judge, looks
from .steps import finish
from .views import x0_of

ROOM, MOST = 1 << 28, 64  # bytes of maps, and noised images, in one pass
QUICK = 0.5  # seconds of a pass
WEIGHTINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # of levels (S,), each for the squared error of ε
    "epsilon": np.ones_like,  # the paper's: that of the loss of most models, arXiv 2006.11239, eq. 14
    "x0": np.square,  # the squared error of x̂_0
    "bound": lambda sigmas: (
        2 * np.gradient(np.log(sigmas))
    ),  # of the variational bound: ½ ∫ ||ε - ε̂||² d(log-SNR), arXiv 2107.00630, eq. 17
}


class Step(NamedTuple):
    """How far it is: passes of one noised image under one class, and the race at the last look."""

    done: int
    of: int  # as many as it takes where no more classes fall out
    left: int  # classes
    found: Classified | None


def levels_of(model: Backend, count: int = LEVELS) -> tuple[float, ...]:
    """`count` of the model's levels, even in log σ. Raises InvalidRequest."""
    if count < 1:
        raise InvalidRequest(f"levels is {count}; allowed: a whole number from 1.")
    return tuple(model.schedule.spread(count))


def weights_of(sigmas: Sequence[float], weighting: str) -> np.ndarray:
    """(S,) that sum to 1. Raises UnknownName, and InvalidRequest where one level has no step to weigh it by."""
    if weighting not in WEIGHTINGS:
        raise UnknownName("weighting", weighting, WEIGHTINGS)
    if weighting == "bound" and len(sigmas) < 2:
        raise InvalidRequest("The weighting 'bound' weighs a level by the step to the next; allowed: two levels or more, or 'epsilon'.")
    raw = WEIGHTINGS[weighting](np.asarray(sigmas, dtype=float))
    return np.asarray(raw / raw.sum())


def classify(model: Backend, image: np.ndarray, conditions: Sequence[str] | None = None, **settings: object) -> Classified:
    """The race of the classes for an image: `classifying` carried to its end."""
    return finish(classifying(model, image, conditions, **settings))  # type: ignore[arg-type]


def classifying(
    model: Backend,
    image: np.ndarray,
    conditions: Sequence[str] | None = None,
    *,
    sigmas: Sequence[float] | None = None,
    draws: int = DRAWS,
    weighting: str = "epsilon",
    eliminate: bool = True,
    seed: int = 0,
    between: Between = still_wanted,
) -> Generator[Step, None, Classified]:
    """The race of the classes for an image (side, side, 3) uint8, told after every pass; all the model's classes where none are given.

    Draw r at a level is the image's own ε of that level and draw, one for all classes, so more levels, draws or classes change no number
    that was there. With `eliminate` a class is drawn until it is shown to be above the lowest, else `draws` times. `between` is called
    before every pass; what it raises ends the work. Raises InvalidRequest or UnknownName.
    """
    conditions = tuple(classes(model.card) if conditions is None else conditions)
    check(model.card, conditions)
    if draws < FIRST:
        raise InvalidRequest(f"draws is {draws}; allowed: a whole number from {FIRST}, or there is no interval.")
    asked = torch.tensor(levels_of(model) if sigmas is None else sorted(sigmas), dtype=torch.float64)
    levels = torch.unique(model.schedule.nearest(asked))
    weights, x0 = weights_of(levels.tolist(), weighting), x0_of(model, image)
    id, size, began = int(image_ids(image[None])[0]), _batch(model), time.perf_counter()
    errors = np.full((len(conditions), len(levels), draws), np.nan)
    alive, below, done, found, taken = list(range(len(conditions))), np.full(len(conditions), -1), 0, None, 0
    for look in looks(draws):
        of = done + len(alive) * len(levels) * (draws - taken)
        pairs = [(s, r) for r in range(taken, look) for s in range(len(levels))]
        for part in _parts(pairs, size):
            at, x = _noised(model, x0, levels, part, id, seed)
            for rows in _parts([(k, p) for k in alive for p in range(len(part))], size):
                between()
                which, places = [k for k, _ in rows], [p for _, p in rows]
                made = _errors(model, x0, x[places], at[places], [conditions[k] for k in which])
                errors[which, [part[p][0] for p in places], [part[p][1] for p in places]] = made
                done += len(rows)
                yield Step(done, of, len(alive), found)
        taken = look
        race = judge(errors, weights, len(looks(draws)) if eliminate else 1, below)
        found = Classified(conditions, tuple(levels.tolist()), tuple(weights.tolist()), draws, time.perf_counter() - began, race)
        if eliminate:
            below[[k for k in alive if race.out[k]]] = race.best
            alive = [k for k in alive if not race.out[k]]
        if len(alive) == 1:
            break
    assert found is not None
    return found


def seconds(model: Backend, image: np.ndarray, condition: str) -> float:
    """What one noised image takes under one class: after one to warm up, timed on one, and where that is quick, on as many as go together."""
    x0, card, took = x0_of(model, image), model.card, 0.0
    _errors(model, x0, x0, torch.tensor([card.sigmas[0]], dtype=torch.float64), [condition])  # a text's encoder is read but once
    for count in (1, _batch(model)):
        if took > QUICK:
            break
        at = torch.full((count,), card.sigmas[len(card.sigmas) // 2], dtype=torch.float64)
        began = time.perf_counter()
        _errors(model, x0, add_noise(x0.expand(count, *x0.shape[1:]), at, torch.zeros_like(x0)), at, [condition] * count)
        took = (time.perf_counter() - began) / count
    return took


def _batch(model: Backend) -> int:
    return max(1, min(MOST, ROOM // max(1, model.card.map_bytes)))


def _parts(pairs: list[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _noised(model: Backend, x0: Tensor, levels: Tensor, pairs: list[tuple[int, int]], id: int, seed: int) -> tuple[Tensor, Tensor]:
    """σ (B,) and x_σ (B, c, h, w) of pairs of a level and a draw, each with an ε of its own."""
    at = levels[[s for s, _ in pairs]]
    place = torch.searchsorted(model.schedule.sigmas, at)
    numbers = [r * len(model.schedule.sigmas) + int(i) for (_, r), i in zip(pairs, place, strict=True)]
    eps = torch.cat([noise_like(x0, [id], seed, number) for number in numbers]).to(x0.device)
    return at, add_noise(x0, at, eps)


@torch.inference_mode()
def _errors(model: Backend, x0: Tensor, x: Tensor, at: Tensor, conditions: Sequence[str]) -> np.ndarray:
    """(B,): the squared error of ε, a mean over the numbers of x_0."""
    with lowered(model.device.type, model.precision):
        made = model.denoise_each(x, at, conditions)
    return np.asarray(((made.float() - x0).square().mean((1, 2, 3)).cpu().double() / at**2).numpy())
