"""Some images under a model at one block and level, whether or not anything was measured of it: what Ask's views are drawn of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load, save

from analysis import uploads
from analysis.specs import Block, Card
from app.components import adding, album, asking
from app.components.album import Shot
from app.components.looked import waiting

START = 0.3  # σ of the level that is shown at first, where no run says a better one


@dataclass(frozen=True)
class Scene:
    """What is asked about."""

    backend: str
    card: Card
    device: str
    block: str
    level: int  # index of card.sigmas
    axis: str
    shots: Mapping[str, Shot]  # by key, the session's own first
    images: Mapping[str, np.ndarray]  # by key, (side, side, 3) uint8: as the model reads them

    @property
    def sigma(self) -> float:
        return self.card.sigmas[self.level]

    def question(self, what: str, **more: Any) -> dict[str, Any]:
        """A question to the worker about this model."""
        return {"ask": what, "backend": self.backend, **more}

    def data(self, *keys: str) -> bytes:
        """What goes with it: images (n, side, side, 3) uint8, by key."""
        return save({"images": np.stack([self.images[key] for key in keys])})


def block_of(card: Card, chosen: str | None, measured: str | None) -> Block:
    """The block that is looked into: the chosen one, else the one that a run found best, else one two thirds along the way."""
    known = {block.name: block for block in card.every}
    return known.get(chosen or "") or known.get(measured or "") or card.blocks[2 * len(card.blocks) // 3]


def pictures(card: Card, backend: str, dataset: str, device: str) -> tuple[dict[str, Shot], dict[str, np.ndarray]] | None:
    """Where images are added, and all that there are: the session's own, then examples of the data; None while these are on their way."""
    way = "drop"
    if card.image_channels == 1:
        ways = {"drop": "Drop photos", "draw": "Draw"}
        way = st.segmented_control("Add an image", list(ways), required=True, default="drop", format_func=ways.__getitem__, key="ask-way")
    if way == "draw":
        adding.draw(card)
    else:
        adding.drop(card)
    asked = asking.look({"ask": "images", "backend": backend, "dataset": dataset}, device, patience=2.0)
    if asked.error:
        st.warning(f"There are no examples: {asked.error}", icon=":material/hide_image:")
    elif asked.answer is None:
        with st.container(key="skeleton", height=240, border=True):
            waiting(asked, f"{card.name} is being opened. This takes a few seconds, once.")
        return None
    examples = _examples(asked) if asked.answer else {}
    shots = album.mine() | {key: shot for key, shot in examples.items() if key not in album.mine()}
    return shots, {key: uploads.frame(shot.pixels, card.resolution, "crop") for key, shot in shots.items()}


def _examples(asked: asking.Asked) -> dict[str, Shot]:
    assert asked.answer is not None
    said, data = asked.answer
    shots = [
        Shot(f"{album.TEST} {i + 1}{f', {name}' if name else ''}", image, album.TEST)
        for i, (name, image) in enumerate(zip(said["names"], load(data)["images"], strict=True))
    ]
    return {shot.key: shot for shot in shots}
