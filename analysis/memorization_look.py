"""What one network of a study of memorization shows at one moment: probes, denoising errors, and images that it makes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from . import probing, registry
from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import Dataset, image_ids
from .features import capture, load_x0, pool
from .heads.base import ProbeHead
from .memorization import FRESH, HIGHEST, Run
from .memorization_data import Material
from .noise import add_noise, nearest, noise_like
from .sampling import descend, first_noise, to_pixels, visited

BATCH = 64
MANY = 64  # small cells that are fitted at once
SEED = 0  # of the noise that samples begin with: the same for every network
OWN_SIGMA = 0.1  # the noise level, with clean input, at which a network's own features of images are compared

Found = dict[str, np.ndarray]
Features = dict[str, np.ndarray]  # of each block (n, C)
Cell = TypeVar("Cell", bound=Hashable)


def sigmas_of(model: Backend, count: int) -> list[float]:
    """The noise levels that are probed: `count` of the model's, even in log σ up to `HIGHEST`."""
    return model.schedule.spread(count, HIGHEST)


def read_all(model: Backend, x0: Tensor, eps: Tensor | None, sigma: float, between: Between = still_wanted) -> tuple[Features, np.ndarray]:
    """Every block's spatial mean of images (n, c, h, w) at one σ, {block: (n, C)}, and the mean squared errors (n,) of x̂_0."""
    names = [block.name for block in model.card.blocks]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    errors = []
    with torch.inference_mode(), capture(model, names, lambda value: pool(value, 1), stop=False) as taps:
        for start in range(0, len(x0), BATCH):
            between()
            x = x0[start : start + BATCH]
            level = torch.full((len(x),), sigma, dtype=torch.float64)
            noisy = x if eps is None else add_noise(x, level, eps[start : start + BATCH].to(x.device))
            for name, value in taps(noisy, level, model.card.unconditional).items():
                parts[name].append(value.float().cpu().numpy())
            assert taps.made is not None
            errors.append((taps.made.float() - x).square().mean((1, 2, 3)).cpu().numpy())
    return {name: np.concatenate(values) for name, values in parts.items()}, np.concatenate(errors)


def probe_cells(cells: Mapping[Cell, tuple[np.ndarray, ...]], held: np.ndarray, classes: int) -> dict[Cell, np.ndarray]:
    """Logits (n_validation + n_test, K) of a logistic probe of each cell: features of labelled images, their classes, features of others.

    A cell is (features (n, C), classes (n,), of validation images (m, C), of test images (l, C)); those as wide and with the same classes
    are fitted together. `held` are the validation images' classes, by which penalties are chosen.
    """
    head: ProbeHead = registry.get("heads", "logistic")()
    alike: dict[tuple[int, bytes], list[Cell]] = {}
    for name, (train, labels, _, _) in cells.items():
        alike.setdefault((train.shape[1], np.sort(labels).tobytes()), []).append(name)
    found: dict[Cell, np.ndarray] = {}
    for names in alike.values():
        step = MANY if head.together(*cells[names[0]][0].shape) > 1 else 1
        for start in range(0, len(names), step):
            posed, told = {}, np.sort(cells[names[0]][1])
            for name in names[start : start + step]:
                train, labels, validation, test = cells[name]
                order = np.argsort(labels, kind="stable")  # as many of each class in another order are the same task
                posed[name] = probing.pose(head, "feature", (train[order], told), (validation, test), 1, None)
            fitted = probing.fit(head, [one.features for one in posed.values()], told, classes)
            found |= {name: probing.choose(posed[name], heads, held).logits for name, heads in zip(posed, fitted, strict=True)}
    return found


def probes(
    material: Material, run: Run, model: Backend, sigmas: Sequence[float], subset: bool = False, between: Between = still_wanted
) -> Found:
    """Which test images a probe gets right, by block, draw of labels and level, as bits; validation accuracies; test images' errors.

    `outside` (B, R, S, ⌈n_test/8⌉) uint8, `outside/validation` (B, R, S), `errors/held_out` (S, n); with `subset` the same of probes whose
    labelled images are the network's own training images.
    """
    request, drawn = material.request, [material.draw(run.seed, number) for number in range(material.request.label_draws)]
    labelled = np.unique(np.concatenate(drawn))
    ids = np.concatenate([labelled, material.validation, material.test])
    x0 = load_x0(material.dataset, ids, model)
    eps = noise_like(x0, ids.tolist(), run.seed, 0)
    first, second = len(labelled), len(labelled) + len(material.validation)
    held, truth = material.values(material.validation), material.values(material.test)
    tasks = {"outside": [(np.searchsorted(labelled, draw), material.values(draw)) for draw in drawn]}
    if subset:
        tasks["subset"] = [material.own(run, number) for number in range(request.label_draws)]
    shape = (len(model.card.blocks), request.label_draws, len(sigmas))
    right = {name: np.zeros((*shape, len(truth)), bool) for name in tasks}
    chosen = {name: np.zeros(shape, np.float32) for name in tasks}
    errors = np.zeros((len(sigmas), len(truth)), np.float32)
    for level, sigma in enumerate(sigmas):
        features, lost = read_all(model, x0, eps, sigma, between)
        errors[level] = lost[second:]
        for name, draws in tasks.items():
            source = {block: value[:first] for block, value in features.items()}
            if name == "subset":
                source, rows = _of(material.training(run), draws, model, run, sigma, between)
                draws = [(np.searchsorted(rows, part), values) for part, values in draws]
            between()
            cells = {
                (place, number): (source[block][part], values, value[first:second], value[second:])
                for number, (part, values) in enumerate(draws)
                for place, (block, value) in enumerate(features.items())
            }
            for (place, number), logits in probe_cells(cells, held, len(material.labels.classes)).items():
                said = logits.argmax(1)
                chosen[name][place, number, level] = (said[: len(held)] == held).mean()
                right[name][place, number, level] = said[len(held) :] == truth
    found: Found = {"errors/held_out": errors[:, : request.losses].astype(np.float32)}
    for name in tasks:
        found |= {name: np.packbits(right[name], axis=-1), f"{name}/validation": chosen[name]}
    return found


