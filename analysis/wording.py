"""Questions about the words of a prompt: which places of an image attend to each, level after level."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .backends.base import Backend
from .datasets.base import image_ids
from .errors import InvalidRequest, UnknownName
from .lane import Answer, Question, Steps, Teller
from .own import pack
from .prompted import Prompted, prompted
from .scene import Scene
from .word_maps import Level, Maps, drawn, focus, levels_of, text_blocks

MOST_LEVELS = 32
QUICK = 5.0  # seconds
HELD = 1 << 28  # bytes of all blocks' own maps that are kept of a question; where there are more, the asked block's alone


@dataclass
class _Known:
    """What has been read of an image and a prompt; levels by σ of the schedule."""

    given: Prompted
    drawn: tuple[Tensor, Tensor]  # x_0 and ε
    levels: dict[float, Level] = field(default_factory=dict)
    heads: dict[float, Tensor] = field(default_factory=dict)  # (H, h, w) of one word in one block


class Wording:
    """The answers by name; the maps of the last question are kept, so that another word, block or fewer levels take no pass."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._last: dict[str, tuple[Any, _Known]] = {}
        self.answers: dict[str, Teller] = {"words-begin": self.begin, "words": self.words, "words-heads": self.heads}

    def begin(self, question: Question, data: bytes) -> Answer:
        """The prompt's words, what was cut, the blocks that read it, how many passes are left, and the seconds of one.

        One level is read for that, and kept; a second, whose pass is a warm one, where the first says that all will take long.
        """
        model, image, sigmas = self._asked(question, data)
        known = self._known(model, question, image, sigmas)
        given, lacking, seconds = known.given, [sigma for sigma in sigmas if sigma not in known.levels], 0.0
        for _ in range(min(2, len(lacking))):
            if seconds and seconds * len(lacking) < QUICK:
                break
            started = time.perf_counter()
            self._read(model, known, lacking.pop(0), self._kept(model, given, question, sigmas))
            seconds = time.perf_counter() - started
        return {
            "words": given.names,
            "tokens": list(given.told.tokens),
            "others": len(given.others),
            "said": list(given.said),
            "blocks": [block.name for block in text_blocks(model)],
            "joint": model.text != "apart",
            "levels": len(sigmas),
            "lacking": len(lacking),
            "pace": seconds,
        }, b""

    def words(self, question: Question, data: bytes) -> Steps:
        """Of S levels, W words and B blocks that read the text, all float32:

        maps (S, W, g, g) over blocks, or of `block`; sum (W, g, g), its mean over levels; share (S, B, W) the mean over places,
        special, image (S, B) of what is no word; focus (S, W) of maps, whole (W) of sum; logits (S, A, g, g) of words that are not in the prompt.
        """
        model, image, sigmas = self._asked(question, data)
        block = self._block(model, question)
        known = self._known(model, question, image, sigmas)
        keep = self._kept(model, known.given, question, sigmas)
        for place, sigma in enumerate(sigmas):
            if sigma not in known.levels:
                self._read(model, known, sigma, keep)
                yield {"done": place + 1, "of": len(sigmas)}, b""
        names = [one.name for one in text_blocks(model)]
        found = Maps.of([known.levels[sigma] for sigma in sigmas], sigmas, names, known.given.names)
        shown = (found.over if block is None else found.maps[block])[0]
        whole = shown.mean(0)
        arrays = {"maps": shown, "sum": whole, "focus": focus(shown), "whole": focus(whole), "logits": found.logits[0]}
        arrays |= {"share": found.share[0], "special": found.special[0], "image": found.image[0]}
        timesteps = model.schedule.timestep(torch.tensor(sigmas, dtype=torch.float64)).tolist()
        levels = [
            {"sigma": sigma, "timestep": timestep, "log_snr": -2 * math.log(sigma)}
            for sigma, timestep in zip(sigmas, timesteps, strict=True)
        ]
        return {"words": list(found.words), "blocks": names, "levels": levels}, pack(
            {name: value.numpy() for name, value in arrays.items()}
        )

    def heads(self, question: Question, data: bytes) -> Steps:
        """heads (S, H, h, w) float32: the maps of one `word` in each head of a `block`."""
        model, image, sigmas = self._asked(question, data)
        block, word = self._block(model, question), str(question.get("word", ""))
        if block is None:
            raise InvalidRequest("block is not given; heads are of one block.")
        known = self._known(model, question, image, sigmas, (block, word))
        if word not in known.given.names:
            raise UnknownName("word", word, known.given.names)
        place = known.given.names.index(word)
        for i, sigma in enumerate(sigmas):
            if sigma not in known.heads:
                level = next(levels_of(model, *known.drawn, known.given, [sigma], heads=block))
                assert level.heads is not None
                known.heads[sigma] = level.heads[0, :, place].clone()
                yield {"done": i + 1, "of": len(sigmas)}, b""
        return {}, pack({"heads": torch.stack([known.heads[sigma] for sigma in sigmas]).numpy()})

    def _asked(self, question: Question, data: bytes) -> tuple[Backend, np.ndarray, list[float]]:
        """The model, the image, and σ ascending: `levels` of the schedule, or those nearest to `sigmas`. Raises InvalidRequest."""
        model, images = self.scene.model(question), self.scene.given(data)
        if "sigmas" not in question:
            count = question.get("levels", 8)
            if not isinstance(count, int) or not 2 <= count <= MOST_LEVELS:
                raise InvalidRequest(f"levels is {count!r}; allowed: a whole number from 2 to {MOST_LEVELS}.")
            return model, images[0], model.schedule.spread(count)
        sigmas = question["sigmas"]
        if not 0 < len(sigmas) <= MOST_LEVELS or not all(isinstance(one, int | float) and 0 < one < math.inf for one in sigmas):
            raise InvalidRequest(f"sigmas is {sigmas!r}; allowed: up to {MOST_LEVELS} numbers above 0.")
        real = model.schedule.nearest(torch.tensor(sigmas, dtype=torch.float64)).tolist()
        return model, images[0], sorted(set(real))

    def _known(
        self, model: Backend, question: Question, image: np.ndarray, sigmas: Sequence[float], heads: tuple[str, str] | None = None
    ) -> _Known:
        prompt, others = str(question.get("prompt", "")), tuple(str(one) for one in question.get("others", ()))
        base = (model.card.identity, model.precision, prompt, others, _seed(question), int(image_ids(image[None])[0]))
        last = next((known for name, known in self._last.values() if name[: len(base)] == base), None)
        given = last.given if last else prompted(model, prompt, others)
        what = "words" if heads is None else "heads"
        name = (*base, *(heads or self._kept(model, given, question, sigmas)))
        if what not in self._last or self._last[what][0] != name:
            self._last[what] = (name, _Known(given, last.drawn if last else drawn(model, [image], _seed(question))))
        return self._last[what][1]

    def _kept(self, model: Backend, given: Prompted, question: Question, sigmas: Sequence[float]) -> tuple[str, ...]:
        """The blocks whose own maps are kept: all, where these have room."""
        blocks = text_blocks(model)
        places = sum((model.card.resolution // block.stride) ** 2 for block in blocks)
        if 4 * len(sigmas) * len(given.names) * places <= HELD:
            return tuple(block.name for block in blocks)
        block = self._block(model, question)
        return (block,) if block else ()

    @staticmethod
    def _read(model: Backend, known: _Known, sigma: float, keep: Sequence[str]) -> None:
        known.levels[sigma] = next(levels_of(model, *known.drawn, known.given, [sigma], keep))

    @staticmethod
    def _block(model: Backend, question: Question) -> str | None:
        block, known = question.get("block"), [one.name for one in text_blocks(model)]
        if block is not None and block not in known:
            raise UnknownName("block that reads the text", str(block), known)
        return block


def _seed(question: Question) -> int:
    seed = question.get("seed", 0)
    if not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise InvalidRequest(f"seed is {seed!r}; allowed: a whole number from 0 to {2**31 - 1}.")
    return seed
