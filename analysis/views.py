"""One image at every noise level: what the network is shown, what it makes of it, what each block's probe reads and where.

All of it comes from one pass a level. The class activation map (Zhou et al., arXiv 1512.04150) of the global average and a
linear probe is exact: its mean over places is the logit. Colours of a block's places are the first three principal
components of its map over all levels, so that a colour means the same at each.
"""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .datasets.base import image_ids
from .errors import InvalidRequest
from .features import capture
from .noise import add_noise, noise_like
from .readout import Readout, softmax
from .sampling import seen

ENCODED = 64  # images of which x_0 is kept, as a VAE takes about as long as the network
_encoded: WeakKeyDictionary[torch.nn.Module, OrderedDict[tuple[int, int], Tensor]] = WeakKeyDictionary()
AROUND = 2  # levels on each side that an ensemble takes in (arXiv 2502.05743)


def x0_of(model: Backend, image: np.ndarray) -> Tensor:
    """x_0 (1, c, h, w) of an image (h, w, 3) uint8. Raises InvalidRequest for one of another size than the model reads."""
    side = model.card.resolution
    if image.shape != (side, side, 3) or image.dtype != np.uint8:
        raise InvalidRequest(f"The image is {image.shape} {image.dtype}; allowed for {model.card.name}: ({side}, {side}, 3) uint8.")
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
    known = _encoded.setdefault(model.net, OrderedDict())
    name = (side, int(image_ids(image[None])[0]))
    if name not in known:
        with torch.inference_mode(False), torch.no_grad():
            known[name] = model.encode(pixels.to(model.device).float() / 127.5 - 1)
    known.move_to_end(name)
    while len(known) > ENCODED:
        known.popitem(last=False)
    return known[name]


def noised(model: Backend, image: np.ndarray, sigmas: tuple[float, ...], seed: int, draw: int) -> tuple[Tensor, Tensor, Tensor]:
    """x_0 (1, c, h, w), the levels (S,) float64, and x_σ (S, c, h, w) with this image's own ε of a draw."""
    x0 = x0_of(model, image)
    levels = torch.tensor(sigmas, dtype=torch.float64)
    eps = noise_like(x0, [int(image_ids(image[None])[0])], seed, draw).to(x0.device)
    return x0, levels, add_noise(x0.expand(len(levels), -1, -1, -1), levels, eps)


