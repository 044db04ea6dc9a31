"""How well points are found again, over blocks and noise levels: a tidy table, and its best row in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from .backends.base import Backend
from .correspondence import ALPHA
from .keypoints import pair, score
from .noise import nearest

CHANGES = {"shift": {}, "colour": {"colour": True}, "flip": {"colour": True, "flip": True}}
TIMES = 2000  # resamples of the images
TOGETHER = 8  # pairs that are in memory at once


def table(
    model: Backend,
    images: Sequence[np.ndarray],
    blocks: Sequence[str],
    sigmas: Sequence[float],
    change: str = "colour",
    draws: int = 8,
    points: int = 8,
    seed: int = 0,
    progress: Callable[[int, int, str], object] = lambda done, of, what: None,
) -> pd.DataFrame:
    """A row a block and level: pck is the share of points of images (side, side, 3) uint8 found again in a moved copy (keypoints.pair).

    `change` is shift, colour (and other colours) or flip (and mirrored). Intervals are 95 %, the images resampled; shift, colours,
    points and ε are held fixed. Raises InvalidRequest or UnknownName.
    """
    pairs = [pair(image, seed + place, points, **CHANGES[change]) for place, image in enumerate(images)]
    levels = sorted({nearest(model.card.sigmas, sigma) for sigma in sigmas})
    resampled = np.random.default_rng(seed).integers(0, len(pairs), (TIMES, len(pairs)))
    depth, rows, of = {block.name: block.depth for block in model.card.blocks}, [], len(levels) * len(pairs)
    for done, level in enumerate(levels):
        parts = []
        for start in range(0, len(pairs), TOGETHER):
            progress(done * len(pairs) + start, of, f"σ = {model.card.sigmas[level]:.3g}")
            parts.append(score(model, pairs[start : start + TOGETHER], blocks, model.card.sigmas[level], draws))
        for block in sorted(blocks, key=depth.__getitem__):
            shares = np.concatenate([part[block] for part in parts])
            low, high = np.quantile(shares[resampled].mean(1), (0.025, 0.975))
            rows.append(
                {
                    "backend": model.card.name,
                    "change": change,
                    "block": block,
                    "depth": depth[block],
                    "sigma": model.card.sigmas[level],
                    "timestep": model.card.timesteps[level],
                    "draws": draws,
                    "images": len(pairs),
                    "points": points,
                    "alpha": ALPHA,
                    "pck": float(shares.mean()),
                    "ci_low": float(low),
                    "ci_high": float(high),
                }
            )
    progress(of, of, "done")
    return pd.DataFrame(rows)


def sentence(found: pd.DataFrame) -> str:
    """Which block and level find most."""
    best = found.loc[found["pck"].idxmax()]
    return (
        f"Block {best['block']} at σ = {best['sigma']:.3g} finds most points again: {best['pck']:.0%} ({best['ci_low']:.0%} to {best['ci_high']:.0%}) "
        f"within {best['alpha']:.0%} of the side, of {best['images']} images."
    )
