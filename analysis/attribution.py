"""Which pixels, or which places of a block, made a probe say what it says: captum's methods on one ProbedModel.

The only file that knows captum's methods; its metrics are trust.py's. Every map is (H, W) of the image, summed over colours, or (h, w) of the block.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from captum.attr import (
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from .backends.base import Backend
from .errors import InvalidData, InvalidRequest, UnknownName
from .probed import ProbedModel, batch_that_fits
from .specs import Frozen

GRADIENT = 2.0  # passes that a pass and its gradient with respect to the image cost
FEW = 4  # passes up to which a method needs no batches


class Settings(Frozen):
    """How maps are made; each method reads what concerns it."""

    baseline: Literal["grey", "blurred"] = "grey"  # what stands for nothing: mid-grey, or the image blurred
    steps: int = Field(default=32, ge=1)  # Integrated Gradients: points on the way from the baseline
    patch: int | None = Field(default=None, ge=1)  # Occlusion: side in pixels, moved by half of it; None: an eighth of the image's
    samples: int = Field(default=16, ge=1)  # NoiseTunnel: noisy copies
    noise: float = Field(default=0.3, gt=0)  # NoiseTunnel: their standard deviation, .15 of the range of [-1, 1]
    seed: int = 0
    batch: int | None = Field(default=None, ge=1)  # images that go through the network together; None: what memory is free for

    def window(self, side: int) -> tuple[int, int]:
        """(side, stride) of Occlusion's patch in an image of this side, in pixels."""
        patch = min(side, self.patch or max(1, side // 8))
        return patch, max(1, patch // 2)


def baseline(image: Tensor, kind: Literal["grey", "blurred"]) -> Tensor:
    """What stands for nothing in an image: mid-grey, or the image under a Gaussian an eighth of its side wide; like the image."""
    if kind == "grey":
        return torch.zeros_like(image)
    spread = max(image.shape[-2:]) / 8
    reach = math.ceil(3 * spread)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / spread) ** 2).to(image)
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, 1, -1)
    padded = functional.pad(image, (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel, groups=len(kernel)), kernel.transpose(2, 3), groups=len(kernel))


@contextmanager
def seeded(seed: int, image: Tensor) -> Iterator[None]:
    """torch's own generators, on the image's device too, start from a seed and are as they were afterwards: captum draws from them."""
    with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        yield


Found = tuple[Tensor, float | None]  # a map, and Integrated Gradients' completeness gap


def _integrated_gradients(probed: ProbedModel, image: Tensor, settings: Settings) -> Found:
    """Gradients averaged on the straight way from the baseline, times the way. Sundararajan et al., arXiv 1703.01365, eq. 1.

    Gauss–Legendre points instead of the paper's Riemann sum. The gap is the map's sum less the target's change.
    """
    found, gap = IntegratedGradients(probed).attribute(
        image,
        baseline(image, settings.baseline),
        n_steps=settings.steps,
        internal_batch_size=settings.batch,
        return_convergence_delta=True,
    )
    return found.sum(1)[0], float(gap)


def _saliency(probed: ProbedModel, image: Tensor, _settings: Settings) -> Found:
    """The gradient's magnitude. Simonyan et al., arXiv 1312.6034, §3.1; the sum over colours in place of their largest."""
    return Saliency(probed).attribute(image).sum(1)[0], None


def _input_x_gradient(probed: ProbedModel, image: Tensor, _settings: Settings) -> Found:
    """Pixel times gradient: a Taylor term from mid-grey. Shrikumar et al., arXiv 1605.01713, §3.1."""
    return InputXGradient(probed).attribute(image).sum(1)[0], None


def _layer_grad_cam(probed: ProbedModel, image: Tensor, _settings: Settings) -> Found:
    """Σ_c mean gradient of channel c × channel c. Selvaraju et al., arXiv 1610.02391, eq. 1–2, without their ReLU: signed."""
    return LayerGradCam(probed, probed.tap).attribute(image.detach())[0, 0], None


def _layer_activation(probed: ProbedModel, image: Tensor, _settings: Settings) -> Found:
    """The target's own channel, else the root mean square over channels. Zagoruyko and Komodakis, arXiv 1612.03928, §3.1."""
    channels = LayerActivation(probed, probed.tap).attribute(image)[0]
    return channels[probed.target.index] if probed.target.kind == "channel" else channels.square().mean(0).sqrt(), None


def _occlusion(probed: ProbedModel, image: Tensor, settings: Settings) -> Found:
    """How far the target falls when a patch is the baseline, averaged over a pixel's patches. Zeiler and Fergus, arXiv 1311.2901."""
    patch, stride = settings.window(image.shape[-1])
    channels = image.shape[1]
    found = Occlusion(probed).attribute(
        image,
        (channels, min(patch, image.shape[-2]), patch),
        (channels, stride, stride),
        baseline(image, settings.baseline),
        perturbations_per_eval=settings.batch,
    )
    return found[0, 0], None  # a patch covers all colours: each has the same map


