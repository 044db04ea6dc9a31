"""A study's maps as a page asks for them: which images, which cell, which layout; and what the worker has found of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from safetensors.numpy import load

from analysis import map_table, map_words
from analysis.lane import Answer
from analysis.map_words import METHODS
from analysis.studies import Study
from app.components import asking, link, opening
from app.components.looked import AtLevel, following, waiting
from app.components.words import duration

MOMENT = 10.0  # seconds that something may take without being asked for
COUNTS = ("2000", "500", "1000", "5000", "10000", "all")
METRICS = {"cosine": "cosine", "l2": "ℓ2"}
CHOICES: dict[str, tuple[str, ...]] = {
    "layout": tuple(METHODS),
    "dims": ("2", "3"),
    "images": COUNTS,
    "distance": tuple(METRICS),
}  # what a link says of a map, besides
SEED, SEEDS = "map-seed", 10_000
ALL = 1_000_000


@dataclass(frozen=True)
class View(AtLevel):
    """What is on screen: n images in one cell of a study."""

    study: Study
    device: str
    block: str
    level: int
    axis: str
    settings: Mapping[str, Any]  # of every question: count, metric, dims, seed
    method: str
    kind: str  # "test" | "generated"
    of: int  # how many images there are
    blocks: Sequence[str]
    root: tuple[str, int]
    ids: np.ndarray  # (n,) uint64
    images: np.ndarray  # (n, h, w, 3) uint8
    labels: Mapping[str, tuple[Sequence[str], np.ndarray]]

    @property
    def label_set(self) -> str | None:
        """The study's own, where its labels are known of these images."""
        name = str(self.study.facts["receipt"]["label_set"])
        return name if name in self.labels else None

    @property
    def cell(self) -> dict[str, Any]:
        return {"block": self.block, "level": self.level}

    @property
    def what(self) -> str:
        """The images in words."""
        return map_words.images(len(self.ids), self.kind)

    def laid(self, method: str, dims: int, plain: str | None = None) -> map_words.Facts:
        """How maps are laid out, for a receipt."""
        root = f"block {self.root[0]} at σ = {self.levels[self.root[1]]['sigma']:.3g}"
        return map_words.laid(method, {**self.settings, "dims": dims}, root, plain)

    def words(self, method: str, dims: int) -> tuple[str, ...]:
        """The same, for the command line."""
        settings = self.settings
        return ("--method", method, "--dims", str(dims), "--metric", settings["metric"], "--seed", str(settings["seed"]))

    def question(self, what: str, **more: Any) -> dict[str, Any]:
        """A question to the worker."""
        return {"ask": what, "study": self.study.key, **self.settings, **more}


@dataclass(frozen=True)
class Drawn:
    """A map that is there, and what the probes of its cell read."""

    method: str
    layout: np.ndarray  # (n, dims)
    classes: Sequence[str]  # that the probes know
    arrays: Mapping[str, np.ndarray]
    shows: float | None = None  # of a PCA: the share of the variance
    plain: str | None = None  # why what should be a UMAP is a PCA: "few" images, or all "alike"

    @property
    def probabilities(self) -> np.ndarray | None:
        """(n, K), of `classes`."""
        return self.arrays.get("probabilities")


@dataclass(frozen=True)
class Taken:
    """What a view of many maps offers to take along: its numbers, and what its receipt, link and command line say besides."""

    name: str
    table: Callable[[], pd.DataFrame]
    facts: map_words.Facts
    words: Sequence[str]  # of the command line, with `--show` what
    link: Mapping[str, str] = field(default_factory=dict)
    picture: Callable[[], str] | None = None  # as SVG, where the browser makes none


def table(view: View, found: Drawn) -> pd.DataFrame:
    """A row an image: where it lies, what it is, what it is read as."""
    return map_table.table(view.ids, found.layout, view.label_set, view.labels, found.classes, found.probabilities)


def from_link() -> None:
    """What the link asks of the layouts; what is not there is said."""
    for name, allowed in CHOICES.items():
        link.start(name, allowed, say=opening.note)
    if SEED not in st.session_state:
        given = st.query_params.get(SEED, "0")
        known = given.isdecimal() and int(given) < SEEDS
        st.session_state[SEED] = int(given) if known else 0
        if not known:
            opening.note(f"The link asks for {SEED} = {given!r}; allowed: 0 to {SEEDS - 1}. 0 is used.")


