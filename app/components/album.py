"""The images of a session: its own, which no other session sees and nothing keeps, and examples that come with a study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from analysis.studies import Study
from analysis.uploads import MAX_HELD
from app.components import asking

THUMB = 40  # pixels
TEST, GENERATED, UPLOADED, DRAWN, COMPOSED = "test image", "generated", "uploaded", "drawn here", "composed here"


@dataclass(frozen=True)
class Shot:
    """One image as it came, (h, w, 3) uint8: where from, what was done to it, and what is known of it."""

    name: str
    pixels: np.ndarray = field(repr=False)
    origin: str
    notes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)  # what is known of it, {label set: class}

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(repr(self.pixels.shape).encode() + self.pixels.tobytes()).hexdigest()[:16]

    @property
    def own(self) -> bool:
        return self.origin not in (TEST, GENERATED)


def mine() -> dict[str, Shot]:
    """The session's own images, by key, the newest first."""
    found: dict[str, Shot] = st.session_state.setdefault("album", {})
    return found


def add(shots: Sequence[Shot]) -> None:
    """Put images into the session, the first of them chosen; beyond 200 megapixels in all the oldest are let go."""
    kept, held = {}, 0
    for key, shot in ({shot.key: shot for shot in shots} | mine()).items():  # the newest first: the oldest make room
        held += shot.pixels.size // 3
        if held <= MAX_HELD or not kept:
            kept[key] = shot
    st.session_state["album"] = kept
    if shots:
        st.session_state["image-key"] = shots[0].key


def drop(key: str) -> None:
    """Take an image out of the session."""
    mine().pop(key, None)


def examples(study: Study, device: str) -> tuple[dict[str, Shot], asking.Asked]:
    """Images to begin with, as the worker gives them; none while it is on its way."""
    asked = asking.look({"ask": "examples", "study": study.key}, device, patience=2.0)
    if asked.answer is None:
        return {}, asked
    said, data = asked.answer
    own = study.facts["receipt"]["label_set"]
    origin = TEST if said["kind"] == "test" else GENERATED
    shots = [
        Shot(f"{origin} {name}" if origin == TEST else name, image, origin, labels={own: name} if origin == TEST else {})
        for name, image in zip(said["names"], load(data)["images"], strict=True)
    ]
    return {shot.key: shot for shot in shots}, asked


def choose(shots: dict[str, Shot], label: str = "Image") -> Shot:
    """Draw the row of pictures, one of which is chosen."""
    if st.session_state.get("image-key") not in shots:
        st.session_state["image-key"] = next(iter(shots))
    with st.container(key="pictures"):
        st.pills(
            label,
            list(shots),
            key="image-key",
            required=True,
            persist_state="session",
            format_func=lambda key: f"![{shots[key].name}]({thumb(shots[key])})",
        )
    return shots[st.session_state["image-key"]]


def thumb(shot: Shot) -> str:
    """The middle of an image, small, as a data URI."""
    known: dict[str, str] = st.session_state.setdefault("thumbs", {})
    if shot.key not in known:
        height, width = shot.pixels.shape[:2]
        step = max(1, min(height, width) // THUMB)
        edge = min(height, width) // step * step
        top, left = (height - edge) // 2, (width - edge) // 2
        known[shot.key] = panels.uri(shot.pixels[top : top + edge : step, left : left + edge : step], THUMB)
    return known[shot.key]
