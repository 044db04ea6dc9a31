"""Which studies differ from one in one thing alone: the head, the input, the labels that probes are told, or the question."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from .specs import SweepRequest
from .studies import Study

Aspect = Literal["head", "input", "labels", "question"]
OF: dict[Aspect, tuple[str, ...]] = {
    "head": ("head",),
    "input": ("input", "average_draws"),  # clean input has no ε to average over
    "labels": ("labels_per_class", "label_draws", "label_noise", "imbalance"),
    "question": ("label_set",),
}
SHARED = ("blocks", "poolings", "sigmas", "labels_per_class")  # of these, some of one study's are to be another's too
BESIDES = {
    "backend",
    "dataset",
    "levels",
    "baselines",
    "baseline_labels",
    "encoders",
    "ensemble",
    "fuse",
    *SHARED,
}  # names, and other curves


def rest(study: Study, aspect: Aspect) -> dict[str, Any]:
    """What of a study is the same in every study that differs from it in one aspect alone."""
    said = _request(study).model_dump(exclude=BESIDES | set(OF[aspect]))
    return said | {"model": study.facts["card"]["identity"], "data": study.facts["receipt"]["dataset_identity"]}


def siblings(study: Study, others: Iterable[Study], aspect: Aspect) -> list[Study]:
    """Those of other studies that differ from one in one aspect alone, of equal ones the first.

    They share some block, pooling, noise level and number of labels a class, so that curves can be compared. Studies with another
    number of labels a class are those that share none.
    """
    wanted, mine = rest(study, aspect), _request(study)
    found: dict[tuple[Any, ...], Study] = {_told(mine, aspect): study}
    for other in others:
        if rest(other, aspect) != wanted:
            continue
        theirs = _request(other)
        apart = {name for name in SHARED if not set(getattr(mine, name) or ()) & set(getattr(theirs, name) or ())}
        if apart <= ({"labels_per_class"} if aspect == "labels" else set()) and (_told(mine, aspect) != _told(theirs, aspect) or apart):
            found.setdefault((*_told(theirs, aspect), *(theirs.labels_per_class if apart else ())), other)
    return list(found.values())[1:]


def _told(request: SweepRequest, aspect: Aspect) -> tuple[Any, ...]:
    """By what studies of an aspect are told apart; by numbers of labels a class only where these have none in common."""
    return tuple(getattr(request, name) for name in OF[aspect] if name not in ("labels_per_class", "label_draws", "average_draws"))


def _request(study: Study) -> SweepRequest:
    request = SweepRequest.model_validate(study.facts["request"])
    head = "logistic" if study.measure == "r2" else request.head  # numbers are read by ridge regression, which is their linear probe
    return request.model_copy(update={"head": head, "label_set": study.facts["receipt"]["label_set"]})
