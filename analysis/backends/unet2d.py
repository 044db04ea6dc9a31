"""Pixel-space U-Nets: any folder with a diffusers `UNet2DModel` and a DDPM schedule; ε-, v- and x_0-prediction, with classes or without.

Network and schedule are `config.json` and `scheduler_config.json` side by side, or in the subfolders `unet` and `scheduler` of a saved
`DDPMPipeline`; weights are safetensors. A folder with our `card.json` is what that says; any other is read for its Card.
Papers: Ho et al., Denoising Diffusion Probabilistic Models, arXiv 2006.11239; v: Salimans & Ho, arXiv 2202.00512. Weights, revision and
licence are each checkpoint's own and stand on its Card. Noise: variance preserving, from `scheduler_config.json`.
A class table says nothing of a null class: only a `card.json` whose conditions begin with `null` makes its last row one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DDPMScheduler, UNet2DModel

from ..errors import DamagedFile, InvalidRequest, NoisescopeError
from ..specs import Card
from ._unet import PixelUNet, describe, layers_of, placed, seed_of, to_device
from .base import NOWHERE, Excerpt, origin

STEM = "diffusion_pytorch_model"
# Schedulers that say a β schedule in DDPM's own words: what they do while sampling is nothing to the noise that was trained on.
BETA_SCHEDULERS = ("DDPM", "DDIM", "PNDM", "DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep")


class UNet2D(PixelUNet):
    """A `UNet2DModel` as a denoiser in σ."""

    def __init__(self, net: UNet2DModel, scheduler: DDPMScheduler, card: Card | None = None, **facts: Any) -> None:
        """Without a card one is made of the network, with these facts. Raises InvalidRequest for a network that is not read."""
        facts = {"identity": "", "name": "unet2d", "family": "unet2d"} | facts
        super().__init__(net, scheduler, card or describe(net, scheduler, layers_of(net), **facts))

    @classmethod
    def claims(cls, place: Path) -> bool:
        config = _part(place, "unet", "config.json")
        with _reading(place):
            return config.is_file() and _json(config).get("_class_name") == "UNet2DModel"

    @classmethod
    def describe(cls, place: Path) -> Card:
        with _reading(place):
            scheduler = _schedule(place)
            with torch.device("meta"):  # shapes are all that a Card needs
                net = UNet2DModel.from_config(_json(_part(place, "unet", "config.json")))
            facts = origin(place) | {"pipeline": _part(place, "unet", "config.json").parent != place}
            return describe(net, scheduler, layers_of(net), identity=identify(place), family="unet2d", **facts)

    @classmethod
    def load(cls, place: Path, card: Card, weights: str = "trained", device: str = "cpu") -> Self:
        with _reading(place):
            seed, config = seed_of(weights), _part(place, "unet", "config.json")
            scheduler = _schedule(place)
            if seed is None and device == NOWHERE:
                identity = card.identity
                with placed(device):
                    net = UNet2DModel.from_config(_json(config))
            elif seed is None:
                identity = identify(place)
                kind = {"variant": variant} if (variant := _weights(config.parent)[0]) else {}
                net = UNet2DModel.from_pretrained(
                    config.parent, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, **kind
                ).float()
            else:
                with torch.random.fork_rng(devices=[]), placed(device):
                    torch.manual_seed(seed)
                    net = UNet2DModel.from_config(_json(config))
                # The seed gives other weights under another architecture: both are in the identity.
                shape = hashlib.sha256(_configuration(place)).hexdigest()[:8]
                identity = f"unet2d:{shape}:random:{seed}"
        if seed is None and card.identity != identity:
            raise DamagedFile(f"The weights in {place} are not those of its card ({identity}, not {card.identity}); restore them.")
        return cls(to_device(net, device), scheduler, card.model_copy(update={"identity": identity}))

    @classmethod
    def snippet(cls, excerpt: Excerpt) -> str:
        """Plain diffusers: the scheduler adds the noise, a hook takes the block's output."""
        card, side = excerpt.card, excerpt.card.resolution
        revision = f", revision={json.dumps(card.revision)}" if card.repo_id == excerpt.place and card.revision else ""
        network, schedule = (f', subfolder="{name}"' if card.pipeline else "" for name in ("unet", "scheduler"))
        shape = f"(B, {card.image_channels}, {side}, {side})"
        grey = ", grey" if card.image_channels == 1 else ""
        eps, noise = ("", "torch.zeros_like(x0)") if excerpt.clean else (", eps", "eps")
        also = "" if excerpt.clean else ", eps ~ N(0, 1)"
        lowered = (
            [] if excerpt.precision == "float32" else [f'@torch.autocast("cpu", torch.{excerpt.precision})  # or where the network is']
        )
        told = {
            "mean": ["told = net.class_embedding.weight.mean(0, keepdim=True)", "net.class_embedding = torch.nn.Identity()"],
            "null": ["told = torch.tensor([net.class_embedding.num_embeddings - 1])"],
            "class": [f"told = torch.tensor([{excerpt.condition.partition(':')[2]}])"],
        }.get(excerpt.condition.partition(":")[0], [])
        lines = [
            "import torch",
            "from diffusers import DDPMScheduler, UNet2DModel",
            "",
            f"place, t = {json.dumps(excerpt.place, ensure_ascii=False)}, {excerpt.timestep:.0f}  # σ = {excerpt.sigma:.4g}",
            f"net = UNet2DModel.from_pretrained(place{network}{revision}).float()",
            f"scheduler = DDPMScheduler.from_pretrained(place{schedule}{revision})",
            *told,
            "taken = []",
            f"block = net.get_submodule({json.dumps(excerpt.block.module)})",
            "block.register_forward_hook(lambda module, inputs, output: taken.append(output))",
            "",
            "",
            f"# x0 {shape} in [-1, 1]{grey}{also} -> (B, {excerpt.block.width(excerpt.pooling)})",
            "@torch.no_grad()",
            *lowered,
            f"def feature(x0{eps}):",
            f"    net(scheduler.add_noise(x0, {noise}, torch.tensor([t])), t{', told.expand(len(x0), *told.shape[1:])' if told else ''})",
            f"    return {excerpt.pooled('taken.pop()' + ('.float()' if lowered else ''))}",
        ]
        if excerpt.draws > 1 and not excerpt.clean:
            mean = f"sum(feature(x0, torch.randn_like(x0)) for _ in range({excerpt.draws})) / {excerpt.draws}"
            lines += ["", "", "def averaged(x0):", f"    return {mean}"]
        return "\n".join(lines) + "\n"


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Whatever diffusers, safetensors and json raise for a broken folder, as one sentence."""
    try:
        yield
    except NoisescopeError:
        raise
    except Exception as error:  # a dozen unrelated types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFile(f"The model in {place} cannot be read ({reason}); restore its files, or fetch or train it again.") from error


def identify(place: Path) -> str:
    """`unet2d:sha256:` and 16 digits of the SHA-256 of weights, architecture and schedule. Raises OSError, ValueError or InvalidRequest."""
    digest = hashlib.sha256()
    for path in _weights(_part(place, "unet", "config.json").parent)[1]:
        with path.open("rb") as file:
            while part := file.read(1 << 24):
                digest.update(part)
    digest.update(_configuration(place))
    return "unet2d:sha256:" + digest.hexdigest()[:16]


def _weights(folder: Path) -> tuple[str | None, list[Path]]:
    """The variant, None for the plain one, and its files: one, or shards."""
    plain = [*folder.glob(f"{STEM}.safetensors"), *sorted(folder.glob(f"{STEM}-*-of-*.safetensors"))]
    if plain:
        return None, plain
    for variant in ("fp32", "bf16", "fp16", "ema", "non_ema"):
        if found := sorted(folder.glob(f"{STEM}.{variant}*.safetensors")):
            return variant, found
    if any(folder.glob("*.bin")):
        raise InvalidRequest(
            f"The weights in {folder} are a pickle (.bin) alone, which can hold code: it is not read; allowed: {STEM}.safetensors."
        )
    raise FileNotFoundError(f"no {STEM}*.safetensors in {folder}")


def _part(place: Path, subfolder: str, name: str) -> Path:
    """A file of the model: in its subfolder, else at the top."""
    inner = place / subfolder / name
    return inner if inner.is_file() else place / name


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _schedule(place: Path) -> DDPMScheduler:
    """The noise that the network was trained with. Raises InvalidRequest for a schedule that is none of β."""
    config = _json(_part(place, "scheduler", "scheduler_config.json"))
    kind = config.get("_class_name", "DDPMScheduler")
    if kind.removesuffix("Scheduler").removesuffix("Parallel") not in BETA_SCHEDULERS:
        raise InvalidRequest(
            f"The schedule in {place} is a {kind}, whose noise levels no β schedule says; allowed: {', '.join(BETA_SCHEDULERS)}."
        )
    return DDPMScheduler.from_config(config)


def _configuration(place: Path) -> bytes:
    """Architecture and schedule as sorted JSON, without diffusers' own notes, which change with its version."""
    found = [_json(_part(place, *name)) for name in (("unet", "config.json"), ("scheduler", "scheduler_config.json"))]
    return json.dumps([{k: v for k, v in part.items() if not k.startswith("_")} for part in found], sort_keys=True).encode()


plugin = UNet2D
