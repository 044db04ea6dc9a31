"""One network of a study of memorization: trained, kept at each moment, looked at; what was stopped goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import memorization_look as looking
from .backends import open_backend
from .backends.base import Backend
from .backends.unet2d import UNet2D
from .catalog import models
from .crew import Between, still_wanted
from .datasets.base import Dataset
from .devices import settle
from .errors import DamagedFile, StoreUnavailable
from .memorization import FRESH, Look, MemorizationRequest, Run, Weights, found_path, weights_path
from .memorization_data import Material
from .recipes import Recipe
from .store import read_json, writing
from .training import Run as Training

SAVE = 60.0  # seconds between two checkpoints
NOTE = 1.0  # seconds between two notes of how far a network is


@lru_cache(maxsize=2)
def material_of(request: str) -> Material:
    """The images of a study, kept between the networks of a process."""
    return Material(MemorizationRequest.model_validate_json(request))


def reference_of(request: MemorizationRequest) -> str | None:
    """The bundled model in whose features images that networks make are compared with real ones: of the same data, if there is one."""
    name = f"{'cifar10' if 'cifar10' in request.dataset else request.dataset.partition(':')[0]}-ddpm"
    return name if name in models() else None


def carry(request: str, place: str, run: Run, device: str = "cpu", between: Between = still_wanted) -> str:
    """Train a network to its last moment and look at it at each; returns its name. What is there is not done again.

    Raises StoreUnavailable or DamagedFile; what was found before stands.
    """
    torch.set_num_threads(1)
    settle(device)
    material, folder = material_of(request), Path(place)
    asked = material.request
    looks = [look for look in run.looks(asked) if not found_path(folder, look).exists()]
    home = folder / "runs" / run.name
    missing = [seen for seen in asked.seen if not weights_path(folder, run, seen).exists()]
    if missing:
        data = material.dataset if run.size == FRESH else material.training(run)
        for seen, training in trained(spec_of(asked, run), data, home, missing, device, between):
            keep(training, weights_path(folder, run, seen))
            for look in [look for look in looks if look.seen == seen]:
                look_at(material, look, folder, device, between)
    for look in looks:
        if not found_path(folder, look).exists():
            look_at(material, look, folder, device, between)
    (home / "checkpoint.safetensors").unlink(missing_ok=True)
    note(home, asked.seen[-1], asked.seen[-1])
    return run.name


def spec_of(request: MemorizationRequest, run: Run) -> Recipe:
    """The recipe of one network: its seed decides its first weights and what each step draws."""
    return request.spec.model_copy(update={"seed": run.seed})


def trained(
    spec: Recipe, data: Dataset, home: Path, missing: Sequence[int], device: str, between: Between
) -> Iterator[tuple[int, Training]]:
    """(images met, the run) at each moment whose weights are missing, while it trains; from the checkpoint that is in `home`, if one is."""
    training = Training(spec, data, device)
    home.mkdir(parents=True, exist_ok=True)
    checkpoint = home / "checkpoint.safetensors"
    if checkpoint.exists():
        training.restore(home)
    if training.step * spec.batch > missing[0]:  # weights were deleted by hand
        checkpoint.unlink()
        training = Training(spec, data, device)
    saved = noted = time.perf_counter()
    for seen in missing:
        while training.step * spec.batch < seen:
            between()
            began = time.perf_counter()
            training.advance()
            training.seconds += time.perf_counter() - began
            if time.perf_counter() - saved > SAVE:
                training.save(home)
                saved = time.perf_counter()
            if time.perf_counter() - noted > NOTE:
                note(home, training.step * spec.batch, spec.steps * spec.batch)
                noted = time.perf_counter()
        training.save(home)
        yield seen, training


def note(home: Path, seen: int, of: int) -> None:
    """Write how many images a network has met, for whoever shows the progress."""
    with writing(home / "progress.json") as temporary:
        temporary.write_text(json.dumps({"seen": seen, "of": of}))


def noted(home: Path) -> int:
    """How many images a network has met, as it last said."""
    try:
        return int(read_json(home / "progress.json")["seen"])
    except (DamagedFile, OSError, KeyError):
        return 0


def keep(training: Training, path: Path) -> None:
    """Write a network's mean weights and those of this step, as float16. Raises StoreUnavailable."""
    tensors = {f"ema/{name}": value for name, value in training.ema.items()}
    tensors |= {f"raw/{name}": value for name, value in training.net.state_dict().items()}
    halves = {name: value.detach().cpu().half().contiguous() for name, value in tensors.items()}
    facts = {"recipe": training.spec.canonical(), "seconds": f"{training.seconds:.1f}", "hardware": json.dumps(training.made_on)}
    with writing(path) as temporary:
        try:
            save_file(halves, temporary, facts)
        except SafetensorError as error:
            raise StoreUnavailable(f"Cannot write {path} ({error}); what was found before stands: free some disk.") from error


