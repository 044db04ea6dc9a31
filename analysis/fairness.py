"""What every run says of itself, where two are not alike, and the runs that would be.

A comparison is of what differs between two runs. Whatever else differs, such as labels seen in training, parameters or the number
of features, may be where a difference comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .matching import Side, question
from .specs import SweepRequest, regime, said_condition

NOT_RECORDED, UNKNOWN = "not recorded", "unknown"
OF_ONE = ("run", "model", "block and pooling", "noise levels", "test images", "draws")  # rows that may differ in a fair comparison
OF_A_BLOCK = ("feature dimension", "GFLOP an image")
NO_TEST, NONE_OWN = "no test image was seen", "none of the data set's own"  # as a card says how it was trained


def facts(side: Side) -> dict[str, str]:
    """What a run says of itself, by name, in words."""
    study, card = side.study, side.study.card
    receipt, request, result = study.facts["receipt"], study.facts["request"], study.result(side.labels)
    images, pca = card.training.get("images_seen"), request.get("pca")
    return {
        "run": f"{study.name} ({study.key[:6]})",
        "model": f"{card.name} ({card.identity})",
        "saw in training": saw(card.conditions),
        "training set": training_set(card.training),
        "known overlap with the test images": overlap(card.training, receipt),
        "images seen in training": NOT_RECORDED if images is None else f"{images:,}",
        "parameters": f"{card.parameters:,}",
        "test data": f"{receipt['dataset']} ({receipt['dataset_identity']})",
        "test images": f"{receipt['n_test']:,}",
        "question": f"{question(side)}, " + (f"chance {100 * study.chance:.1f} %" if study.measure == "accuracy" else "scored by R²"),
        "labelled images a draw": f"{result['labelled_images']:,} ({side.labels if side.labels == 'all' else f'{side.labels} a class'})",
        "labels told": ", ".join(regime(request)) or "right, as many of each class",
        "draws": f"{result['draws']} of labels, {receipt['eps_draws']} of noise, seed {receipt['seed']}",
        "noise levels": f"{len(side.sigmas)}, σ = {side.sigmas[0]:.2g} to {side.sigmas[-1]:.2g}",
        "input": f"{receipt['input']}, condition: {said_condition(receipt['condition'])}",
        "precision": str(receipt["precision"]),
        "block and pooling": f"{side.block}, {side.pooling}" + (f", {pca} principal components" if pca else ""),
        "probe": str(receipt["head"]),
        "feature dimension": NOT_RECORDED if (width := dimension(side)) is None else f"{width:,}",
        "forward passes an image": str(passes(side)),
        "GFLOP an image": _gflop(side),
    }


def saw(conditions: Sequence[str]) -> str:
    """What a model was shown beside images in training, from the conditions that it takes."""
    kinds = {condition.partition(":")[0] for condition in conditions}
    known = [word for word, names in (("labels", {"class", "mean"}), ("text", {"prompt"})) if kinds & names]
    if known:
        return " and ".join(known)
    return "neither labels nor text" if kinds == {"none"} else NOT_RECORDED


def training_set(training: dict[str, Any]) -> str:
    """What a model was trained on."""
    if not training.get("data"):
        return NOT_RECORDED
    count = training.get("images")
    parts = [str(training["data"]), *([f"{count:,} images"] if count else []), *([str(training["split"])] if training.get("split") else [])]
    return ", ".join(parts)


def overlap(training: dict[str, Any], receipt: dict[str, Any]) -> str:
    """What is known of test images among the training images; no more than the model's card says."""
    data, split = training.get("data"), str(training.get("split", ""))
    if not data:
        return f"{UNKNOWN}: what the model was trained on is not recorded"
    if training.get("data_identity") != receipt["dataset_identity"]:
        return f"{UNKNOWN}: trained on {data}, tested on other images ({receipt['dataset']})"
    if split.endswith(NO_TEST):
        return "none known: trained on the other images of the same data"
    if split.endswith(NONE_OWN):
        return f"none known: trained on new images, {NONE_OWN}"
    return f"{UNKNOWN}: trained on the same data; which of its images is not recorded"


