"""What a request has read beside its model: random weights, noised and clean pixels, and baseline encoders.

A source's name is its kind, and for an encoder a colon and the encoder's own name: `model`, `random`, `baseline` (noised pixels),
`clean` (clean ones), `encoder:dinov2-small` (on the noised images that the model is shown), `encoder-clean:dinov2-small`.
"""

from __future__ import annotations

from . import registry
from .backends import open_backend
from .backends.base import NOWHERE, Backend
from .encoders import open_encoder
from .encoders.base import Encoder
from .errors import InvalidRequest
from .specs import SweepRequest

LINES = ("clean", "encoder-clean")  # kinds that are read on clean images alone: a level line, no curve


def kind(source: str) -> str:
    """The kind of a source, which is what tables and names of curves call it."""
    return source.partition(":")[0]


def open_sources(request: SweepRequest, device: str) -> dict[str, Backend | Encoder]:
    """Every source of a request, opened. With clean input an encoder has no curve, as nothing changes over σ.

    Raises UnknownName, InvalidRequest or DamagedFile.
    """
    found: dict[str, Backend | Encoder] = {"model": open_backend(request.backend, device=device).at(request.precision)}
    if request.baselines:
        pixels = registry.get("encoders", "pixels")()
        random = open_backend(request.backend, "random:0", device).at(request.precision)
        found |= {"random": random, "baseline": pixels, "clean": pixels}
    for given in request.encoders:
        encoder = open_encoder(given, "cpu" if device == NOWHERE else device)
        if f"encoder-clean:{encoder.name}" in found:
            raise InvalidRequest(f"encoders has two that are called {encoder.name!r}; leave one out, or give its folder another name.")
        if request.input == "noisy":
            found[f"encoder:{encoder.name}"] = encoder
        found[f"encoder-clean:{encoder.name}"] = encoder
    return found