def open_weights(request: MemorizationRequest, folder: Path, look: Look, device: str = "cpu") -> UNet2D:
    """A network of a study at one moment. Raises DamagedFile."""
    path = weights_path(folder, Run(look.size, look.seed), look.seen)
    return opened(path, request.spec, look.weights, "-".join(map(str, look)), device)


def opened(path: Path, spec: Recipe, weights: Weights, name: str, device: str = "cpu") -> UNet2D:
    """The network of a recipe whose weights `keep` wrote, as a denoiser in σ. Raises DamagedFile."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DamagedFile(f"{path} is damaged ({error}); delete it, and the study trains that network again.") from error
    with torch.random.fork_rng(devices=[]):
        net = UNet2DModel(**spec.network)
    prefix = f"{weights}/"
    net.load_state_dict({name.removeprefix(prefix): value.float() for name, value in tensors.items() if name.startswith(prefix)})
    net = net.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return UNet2D(net, DDPMScheduler(num_train_timesteps=spec.train_timesteps), name=name, identity=f"study:{name}")


@lru_cache(maxsize=1)
def bundled(name: str, device: str) -> Backend:
    """A bundled model, kept between the looks of a process."""
    return open_backend(name, device=device)


def look_at(material: Material, look: Look, folder: Path, device: str, between: Between) -> None:
    """Look at a network and keep what was found."""
    began = time.perf_counter()
    request, run = material.request, Run(look.size, look.seed)
    model, last = open_weights(request, folder, look, device), look.seen == request.seen[-1]
    sigmas = looking.sigmas_of(model, request.levels)
    found = looking.probes(material, run, model, sigmas, subset=last and look.weights == "ema", between=between)
    found["errors/train"] = looking.errors_of(model, looking.met(material, run, look.seen), run, sigmas, between)
    found["samples"] = looking.samples(model, _mean(material, model), request.samples, request.sample_steps, between)
    if reference := reference_of(request):
        found["reference"] = looking.own_features(bundled(reference, device), found["samples"], between)
    if last and look.weights == "ema":
        training, test = material.training(run).images, material.dataset.images[material.dataset.rows(material.test)]
        for name, images in (("samples", found["samples"]), ("train", training), ("held_out", test[: request.samples])):
            found[f"own/{name}"] = looking.own_features(model, images, between)
    write(found_path(folder, look), found, {"sigmas": json.dumps(sigmas), "seconds": f"{time.perf_counter() - began:.1f}"})


def _mean(material: Material, model: Backend) -> Tensor:
    """The mean x_0 (c, h, w) of the images that no network is trained on, among which the labelled ones are."""
    return looking.encoded(model, material.dataset.images[material.dataset.rows(material.pool)]).mean(0)


def write(path: Path, found: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> None:
    """Write what was found, as safetensors. Raises StoreUnavailable."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}
    with writing(path) as temporary:
        try:
            save_file(tensors, temporary, dict(facts))
        except SafetensorError as error:
            raise StoreUnavailable(f"Cannot write {path} ({error}); what was found before stands: free some disk.") from error
