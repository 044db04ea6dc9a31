"""Train a small diffusion model from a recipe; a run that was stopped goes on, bit for bit, from its last checkpoint.

The objective is L_simple of Ho et al., arXiv 2006.11239, eq. 14: ||ε - ε_θ(√ᾱ x_0 + √(1-ᾱ) ε, t)||², with t as timesteps.py draws it. What
a step draws (images, t, ε, flips, whose class is withheld) is a function of (seed, step) alone, so a checkpoint holds no random state.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .backends.unet2d import UNet2D
from .datasets.base import Dataset
from .devices import autocast, describe_device, quick_to_compile
from .errors import DamagedFile, InvalidData, InvalidRequest, NoisescopeError, StoreUnavailable
from .recipes import Recipe
from .release import check_place, export
from .sampling import sample, sheet, to_pixels
from .specs import Card
from .store import checksum, write_bytes, writing
from .timesteps import draw_timesteps
from .withheld import classes_of, withhold

Progress = Callable[[int, int, str], None]
BINS = 10  # of timesteps, in the log
LOG_EVERY = 100  # steps


class Run:
    """One training run: network, running mean of its weights, optimiser, log, and the step it is at."""

    def __init__(self, spec: Recipe, dataset: Dataset, device: str = "cpu") -> None:
        self.spec, self.dataset, self.device = spec, dataset, device
        self.scheduler = DDPMScheduler(num_train_timesteps=spec.train_timesteps)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.net = UNet2DModel(**spec.network).to(device=device, memory_format=torch.channels_last)
        self.forward: Callable[..., Any] = torch.compile(self.net) if quick_to_compile(device) else self.net
        self.ema = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay)
        self.step, self.seconds = 0, 0.0
        self.here = f"{describe_device(device)}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
        self.made_on: dict[str, int] = {}  # steps by hardware
        self.sums = torch.zeros(2, BINS, dtype=torch.float64)  # loss and count by timestep since the last row
        self.log = torch.zeros(0, 3 + BINS, dtype=torch.float64)  # step, seconds, learning rate, loss by timestep
        self.seen = dataset.split != "test"
        self.fresh = dataset.fresh(spec.seed, 0, 1) is not None
        self.images = torch.from_numpy(dataset.images[self.seen]).permute(0, 3, 1, 2).to(device)
        self.classes = None if spec.class_dropout is None else classes_of(spec, dataset, self.seen).to(device)
        if self.images.shape[-1] != spec.network["sample_size"]:
            raise InvalidData(
                f"Images of {dataset.name!r} are {self.images.shape[-1]} pixels wide; {spec.name} reads {spec.network['sample_size']}."
            )
        self.alphas = self.scheduler.alphas_cumprod.to(device)

    def _rate(self) -> float:
        """Linear warm-up, then a cosine to zero, where the recipe has one."""
        warm = min(1.0, (self.step + 1) / self.spec.warmup)
        fall = 1.0 if self.spec.constant else 0.5 * (1 + np.cos(np.pi * self.step / self.spec.steps))
        return float(self.spec.learning_rate * warm * fall)

    def _batch(self, rows: Tensor) -> Tensor:
        """x_0 of one step, (B, c, h, w) in [-1, 1]: images never seen before where the data have no end, else those drawn."""
        spec = self.spec
        found = self.dataset.fresh(spec.seed, self.step, spec.batch) if self.fresh else None
        images = self.images[rows] if found is None else torch.from_numpy(found[0]).permute(0, 3, 1, 2).to(self.device)
        x0 = images.float() / 127.5 - 1
        return x0.mean(1, keepdim=True) if spec.network["in_channels"] == 1 else x0

    def advance(self) -> float:
        """One step; returns its loss. Raises NoisescopeError, before any weight has moved, if loss or gradient is not finite."""
        spec = self.spec
        digest = hashlib.blake2b(f"{spec.seed}/{self.step}".encode(), digest_size=7).digest()
        generator = torch.Generator(self.device).manual_seed(int.from_bytes(digest, "little"))
        rows = torch.randint(len(self.images), (spec.batch,), generator=generator, device=self.device)
        x0 = self._batch(rows)
        t = draw_timesteps(spec, self.alphas, generator)
        eps = torch.randn(x0.shape, generator=generator, device=self.device)
        if spec.flips:
            flip = torch.rand(spec.batch, generator=generator, device=self.device) < 0.5
            x0 = torch.where(flip[:, None, None, None], x0.flip(-1), x0)
        classes = None if self.classes is None else withhold(spec, self.classes[rows], generator)
        alpha = self.alphas[t].reshape(-1, 1, 1, 1)
        with autocast(self.device):
            predicted = self.forward(alpha.sqrt() * x0 + (1 - alpha).sqrt() * eps, t, classes).sample
        errors = (predicted.float() - eps).square().mean((1, 2, 3))
        loss = errors.mean()
        self._check(loss, "loss")
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad()
        loss.backward()
        self._check(torch.nn.utils.clip_grad_norm_(self.net.parameters(), spec.clip), "gradient")
        self.optimiser.step()
        self.step += 1
        self.made_on[self.here] = self.made_on.get(self.here, 0) + 1
        self._average()
        told = torch.stack([errors.detach(), torch.ones_like(errors)]).cpu().double()  # not every device has float64
        self.sums.index_add_(1, (t * BINS // spec.train_timesteps).cpu(), told)
        if self.step % LOG_EVERY == 0 or self.step == spec.steps:
            self._record()
        return loss.item()

    def _check(self, value: Tensor, what: str) -> None:
        if not torch.isfinite(value):
            raise NoisescopeError(
                f"The {what} became {value.item()} at step {self.step}; the last checkpoint is good: another --seed takes another way."
            )

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.spec.ema_decay, (1 + self.step) / (10 + self.step))
        now = self.net.state_dict()
        torch._foreach_lerp_(list(self.ema.values()), [now[name] for name in self.ema], 1 - decay)

    def _record(self) -> None:
        row = torch.cat([torch.tensor([self.step, self.seconds, self._rate()], dtype=torch.float64), self.sums[0] / self.sums[1]])
        self.log = torch.cat([self.log, row[None]])
        self.sums.zero_()

    @property
    def loss(self) -> float | None:
        """Mean of the last ten rows of the log."""
        return float(self.log[-10:, 3:].nanmean()) if len(self.log) else None

    def save(self, folder: Path) -> None:
        """Write checkpoint.safetensors and log.parquet, each atomically. Raises StoreUnavailable; the last ones stand."""
        tensors: dict[str, Tensor] = {f"net/{k}": v.contiguous() for k, v in self.net.state_dict().items()}
        tensors |= {f"ema/{k}": v.contiguous() for k, v in self.ema.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{index}/{key}": value.contiguous() for key, value in state.items()}
        tensors |= {"sums": self.sums, "log": self.log}
        facts = {
            "step": self.step,
            "seconds": self.seconds,
            "made_on": self.made_on,
            "recipe": self.spec.canonical(),
            "data": self.dataset.identity,
            "checksums": {name: checksum(value.cpu().numpy()) for name, value in tensors.items()},
        }
        path = folder / "checkpoint.safetensors"
        with writing(path) as temporary:
            try:
                save_file(tensors, temporary, {"run": json.dumps(facts)})
            except SafetensorError as error:
                raise StoreUnavailable(f"Cannot write the checkpoint {path} ({error}); the last one stands: free some disk.") from error
        with writing(folder / "log.parquet") as temporary:
            self.table().to_parquet(temporary, index=False)

    def table(self) -> Any:
        """The log, tidy: a row for every 100 steps and tenth of the timesteps."""
        import pandas as pd

        edges = np.linspace(0, self.spec.train_timesteps, BINS + 1).round().astype(int)
        alphas = self.scheduler.alphas_cumprod.double().numpy()
        sigmas = np.sqrt((1 - alphas) / alphas)
        rows = [
            {
                "step": int(row[0]),
                "images": int(row[0]) * self.spec.batch,
                "seconds": row[1],
                "learning_rate": row[2],
                "timestep_low": edges[k],
                "timestep_high": edges[k + 1] - 1,
                "sigma": sigmas[(edges[k] + edges[k + 1]) // 2],
                "loss": row[3 + k],
            }
            for row in self.log.tolist()
            for k in range(BINS)
        ]
        return pd.DataFrame(rows)

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises DamagedFile if it is damaged, or of another recipe or data."""
        path = folder / "checkpoint.safetensors"
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads(file.metadata()["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file is no dict)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedFile(f"The checkpoint {path} is damaged ({error}); delete it to start afresh.") from error
        if facts["checksums"] != {name: checksum(value.numpy()) for name, value in tensors.items()}:
            raise DamagedFile(f"The checkpoint {path} is damaged (a checksum differs); delete it to start afresh.")
        if facts["recipe"] != self.spec.canonical() or facts["data"] != self.dataset.identity:
            raise DamagedFile(f"The checkpoint {path} is of another recipe or other data; delete it to start afresh, or use its own.")

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.net.load_state_dict(part("net/"))
        self.ema = {name: value.to(self.device) for name, value in part("ema/").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser/").items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})
        self.step, self.seconds, self.made_on = facts["step"], facts["seconds"], facts["made_on"]
        self.sums, self.log = tensors["sums"], tensors["log"]

    def mean_network(self) -> UNet2DModel:
        """A network of its own, on the CPU, with the mean weights."""
        net = UNet2DModel(**self.spec.network)
        net.load_state_dict(self.ema)
        return net.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def train(
    spec: Recipe,
    dataset: Dataset,
    folder: Path,
    out: Path,
    device: str = "cpu",
    *,
    minutes: float | None = None,
    save_every: float = 120.0,
    sample_every: int = 2000,
    progress: Progress | None = None,
) -> Card:
    """Train to the last step, or for `minutes`, write the model to `out` as diffusers does, with its card, and return the Card.

    `folder` holds the run: a checkpoint, written every `save_every` seconds and when the run stops, and resumed from if it
    is there, the log, and samples every `sample_every` steps.
    """
    run = Run(spec, dataset, device)
    if (folder / "checkpoint.safetensors").exists():
        run.restore(folder)
    elif minutes == 0:
        raise InvalidRequest(
            f"There is no run of {spec.name} on {dataset.name} to write; train it first, for some --minutes or to the end."
        )
    check_place(run, out)
    for left in folder.glob(".*.tmp"):
        if time.time() - left.stat().st_mtime > 3600:  # of a process that was killed while it wrote, long ago
            left.unlink(missing_ok=True)
    began = saved = time.perf_counter()
    first = run.step
    with _ending() as asked:
        while not asked and run.step < spec.steps and (minutes is None or time.perf_counter() - began < 60 * minutes):
            started = time.perf_counter()
            run.advance()
            run.seconds += time.perf_counter() - started
            if run.step % sample_every == 0:
                _show(run, folder)
            if time.perf_counter() - saved > save_every:
                run.save(folder)
                saved = time.perf_counter()
            if progress:
                speed = (run.step - first) * spec.batch / (time.perf_counter() - began)
                progress(run.step, spec.steps, f"{speed:,.0f} images/s" + (f", loss {run.loss:.4f}" if run.loss else ""))
        if run.step > first:
            run.save(folder)
    if asked:
        raise KeyboardInterrupt
    return export(run, out)


@contextmanager
def _ending() -> Iterator[list[int]]:
    """The signals to end (Ctrl-C, SIGTERM) that have come, to be looked at between steps, where the state is whole."""
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        if asked:
            raise KeyboardInterrupt  # asked twice: at once, and the last checkpoint stands
        asked.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(run: Run, folder: Path) -> None:
    """Write what the run generates now, always from the same seed."""
    backend = UNet2D(run.mean_network(), run.scheduler, name=run.spec.name, conditions=run.spec.conditions)
    write_bytes(folder / "samples" / f"step-{run.step:07}.png", sheet(to_pixels(sample(backend, 36, steps=25)), 6))
