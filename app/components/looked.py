"""An image under a study's model at one block and level, and what is said of it in words."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import save

from analysis.readout import softmax
from analysis.studies import Study
from app.components import asking

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Probes:
    """What reads images: a study's own probes, or those that were taught, which then go with every question."""

    study: Study
    classes: Sequence[str]
    arrays: Arrays = field(default_factory=dict)  # none for the study's own
    members: Mapping[str, str] = field(default_factory=dict)  # images that they were fitted with, by key, and their class

    def question(self, what: str, **more: Any) -> dict[str, Any]:
        """A question to the worker."""
        return {"ask": what, "study": self.study.key, **({"classes": list(self.classes)} if self.arrays else {}), **more}

    def data(self, image: np.ndarray) -> bytes:
        """What goes with it."""
        return save({"image": image, **self.arrays})


class AtLevel:
    """What is seen under a study's model at one of its levels."""

    study: Study
    level: int

    @property
    def levels(self) -> list[dict[str, float]]:
        return list(self.study.facts["levels"])

    @property
    def sigma(self) -> float:
        return self.levels[self.level]["sigma"]


@dataclass(frozen=True)
class Looked(AtLevel):
    """An image under a study's model, at one block and level."""

    study: Study
    image: np.ndarray  # (h, w, 3) uint8, as the model reads it
    name: str
    view: Arrays
    colours: Arrays  # of each block's features
    draws: Arrays | None  # over several ε, when it has come
    fit: Mapping[str, Any] | None
    block: str
    level: int
    axis: str
    label: str | None  # the class that is known of it
    probes: Probes  # what reads it

    @property
    def classes(self) -> list[str]:
        return list(self.probes.classes)

    @property
    def blocks(self) -> list[str]:
        return [block.name for block in self.study.card.every if f"map/{block.name}" in self.view]

    def told(self) -> np.ndarray:
        """Class probabilities (S, K) in the block: the mean over draws, of the one draw until that has come."""
        if self.draws is not None:
            return self.draws[f"mean/{self.block}"]
        return softmax(self.view[f"logits/{self.block}"])

    def ensemble(self) -> np.ndarray | None:
        return None if self.draws is None else self.draws[f"ensemble/{self.block}"]


def rank(fit: Mapping[str, Any]) -> str:
    """Where an image stands among held-out ones, in words."""
    return (
        "above all"
        if fit["percentile"] == 100
        else "below all"
        if fit["percentile"] == 0
        else f"above {fit['percentile']:.{1 if fit['percentile'] > 99 or fit['percentile'] < 1 else 0}f} %"
    )


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def fingerprint(data: bytes) -> str:
    """The same for the same bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def sentence(looked: Looked) -> str:
    """The finding in words."""
    told = looked.told()[looked.level]
    best = int(told.argmax())
    said = f"At σ = {looked.sigma:.2g} block {looked.block} reads this image as **{looked.classes[best]}** ({percent(told[best])})"
    if looked.label is not None:
        said += ", which it is" if looked.label == looked.classes[best] else f"; it is **{looked.label}**"
    changes = [
        looked.classes[k] for k, before in zip(looked.told().argmax(1)[1:], looked.told().argmax(1)[:-1], strict=True) if k != before
    ]
    times = f"{len(changes)} times" if len(changes) > 1 else "once"
    settled = f"over the levels the reading changes {times}" if changes else "the reading is the same at every level"
    return f"{said}; {settled}."


def gallery(tiles: list[tuple[str, str, str]], small: bool = False) -> str:
    """Pictures (name, what it is, data URI) side by side, as HTML."""
    figures = [
        f'<figure><img src="{uri}" alt="{html.escape(f"{name}: {about}" if about else name)}"><figcaption title="{html.escape(about)}">'
        f"{html.escape(name)}</figcaption></figure>"
        for name, about, uri in tiles
    ]
    return f'<div class="tiles{" small" if small else ""}">{"".join(figures)}</div>'


def chosen_class(looked: Looked) -> int:
    """The class that maps are of: the one that is chosen, else the one that is read."""
    chosen = st.session_state.get("class")
    return looked.classes.index(chosen) if chosen in looked.classes else int(looked.told()[looked.level].argmax())


def plain(text: str) -> str:
    return text.replace("**", "")


def waiting(asked: asking.Asked, words: str) -> None:
    """Say that an answer is on its way, and draw the page anew when it is there."""

    @st.fragment(run_every=0.3)
    def poll() -> None:
        if asked.ended.is_set():
            st.rerun()
        if share := asked.look():
            st.progress(share, text=words)
        else:
            st.caption(words)

    poll()


def following(
    asked: asking.Asked, what: str, words: str, come: Callable[[Mapping[str, Any]], int], stop: Callable[[], Any] = lambda: None
) -> None:
    """Progress and Cancel; the page is drawn anew when more has come, which `come` tells of what is there so far.

    Cancel forgets `what` of the session, and calls `stop`.
    """

    def so_far() -> int:
        return come(asked.so_far[0]) if asked.so_far else -1

    before = so_far()

    @st.fragment(run_every=0.4)
    def follow() -> None:
        if asked.ended.is_set() or so_far() != before:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(asked.look(), text=str(asked.so_far[0].get("doing", words)) if asked.so_far else words)
            if st.button("Cancel", icon=":material/stop:", key=f"stop-{what}"):
                asked.wanted = False
                st.session_state.pop(what, None)
                stop()
                st.rerun()

    follow()
