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
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DDPMScheduler, UNet2DModel

from ..errors import DamagedFile
from ..specs import Card
from ._folder import beta_schedule, digest, part_of, read_json, reading, said
from ._folder import weights as stored
from ._unet import PixelUNet, describe, layers_of, placed, seed_of, to_device
from .base import NOWHERE, Excerpt, origin


class UNet2D(PixelUNet):
    """A `UNet2DModel` as a denoiser in σ."""

    def __init__(self, net: UNet2DModel, scheduler: DDPMScheduler, card: Card | None = None, **facts: Any) -> None:
        """Without a card one is made of the network, with these facts. Raises InvalidRequest for a network that is not read."""
        facts = {"identity": "", "name": "unet2d", "family": "unet2d"} | facts
        super().__init__(net, scheduler, card or describe(net, scheduler, layers_of(net), **facts))

    @classmethod
    def claims(cls, place: Path) -> bool:
        config = part_of(place, "unet", "config.json")
        with reading(place):
            return config.is_file() and read_json(config).get("_class_name") == "UNet2DModel"

    @classmethod
    def describe(cls, place: Path) -> Card:
        with reading(place):
            scheduler = beta_schedule(place)
            with torch.device("meta"):  # shapes are all that a Card needs
                net = UNet2DModel.from_config(read_json(part_of(place, "unet", "config.json")))
            facts = origin(place) | {"pipeline": part_of(place, "unet", "config.json").parent != place}
            return describe(net, scheduler, layers_of(net), identity=identify(place), family="unet2d", **facts)

    @classmethod
    def load(cls, place: Path, card: Card, weights: str = "trained", device: str = "cpu") -> Self:
        with reading(place):
            seed, config = seed_of(weights), part_of(place, "unet", "config.json")
            scheduler = beta_schedule(place)
            if seed is None and device == NOWHERE:
                identity = card.identity
                with placed(device):
                    net = UNet2DModel.from_config(read_json(config))
            elif seed is None:
                identity = identify(place)
                kind = {"variant": variant} if (variant := stored(config.parent)[0]) else {}
                net = UNet2DModel.from_pretrained(
                    config.parent, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, **kind
                ).float()
            else:
                with torch.random.fork_rng(devices=[]), placed(device):
                    torch.manual_seed(seed)
                    net = UNet2DModel.from_config(read_json(config))
                # The seed gives other weights under another architecture: both are in the identity.
                shape = hashlib.sha256(said(_configurations(place))).hexdigest()[:8]
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


def identify(place: Path) -> str:
    """`unet2d:sha256:` and 16 digits of the SHA-256 of weights, architecture and schedule. Raises OSError, ValueError or InvalidRequest."""
    return "unet2d:sha256:" + digest(stored(part_of(place, "unet", "config.json").parent)[1], _configurations(place))


def _configurations(place: Path) -> list[Path]:
    return [part_of(place, *name) for name in (("unet", "config.json"), ("scheduler", "scheduler_config.json"))]


plugin = UNet2D
