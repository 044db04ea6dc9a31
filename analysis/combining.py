"""Several requests looked through at once: what does not go together is left out, and what comes to the same run is made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from .errors import Incompatible
from .planning import Bench
from .specs import SweepRequest

Opened = Callable[[SweepRequest, Bench | None], Bench]  # the bench of a request; a bench before it lends its images and models


class Combined(NamedTuple):
    """Requests that can be carried out, each another run, with their benches, and one sentence on the others; "" where there are none."""

    requests: list[SweepRequest]
    benches: list[Bench]
    said: str


def combine(requests: Sequence[SweepRequest], opened: Opened) -> Combined:
    """Look requests through, in their order.

    One whose parts do not go together, such as a head for classes and labels that are numbers, is left out. Numbers are read by ridge
    regression under either name of the linear head: of such requests the first stays. Raises Incompatible where none is left, and
    UnknownName, InvalidRequest or InvalidData for anything else that is wrong with one.
    """
    kept: dict[str, tuple[SweepRequest, Bench]] = {}
    alike: dict[str, list[str]] = {}  # by run, the heads that were asked for
    parted: dict[str, dict[str, list[str]]] = {}  # by rule and by what does not fit them, label sets
    first: Incompatible | None = None
    like: Bench | None = None
    for request in requests:
        try:
            like = opened(request, like)
        except Incompatible as error:
            first = first or error
            _add(parted.setdefault(error.rule, {}), error.part, request.label_set or "the first label set")
            continue
        run = like.request.model_copy(update={"head": like.head, "label_set": like.labels.name}).canonical()
        kept.setdefault(run, (request, like))
        _add(alike, run, request.head)
    if first and not kept:
        raise first
    merged: dict[str, list[str]] = {}
    for run, heads in alike.items():
        if len(heads) > 1:
            _add(merged, _listed(heads), kept[run][1].labels.name)
    left = "; ".join(f"{_apart(sets)}, because {rule}" for rule, sets in parted.items())
    same = [f"{heads} read {_listed(sets)} alike and are one run{' each' if len(sets) > 1 else ''}" for heads, sets in merged.items()]
    said = "; ".join([*([f"Left out: {left}"] if left else []), *same])
    found = list(kept.values())
    return Combined([request for request, _ in found], [bench for _, bench in found], f"{said}." if said else "")


def _apart(sets: Mapping[str, list[str]]) -> str:
    """Which label sets with what: what does not fit the same label sets is said together."""
    together: dict[str, list[str]] = {}
    for part, names in sets.items():
        _add(together, _listed(names), part)
    return ", ".join(f"{names} with {_listed(parts, 'or')}" for names, parts in together.items())


def _add(found: dict[str, list[str]], name: str, value: str) -> None:
    if value not in (there := found.setdefault(name, [])):
        there.append(value)


def _listed(words: Sequence[str], joined: str = "and") -> str:
    return f"{', '.join(words[:-1])} {joined} {words[-1]}" if len(words) > 1 else words[0]
