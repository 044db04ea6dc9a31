"""A request as it will be carried out: noise levels and blocks written out, and in which order levels come."""

from __future__ import annotations

from itertools import pairwise

import torch

from .errors import InvalidRequest, UnknownName
from .features import pooling_side
from .noise import Schedule
from .specs import Card, SweepRequest


def resolve(request: SweepRequest, card: Card) -> SweepRequest:
    """The request with its noise levels, blocks and condition written out, as the model has them; `none` of a class is null, else mean.

    Raises UnknownName or InvalidRequest.
    """
    schedule = Schedule.from_levels(card.noise, card.sigmas, card.timesteps)
    if request.sigmas is None:
        sigmas = schedule.spread(request.levels)
    else:
        sigmas = sorted(set(schedule.nearest(torch.tensor(request.sigmas, dtype=torch.float64)).tolist()))
    if len(sigmas) < 3:
        raise InvalidRequest(f"sigmas come to {len(sigmas)} levels of {card.name}; allowed: at least 3, for a shape to be seen.")
    if request.ensemble and not 2 <= request.ensemble <= len(sigmas):
        raise InvalidRequest(f"ensemble is {request.ensemble}; allowed: 0 for none, or 2 to {len(sigmas)}, the levels there are.")
    if request.ensemble and request.input == "clean":
        raise InvalidRequest("ensemble averages over draws of the noise ε, and clean input has none; use noisy input, or ensemble 0.")
    if request.fuse and not request.ensemble:
        raise InvalidRequest(
            f"fuse is {request.fuse} and ensemble is 0; fusion reads the maps of an ensemble's cells: ask for an ensemble too, or fuse 0."
        )
    known, plain = [block.name for block in card.every], [block.name for block in card.blocks]
    for name in request.blocks or ():
        if name not in known:
            raise UnknownName("block", name, [*plain, *(["or what lies inside these, which `list card` shows"] if card.inside else [])])
    for pooling in request.poolings:
        pooling_side(pooling)
    condition = card.unconditional if request.condition == "none" else request.condition
    if not card.knows(condition):
        raise UnknownName("condition", condition, card.said_conditions)
    blocks = tuple(plain if request.blocks is None else (name for name in known if name in request.blocks))
    return request.model_copy(update={"sigmas": tuple(sigmas), "blocks": blocks, "condition": condition})


def coarse_first(count: int) -> list[int]:
    """0…count-1 so that the ends come first and every next one halves the widest gap."""
    order = [0, count - 1] if count > 1 else [0]
    while len(order) < count:
        ordered = sorted(order)
        gap, left = max((b - a, -a) for a, b in pairwise(ordered))
        order.append(-left + gap // 2)
    return order
