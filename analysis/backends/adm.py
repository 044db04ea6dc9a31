"""Guided-diffusion (ADM) checkpoints: a `.pt` file of tensors, as published; ε-prediction with a learned variance, classes or none.

Paper: Dhariwal & Nichol, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233. Weights: 64x64_diffusion.pt to
512x512_diffusion.pt, 256x256_diffusion_uncond.pt and the LSUN ones, of github.com/openai/guided-diffusion; a file has no revision, and
its licence is not in it. Noise: variance preserving, 1,000 steps, linear β, at 64×64 the cosine schedule. Blocks are counted 1 to 37 at
256×256, as in Mukhopadhyay et al., arXiv 2307.08702. A network is built as diffusers' `UNet2DModel`; what that cannot express is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Self
from zipfile import is_zipfile

import torch
from diffusers import DDPMScheduler, UNet2DModel

from ..errors import DamagedFile, InvalidRequest
from ..specs import Card
from ._adm import Architecture, State, Untold, blocks_of, converted, network, read
from ._unet import PixelUNet, describe, placed, seed_of, to_device
from .base import NOWHERE, origin

# (base width, multipliers, ResNets a level) of what was published, with what its authors' instructions say and its file does not.
PUBLISHED = {
    (192, (1, 2, 3, 4), 3): ("64x64_diffusion", Untold(64, heads_first=False, betas="squaredcos_cap_v2")),
    (256, (1, 1, 2, 3, 4), 2): ("128x128_diffusion", Untold(128, head_channels=None, heads=4)),
    (256, (1, 1, 2, 2, 4, 4), 2): ("256x256_diffusion", Untold(256)),
    (256, (0.5, 1, 1, 2, 2, 4, 4), 2): ("512x512_diffusion", Untold(512)),
}
COARSEST = 32  # the largest side at which published networks attend


class ADM(PixelUNet):
    """A guided-diffusion network as a denoiser in σ."""

    @classmethod
    def claims(cls, place: Path) -> bool:
        return place.is_file() and place.suffix == ".pt"

    @classmethod
    def describe(cls, place: Path) -> Card:
        state = _state(place)
        found = read(state)
        untold, notes = assumed(found)
        if any(value.dtype != torch.float32 for value in state.values()):
            notes = (*notes, "Some weights are stored in half precision; they are computed in float32.")
        net = trained({name: value.to("meta") for name, value in state.items()}, found, untold)  # shapes are all that a Card needs
        return describe(
            net,
            _schedule(untold),
            blocks_of(found),
            identity=f"adm:sha256:{_digest(place)}",
            family="adm",
            paper="arXiv 2105.05233",
            notes=notes,
            **origin(place),
        )

    @classmethod
    def load(cls, place: Path, card: Card, weights: str = "trained", device: str = "cpu") -> Self:
        seed, state = seed_of(weights), _state(place)
        found = read(state)
        untold, _ = assumed(found)
        if seed is None and device == NOWHERE:
            identity = card.identity
            with placed(device):
                net = network(found, untold)
        elif seed is None:
            identity = f"adm:sha256:{_digest(place)}"
            if identity != card.identity:
                raise DamagedFile(f"The weights in {place} are not those of its card ({identity}, not {card.identity}); restore them.")
            net = trained(state, found, untold)
        else:
            shape = hashlib.sha256(f"{found} {untold}".encode()).hexdigest()[:8]
            identity = f"adm:{shape}:random:{seed}"
            with torch.random.fork_rng(devices=[]), placed(device):
                torch.manual_seed(seed)
                net = network(found, untold)
        return cls(to_device(net, device), _schedule(untold), card.model_copy(update={"identity": identity}))


def assumed(found: Architecture) -> tuple[Untold, tuple[str, ...]]:
    """What the file does not tell: as published where the architecture is a published one, else likely; and the sentence that says so."""
    known = PUBLISHED.get((found.base, found.multipliers, found.resnets))
    if known:
        name, untold = known
        return untold, (f"The file does not tell {_said(untold)}; these are as published for {name}, whose architecture it has.",)
    if not any(found.attends):
        raise InvalidRequest(
            "The file's architecture is none that was published and attends in no level, so its resolution cannot be told."
        )
    untold = Untold(COARSEST * 2 ** found.attends.index(True))
    return untold, (f"The file does not tell {_said(untold)}; these are assumed, as its architecture is none that was published.",)


def _said(untold: Untold) -> str:
    heads = f"{untold.heads} heads" if untold.heads else f"heads of {untold.head_channels} channels"
    order = "head by head" if untold.heads_first else "all queries first"
    betas = "linear β" if untold.betas == "linear" else "cosine schedule"
    return f"its resolution ({untold.resolution}), attention ({heads}, {order}) and noise ({betas}, 1,000 steps)"


def trained(state: State, found: Architecture, untold: Untold) -> UNet2DModel:
    """The network with the file's weights. Raises InvalidRequest where a weight is missing or of another shape."""
    with torch.device("meta"):  # fresh weights would be thrown away
        net = network(found, untold)
    net = net.to_empty(device=next(iter(state.values())).device)
    try:
        net.load_state_dict(converted(state, found, untold), strict=True)
    except RuntimeError as error:  # torch's own word for weights that do not fit
        raise InvalidRequest(f"The file's weights are not those of a UNet2DModel ({str(error).splitlines()[1].strip()}).") from error
    return net


def _state(place: Path) -> State:
    """The tensors of a file. Raises DamagedFile, and InvalidRequest for what is no state dict."""
    try:
        found = torch.load(place, map_location="cpu", weights_only=True, mmap=is_zipfile(place))
    except Exception as error:  # torch, pickle and zipfile raise unrelated types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFile(
            f"{place} cannot be read as tensors alone ({reason}): it is damaged, or holds objects, which could run code and are not read."
        ) from error
    if not isinstance(found, dict) or not found or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise InvalidRequest(f"{place} is no state dict; allowed: names and tensors alone, as guided-diffusion's files are.")
    return found


def _digest(place: Path) -> str:
    digest = hashlib.sha256()
    with place.open("rb") as file:
        while part := file.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()[:16]


def _schedule(untold: Untold) -> DDPMScheduler:
    return DDPMScheduler(num_train_timesteps=1000, beta_schedule=untold.betas)


plugin = ADM
