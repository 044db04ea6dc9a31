"""The maps of a block for some images, not pooled: what points, segments and tokens are read from."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .crew import Between, still_wanted
from .datasets.base import image_ids
from .errors import InvalidRequest
from .features import capture
from .noise import add_noise, noise_like
from .steps import finish
from .views import x0_of

BATCH = 8  # (image, draw) pairs a pass


def maps(
    model: Backend,
    images: Sequence[np.ndarray],
    blocks: Sequence[str],
    sigma: float,
    draws: int = 1,
    seed: int = 0,
    condition: str | None = None,
    between: Between = still_wanted,
) -> dict[str, Tensor]:
    """{block: (n, C, h, w) float32 on the CPU} of images (side, side, 3) uint8, the mean over `draws` of each image's own ε.

    The level is the schedule's nearest to `sigma`. An image's maps do not depend on the others. Without a condition, the model's own
    for features. `between` is called before every pass; what it raises ends the work. The mean over draws: Tang et al.,
    Emergent Correspondence from Image Diffusion (DIFT), arXiv 2306.03881. Raises InvalidRequest or UnknownName.
    """
    return finish(steps(model, images, blocks, sigma, draws, seed, condition), lambda _: between())


@torch.inference_mode()
def steps(
    model: Backend,
    images: Sequence[np.ndarray],
    blocks: Sequence[str],
    sigma: float,
    draws: int = 1,
    seed: int = 0,
    condition: str | None = None,
    batch: int = BATCH,
) -> Generator[tuple[int, int], None, dict[str, Tensor]]:
    """`maps`, yielding before every pass of `batch` (image, draw) pairs how many are done, and of how many."""
    if not images or draws < 1:
        raise InvalidRequest(f"{len(images)} images and draws {draws}; allowed: at least one of each.")
    x0 = torch.cat([x0_of(model, image) for image in images])
    ids = [int(image_ids(image[None])[0]) for image in images]
    level = model.schedule.nearest(torch.tensor([sigma], dtype=torch.float64))
    pairs = [(row, draw) for row in range(len(images)) for draw in range(draws)]
    found: dict[str, Tensor] = {}
    with capture(model, blocks) as taps:
        for start in range(0, len(pairs), batch):
            yield start, len(pairs)
            part = pairs[start : start + batch]
            rows = [row for row, _ in part]
            eps = torch.cat([noise_like(x0[row : row + 1], [ids[row]], seed, draw) for row, draw in part]).to(x0.device)
            levels = level.expand(len(part))
            for name, value in taps(add_noise(x0[rows], levels, eps), levels, condition or model.card.unconditional).items():
                total = found.setdefault(name, torch.zeros(len(images), *value.shape[1:]))
                total.index_add_(0, torch.tensor(rows), value.float().cpu(), alpha=1 / draws)
    return found