def dimension(side: Side) -> int | None:
    """How many features a probe reads; of a study made before that was kept, from the block where it is pooled to one place."""
    own = _width(side)
    pca = side.study.facts["request"].get("pca")
    return min(own, pca) if own and pca else own


def _width(side: Side) -> int | None:
    kept = side.study.facts["receipt"].get("dimensions", {}).get(f"{side.block}/{side.pooling}")
    if kept is None:
        kept = next((block.width(side.pooling) for block in side.study.card.every if block.name == side.block), None)
    return None if kept is None else int(kept)


def passes(side: Side) -> int:
    """Forward passes an image: draws of ε whose features are averaged."""
    return int(side.study.facts["request"].get("average_draws", 1))


def _gflop(side: Side) -> str:
    one = side.study.facts["receipt"].get("gflop", {}).get(side.block)
    return NOT_RECORDED if one is None else f"{one * passes(side):.3g}"


def unlike(reference: Side, other: Side) -> list[str]:
    """Names of what is said of both and is not the same, where that makes a comparison unequal."""
    ours, theirs = facts(reference), facts(other)
    return [name for name in ours if name not in OF_ONE and ours[name] != theirs[name] and not _unknown(ours[name], theirs[name])]


def unsure(reference: Side, other: Side) -> list[str]:
    """Names of what one of the two does not know of itself, so that nobody can say whether they are alike."""
    ours, theirs = facts(reference), facts(other)
    model = reference.study.card.identity == other.study.card.identity
    same = {name: model and (reference.block == other.block or name not in OF_A_BLOCK) for name in ours}
    return [name for name in ours if _unknown(ours[name], theirs[name]) and not (same[name] and ours[name] == theirs[name])]


def _unknown(*said: str) -> bool:
    return any(words.startswith((NOT_RECORDED, UNKNOWN)) for words in said)


@dataclass(frozen=True)
class Common:
    """What runs are brought to: so many principal components, fitted on the labelled images, and so many passes an image."""

    pca: int
    average_draws: int


def common(sides: Sequence[Side]) -> Common | None:
    """The smallest number of features, of at most one fewer than there are labelled images, and the fewest passes.

    None where a number of features is not recorded.
    """
    widths = [dimension(side) for side in sides]
    known = [width for width in widths if width is not None]
    if len(known) < len(widths):
        return None
    labelled = min(side.study.result(side.labels)["labelled_images"] for side in sides)
    return Common(min(*known, labelled - 1), min(passes(side) for side in sides))


def reached(side: Side, common: Common) -> bool:
    """Whether a run is at what is common as it was measured: as many principal components as features leave a probe the same."""
    return dimension(side) == common.pca and passes(side) == common.average_draws


def equalised(side: Side, common: Common) -> SweepRequest:
    """The request of the same curve brought to what is common: its block, pooling and number of labels alone."""
    made = SweepRequest.model_validate(side.study.facts["request"])
    return _plain(made, side.study.facts["receipt"]["label_set"]).model_copy(
        update={
            "blocks": (side.block,),
            "poolings": (side.pooling,),
            "labels_per_class": tuple(value for value in made.labels_per_class if str(value) == side.labels),
            "pca": common.pca,
            "average_draws": common.average_draws,
        }
    )


def serves(made: SweepRequest, label_set: str, wanted: SweepRequest) -> bool:
    """Whether a run of a request, on the label set that it came to, holds what an equalised one asks for."""
    there = _plain(made, label_set)
    lists = ("blocks", "poolings", "labels_per_class")
    holds = all(set(getattr(wanted, name)) <= set(getattr(made, name) or ()) for name in lists)
    return holds and there.model_copy(update={name: getattr(wanted, name) for name in lists}) == wanted


def _plain(request: SweepRequest, label_set: str) -> SweepRequest:
    """A request without what the model's curves do not depend on."""
    return request.model_copy(
        update={
            "label_set": label_set,
            "levels": len(request.sigmas or ()) or request.levels,
            "baselines": False,
            "baseline_labels": None,
            "ensemble": 0,
            "fuse": 0,
            "encoders": (),
        }
    )