def settings(what: str) -> tuple[dict[str, Any], str]:
    """Draw the controls that a view has use for; what goes with every question, and the method."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if what != "content":
            st.segmented_control(
                "Layout", list(METHODS), required=True, format_func=METHODS.__getitem__, key="layout", persist_state="session"
            )
        if what in ("map", "trust"):
            st.segmented_control("Dimensions", ["2", "3"], required=True, key="dims", persist_state="session")
        st.selectbox(
            "Images",
            list(CHOICES["images"]),
            key="images",
            format_func=lambda n: n if n == "all" else f"{int(n):,}",
            width=110,
            persist_state="session",
        )
        with st.popover("More", icon=":material/tune:"):
            st.segmented_control(
                "Distance", list(METRICS), required=True, format_func=METRICS.__getitem__, key="distance", persist_state="session"
            )
            st.number_input(
                "Seed",
                0,
                SEEDS - 1,
                key=SEED,
                persist_state="session",
                help="Another seed gives another UMAP of the same neighbours: what changes with it is not in the features.",
            )
    for name, allowed in CHOICES.items():
        link.keep(name, allowed)
    state = st.session_state
    link.put(SEED, str(state[SEED]) if state[SEED] else None)
    count = ALL if state["images"] == "all" else int(state["images"])
    return {"count": count, "dims": int(state["dims"]), "metric": state["distance"], "seed": int(state[SEED])}, str(state["layout"])


def view(study: Study, block: str, level: int, axis: str, device: str, what: str) -> View | None:
    """The images and what is known of them, or None while they are on their way; `what` is asked of the maps."""
    chosen, method = settings(what)
    asked = asking.look({"ask": "shown", "study": study.key, "count": chosen["count"]}, device, patience=2.0)
    found = ended(asked, f"{study.card.name} is being opened. This takes a few seconds, once.")
    if found is None:
        return None
    said, arrays = found[0], load(found[1])
    labels = {name: (classes, arrays[f"labels/{name}"]) for name, classes in said["classes"].items()}
    if block not in said["blocks"]:
        why = (
            "its generated images' features are kept of one block alone"
            if said["kind"] == "generated"
            else "it was not measured in this run"
        )
        st.info(f"There is no map of block {block}: {why}. Block {said['root'][0]} is shown.", icon=":material/info:")
        block = said["root"][0]
    return View(
        study=study,
        device=device,
        block=block,
        level=level,
        axis=axis,
        settings=chosen,
        method=method,
        kind=said["kind"],
        of=said["of"],
        blocks=said["blocks"],
        root=(str(said["root"][0]), int(said["root"][1])),
        ids=arrays["ids"],
        images=arrays["images"],
        labels=labels,
    )


def ended(asked: asking.Asked, words: str) -> Answer | None:
    """The answer; until it is there, that it is on its way, or what is wrong."""
    if asked.error:
        st.error(str(asked.error), icon=":material/broken_image:")
        st.button("Try again", on_click=asking.forget, key=f"again-{words[:24]}")
        return None
    if asked.answer is None:
        with st.container(key="skeleton", height=420, border=True):
            waiting(asked, words)
    return asked.answer


def made(question: dict[str, Any], device: str, key: str, words: str, patience: float = 0.6, quiet: bool = False) -> Answer | None:
    """The answer to what may take long: made at once where that takes a moment, else offered with what it costs; None until then.

    `quiet` leaves out the frame that stands where a figure will be.
    """
    wanted: dict[str, bool] = st.session_state.setdefault("map-wanted", {})  # whether what was asked or cancelled is to be made
    name = f"{key}:{sorted(question.items())}"
    if not wanted.get(name, True):
        _offer(words, "It was cancelled; what is done is kept.", key, name, wanted)
        return None
    asked = asking.look(question | {"most": None if name in wanted else MOMENT}, device, patience=patience)
    going: dict[str, asking.Asked] = st.session_state.setdefault("map-going", {})
    before, going[key] = going.get(key), asked
    if before is not None and before is not asked and not before.ended.is_set():  # a cell that was left
        before.wanted = False
    if asked.error:
        st.error(str(asked.error), icon=":material/broken_image:")
        st.button("Try again", on_click=asking.forget, key=f"again-{key}")
        return None
    if asked.answer is None:
        with st.container() if quiet else st.container(key=f"skeleton-{key}", height=420, border=True):
            following(asked, f"map-{key}", words, lambda told: 0, lambda: wanted.update({name: False}))
        return None
    if "seconds" in asked.answer[0]:
        said = asked.answer[0]
        parts = [f"{said['passes']:,} passes of an image"] if said["passes"] else []
        parts += [f"{said['layouts']:,} layouts"] if said["layouts"] else []
        cost = f"This takes {' and '.join(parts)}, about {duration(max(1.0, said['seconds']))}, once: it is kept."
        _offer(words, cost, key, name, wanted)
        return None
    return asked.answer


def _offer(words: str, cost: str, key: str, name: str, wanted: dict[str, bool]) -> None:
    """What may be made, what it costs, and the button."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"{words} {cost}", icon=":material/hourglass_top:")
        st.button("Make it", type="primary", key=f"make-{key}", on_click=wanted.update, args=({name: True},))
