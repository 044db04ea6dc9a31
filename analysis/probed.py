"""image -> logits as one nn.Module, so that whatever explains classifiers explains a probe on a diffusion model."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from .backends.base import Backend
from .devices import lowered
from .errors import InvalidRequest
from .features import capture, pool
from .noise import add_noise
from .specs import Frozen

MOST, MOST_CUDA = 16, 256  # images a batch; on a CPU more are no faster


class Target(Frozen):
    """Which number is explained: a class's logit, one class's less another's, a feature channel, or how well the noise is removed."""

    kind: Literal["class", "difference", "channel", "loss"] = "class"
    index: int = 0  # the class or the channel
    minus: int | None = None  # the class whose logit is taken off

    def reading(self, weight: Tensor, bias: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """The target as one linear reading of a pooled feature f: value = f · row + offset; row (D,), offset ().

        weight (K, D) and bias (K,) are the probe's. The denoising loss reads no feature: its row is 0.
        Raises InvalidRequest for a class or channel that does not exist.
        """
        row, offset = torch.zeros_like(weight[0]), torch.zeros_like(bias[0])
        if self.kind == "channel":
            if not 0 <= self.index < channels:
                raise InvalidRequest(f"target channel {self.index}; allowed: 0 to {channels - 1}, the block's channels.")
            cells = row.reshape(channels, -1)
            cells[self.index] = 1 / cells.shape[1]
        elif self.kind != "loss":
            named = [self.index] if self.kind == "class" else [self.index, -1 if self.minus is None else self.minus]
            if not all(0 <= k < len(weight) for k in named) or len(set(named)) < len(named):
                wanted = "one class" if self.kind == "class" else "two different classes, index and minus,"
                raise InvalidRequest(
                    f"target {self.kind} with index {self.index} and minus {self.minus}; allowed: {wanted} from 0 to {len(weight) - 1}."
                )
            for k, sign in zip(named, (1, -1), strict=False):
                row, offset = row + sign * weight[k], offset + sign * bias[k]
        return row, offset


class ProbedModel(nn.Module):
    """(B, 3, H, W) images in [-1, 1] -> (B, 1): the target's value at one block and noise level.

    image -> x_0 -> x_σ with the same ε for every image of a batch -> network, as far as the block -> map (B, C, h, w) -> `tap`
    -> pooling to side × side -> probe -> target. Layer methods hang on `tap`. The network's hooks live only as long as a call.
    eps is (1, c, h, w) like x_0, or None for clean input; weight (K, C·side²) and bias (K,) read unscaled features. The level is
    the schedule's nearest to `sigma`. The loss is -||D(x_σ) - x_0||² / dim and takes the whole pass.
    Raises UnknownName for a block, InvalidRequest for a target or a probe that does not fit the model.
    """

    def __init__(
        self,
        backend: Backend,
        block: str,
        sigma: float,
        weight: np.ndarray | Tensor,
        bias: np.ndarray | Tensor,
        eps: Tensor | None = None,
        target: Target | None = None,
        side: int = 1,
        condition: str = "none",
    ) -> None:
        super().__init__()
        self._given: dict[str, Any] = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.backend, self.block, self.side = backend, backend.block(block), side
        self.condition, self.target = condition, target or Target()
        self.net = backend.net  # among the modules, so that methods that change ReLUs find them
        self.tap = nn.Identity()
        self.sigma = float(backend.schedule.nearest(torch.tensor(sigma, dtype=torch.float64)))
        weight, bias = (torch.as_tensor(part, dtype=torch.float32, device=backend.device) for part in (weight, bias))
        if weight.shape != (len(bias), self.block.channels * side**2):
            raise InvalidRequest(
                f"The probe's weight is {tuple(weight.shape)}; allowed for {block} pooled to {side}×{side}: "
                f"{(len(bias), self.block.channels * side**2)}."
            )
        if eps is not None and len(eps) != 1:
            raise InvalidRequest(f"eps has {len(eps)} draws; allowed: one a model, (1, c, h, w).")
        self.weight, self.bias = weight, bias
        self.eps = None if eps is None else eps.to(backend.device)
        self.row, self.offset = self.target.reading(weight, bias, self.block.channels)

    def changed(self, **changes: Any) -> ProbedModel:
        """The same with other arguments, such as another ε, head or network."""
        return ProbedModel(**(self._given | changes))

    def forward(self, images: Tensor) -> Tensor:
        x0 = self.backend.encode(images)
        level = torch.full((len(x0),), self.sigma, dtype=torch.float64)
        x = x0 if self.eps is None else add_noise(x0, level, self.eps)
        if self.target.kind == "loss":
            hook = self.net.get_submodule(self.block.module).register_forward_hook(self._through)
            try:
                with lowered(self.backend.device.type, self.backend.precision):
                    made = self.backend.denoise(x, level, self.condition)
            finally:
                hook.remove()
            return -(made - x0).square().flatten(1).mean(1, keepdim=True)
        with capture(self.backend, [self.block.name], self.tap) as taps:
            feature_map = taps(x, level, self.condition)[self.block.name]
        return pool(feature_map, self.side) @ self.row[:, None] + self.offset

    def _through(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Puts the tap into the network's own path, so that what comes after the block reads it and the loss's gradient meets it."""
        feature_map = self.backend.as_map(self.block, output)
        tapped = self.tap(feature_map)
        if feature_map is output:
            return tapped
        if isinstance(output, tuple) and feature_map is output[0]:
            return (tapped, *output[1:])
        if self.tap._forward_hooks:  # a layer method listens; for the others the tap may stand beside the path
            raise InvalidRequest(
                f"The map of {self.block.name} is a rearrangement of its output, which the denoising loss does not pass through; "
                "choose a pixel method or another target."
            )
        return None


def batch_that_fits(probed: ProbedModel, image: Tensor) -> int:
    """How many copies of an image (1, 3, H, W) a pass with its gradient has room for now, from what one pass keeps; at most 16 on a CPU."""
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(count, lambda tensor: tensor):
        value = probed(image.detach().clone().requires_grad_())
    del value  # until here it holds what was counted, so that no address is counted twice
    weights = {parameter.untyped_storage().data_ptr() for parameter in probed.parameters()}
    each = 2 * sum(size for address, size in kept.items() if address not in weights)  # what a layer works in is about as much again
    if image.is_cuda:  # what torch holds but does not use is free, too
        free = torch.cuda.mem_get_info(image.device)[0] + torch.cuda.memory_reserved(image.device)
        free -= torch.cuda.memory_allocated(image.device)
    else:
        free = psutil.virtual_memory().available
    return max(1, min(MOST_CUDA if image.is_cuda else MOST, free // 2 // max(1, each)))