def _of(
    training: Dataset, draws: Sequence[tuple[np.ndarray, np.ndarray]], model: Backend, run: Run, sigma: float, between: Between
) -> tuple[Features, np.ndarray]:
    """Features of the training images that are labelled in any draw, and their rows, ascending."""
    rows = np.unique(np.concatenate([part for part, _ in draws]))
    x0 = load_x0(training, training.ids[rows], model)
    features, _ = read_all(model, x0, noise_like(x0, training.ids[rows].tolist(), run.seed, 0), sigma, between)
    return features, rows


def met(material: Material, run: Run, seen: int) -> np.ndarray:
    """Training images that a network has met, (m, H, W, 3) uint8: of a set without end the last ones."""
    request = material.request
    if run.size != FRESH:
        return material.training(run).images[: request.losses]
    batch = request.spec.batch
    steps = range(seen // batch - 1, max(-1, seen // batch - 1 - -(-request.losses // batch)), -1)
    return material.stream(run.seed, steps)[0][: request.losses]


def encoded(model: Backend, images: np.ndarray) -> Tensor:
    """x_0 (n, c, h, w) of images (n, H, W, 3) uint8."""
    return model.encode(torch.from_numpy(images).permute(0, 3, 1, 2).to(model.device).float() / 127.5 - 1)


def errors_of(model: Backend, images: np.ndarray, run: Run, sigmas: Sequence[float], between: Between = still_wanted) -> np.ndarray:
    """Mean squared errors (S, n) of x̂_0 of images, each under its own ε."""
    x0 = encoded(model, images)
    eps = noise_like(x0, image_ids(images).tolist(), run.seed, 0)
    rows = []
    with torch.inference_mode():
        for sigma in sigmas:
            parts = []
            for start in range(0, len(x0), BATCH):
                between()
                x = x0[start : start + BATCH]
                level = torch.full((len(x),), sigma, dtype=torch.float64)
                made = model.denoise(add_noise(x, level, eps[start : start + BATCH].to(x.device)), level, model.card.unconditional)
                parts.append((made.float() - x).square().mean((1, 2, 3)).cpu().numpy())
            rows.append(np.concatenate(parts))
    return np.stack(rows).astype(np.float32)


def first_level(model: Backend, steps: int) -> float:
    """The σ that samples begin at: of the levels that so many steps of DDIM visit, the nearest to `HIGHEST`."""
    way = visited(model.schedule, "ddim", steps)
    return float(way[nearest(way, HIGHEST)])


def samples(model: Backend, mean: Tensor, count: int, steps: int, between: Between = still_wanted) -> np.ndarray:
    """Images (n, H, W, 3) uint8 that a network makes by DDIM from `first_level` down, by those of the whole way's `steps` that lie below.

    They begin as the mean of real x_0, (c, h, w), with noise: at that level it is not lost in it. Image i's noise is the same in every
    network of a study.
    """
    parts, first = [], first_level(model, steps)
    for start in range(0, count, BATCH):
        noise = first_noise(model, range(start, min(count, start + BATCH)), SEED).to(model.device)
        with torch.inference_mode():
            for _, x, _ in descend(model, mean.to(noise) + first * noise, "ddim", steps, first):
                between()
                made = x
        parts.append(to_pixels(made.float().cpu()))
    return np.concatenate(parts)


def own_features(model: Backend, images: np.ndarray, between: Between = still_wanted) -> np.ndarray:
    """What the middle of a network makes of clean images, (n, D) float16: the mean map of its last middle block at `OWN_SIGMA`."""
    block = [block.name for block in model.card.blocks if block.stage == "mid"][-1]
    x0, parts = encoded(model, images), []
    with torch.inference_mode(), capture(model, [block], lambda value: pool(value, 1)) as taps:
        for start in range(0, len(x0), BATCH):
            between()
            part = x0[start : start + BATCH]
            level = torch.full((len(part),), float(model.schedule.nearest(torch.tensor([OWN_SIGMA], dtype=torch.float64))))
            parts.append(taps(part, level, model.card.unconditional)[block].float().cpu().numpy())
    return np.concatenate(parts).astype(np.float16)