def _noise_tunnel(probed: ProbedModel, image: Tensor, settings: Settings) -> Found:
    """The magnitude of the gradient averaged over noisy copies (SmoothGrad). Smilkov et al., arXiv 1706.03825, §3."""
    with seeded(settings.seed, image):
        found = NoiseTunnel(Saliency(probed)).attribute(
            image, nt_samples=settings.samples, nt_samples_batch_size=settings.batch, stdevs=settings.noise, abs=False
        )
    return found.abs().sum(1)[0], None


def _guided_grad_cam(probed: ProbedModel, image: Tensor, _settings: Settings) -> Found:
    """Grad-CAM × the gradient through positive paths alone, at ReLU modules. Selvaraju et al., arXiv 1610.02391, §3.2."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")  # they are gone afterwards
        return GuidedGradCam(probed, probed.tap).attribute(image, interpolate_mode="bilinear").sum(1)[0], None


@dataclass(frozen=True)
class Method:
    """A way to make a map: `kind` says whether of the image or of the block, `passes` what it costs for an image of this side."""

    label: str
    kind: Literal["pixels", "block"]
    signed: bool  # may be below 0
    passes: Callable[[Settings, int], float]  # of one image through the network as far as the block
    function: Callable[[ProbedModel, Tensor, Settings], Found]


METHODS = {
    "integrated_gradients": Method("Integrated Gradients", "pixels", True, lambda s, _: GRADIENT * s.steps + 2, _integrated_gradients),
    "saliency": Method("Saliency", "pixels", False, lambda _s, _: GRADIENT, _saliency),
    "input_x_gradient": Method("Input × Gradient", "pixels", True, lambda _s, _: GRADIENT, _input_x_gradient),
    "layer_grad_cam": Method("Grad-CAM of the block", "block", True, lambda _s, _: 1, _layer_grad_cam),
    "layer_activation": Method("Activation of the block", "block", True, lambda _s, _: 1, _layer_activation),
    "occlusion": Method(
        "Occlusion",
        "pixels",
        True,
        lambda s, side: 1 + (math.ceil((side - s.window(side)[0]) / s.window(side)[1]) + 1) ** 2,
        _occlusion,
    ),
    "noise_tunnel": Method("SmoothGrad (NoiseTunnel)", "pixels", False, lambda s, _: GRADIENT * s.samples, _noise_tunnel),
    "guided_grad_cam": Method("Guided Grad-CAM", "pixels", True, lambda _s, _: GRADIENT + 1, _guided_grad_cam),
}


def methods_for(backend: Backend) -> list[str]:
    """The methods that mean something on this network: Guided Grad-CAM only where there are ReLU modules to guide."""
    guided = any(isinstance(module, nn.ReLU) for module in backend.net.modules())
    return [name for name in METHODS if guided or name != "guided_grad_cam"]


def fitted(probed: ProbedModel, image: Tensor, method: str, settings: Settings) -> Settings:
    """The settings with a batch, where the method has use for one: so made once, they serve every method, draw and level of a block.

    Raises UnknownName for a method, InvalidRequest for one that does nothing on this network or an image of another shape.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if method not in methods_for(probed.backend):
        raise InvalidRequest(
            f"{METHODS[method].label} changes the gradients of ReLU modules, and {probed.backend.card.name} has none; "
            f"allowed: {', '.join(methods_for(probed.backend))}."
        )
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise InvalidRequest(f"The image is {tuple(image.shape)}; allowed: one image, (1, 3, height, width).")
    if settings.batch or METHODS[method].passes(settings, image.shape[-1]) <= FEW:
        return settings
    return settings.model_copy(update={"batch": batch_that_fits(probed, image)})


def one_map(probed: ProbedModel, image: Tensor, method: str, settings: Settings) -> Found:
    """A method's map and gap with settings that `fitted` made. Raises InvalidData for a map that is not finite."""
    # A copy, because captum marks its input; with its gradient wanted from the start, it has nothing to warn of.
    copy = image.detach().clone().requires_grad_()
    found, gap = METHODS[method].function(probed, copy, settings)
    if not bool(torch.isfinite(found).all()):
        raise InvalidData(f"The map of {METHODS[method].label} at σ = {probed.sigma:.4g} is not finite; choose another block or level.")
    return found.detach(), gap


def attribute(probed: ProbedModel, image: Tensor, method: str, settings: Settings | None = None) -> Tensor:
    """A map of one draw: image (1, 3, H, W) in [-1, 1] -> (H, W), or (h, w) of the block for a method of that kind.

    Raises UnknownName, InvalidRequest (see `fitted`) or InvalidData for a map that is not finite.
    """
    image = image.to(probed.backend.device)
    return one_map(probed, image, method, fitted(probed, image, method, settings or Settings()))[0]
