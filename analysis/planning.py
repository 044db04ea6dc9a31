"""What a sweep request comes to: levels, blocks, label draws, sources, and what each cell is of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from . import catalog, compatible, gauge, probing, registry
from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets import open_dataset
from .datasets.base import Dataset
from .encoders.base import Encoder
from .features import extract
from .heads.base import Scaling
from .noise import Drawn, Schedule
from .resolving import resolve
from .series import Point, Series
from .sources import LINES, kind, open_sources
from .specs import Card, FeatureIdentity, ProbeIdentity, SweepRequest
from .store import Store
from .tasks import Reading, Task, choose_labelled, long_tailed, mislabelled

DRAWN = 1 << 24  # bytes of ε that a process keeps for the noise levels to come
DRAWN_ELSEWHERE = 1 << 32  # the same where another device computes, and would wait for this one to draw
CLEAN = 0.0  # the level at which clean pixels are stored


class Bench:
    """What a request comes to: data, label draws, sources, and what each cell is of. Models are opened when needed."""

    def __init__(self, request: SweepRequest, store: Store, device: str = "cpu", batch_size: int = 64, like: Bench | None = None) -> None:
        """Look the request through; `like` lends its images and models where they are the same.

        Raises UnknownName, InvalidRequest or InvalidData for what cannot be carried out.
        """
        self.card: Card = catalog.card(request.backend)
        self.request = resolve(request, self.card)
        self.store, self.device = store, device
        self.settings = {
            "batch_size": batch_size,
            "device": device.partition(":")[0],
            "threads": torch.get_num_threads(),
            "memory_format": "channels_last",
        }
        same = like is not None and (like.request.dataset, like.card) == (request.dataset, self.card)
        self.dataset: Dataset = like.dataset if same and like else open_dataset(request.dataset, self.card.resolution)
        alike = like is not None and all(
            getattr(like.request, name) == getattr(request, name) for name in ("baselines", "encoders", "input")
        )
        lends = like if same and alike and like and like.device == device else None
        self._like: Bench | None = lends and (lends._like or lends)  # the first of them: none keeps another alive
        self.noise: Drawn = like.noise if same and like else Drawn(DRAWN if device == "cpu" else DRAWN_ELSEWHERE)
        self.labels = self.dataset.label_set(request.label_set)
        self.train = self.dataset.members("train", request.n_train, self.labels)
        self.validation = self.dataset.members("validation", self._n_validation(), self.labels)
        self.test = self.dataset.members("test", request.n_test, self.labels)
        self._tasks: dict[tuple[int | str, int], Task] = {}
        compatible.check(self.request, self.card, self.labels, self.head)
        compatible.check_images(self.labels, {"validation": self._values(self.validation), "test": self._values(self.test)})
        for per_class in request.labels_per_class:
            compatible.check_draws(request, per_class, len(self.task(per_class, 0).train))

    def _values(self, ids: np.ndarray) -> np.ndarray:
        """What a probe is to say of images (n,): their numbers, or the indices of their classes."""
        told = self.labels.values if self.labels.numbers is None else self.labels.numbers
        return told[self.dataset.rows(ids)]

    def _n_validation(self) -> int | None:
        """As asked; else all, or where training images are limited, the same share of the validation images."""
        request = self.request
        if request.n_validation is not None or request.n_train is None:
            return request.n_validation
        train, validation = (len(self.dataset.members(split, None, self.labels)) for split in ("train", "validation"))
        return max(2, math.ceil(request.n_train / train * validation))

    @property
    def continuous(self) -> bool:
        """Whether labels are numbers: then R² stands where accuracy does."""
        return self.labels.numbers is not None

    @property
    def head(self) -> str:
        """The head of the model's probes: the linear one reads numbers by ridge regression."""
        return "ridge" if self.continuous and self.request.head == "logistic" else self.request.head

    @property
    def chance(self) -> float:
        return 0.0 if self.continuous else 1 / len(self.labels.classes)

    @cached_property
    def schedule(self) -> Schedule:
        """The model's noise levels, from its card."""
        return Schedule.from_levels(self.card.noise, self.card.sigmas, self.card.timesteps)

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self.request.sigmas or ()

    @cached_property
    def sources(self) -> dict[str, Backend | Encoder]:
        if self._like is None:
            return open_sources(self.request, self.device)
        precision = self.request.precision  # which may be another
        return {name: found.at(precision) if isinstance(found, Backend) else found for name, found in self._like.sources.items()}

    @property
    def model(self) -> Backend:
        model = self.sources["model"]
        assert isinstance(model, Backend)
        return model

    @property
    def encoders(self) -> list[Encoder]:
        """The baseline encoders that were asked for, opened."""
        if not self.request.encoders:
            return []
        return [opened for source, opened in self.sources.items() if kind(source) == "encoder-clean" and isinstance(opened, Encoder)]

    def probed(self, source: str, per_class: int | str) -> bool:
        """Whether a source is probed at this number of labels a class."""
        limit = self.request.baseline_labels
        return source == "model" or limit is None or (isinstance(per_class, int) and per_class <= limit)

    def series(self, per_class: int | str) -> list[Series]:
        """Every curve at a number of labels a class."""
        request, found = self.request, []
        for source, opened in self.sources.items():
            if not self.probed(source, per_class):
                continue
            if isinstance(opened, Encoder):
                heads = (self.head,) if self.continuous else opened.heads or (self.head,)
                found += [Series(source, opened.name, "flat", head) for head in heads]
            else:
                found += [Series(source, b, p, self.head) for b in request.blocks or () for p in request.poolings]
        return found

    def reading(self, source: str, eps_draw: int) -> Reading:
        """What the probes of a source read with one ε draw: the mean over several where that was asked for.

        Draws beyond the request's own, as an ensemble has them, come after all of these: no two share an ε.
        """
        request, count = self.request, 1 if self.clean(source) else self.request.average_draws
        first, step = (eps_draw, request.eps_draws) if eps_draw < request.eps_draws else (eps_draw * count, 1)
        draws = [first + k * step for k in range(count)]
        return Reading(tuple(self.features(source, draw) for draw in draws), request.pca)

    def features(self, source: str, eps_draw: int) -> FeatureIdentity:
        """The identity of a source's features."""
        opened, request = self.sources[source], self.request
        clean = self.clean(source)
        side = self.card.resolution
        x0 = f"{self.card.image_channels}x{side}x{side}" if self.card.space == "pixel" else self.card.identity  # latents are a model's own
        return FeatureIdentity(
            backend=f"{opened.identity}:{x0}" if isinstance(opened, Encoder) else opened.card.identity,
            condition="none" if isinstance(opened, Encoder) else request.condition,
            dataset=self.dataset.identity,
            input="clean" if clean else request.input,
            seed=0 if clean else request.seed,
            draw=0 if clean else eps_draw,
            precision=opened.precision if isinstance(opened, Backend) else "float32",
        )

    @property
    def errors(self) -> FeatureIdentity:
        """What the denoising errors of held-out images are of."""
        return self.features("model", 0).model_copy(update={"input": "noisy", "seed": self.request.seed, "draw": 0})

    @property
    def held_out(self) -> np.ndarray:
        """The test images (n,) whose denoising errors are kept: none for clean input, whose probes read no noised image."""
        return self.test[: gauge.HELD_OUT if self.request.input == "noisy" else 0]

    def task(self, per_class: int | str, draw: int) -> Task:
        """What the probes of one label draw are fitted and scored on."""
        if (per_class, draw) not in self._tasks:
            chosen = choose_labelled(self.dataset, self.labels, self.train, per_class, draw, self.request.seed)  # type: ignore[arg-type]
            self._tasks[per_class, draw] = self._regime(Task(self.dataset, self.labels, chosen, self.validation, self.test), draw)
        return self._tasks[per_class, draw]

    def _regime(self, task: Task, draw: int) -> Task:
        """The task with the imbalance and the wrong labels that were asked for; validation and test labels stay right."""
        request, classes = self.request, len(self.labels.classes)
        if request.imbalance > 1:
            task = replace(task, train=task.train[long_tailed(task.given, classes, request.imbalance)])
        if request.label_noise:
            rng = np.random.default_rng([request.seed, draw, 1])
            task = replace(task, told=mislabelled(task.given, classes, request.label_noise, rng))
        return task

    def cells(self, sigma: float, eps_draw: int) -> Iterator[tuple[int | str, int, str, str, list[str]]]:
        """(labels per class, label draw, source, head, tensors) of everything probed at one σ with one ε draw."""
        for per_class in self.request.labels_per_class:
            groups: dict[tuple[str, str], list[str]] = {}
            for series in self.series(per_class):
                if (kind(series.source) in LINES) == (sigma == CLEAN):
                    groups.setdefault((series.source, series.head), []).append(series.tensor)
            for draw in range(self.request.draws(per_class)):
                if draw % self.request.eps_draws == eps_draw:
                    for (source, head), tensors in groups.items():
                        yield per_class, draw, source, head, tensors

    def extract(self, sigma: float, eps_draw: int, between: Between = still_wanted) -> int:
        """Extract what one σ needs with one ε draw and the store lacks; returns passes of an image."""
        passes = 0
        for source, (tensors, ids) in self.wanted(sigma, eps_draw).items():
            opened = self.sources[source]
            for identity in self.reading(source, eps_draw).features:
                count = extract(
                    self.store, opened, self.model, self.dataset, identity, tensors, [sigma], ids, self.settings, between, self.noise
                )
                passes += 0 if isinstance(opened, Encoder) else count
        if eps_draw == 0 and sigma != CLEAN:
            passes += gauge.fill(self.store, self.model, self.dataset, self.errors, sigma, self.held_out, self.settings, between)
        return passes

    def wanted(self, sigma: float, eps_draw: int) -> dict[str, tuple[list[str], np.ndarray]]:
        """For each source, the tensors and the ids (n,) of the images that one σ needs with one ε draw.

        Features of clean images are the same in every draw: all draws' images are asked for, so that two processes at it
        write the same unit.
        """
        found: dict[str, tuple[list[str], dict[int | str, None]]] = {}
        for per_class, _draw, source, _head, tensors in self.cells(sigma, eps_draw):
            found.setdefault(source, (tensors, {}))[1][per_class] = None
        ids = {}
        for source, (tensors, sizes) in found.items():
            shared = self.clean(source)
            draws = [(size, draw) for size in sizes for draw in range(self.request.draws(size))]  # type: ignore[arg-type]
            labelled = [self.task(size, draw).train for size, draw in draws if shared or draw % self.request.eps_draws == eps_draw]
            ids[source] = (tensors, np.concatenate([self.validation, self.test, np.unique(np.concatenate(labelled))]))
        return ids

    @property
    def encoded(self) -> np.ndarray:
        """The ids (n,) of every image that any level needs, which a model of latents encodes once."""
        some = [ids for draw in range(self.request.eps_draws) for _, ids in self.wanted(self.sigmas[0], draw).values()]
        return np.unique(np.concatenate([*some, self.held_out]))

    def clean(self, source: str) -> bool:
        """Whether a source is shown clean images: then there is no ε that could differ between draws."""
        return kind(source) in LINES or self.request.input == "clean"

    @property
    def levels(self) -> tuple[float, ...]:
        """The noise levels, and behind them the level of clean images where anything is read there."""
        return (*self.sigmas, *([CLEAN] if self.request.baselines or self.request.encoders else []))

    def fill(self, sigma: float, eps_draw: int, between: Between = still_wanted) -> tuple[int, list[Point]]:
        """Extract and probe everything at one σ with one ε draw that is not stored; (passes of an image, what the probes say)."""
        passes = self.extract(sigma, eps_draw, between)
        points = []
        for per_class, draw, source, head, tensors in self.cells(sigma, eps_draw):
            task, reading = self.task(per_class, draw), self.reading(source, eps_draw)
            identity = probing.fill(self.store, task, reading, sigma, tensors, head, scaling(self.sources[source]), between)
            for tensor, scored in probing.score(self.store, task, identity, sigma, tensors).items():
                if scored.wrong:
                    continue
                right = (float(scored.test.mean()), float(scored.validation.mean()))
                points.append(Point(str(per_class), draw, f"{kind(source)}/{tensor}", head, sigma, *right))
        return passes, points

    def probe_identity(self, per_class: int | str, draw: int, source: str, head: str) -> tuple[Task, ProbeIdentity]:
        """Where the probes of one draw are."""
        task = self.task(per_class, draw)
        return task, self.identify(task, source, head, draw % self.request.eps_draws)

    def identify(self, task: Task, source: str, head: str, eps_draw: int) -> ProbeIdentity:
        """Where a task's probes of a source under one draw of ε are."""
        penalties = registry.get("heads", head).penalties
        return task.identity(self.reading(source, eps_draw), head, scaling(self.sources[source]), penalties)


def scaling(source: Backend | Encoder) -> Scaling:
    """How a source's features are scaled for a probe."""
    return source.scaling if isinstance(source, Encoder) else "feature"
