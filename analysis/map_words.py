"""How maps came about, and what may and may not be read off them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .specs import said_condition

if TYPE_CHECKING:
    from .studies import Study

METHODS = {"umap": "UMAP", "pca": "PCA"}
Facts = list[tuple[str, object]]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def facts(study: Study, images: str, block: str, level: int, cell: bool = True) -> Facts:
    """What is laid out: of one cell, or of many beside the one on the bench."""
    receipt, at, there = study.facts["receipt"], study.facts["levels"][level], "" if cell else " on the bench"
    return [
        ("model", f"{receipt['model']}, {receipt['revision']}"),
        ("run", study.key),
        ("images", images),
        ("data", f"{receipt['dataset']}, {receipt['dataset_identity']}"),
        (f"block{there}", block),
        (f"noise level{there}", f"σ = {at['sigma']:.6g}, t = {at['timestep']:g}"),
        (
            "features",
            f"global average, {receipt['input']} input, condition {said_condition(receipt['condition'])}, seed {receipt['seed']}, draw 0, {receipt['precision']}",
        ),
    ]


def images(count: int, kind: str) -> str:
    """The images of a map ("test" or "generated")."""
    return f"{count:,} test images" if kind == "test" else f"{count:,} images that the model generated, because the data are not here"


def laid(method: str, settings: Mapping[str, Any], root: str, plain: str | None = None) -> Facts:
    """How it is laid out; `root` is the cell that others follow."""
    method = "pca" if plain else method
    found: Facts = [("layout", f"{METHODS[method]}, {settings['dims']} dimensions, {settings['metric']} distance")]
    if method == "umap":
        made = f"15 exact neighbours in the full space, each image among its own, seed {settings['seed']}; follows from {root}"
        found.append(("made", made))
    return found


def caution(method: str, settings: Mapping[str, Any], shows: float | None, plain: str | None) -> str:
    """Of a layout; `shows` is the share of the variance that a PCA shows, `plain` why what should be a UMAP is none ("few" or "alike")."""
    if plain:
        why = "all images have the same features here" if plain == "alike" else "there are too few images for a UMAP"
        return f"This is no UMAP but a PCA, because {why}."
    if method == "pca":
        much = f" These {settings['dims']} directions show {percent(shows)} of the variance." if shows is not None else ""
        return f"PCA is linear: distances on it are real where it shows enough.{much}"
    return (
        "On a UMAP only who is next to whom means something: distances between clumps, their sizes and their order do not. It was made "
        f"with seed {settings['seed']}, so that it comes out the same again, which costs the speed of several threads; another seed gives another map, "
        "and what changes with it is not in the features."
    )


def purer(told: Mapping[str, Any]) -> str:
    """Of a map that looks purer than its space (geometry.Trust)."""
    return (
        f"Neighbours share their class in {percent(told['purity_map'])} on the map and in {percent(told['purity_space'])} in the full space: "
        "some of the order is the layout's doing."
    )


def trusted(told: Mapping[str, Any] | None) -> list[str]:
    """How far a map may be trusted, for those who see it without the page; nothing where it is not known."""
    if told is None:
        return []
    found = [f"This map looks purer than its space. {purer(told)}"] if told["purer"] else []
    if told["purity_space"] is not None:
        found.append(
            f"Of each image's 15 nearest, {percent(told['purity_space'])} share its class in the full space and {percent(told['purity_map'])} on the map."
        )
    return [*found, f"Trustworthiness {told['trustworthiness']:.2f}, continuity {told['continuity']:.2f} (1 is best)."]
