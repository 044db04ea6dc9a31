"""What the networks of a study of memorization make, beside their training images and held-out ones; their losses on both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from . import memorization_look as looking
from .crew import Between, still_wanted
from .errors import DamagedFile
from .frechet import frechet
from .generalization import Measure, halves, highest_cosine, nearest_cosines, nearest_images, sensitivity
from .memorization import FRESH, Look, MemorizationRequest, Run, found_path, weights_path
from .memorization_curves import read, sigmas_of
from .memorization_data import Material
from .memorization_run import bundled, reference_of, write

SHOWN = 24  # samples beside their nearest training images


@dataclass(frozen=True)
class Viewer:
    """In whose features images are compared: of which measure, what its files are called, and images (n, H, W, 3) uint8 -> (n, D)."""

    measure: Measure
    key: str
    view: Callable[[np.ndarray], np.ndarray]


class Generation:
    """The tables, one look at a time; what real images alone decide is computed once a training set."""

    def __init__(self, material: Material, folder: Path, device: str = "cpu") -> None:
        self.material, self.request, self.folder, self.device = material, material.request, folder, device
        rows = material.dataset.rows(material.test[: self.request.samples])
        self.held_out = material.dataset.images[rows]
        name = reference_of(self.request)
        self.reference = (
            Viewer("features", "reference", lambda images: looking.own_features(bundled(name, device), images)) if name else None
        )
        self._ratios: dict[Run, np.ndarray] = {}
        self._real: dict[tuple[Run, int], np.ndarray] = {}
        self._features: dict[Path, np.ndarray] = {}

    def runs(self) -> list[Run]:
        return sorted(self.request.runs, key=lambda run: (self.request.sizes.index(_size(run.size)), run.seed))

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(table, row) of every look: `generation`, `nearest`, `frechet`, `halves` and `losses`."""
        for run in self.runs():
            for look in run.looks(self.request):
                names = {"size": look.size, "seen": look.seen, "weights": look.weights, "seed": look.seed}
                found = read(self.folder, look, "samples", "reference", "own/samples", "own/train", "own/held_out")
                yield from ((name, names | row) for name, row in self._scores(run, found))
                yield from (("halves", names | row) for row in self._halves(run, look, found["samples"]))
                yield from (("losses", names | row) for row in self._losses(look))

    def _scores(self, run: Run, found: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, Any]]]:
        training = self.material.training(run).images
        if run not in self._ratios:
            self._ratios[run] = nearest_images(self.held_out, training).ratio
        near = nearest_images(found["samples"], training)
        for sample, (place, distance, ratio) in enumerate(zip(near.index, near.distance, near.ratio, strict=True)):
            yield "nearest", {"sample": sample, "place": int(place), "distance": float(distance), "ratio": float(ratio)}
        yield from self._shares("l2_ratio", near.ratio, self._ratios[run])
        if self.reference:
            own, real = self._known(self.reference, run)
            yield from self._shares("features", _cosine(found["reference"], own), _cosine(real, own))
            if len(own) > 1:
                yield "frechet", frechet(found["reference"], real, own).to_dict() | {"features": reference_of(self.request)}
        if "own/samples" in found:
            own = found["own/train"]
            yield from self._shares("own_features", _cosine(found["own/samples"], own), _cosine(found["own/held_out"], own))

    @staticmethod
    def _shares(measure: Measure, samples: np.ndarray, held_out: np.ndarray) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from (("generation", row) for row in sensitivity(measure, samples, held_out))

    def _known(self, viewer: Viewer, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """What a viewer makes of the training images of a run and of held-out ones, (N, D) and (n, D), kept beside the runs.

        Of a seed's largest set every smaller one is the beginning.
        """
        size = run.size if run.size == FRESH else str(self.request.largest)
        own = self._kept(viewer, f"{size}-{run.seed}", lambda: self.material.training(Run(size, run.seed)).images)
        return own[: len(self.material.training(run).ids)], self._kept(viewer, "held-out", lambda: self.held_out)

    def _kept(self, viewer: Viewer, name: str, images: Callable[[], np.ndarray]) -> np.ndarray:
        path = viewed_path(self.folder, viewer.key, name)
        if path not in self._features:
            if not path.exists():
                write(path, {"features": viewer.view(images())}, {})
            try:
                self._features[path] = load_file(path)["features"]
            except (OSError, SafetensorError, KeyError) as error:
                raise DamagedFile(f"{path} is damaged ({error}); delete it, and run the study again: it is made anew.") from error
        return self._features[path]

    def viewed(self, viewer: Viewer) -> Iterator[list[dict[str, Any]]]:
        """Rows of `generation`, a look at a time, by what another viewer makes of samples, of training images and of held-out ones."""
        for run in self.runs():
            for look in run.looks(self.request):
                samples = viewer.view(read(self.folder, look, "samples")["samples"])
                own, real = self._known(viewer, run)
                names = {"size": look.size, "seen": look.seen, "weights": look.weights, "seed": look.seed}
                yield [names | row for _, row in self._shares(viewer.measure, _cosine(samples, own), _cosine(real, own))]

    def _halves(self, run: Run, look: Look, samples: np.ndarray) -> Iterator[dict[str, Any]]:
        """Against the networks of other seeds, whose training sets share no image with this one's."""
        own = self.material.training(run).images
        for seed, other in permutations(range(self.request.seeds), 2):
            if seed == run.seed:
                theirs = self.material.training(Run(run.size, other)).images
                there = read(self.folder, look._replace(seed=other), "samples")["samples"]
                if (run, other) not in self._real:
                    self._real[run, other] = nearest_cosines(self.held_out, own, theirs)
                yield {"other": other} | halves(samples, there, own, theirs, self._real[run, other]).to_dict()

    def _losses(self, look: Look) -> Iterator[dict[str, Any]]:
        found = read(self.folder, look, "errors/train", "errors/held_out")
        train, held_out = found["errors/train"], found["errors/held_out"]
        for level, sigma in enumerate(sigmas_of(self.folder, look)):
            means = {"train": float(train[level].mean()), "held_out": float(held_out[level].mean())}
            yield {"sigma": sigma, **means, "n": min(train.shape[1], held_out.shape[1])}

    def tables(self, between: Between = still_wanted) -> dict[str, pd.DataFrame]:
        """Table -> rows; `between` is called before each."""
        found: dict[str, list[dict[str, Any]]] = {"generation": [], "losses": []}
        for name, row in self.rows():
            between()
            found.setdefault(name, []).append(row)
        return {name: pd.DataFrame(rows) for name, rows in found.items()}

    def shown(self) -> bytes:
        """Samples of each size's last network of the first seed beside their nearest training images, as safetensors."""
        kept: dict[str, np.ndarray] = {}
        for run in (run for run in self.runs() if run.seed == 0):
            samples = read(self.folder, Look(*run, self.request.seen[-1], "ema"), "samples")["samples"][:SHOWN]
            training = self.material.training(run).images
            found = nearest_images(samples, training)
            parts = {"samples": samples, "nearest": training[found.index], "ratio": found.ratio, "distance": found.distance}
            kept |= {f"{run.size}/{name}": np.ascontiguousarray(value) for name, value in parts.items()}
        return save(kept)


def viewed_path(folder: Path, key: str, name: str) -> Path:
    """Where what a viewer made of real images is kept."""
    return folder / "runs" / f"{key}-{name}.safetensors"


def _size(name: str) -> Any:
    return FRESH if name == FRESH else int(name)


def _cosine(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The highest cosine (n,) of each vector with any known one, without the known ones' mean, which all share."""
    mean = known.astype(np.float32).mean(0)
    return highest_cosine(vectors.astype(np.float32) - mean, known.astype(np.float32) - mean)[1]


def seconds(request: MemorizationRequest, folder: Path) -> tuple[float, dict[str, int]]:
    """Seconds of training and looking, all networks together, and training steps by hardware."""
    spent, hardware = 0.0, dict[str, int]()
    for run in request.runs:
        facts = _facts(weights_path(folder, run, request.seen[-1]))
        spent += float(facts["seconds"])
        for name, steps in json.loads(facts["hardware"]).items():
            hardware[name] = hardware.get(name, 0) + steps
        for look in run.looks(request):
            spent += float(_facts(found_path(folder, look))["seconds"])
    return spent, hardware


def _facts(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata())
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is not there or damaged ({error}); delete it, and run the study again: it is made anew.") from error
