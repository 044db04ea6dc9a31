"""A folder of diffusers as it lies on disk: configurations, weights that are never pickles, and the noise that was trained on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler

from ..errors import DamagedFile, InvalidRequest, NoisescopeError
from ..hub_choice import STEM, VARIANTS

# Schedulers that say a β schedule in DDPM's own words: what they do while sampling is nothing to the noise that was trained on.
BETA_SCHEDULERS = ("DDPM", "DDIM", "PNDM", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep")


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Whatever diffusers, safetensors and json raise for a broken folder, as one sentence."""
    try:
        yield
    except NoisescopeError:
        raise
    except Exception as error:  # a dozen unrelated types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFile(f"The model in {place} cannot be read ({reason}); restore its files, or fetch or train it again.") from error


def weights(folder: Path, stem: str = STEM) -> tuple[str | None, list[Path]]:
    """The variant, None for the plain one, and its files: one, or shards."""
    plain = [*folder.glob(f"{stem}.safetensors"), *sorted(folder.glob(f"{stem}-*-of-*.safetensors"))]
    if plain:
        return None, plain
    for variant in VARIANTS[1:]:
        if found := sorted(folder.glob(f"{stem}.{variant}*.safetensors")):
            return variant, found
    if any(folder.glob("*.bin")):
        raise InvalidRequest(
            f"The weights in {folder} are a pickle (.bin) alone, which can hold code: it is not read; allowed: {stem}.safetensors."
        )
    raise FileNotFoundError(f"no {stem}*.safetensors in {folder}")


def part_of(place: Path, subfolder: str, name: str) -> Path:
    """A file of the model: in its subfolder, else at the top."""
    inner = place / subfolder / name
    return inner if inner.is_file() else place / name


def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def beta_schedule(place: Path, allowed: tuple[str, ...] = BETA_SCHEDULERS) -> DDPMScheduler:
    """The noise that the network was trained with. Raises InvalidRequest for a schedule that is none of β."""
    config = read_json(part_of(place, "scheduler", "scheduler_config.json"))
    kind = config.get("_class_name", "DDPMScheduler")
    if kind.removesuffix("Scheduler").removesuffix("Parallel") not in allowed:
        raise InvalidRequest(f"The schedule in {place} is a {kind}, whose noise levels no β schedule says; allowed: {', '.join(allowed)}.")
    return DDPMScheduler.from_config(config)


def digest(files: Iterable[Path], configurations: Iterable[Path]) -> str:
    """16 digits of the SHA-256 of weights, and of configurations as sorted JSON without diffusers' own notes, which change with its version."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                found.update(part)
    found.update(said(configurations))
    return found.hexdigest()[:16]


def said(configurations: Iterable[Path]) -> bytes:
    """Configurations as sorted JSON."""
    read = [read_json(path) for path in configurations]
    return json.dumps([{k: v for k, v in part.items() if not k.startswith("_")} for part in read], sort_keys=True).encode()
