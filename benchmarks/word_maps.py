"""A pass with word maps over a pass without, and the memory that maps take beyond it.

Networks of random weights as wide as a CPU can do, told a prompt of ten words: a U-Net like Stable Diffusion's (32 × 32 latents, 77 tokens in
cross-attention) and transformers with joint attention like Stable Diffusion 3's and FLUX's, whose image attends to itself and to the text at
once. Every block's maps are kept on our side. The number is that of the worst.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel

from analysis.attending import BUDGET
from analysis.backends import open_backend
from analysis.backends.base import Told
from analysis.prompted import Prompted, prompted
from analysis.word_maps import levels_of, text_blocks
from tests import latents

from .measure import Measured, cpu, measure
from .networks import SIGMA, Work

ROUNDS, PROMPT = 3, "a photo of a red fox in a blue house"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
REAL = DEVICE != "cpu"  # the real size, where a GPU is at hand
IMAGES = 8


def unet(place: Path) -> Path:
    network: dict[str, Any] = {
        "sample_size": 64 if REAL else 32,
        "block_out_channels": (320, 640, 1280, 1280) if REAL else (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
        "norm_num_groups": 32,
    }
    return latents.stable(place, **network)


def sd3(place: Path) -> Path:
    layers, heads = (24, 24) if REAL else (6, 8)
    net = SD3Transformer2DModel(
        sample_size=64 if REAL else 32,
        in_channels=4,
        num_layers=layers,
        attention_head_dim=64,
        num_attention_heads=heads,
        joint_attention_dim=768,
        caption_projection_dim=64 * heads,
        pooled_projection_dim=32,
        out_channels=4,
    )
    net.save_pretrained(latents.sd3(place) / "transformer")
    return place


def flux(place: Path) -> Path:
    layers, heads = (4, 24) if REAL else (2, 4)
    net = FluxTransformer2DModel(
        in_channels=16,
        num_layers=layers,
        num_single_layers=2 * layers,
        attention_head_dim=128,
        num_attention_heads=heads,
        joint_attention_dim=768,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(16, 56, 56),
    )
    net.save_pretrained(latents.flux(place) / "transformer")
    return place


FAMILIES: dict[str, tuple[Callable[[Path], Path], int]] = {"U-Net": (unet, 77), "SD3": (sd3, 77 + 256), "FLUX": (flux, 512)}


def opened(name: str, folder: Path, side: int = 64) -> tuple[Any, Prompted]:
    """The model of a family and the prompt as it was told, of as many places as the real ones have."""
    write, length = FAMILIES[name]
    place = str(write(folder))
    model: Any = open_backend(f"{place}?side={side}" if name == "FLUX" and not REAL else place, device=DEVICE)
    words = PROMPT.split()
    tokens = ("", *(f"{word}</w>" for word in words), *[""] * (length - len(words) - 1))
    generator = torch.Generator().manual_seed(0)
    told = {"encoder_hidden_states": torch.randn(1, length, 768, generator=generator)}
    told |= {} if name == "U-Net" else {"pooled_projections": torch.randn(1, 32 if name == "SD3" else 16, generator=generator)}
    model.kept = {f"prompt:{PROMPT}": Told(told, tokens)}
    return model, prompted(model, PROMPT)


def sides(model: Any, given: Prompted, images: int = 1) -> tuple[Work, Work]:
    """(bare, ours): the network's pass on prepared input, and the same from x_0 and ε to the maps of every word in every block."""
    x0, eps = torch.randn(2, images, *model.card.x0_shape, generator=torch.Generator().manual_seed(0)).to(model.device)
    level = model.schedule.nearest(torch.tensor([SIGMA], dtype=torch.float64))
    timestep, told = model.schedule.timestep(level).to(x0).expand(images), model.given(given.told, images)
    blocks = [block.name for block in text_blocks(model)]

    @torch.inference_mode()
    def bare() -> None:
        model.run(model.net, x0 + eps, timestep, told)
        _wait()

    def ours() -> None:
        next(levels_of(model, x0, eps, given, [SIGMA], blocks))
        _wait()

    return bare, ours


def _wait() -> None:
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def run() -> Measured:
    """CPU seconds of ours over bare, of the family where it is most, and whether memory stayed within the budget."""
    torch.set_num_threads(1)
    found: dict[str, Measured] = {}
    for name in FAMILIES:
        with TemporaryDirectory() as folder:
            model, given = opened(name, Path(folder))
            facts = {"blocks": len(text_blocks(model)), "words": len(given.words), "places": len(given.told.tokens)}
            print(f"{name}:", file=sys.stderr)
            bare, ours = sides(model, given)
            bare(), ours()  # nobody pays for the first call
            found[name] = measure(cpu(bare), cpu(ours), ROUNDS, lambda cost: cost, facts)
    return _together(found, memory())


def _together(found: dict[str, Measured], extra: int) -> Measured:
    """The family whose cost is most, with the others and memory in the details; no ratio where a family has none."""
    name = max(found, key=lambda family: found[family].ratio or 0.0)
    details = {
        "worst": name,
        "unit": "CPU seconds of one image's pass, one thread, float32; maps of every word in every block that reads the text",
        "device": DEVICE,
        **{family: {"ratio": one.ratio, "control": one.control, **one.details} for family, one in found.items()},
        "bytes beyond the bare pass": extra,
        "budget": BUDGET,
    }
    known = all(one.ratio is not None for one in found.values())
    return Measured(found[name].ratio if known else None, found[name].control, found[name].runs, details, extra <= BUDGET)


def peak(work: Work) -> int:
    """The most bytes of tensors that a piece of work held at once, beyond those that were there."""
    if DEVICE != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    assert seen.profiler is not None
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))


def memory() -> int:
    """Bytes that maps take beyond the bare pass, of 8 images of 1,024 tokens each, whose attention weights are more than the budget."""
    with TemporaryDirectory() as folder:
        model, given = opened("FLUX", Path(folder), 128)
        bare, ours = sides(model, given, IMAGES)
        return max(0, peak(ours) - peak(bare))
