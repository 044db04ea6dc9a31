"""Pixel-space U-Nets: any folder that diffusers' `UNet2DModel.save_pretrained` wrote, ε-prediction, DDPM schedule.

Paper: Ho et al., Denoising Diffusion Probabilistic Models, arXiv 2006.11239. Weights, revision and licence are each
checkpoint's own and stand on its Card. Noise: variance preserving, from `scheduler_config.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from ..errors import DamagedFile, InvalidRequest
from ..noise import Schedule
from ..specs import Block, Card
from .base import Backend, Excerpt

WEIGHTS = "diffusion_pytorch_model*.safetensors"  # one file, or shards


def _layers(net: UNet2DModel) -> Iterator[tuple[str, str, str]]:
    """(name, stage, module path) of every block in the order of execution.

    A ResNet with attention behind it is one block, whose output is the attention's.
    """

    def side(stage: str, parts: Any, sampler: str) -> Iterator[tuple[str, str, str]]:
        for i, part in enumerate(parts):
            behind: Any = getattr(part, "attentions", None) or ()
            for j in range(len(part.resnets)):
                last = "attentions" if j < len(behind) and behind[j] is not None else "resnets"
                yield f"{stage}{i}.res{j}", stage, f"{stage}_blocks.{i}.{last}.{j}"
            for j in range(len(getattr(part, sampler) or ())):
                yield f"{stage}{i}.{stage}", stage, f"{stage}_blocks.{i}.{sampler}.{j}"

    yield from side("down", net.down_blocks, "downsamplers")
    if net.mid_block is not None:
        behind = list(net.mid_block.attentions)
        for j in range(len(net.mid_block.resnets)):
            last = "attentions" if j < len(behind) and behind[j] is not None else "resnets"
            yield f"mid.res{j}", "mid", f"mid_block.{last}.{j}"
    yield from side("up", net.up_blocks, "upsamplers")


def describe_blocks(net: UNet2DModel) -> tuple[Block, ...]:
    """The blocks with the channels and strides seen in one forward pass of a blank image."""
    layers = list(_layers(net))
    seen: dict[str, Tensor] = {}
    hooks = []
    for name, _, path in layers:

        def keep(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            seen[name] = output[0] if isinstance(output, tuple) else output

        hooks.append(net.get_submodule(path).register_forward_hook(keep))
    side = int(net.config["sample_size"])
    parameter = next(net.parameters())
    try:
        with torch.no_grad():
            net(parameter.new_zeros(1, net.config["in_channels"], side, side), 0)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(
        Block(
            name=name,
            module=path,
            stage=stage,  # type: ignore[arg-type]
            depth=depth,
            channels=seen[name].shape[1],
            stride=side // seen[name].shape[-1],
        )
        for depth, (name, stage, path) in enumerate(layers)
    )


class UNet2D(Backend):
    """A `UNet2DModel` that predicts ε, as a denoiser in σ."""

    def __init__(self, net: UNet2DModel, scheduler: DDPMScheduler, card: Card | None = None, **facts: Any) -> None:
        if scheduler.config["prediction_type"] != "epsilon":
            raise InvalidRequest(
                f"prediction_type {scheduler.config['prediction_type']!r} is not read by the unet2d family; allowed: 'epsilon'."
            )
        self.net = net
        self.schedule = Schedule.variance_preserving(scheduler.alphas_cumprod)
        self.card = card or Card(
            **{"identity": "", "name": "unet2d", "family": "unet2d"} | facts,
            resolution=int(net.config["sample_size"]),
            image_channels=int(net.config["in_channels"]),
            sigmas=tuple(self.schedule.sigmas.tolist()),
            timesteps=tuple(self.schedule.timesteps.tolist()),
            blocks=describe_blocks(net),
            parameters=sum(p.numel() for p in net.parameters()),
            parameter_bytes=sum(p.numel() * p.element_size() for p in net.parameters()),
        )

    @classmethod
    def load(cls, folder: Path, weights: str = "trained", device: str = "cpu") -> Self:
        try:
            card = Card.model_validate_json((folder / "card.json").read_text())
            scheduler = DDPMScheduler.from_pretrained(folder)
            if weights == "trained":
                identity = identify(folder)
                net = UNet2DModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False).float()
            else:
                kind, _, seed = weights.partition(":")
                if kind != "random" or not seed.isdecimal():
                    raise InvalidRequest(f"weights {weights!r}; allowed: 'trained' or 'random:<seed>'.")
                config = UNet2DModel.load_config(folder, local_files_only=True)
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(int(seed))
                    net = UNet2DModel.from_config(config)
                # The seed gives other weights under another architecture: both are in the identity.
                shape = hashlib.sha256(_configuration(folder)).hexdigest()[:8]
                identity = f"unet2d:{shape}:random:{seed}"
        except InvalidRequest:
            raise
        except Exception as error:  # diffusers, safetensors and json raise a dozen unrelated types for a broken folder
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DamagedFile(f"The model in {folder} cannot be read ({reason}); restore its files or train it again.") from error
        if weights == "trained" and card.identity != identity:
            raise DamagedFile(f"The weights in {folder} are not those of its card ({identity}, not {card.identity}); restore them.")
        net = net.to(device=device, memory_format=torch.channels_last).eval().requires_grad_(False)
        return cls(net, scheduler, card.model_copy(update={"identity": identity}))

    def encode(self, images: Tensor) -> Tensor:
        """Pixels are x_0; a one-channel network reads the mean of red, green and blue."""
        side = self.card.resolution
        if images.shape[-2:] != (side, side):
            raise InvalidRequest(
                f"Images are {images.shape[-1]}×{images.shape[-2]} pixels; {self.card.name} reads {side}×{side}: resize them."
            )
        return images.mean(1, keepdim=True) if self.card.image_channels == 1 else images

    def denoise(self, x: Tensor, sigma: Tensor, condition: str | None = None) -> Tensor:
        """x̂_0 = x_σ - σ ε_θ(x_σ/√(1+σ²), t(σ))."""
        if condition not in (None, "none"):
            raise InvalidRequest(f"condition {condition!r}; allowed for {self.card.name}: 'none'.")
        at = (-1, 1, 1, 1)
        timestep = self.schedule.timestep(sigma).long().to(x.device)
        sigma = self.schedule.nearest(sigma).to(x)
        eps = self.net(x * self.schedule.input_scale(sigma).reshape(at), timestep).sample
        return x - sigma.reshape(at) * eps

    @classmethod
    def snippet(cls, excerpt: Excerpt) -> str:
        """Plain diffusers: the scheduler adds the noise, a hook takes the block's output."""
        card, side = excerpt.card, excerpt.card.resolution
        revision = f", revision={json.dumps(card.revision)}" if card.repo_id == excerpt.place and card.revision else ""
        shape = f"(B, {card.image_channels}, {side}, {side})"
        grey = ", grey" if card.image_channels == 1 else ""
        eps, noise = ("", "torch.zeros_like(x0)") if excerpt.clean else (", eps", "eps")
        also = "" if excerpt.clean else ", eps ~ N(0, 1)"
        lines = [
            "import torch",
            "from diffusers import DDPMScheduler, UNet2DModel",
            "",
            f"place, t = {json.dumps(excerpt.place, ensure_ascii=False)}, {excerpt.timestep:.0f}  # σ = {excerpt.sigma:.4g}",
            f"net = UNet2DModel.from_pretrained(place{revision}).float()",
            f"scheduler = DDPMScheduler.from_pretrained(place{revision})",
            "taken = []",
            f"block = net.get_submodule({json.dumps(excerpt.block.module)})",
            "block.register_forward_hook(lambda module, inputs, output: taken.append(output))",
            "",
            "",
            f"# x0 {shape} in [-1, 1]{grey}{also} -> (B, {excerpt.block.width(excerpt.pooling)})",
            "@torch.no_grad()",
            f"def feature(x0{eps}):",
            f"    net(scheduler.add_noise(x0, {noise}, torch.tensor([t])), t)",
            f"    return {excerpt.pooled('taken.pop()')}",
        ]
        if excerpt.draws > 1 and not excerpt.clean:
            mean = f"sum(feature(x0, torch.randn_like(x0)) for _ in range({excerpt.draws})) / {excerpt.draws}"
            lines += ["", "", "def averaged(x0):", f"    return {mean}"]
        return "\n".join(lines) + "\n"


def identify(folder: Path) -> str:
    """`unet2d:sha256:` and 16 digits of the SHA-256 of weights, architecture and schedule. Raises OSError or ValueError."""
    paths = sorted(folder.glob(WEIGHTS))
    if not paths:
        raise FileNotFoundError(f"no {WEIGHTS} in {folder}")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    digest.update(_configuration(folder))
    return "unet2d:sha256:" + digest.hexdigest()[:16]


def _configuration(folder: Path) -> bytes:
    """Architecture and schedule as sorted JSON, without diffusers' own notes, which change with its version."""
    found = [json.loads((folder / name).read_text()) for name in ("config.json", "scheduler_config.json")]
    return json.dumps([{k: v for k, v in part.items() if not k.startswith("_")} for part in found], sort_keys=True).encode()


plugin = UNet2D
