"""Should a map be believed? What it leaves unexplained, how it moves, and whether it looks at head and network at all.

Everything is about one draw of ε, the ProbedModel's own. A block's map stands for the pixels under it, enlarged bilinearly.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional

from .attribution import METHODS, Settings, attribute, baseline, fitted, seeded
from .backends.base import Backend
from .errors import InvalidRequest
from .probed import ProbedModel, batch_that_fits
from .steps import finish, relay

# Adebayo et al. set no threshold. Above .8 the two maps share most of their order, and look the same to a person.
HARDLY = 0.8
SQUARES = 32  # perturbations that infidelity averages over
ADDS_UP = ("integrated_gradients", "input_x_gradient")  # whose map claims to be the change from the baseline, pixel by pixel
NUDGES = 4  # perturbed images whose maps sensitivity compares
STEPS, ORDERS = 16, 8  # of deletion and insertion
CHECKS = 4 + NUDGES + 2 + ORDERS  # steps of `checks`


@dataclass(frozen=True)
class Curves:
    """The target while more and more pixels are replaced, (steps + 1,) each, over the share of pixels from 0 to 1.

    `deletion` takes the map's highest pixels out of the image first, `insertion` puts them into the baseline first; `random` and
    `random_spread` are mean and standard deviation of taking out in random orders. An area is a curve's mean over the share: a
    map that finds what matters has a deletion below and an insertion above the random one.
    """

    share: tuple[float, ...]
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    random: tuple[float, ...]
    random_spread: tuple[float, ...]
    deletion_area: float
    insertion_area: float
    random_area: float
    random_area_spread: float


@dataclass(frozen=True)
class Trust:
    """What the checks found; None where a check says nothing about this method or target."""

    method: str
    gap: float | None  # the map's sum less the target's change, in the target's unit
    change: float  # the target's change from the baseline to the image
    infidelity: float  # share of the target's changes that the map does not explain, 0 to 1
    sensitivity: float  # greatest change of the map, as a share of it, when the image changes by .02
    curves: Curves
    random_head: float | None  # rank correlation with the map of a random head
    random_network: float | None  # and of a network with random weights
    hardly_changes: tuple[str, ...]  # with which random one, "probe" or "network": a map that is nearly the same says nothing of it

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without NaN."""
        return asdict(self)


def over_pixels(image: Tensor, attribution: Tensor) -> Tensor:
    """A map at the image's size: (h, w) -> (H, W)."""
    size = image.shape[-2:]
    return functional.interpolate(attribution[None, None], tuple(size), mode="bilinear")[0, 0] if attribution.shape != size else attribution


def completeness(probed: ProbedModel, image: Tensor, attribution: Tensor, base: Tensor) -> tuple[float, float]:
    """(gap, change): the map's sum less the target's change from baseline to image, and that change.

    Sundararajan et al., arXiv 1703.01365, proposition 1: Integrated Gradients' gap is 0 but for the number of steps.
    """
    with torch.no_grad():
        change = float(probed(image) - probed(base))
    return float(attribution.sum()) - change, change


