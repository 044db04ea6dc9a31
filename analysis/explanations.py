"""Questions about why a probe reads an image as it does: maps over noise levels and draws, and whether to believe them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.numpy import load
from torch import Tensor

from . import trust
from .attribution import METHODS, Settings, fitted, methods_for
from .backends import open_backend
from .backends.base import Backend
from .datasets.base import image_ids
from .errors import InvalidRequest, UnknownName
from .explaining import over_draws
from .lane import Answer, Question, Steps, Teller
from .noise import noise_like
from .own import Own, pack
from .probed import ProbedModel, Target
from .steps import relay

MOST_DRAWS = 32


class Explanations:
    """The answers by name."""

    def __init__(self, own: Own) -> None:
        self.own = own
        self._untrained = lru_cache(maxsize=1)(lambda name: open_backend(name, "random:0", own.device))
        self.answers: dict[str, Teller] = {"methods": self.methods, "explain": self.explain, "examine": self.examine}

    def methods(self, question: Question, data: bytes) -> Answer:
        """The methods for a study's model: what each is called, whether of pixels or of a block, and its passes of an image."""
        model, settings = self.own.model(self.own.study(question)), _settings(question)
        told = {}
        for name in methods_for(model):
            method = METHODS[name]
            passes = method.passes(settings, model.card.resolution)
            checks = trust.passes(name, settings, model.card.resolution)
            told[name] = {"label": method.label, "kind": method.kind, "signed": method.signed, "passes": passes, "checks": checks}
        return {"methods": told}, b""

    def _asked(self, question: Question, data: bytes, level: int) -> tuple[ProbedModel, Tensor, int]:
        """The question as a module, the image (1, 3, H, W) and its id."""
        study = self.own.study(question)
        arrays = load(data)
        model, readout, image = self.own.model(study), self.own.readout(study, question, arrays), arrays["image"]
        if not 0 <= level < len(readout.sigmas):
            raise InvalidRequest(f"level is {level}; allowed: 0 to {len(readout.sigmas) - 1}.")
        block = str(question["block"])
        weights = readout.probe(level, block)
        probed = ProbedModel(model, block, readout.sigmas[level], *weights, target=_target(question), condition=readout.condition)
        return probed, _tensor(image), int(image_ids(image[None])[0])

    def explain(self, question: Question, data: bytes) -> Steps:
        """A method's map at each of `levels`, over `draws` of ε: mean/…, spread/… and sure/… by level, one level after the other."""
        method, levels, draws = str(question["method"]), [int(level) for level in question["levels"]], int(question["draws"])
        if method not in METHODS:
            raise UnknownName("method", method, METHODS)
        if not levels or not 1 <= draws <= MOST_DRAWS:
            raise InvalidRequest(f"There are {len(levels)} levels and {draws} draws; allowed: at least one level, 1 to {MOST_DRAWS} draws.")
        found: dict[str, np.ndarray] = {}
        gaps: dict[str, float] = {}
        settings, seed = _settings(question), int(question.get("seed", 0))
        for at, level in enumerate(levels):
            probed, image, image_id = self._asked(question, data, level)
            settings = fitted(probed, image.to(probed.backend.device), method, settings)  # one batch size for all
            for drawn, told in enumerate(over_draws(probed, image, method, settings, image_id, draws, seed), start=1):
                found |= {f"mean/{level}": told.mean.cpu().numpy(), f"sure/{level}": told.sure.cpu().numpy()}
                if told.spread is not None:
                    found[f"spread/{level}"] = told.spread.cpu().numpy()
                if told.gap is not None:
                    gaps[str(level)] = told.gap
                done = at * draws + drawn
                if done < len(levels) * draws:
                    yield {"done": done, "of": len(levels) * draws, "gaps": gaps, "drawn": {"level": level, "draws": drawn}}, pack(found)
        return {"gaps": gaps}, pack(found)

    def examine(self, question: Question, data: bytes) -> Steps:
        """Every check of a method's map at one level, draw 0, one after the other (trust.examine)."""
        probed, image, image_id = self._asked(question, data, int(question["level"]))
        with torch.no_grad():
            x0 = probed.backend.encode(image.to(probed.backend.device))
        probed = probed.changed(eps=noise_like(x0, [image_id], int(question.get("seed", 0)), 0))
        untrained: Backend = self._untrained(self.own.study(question).facts["request"]["backend"]).at(probed.backend.precision)
        steps = trust.checks(probed, image, str(question["method"]), _settings(question), untrained)
        found = yield from relay(steps, lambda done: ({"done": done, "of": trust.CHECKS}, b""))
        return {"trust": found.to_dict()}, b""


def _tensor(image: np.ndarray) -> Tensor:
    """(h, w, 3) uint8 -> (1, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def _target(question: Question) -> Target:
    try:
        return Target.model_validate(question["target"])
    except ValidationError as error:
        raise InvalidRequest(f"The target {question['target']} is not one: {error.errors()[0]['msg']}.") from error


def _settings(question: Question) -> Settings:
    try:
        return Settings.model_validate(question.get("settings", {}))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InvalidRequest(f"{wrong['loc'][0]} of the settings is {wrong['input']!r}: {wrong['msg']}.") from error
