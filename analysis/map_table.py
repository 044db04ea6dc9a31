"""A map as a tidy table, one row an image, and the command line's way to one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load

from .errors import InvalidRequest
from .store import Store
from .studies import Study

if TYPE_CHECKING:
    import pandas as pd

TAKEN = ("id", "x", "y", "z", "label", "prediction", "confidence", "correct", "selected", "image", "neighbors")  # names of columns
Labels = Mapping[str, tuple[Sequence[str], np.ndarray]]
Table = tuple["pd.DataFrame", np.ndarray, tuple[np.ndarray, np.ndarray]]


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
    others = {f"label_{name}" if name in TAKEN else name: _named(*known) for name, known in labels.items() if name != label_set}
    return pd.DataFrame(columns | others)


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
) -> Table:
    """The table of one cell's map, the images (n, h, w, 3) uint8, and each one's nearest: places and distances (n, k).

    Without block or σ, of the headline's best cell; settings are those of the worker's questions: method, dims, count, metric, seed.
    Raises what the answers raise.
    """
    from .crew import Crew
    from .mapped import Mapped
    from .own import Own

    if sigma is not None and sigma <= 0:
        raise InvalidRequest(f"sigma is {sigma}; allowed: a noise level above 0.")
    with Crew(1) as crew:
        answers = Mapped(Own(store, device), crew).answers

        def ask(what: str, **more: Any) -> tuple[Mapping[str, Any], dict[str, np.ndarray]]:
            from .steps import finish

            found = answers[what]({"ask": what, "study": study.key, **settings, **more}, b"")
            if not isinstance(found, tuple):
                found = finish(found, lambda step: progress(step[0]["done"], step[0]["of"], step[0]["doing"]) if progress else None)
            return found[0], load(found[1])

        told, shown = ask("shown")
        levels = [float(level["sigma"]) for level in study.facts["levels"]]
        level = told["root"][1] if sigma is None else min(range(len(levels)), key=lambda i: abs(math.log(levels[i] / sigma)))
        cell = {"block": block or told["root"][0], "level": level}
        said, found = ask("map", **cell)
        _, near = ask("near", rows=list(range(len(shown["ids"]))), **cell)
    labels = {name: (classes, shown[f"labels/{name}"]) for name, classes in told["classes"].items()}
    own = study.facts["receipt"]["label_set"]
    made = table(shown["ids"], found["layout"], own if own in labels else None, labels, said["classes"], found.get("probabilities"))
    return made, shown["images"], (near["places"], near["distances"])