def infidelity(probed: ProbedModel, image: Tensor, attribution: Tensor, base: Tensor, batch: int, seed: int = 0) -> float:
    """Share of the target's changes that the map does not explain, 0 to 1, when squares anywhere are set to the baseline.

    Yeh et al., arXiv 1901.09392, definition 2.1 with squares of one size, a quarter of the side, so that their area alone explains
    little. The map is at its best scale, of either sign (their normalised form), and a map of zeros has 1: any units compare.
    """
    side = max(1, min(image.shape[-2:]) // 4)

    def squares(inputs: Tensor) -> tuple[Tensor, Tensor]:
        masks = torch.zeros_like(inputs[:, :1])
        for mask in masks:
            top, left = (int(torch.randint(0, extent - side + 1, ())) for extent in image.shape[-2:])
            mask[..., top : top + side, left : left + side] = 1
        return masks.expand_as(inputs), torch.where(masks.bool(), base, inputs)

    found = []
    for given in (attribution, torch.zeros_like(attribution)):
        with seeded(seed, image):
            spread = (given / image.shape[1]).expand_as(image)  # a colour's share of its pixel
            found.append(
                captum_infidelity(
                    probed, squares, image, spread, n_perturb_samples=SQUARES, max_examples_per_batch=min(batch, SQUARES), normalize=True
                )
            )
    missed, nothing = (float(value) for value in found)
    return min(1.0, max(0.0, missed / nothing)) if nothing > 0 else 0.0


def nudged(probed: ProbedModel, image: Tensor, attribution: Tensor, method: str, settings: Settings, turn: int) -> float:
    """Change of the map in an image within .02 of this one, over the map's norm; `turn` says which of them.

    The greatest of several is the sensitivity of Yeh et al., definition 3.2.
    """

    def explain(images: tuple[Tensor]) -> tuple[Tensor]:  # a tuple, or captum takes the images of a batch for several inputs
        same = torch.equal(images[0], image)
        return ((attribution if same else attribute(probed, images[0], method, settings))[None],)

    with seeded(settings.seed + turn, image):
        return float(sensitivity_max(explain, image, n_perturb_samples=1, max_examples_per_batch=1))


def deletion_insertion(
    probed: ProbedModel,
    image: Tensor,
    attribution: Tensor,
    base: Tensor,
    batch: int,
    steps: int = STEPS,
    random_orders: int = ORDERS,
    seed: int = 0,
) -> Generator[int, None, Curves]:
    """Deletion and insertion curves by the signed map, against random orders; yields after every order how many are done.

    Petsiuk et al., arXiv 1806.07421, §4.1. The target's own value in place of the class's probability. Equal cells come in random order.
    Raises InvalidRequest for fewer than one step or two random orders.
    """
    if steps < 1 or random_orders < 2:
        raise InvalidRequest(f"steps is {steps} and random_orders {random_orders}; allowed: at least 1 and 2.")
    ranks = over_pixels(image, attribution).flatten().cpu()
    generator = torch.Generator().manual_seed(seed)
    shuffles = [torch.randperm(len(ranks), generator=generator) for _ in range(random_orders + 1)]
    orders = [shuffles[0][ranks[shuffles[0]].argsort(descending=True, stable=True)], *shuffles[1:]]
    counts = torch.linspace(0, len(ranks), steps + 1).round()
    gone = torch.stack([order.argsort() < counts[:, None] for order in orders])  # (orders, steps + 1, pixels)
    gone = torch.cat([gone[:1], ~gone[:1], gone[1:]]).reshape(-1, steps + 1, 1, *image.shape[-2:])
    values = []
    for masks in gone:
        with torch.no_grad():
            parts = [probed(torch.where(part.to(image.device), base, image)) for part in torch.split(masks, batch)]
        values.append(torch.cat(parts)[:, 0].double().cpu().numpy())
        yield len(values)
    deletion, insertion, *random = values
    areas = np.trapezoid(random, dx=1 / steps)
    return Curves(
        share=tuple((counts / len(ranks)).tolist()),
        deletion=tuple(deletion.tolist()),
        insertion=tuple(insertion.tolist()),
        random=tuple(np.mean(random, 0).tolist()),
        random_spread=tuple(np.std(random, 0, ddof=1).tolist()),
        deletion_area=float(np.trapezoid(deletion, dx=1 / steps)),
        insertion_area=float(np.trapezoid(insertion, dx=1 / steps)),
        random_area=float(areas.mean()),
        random_area_spread=float(areas.std(ddof=1)),
    )


def similarity(a: Tensor, b: Tensor) -> float:
    """Spearman's rank correlation of two maps' magnitudes, -1 to 1; a map without any contrast is like another such alone."""
    left, right = a.abs().flatten().cpu().numpy(), b.abs().flatten().cpu().numpy()
    flat = [bool(np.ptp(values) == 0) for values in (left, right)]
    return float(all(flat)) if any(flat) else float(spearmanr(left, right).statistic)


def randomised(
    probed: ProbedModel, image: Tensor, attribution: Tensor, method: str, settings: Settings, untrained: Backend | None = None
) -> tuple[float | None, float | None]:
    """(similarity with a random head's map, with that of a network with random weights). Adebayo et al., arXiv 1810.03292, §3.

    The head's weights are drawn anew at their own standard deviation; a channel and the denoising loss have no head: None. The
    whole network is drawn anew at once, in place of their layer by layer; without `untrained`, the same model with random
    weights, None.
    """
    found: list[float | None] = [None, None]
    if probed.target.kind in ("class", "difference"):
        drawn = torch.randn(probed.weight.shape, generator=torch.Generator().manual_seed(settings.seed)).to(probed.weight)
        other = probed.changed(weight=drawn * probed.weight.std())
        found[0] = similarity(attribution, attribute(other, image, method, settings))
    if untrained is not None:
        found[1] = similarity(attribution, attribute(probed.changed(backend=untrained), image, method, settings))
    return found[0], found[1]


def passes(method: str, settings: Settings, side: int) -> float:
    """What `examine` costs, in passes of one image: to be said first."""
    maps = 1 + NUDGES + 2
    return maps * METHODS[method].passes(settings, side) + 2 + 2 * SQUARES + 4 + (2 + ORDERS) * (STEPS + 1)


def checks(
    probed: ProbedModel, image: Tensor, method: str, settings: Settings, untrained: Backend | None = None
) -> Generator[int, None, Trust]:
    """Every check of a method's map of an image (1, 3, H, W), with ε and target of `probed`; yields how many of CHECKS are done, each of two maps or 66 passes at most.

    See the checks for what it raises.
    """
    image = image.to(probed.backend.device)
    settings = fitted(probed, image, method, settings)
    batch = settings.batch or batch_that_fits(probed, image)
    attribution = attribute(probed, image, method, settings)
    base = baseline(image, "grey" if method == "input_x_gradient" else settings.baseline)  # a Taylor series from grey has no choice
    gap, change = completeness(probed, image, attribution, base)
    yield 1
    head, network = randomised(probed, image, attribution, method, settings, untrained)
    yield 2
    missed = infidelity(probed, image, over_pixels(image, attribution), base, batch, settings.seed)
    yield 3
    moved = []
    for turn in range(NUDGES):
        moved.append(nudged(probed, image, attribution, method, settings, turn))
        yield 4 + turn
    curves = yield from relay(
        deletion_insertion(probed, image, attribution, base, batch, seed=settings.seed), lambda done: 3 + NUDGES + done
    )
    return Trust(
        method=method,
        gap=gap if method in ADDS_UP else None,
        change=change,
        infidelity=missed,
        sensitivity=max(moved),
        curves=curves,
        random_head=head,
        random_network=network,
        hardly_changes=tuple(name for name, value in (("probe", head), ("network", network)) if value is not None and value > HARDLY),
    )


def examine(probed: ProbedModel, image: Tensor, method: str, settings: Settings, untrained: Backend | None = None) -> Trust:
    """All of `checks` at once."""
    return finish(checks(probed, image, method, settings, untrained))
