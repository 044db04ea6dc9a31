"""A map as a tidy table, one row an image, and the command line's way to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load

from . import map_numbers, map_words
from .errors import InvalidRequest
from .store import Store
from .studies import Study, find_study

if TYPE_CHECKING:
    import pandas as pd

TAKEN = ("id", "x", "y", "z", "label", "prediction", "confidence", "correct", "selected", "image", "neighbors")  # names of columns
Labels = Mapping[str, tuple[Sequence[str], np.ndarray]]
VIEWS = ("blocks", "levels", "trust", "alike", "content")
Ask = Callable[..., tuple[Mapping[str, Any], dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Map:
    """One cell's map of n images."""

    table: pd.DataFrame
    images: np.ndarray  # (n, h, w, 3) uint8
    neighbours: tuple[np.ndarray, np.ndarray]  # of each in the full space: places and distances (n, k)
    facts: map_words.Facts  # how it came about
    title: str
    trust: str  # what may be read off it


def table(
    ids: np.ndarray, layout: np.ndarray, label_set: str | None, labels: Labels, classes: Sequence[str], probabilities: np.ndarray | None
) -> pd.DataFrame:
    """Columns id (16 hexadecimal digits), x, y (and z), label, prediction, confidence, correct, and every other label set by its name (with label_ before it where that is taken).

    `labels` are n values each, -1 for none; `probabilities` (n, K) are of `classes`, or None where nothing read the images.
    `correct` is pandas' "boolean", missing where the label is.
    """
    import pandas as pd

    columns: dict[str, Any] = {"id": [f"{int(id):016x}" for id in ids]}
    columns |= {axis: layout[:, i] for i, axis in enumerate("xyz"[: layout.shape[1]])}
    if label_set:
        columns["label"] = _named(*labels[label_set])
    if probabilities is not None:
        read = probabilities.argmax(1)
        columns |= {"prediction": _named(classes, read), "confidence": probabilities.max(1)}
        if label_set:
            truth = labels[label_set][1]
            columns["correct"] = pd.arrays.BooleanArray(read == truth, truth < 0)
    others = {column(name, label_set): _named(*known) for name, known in labels.items() if name != label_set}
    return pd.DataFrame(columns | others)


def column(name: str, label_set: str | None) -> str:
    """What the table calls a label set."""
    return "label" if name == label_set else f"label_{name}" if name in TAKEN else name


def _named(classes: Sequence[str], values: np.ndarray) -> np.ndarray:
    return np.array([*classes, None], dtype=object)[values]


def make(
    study: Study,
    store: Store,
    device: str,
    block: str | None = None,
    sigma: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> Map:
    """One cell's map. Without block or σ, of the headline's best cell; settings are those of the worker's questions: method, dims, count, metric, seed.

    Raises what the answers raise.
    """
    with _opened(study, store, device, progress, settings, block, sigma) as (ask, told, shown, (block, level)):
        cell = {"block": block, "level": level}
        said, found = ask("map", **cell)
        _, near = ask("near", rows=list(range(len(shown["ids"]))), **cell)
        own = _own(study, told)
        trusted, _ = ask("trust", cells=[[block, level]], label_set=own)
    labels = {name: (classes, shown[f"labels/{name}"]) for name, classes in told["classes"].items()}
    made = table(shown["ids"], found["layout"], own, labels, said["classes"], found.get("probabilities"))
    images, plain = map_words.images(len(made), told["kind"]), said.get("plain")
    root = f"block {told['root'][0]} at σ = {study.facts['levels'][told['root'][1]]['sigma']:.3g}"
    facts = [*map_words.facts(study, images, block, level), *map_words.laid(settings["method"], settings, root, plain)]
    title = f"{map_words.METHODS['pca' if plain else settings['method']]} of {images} in {study.card.name}, block {block}, σ = {study.facts['levels'][level]['sigma']:.2g}"
    words = map_words.caution(settings["method"], settings, said.get("shows"), plain)
    trust = " ".join([words, *map_words.trusted(trusted["trust"][0])])
    return Map(made, shown["images"], (near["places"], near["distances"]), facts, title, trust)


def numbers(
    show: str,
    study: Study,
    store: Store,
    device: str,
    block: str | None = None,
    sigma: float | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    over: str = "blocks",
    other: str | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """The table behind one of VIEWS, which map_numbers describes; `other` is what is alike: "random", or the key of a study of the same images.

    Raises InvalidRequest and what the answers raise.
    """
    if show not in VIEWS:
        raise InvalidRequest(f"show is {show!r}; allowed: map, {', '.join(VIEWS)}.")
    if over not in ("blocks", "levels"):
        raise InvalidRequest(f"over is {over!r}; allowed: blocks and levels.")
    levels = study.facts["levels"]
    with _opened(study, store, device, progress, settings, block, sigma) as (ask, told, shown, (block, level)):
        across = {"blocks": [(name, level) for name in told["blocks"]], "levels": [(block, place) for place in range(len(levels))]}
        if show in across:
            _, found = ask("maps", dims=2, cells=across[show])
            return map_numbers.layouts(shown["ids"], {(name, place): found[f"{name}/{place}"] for name, place in across[show]}, levels)
        if show == "trust":
            cells = across["levels"] + across["blocks"]
            ask("maps", cells=cells)
            return map_numbers.trust(cells, ask("trust", cells=cells, label_set=_own(study, told))[0]["trust"], levels)
        if show == "content":
            return map_numbers.content(ask("diagnose", level=level)[0], levels[level]["sigma"])
        theirs = study if other in (None, "random") else find_study(str(other), store.root)
        columns = across[over] if theirs is study else map_numbers.beside(theirs, over, block, levels[level]["sigma"])
        question = {"dims": 2, "seed": 0, "cells": across[over], "other": columns}
        _, found = ask("alike", **question, **({} if other is None else {"beside": other if theirs is study else theirs.key}))
        return map_numbers.alike(across[over], columns, found, levels, theirs.facts["levels"])


@contextmanager
def _opened(
    study: Study,
    store: Store,
    device: str,
    progress: Callable[[int, int, str], None] | None,
    settings: Mapping[str, Any],
    block: str | None,
    sigma: float | None,
) -> Iterator[tuple[Ask, Mapping[str, Any], dict[str, np.ndarray], tuple[str, int]]]:
    """The worker's answers, in this process; what it says of the images; and the cell that is asked for, or the headline's best."""
    from .crew import Crew
    from .mapped import Mapped
    from .own import Own
    from .steps import finish

    if sigma is not None and sigma <= 0:
        raise InvalidRequest(f"sigma is {sigma}; allowed: a noise level above 0.")
    with Crew(1) as crew:
        answers = Mapped(Own(store, device), crew).answers

        def ask(what: str, **more: Any) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
            found = answers[what]({"ask": what, "study": study.key, **settings, **more}, b"")
            if not isinstance(found, tuple):
                found = finish(found, lambda step: progress(step[0]["done"], step[0]["of"], step[0]["doing"]) if progress else None)
            return found[0], load(found[1]) if found[1] else {}

        told, shown = ask("shown")
        level = int(told["root"][1]) if sigma is None else map_numbers.nearest(study.facts["levels"], sigma)
        yield ask, told, shown, (block or str(told["root"][0]), level)


def _own(study: Study, told: Mapping[str, Any]) -> str | None:
    """The study's label set, where its labels are known of the images."""
    own = str(study.facts["receipt"]["label_set"])
    return own if own in told["classes"] else None