@torch.inference_mode()
def grid(
    model: Backend, readout: Readout, image: np.ndarray, seed: int = 0, draw: int = 0
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Class activation maps of every block, {block: (S, h', w', K)}, its features (S, h', w', D), and D(x; σ).

    Channels stand last, as they do in the network's memory. Raises InvalidRequest.
    """
    if readout.pooling != "1":
        raise InvalidRequest(f"pooling {readout.pooling!r}; allowed for one's own images: '1', the global average.")
    _, levels, x = noised(model, image, readout.sigmas, seed, draw)
    with capture(model, readout.blocks, lambda value: value.float().permute(0, 2, 3, 1), stop=False) as taps:
        features = taps(x, levels, readout.condition)
        made = taps.made
    assert made is not None
    maps = {}
    for block, value in features.items():
        weight, bias = _stacked(readout, block, value)
        places = torch.baddbmm(bias[:, None], value.flatten(1, 2), weight.transpose(1, 2))
        maps[block] = places.reshape(*value.shape[:-1], -1)
    return maps, features, made


@torch.inference_mode()
def view(
    model: Backend, readout: Readout, image: np.ndarray, seed: int = 0, draw: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Everything of one pass over the S levels of `readout`, by name, and the features of its places for `colours`.

    Of an image (h, w, 3) uint8: clean (h, w, 3), seen, made (S, h, w, 3) uint8, which are x_0, the network's input and x̂_0; error
    (S,): mean squared error of x̂_0; for each block logits/… (S, K), map/… (S, h', w', K) float16 class activation maps,
    feature/… (S, D). Maps need pooling 1. Raises InvalidRequest.
    """
    maps, features, made = grid(model, readout, image, seed, draw)
    x0, levels, x = noised(model, image, readout.sigmas, seed, draw)
    scale = model.schedule.input_scale(levels).to(x0).reshape(-1, 1, 1, 1)
    found = {"clean": seen(model, x0)[0], "seen": seen(model, x * scale), "made": seen(model, made)}
    found["error"] = ((made - x0) ** 2).mean((1, 2, 3)).cpu().numpy()
    for block, places in maps.items():
        found[f"logits/{block}"] = places.mean((1, 2)).cpu().numpy()
        found[f"map/{block}"] = places.half().cpu().numpy()
        found[f"feature/{block}"] = features[block].mean((1, 2)).cpu().numpy()
    return found, features


@torch.inference_mode()
def read(model: Backend, readout: Readout, image: np.ndarray, seed: int, draws: int) -> dict[str, np.ndarray]:
    """Class probabilities over several draws of ε: mean/… and spread/… (S, K) a block, ensemble/… (S, K); error (R, S).

    An ensemble at a level is the softmax of the mean logits of it and two levels each side, where there are, each member
    with a draw of its own (arXiv 2502.05743; a shared ε would gain less). `draws` is at least 5.
    """
    if draws < 2 * AROUND + 1:
        raise InvalidRequest(f"draws is {draws}; allowed: at least {2 * AROUND + 1}, one for each member of an ensemble.")
    logits: dict[str, list[np.ndarray]] = {}
    errors = []
    for draw in range(draws):
        x0, levels, x = noised(model, image, readout.sigmas, seed, draw)
        with capture(model, readout.blocks, lambda value: value.float().mean((-2, -1)), stop=False) as taps:
            taken = taps(x, levels, readout.condition)
            assert taps.made is not None
            errors.append(((taps.made - x0) ** 2).mean((1, 2, 3)).cpu().numpy())
        for block, value in taken.items():
            weight, bias = _stacked(readout, block, value)
            logits.setdefault(block, []).append((torch.einsum("sd,skd->sk", value, weight) + bias).cpu().numpy())
    found = {"error": np.stack(errors)}
    for block, parts in logits.items():
        every = np.stack(parts)  # (R, S, K)
        told = softmax(every)
        found |= {f"mean/{block}": told.mean(0), f"spread/{block}": told.std(0, ddof=1), f"ensemble/{block}": ensemble(every)}
    return found


def ensemble(logits: np.ndarray) -> np.ndarray:
    """(R, S, K) -> (S, K): the softmax of the mean logits of each level and its neighbours, member m with draw m."""
    count = logits.shape[1]
    mean = []
    for level in range(count):
        members = [(place - level + AROUND, place) for place in range(level - AROUND, level + AROUND + 1) if 0 <= place < count]
        mean.append(np.mean([logits[draw, place] for draw, place in members], axis=0))
    return softmax(np.stack(mean))


def _stacked(readout: Readout, block: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """The probes of a block at every level, weights (S, K, D) and biases (S, K), where `like` is."""
    weight, bias = readout.stacks[block]
    return torch.from_numpy(weight).to(like), torch.from_numpy(bias).to(like)


@torch.inference_mode()
def colours(features: Tensor) -> np.ndarray:
    """(S, h, w, D) -> (S, h, w, 3) uint8: the first three principal components of all places, each from -2 to 2 of its standard deviations.

    A component's sign is not determined; here its largest weight is positive.
    """
    rows = features.flatten(0, 2)
    rows = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    axes = vectors[:, -3:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign() / (2 * values[-3:].flip(0).clamp(min=1e-12).sqrt())
    scores = rows @ axes
    found = torch.full((len(rows), 3), 128, dtype=torch.uint8)  # a map may have fewer than three channels
    found[:, : scores.shape[1]] = ((scores.clamp(-1, 1) + 1) * 127.5).round().byte()
    return found.reshape(*features.shape[:-1], 3).numpy()
