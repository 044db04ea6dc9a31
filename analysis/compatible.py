"""What of a request goes together, and what is refused before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from . import registry
from .datasets.base import LabelSet
from .errors import Incompatible, InvalidData, InvalidRequest
from .specs import Card, SweepRequest, regime


def check(request: SweepRequest, card: Card, labels: LabelSet, head: str) -> None:
    """Raises UnknownName or InvalidRequest for a head, a model, labels or settings that do not go together."""
    needs, continuous = registry.get("heads", head).needs, labels.numbers is not None
    if continuous and head != "ridge":
        raise Incompatible(
            f"head {head} tells classes apart and {labels.name} is a number; allowed: ridge.",
            head,
            "numbers are read by ridge regression alone",
        )
    if continuous and (request.label_noise or request.imbalance > 1):
        raise Incompatible(
            f"label_noise and imbalance are of classes, and {labels.name} is a number; leave them out.",
            " and ".join(regime(request.model_dump())),
            "these are of classes, not of numbers",
        )
    if request.encoders and card.space == "latent":
        raise InvalidRequest(f"encoders read pixels, and {card.name} works on latents; leave them out.")
    if request.average_draws > 1 and request.input == "clean":
        raise InvalidRequest(f"average_draws is {request.average_draws}, and clean input has no ε to draw again; allowed: 1.")
    if request.pca and needs == "map":
        raise Incompatible(
            f"head {head} reads maps, which principal components do not leave; leave pca out.",
            head,
            "principal components leave no map to read",
        )
    if request.fuse and request.pca:
        raise InvalidRequest(f"fuse is {request.fuse}: it reads maps, which principal components do not leave; leave pca out, or fuse 0.")
    if request.fuse and continuous:
        raise Incompatible(
            f"fuse is {request.fuse}: it tells classes apart, and {labels.name} is a number; allowed: 0.",
            "learned fusion",
            "it tells classes apart and says no number",
        )


def check_images(labels: LabelSet, told: Mapping[str, np.ndarray]) -> None:
    """Look at what the images of each part (n,) are labelled with. Raises InvalidRequest, or InvalidData for numbers that do not differ:
    R² compares with always saying their mean.
    """
    if len(told["test"]) < 2:
        raise InvalidRequest(f"n_test is {len(told['test'])}; allowed: at least 2 test images.")
    for part, values in told.items():
        if labels.numbers is not None and not np.ptp(values):
            raise InvalidData(
                f"All {len(values)} {part} images have the {labels.name} {values[0]:g}, so nothing can be told of how well it is read; take more images."
            )


def check_draws(request: SweepRequest, per_class: int | Literal["all"], labelled: int) -> None:
    """Look at a number of labels a class, by which so many images are labelled. Raises InvalidRequest."""
    if request.pca and request.pca >= labelled:
        raise InvalidRequest(f"pca is {request.pca}; allowed: fewer than the {labelled} labelled images at {per_class} a class.")
    if request.draws(per_class) < 2:
        raise InvalidRequest(f"eps_draws is {request.eps_draws} and there is one draw; allowed: at least 2 draws, for an interval.")
