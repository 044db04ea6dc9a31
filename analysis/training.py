"""Train a small diffusion model from a recipe; a run that was stopped goes on, bit for bit, from its last checkpoint.

The objective is L_simple of Ho et al., arXiv 2006.11239, eq. 14: ||ε - ε_θ(√ᾱ x_0 + √(1-ᾱ) ε, t)||², t uniform. What a
step draws (images, t, ε) is a function of (seed, step) alone, so a checkpoint holds no random state.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .backends.unet2d import UNet2D, identify
from .datasets import open_dataset
from .datasets.base import Dataset
from .devices import describe_device
from .errors import DamagedFile, NoisescopeError, StoreUnavailable, UnknownName
from .specs import Card, Frozen
from .store import writing

Progress = Callable[[int, int, str], None]


class Recipe(Frozen):
    """Everything that decides the weights."""

    name: str
    dataset: str
    network: dict[str, Any]  # UNet2DModel's own arguments
    train_timesteps: int = 1000
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    ema_decay: float
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0
    license: str
    paper: str = "arXiv 2006.11239"


RECIPES = {
    "digits-ddpm": Recipe(
        name="digits-ddpm",
        dataset="digits",
        network={
            "sample_size": 8,
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": [32, 64, 64],
            "down_block_types": ["DownBlock2D", "DownBlock2D", "AttnDownBlock2D"],
            "up_block_types": ["AttnUpBlock2D", "UpBlock2D", "UpBlock2D"],
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "attention_head_dim": 16,
        },
        steps=2000,
        batch=64,
        learning_rate=2e-3,
        warmup=100,
        ema_decay=0.995,
        license="Apache-2.0",
    )
}


def recipe(name: str, **changes: Any) -> Recipe:
    """A recipe by name, with fields replaced. Raises UnknownName."""
    if name not in RECIPES:
        raise UnknownName("recipe", name, RECIPES)
    return Recipe.model_validate(RECIPES[name].model_dump() | changes)


class Run:
    """One training run: network, running mean of its weights, optimiser and the step it is at."""

    def __init__(self, spec: Recipe, dataset: Dataset, device: str = "cpu") -> None:
        self.spec = spec
        self.scheduler = DDPMScheduler(num_train_timesteps=spec.train_timesteps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.net = UNet2DModel(**spec.network).to(device=device, memory_format=torch.channels_last)
        self.ema = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
        self.step, self.seconds, self.losses = 0, 0.0, list[float]()
        seen = dataset.split != "test"
        grey = spec.network["in_channels"] == 1
        pixels = torch.from_numpy(dataset.images[seen]).permute(0, 3, 1, 2).float() / 127.5 - 1
        self.images = (pixels.mean(1, keepdim=True) if grey else pixels).to(device)
        self.alphas = self.scheduler.alphas_cumprod.to(device)
        self.device = device

    def _rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        warm = min(1.0, (self.step + 1) / self.spec.warmup)
        return self.spec.learning_rate * warm * 0.5 * (1 + np.cos(np.pi * self.step / self.spec.steps))

    def advance(self) -> float:
        """One step; returns its loss. Raises NoisescopeError if the loss is not finite."""
        digest = hashlib.blake2b(f"{self.spec.seed}/{self.step}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
        rows = torch.randint(len(self.images), (self.spec.batch,), generator=generator).to(self.device)
        t = torch.randint(self.spec.train_timesteps, (self.spec.batch,), generator=generator).to(self.device)
        x0 = self.images[rows]
        eps = torch.randn(x0.shape, generator=generator).to(self.device)
        alpha = self.alphas[t].reshape(-1, 1, 1, 1)
        loss = (self.net(alpha.sqrt() * x0 + (1 - alpha).sqrt() * eps, t).sample - eps).square().mean()
        if not torch.isfinite(loss):
            raise NoisescopeError(
                f"The loss became {loss.item()} at step {self.step}; the last checkpoint is good: lower the learning rate."
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.spec.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(self.spec.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.ema[name].lerp_(value, 1 - decay)
        return loss.item()

    def save(self, path: Path) -> None:
        """Write a checkpoint atomically."""
        tensors: dict[str, Tensor] = {f"net/{k}": v.contiguous() for k, v in self.net.state_dict().items()}
        tensors |= {f"ema/{k}": v.contiguous() for k, v in self.ema.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value.contiguous() for key, value in state.items()}
        facts = {"step": self.step, "seconds": self.seconds, "losses": self.losses, "recipe": self.spec.canonical()}
        with writing(path) as temporary:
            try:
                save_file(tensors, temporary, {"run": json.dumps(facts)})
            except SafetensorError as error:
                raise StoreUnavailable(f"Cannot write the checkpoint {path} ({error}); the last one stands: free some disk.") from error

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint. Raises DamagedFile if it is damaged or of another recipe."""
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no dict)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedFile(f"The checkpoint {path} is damaged ({error}); delete it to start afresh.") from error
        if facts["recipe"] != self.spec.canonical():
            raise DamagedFile(f"The checkpoint {path} is of another recipe; delete it to start afresh, or use its recipe.")

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.net.load_state_dict(part("net/"))
        self.ema = {name: value.to(self.device) for name, value in part("ema/").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser/").items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step, self.seconds, self.losses = facts["step"], facts["seconds"], facts["losses"]


def train(spec: Recipe, folder: Path, checkpoint: Path, device: str = "cpu", every: int = 250, progress: Progress | None = None) -> Card:
    """Train to the last step, write the model to `folder` as diffusers does, with its card, and return the Card.

    `checkpoint` is written every `every` steps and resumed from if it exists; it stays when the run is done.
    """
    dataset = open_dataset(spec.dataset)
    run = Run(spec, dataset, device)
    if checkpoint.exists():
        run.restore(checkpoint)
    window: list[float] = []
    while run.step < spec.steps:
        started = time.perf_counter()
        window.append(run.advance())
        run.seconds += time.perf_counter() - started
        if run.step % every == 0 or run.step == spec.steps:
            run.losses.append(float(np.mean(window)))
            window.clear()
            run.save(checkpoint)
        if progress:
            progress(run.step, spec.steps, f"loss {run.losses[-1]:.4f}" if run.losses else "")
    return export(run, dataset, folder)


def export(run: Run, dataset: Dataset, folder: Path) -> Card:
    """Write the mean weights, configuration, schedule and card of a run to `folder`."""
    net = UNet2DModel(**run.spec.network)
    net.load_state_dict(run.ema)
    fresh = folder / ".new"  # whole before it takes the place of what is there; the card, which names the weights, comes last
    with writing(folder / "card.json") as temporary:
        try:
            net.save_pretrained(fresh)
            run.scheduler.save_pretrained(fresh)
        except SafetensorError as error:
            raise StoreUnavailable(f"Cannot write the model to {folder} ({error}); the old one stands: free some disk.") from error
        spec = run.spec
        training = {
            "data": dataset.name,
            "data_identity": dataset.identity,
            "images": len(run.images),
            "split": "train and validation; no test image was seen",
            "steps": run.step,
            "batch": spec.batch,
            "images_seen": run.step * spec.batch,
            "learning_rate": spec.learning_rate,
            "ema_decay": spec.ema_decay,
            "seed": spec.seed,
            "loss": round(run.losses[-1], 5) if run.losses else None,
            "seconds": round(run.seconds),
            "hardware": f"{describe_device(run.device)}, {torch.get_num_threads()} thread(s)",
            "torch": torch.__version__,
        }
        backend = UNet2D(
            net, run.scheduler, identity=identify(fresh), name=spec.name, license=spec.license, paper=spec.paper, training=training
        )
        temporary.write_text(backend.card.model_dump_json(indent=1) + "\n")
        for path in fresh.iterdir():
            path.replace(folder / path.name)
        fresh.rmdir()
    return backend.card
