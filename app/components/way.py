"""One sample on its way from noise to a picture, and what each question's probe says at every step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from analysis.deciding_player import Told, way_figure
from analysis.player import open_at
from analysis.studies import Study
from app.components import asking, decided, opening
from app.components.curve import TURN, toolbar
from app.components.decided import called, listed
from app.components.looked import percent, waiting
from app.components.words import level

SAMPLES, SEEDS = 1000, 2**31 - 1
KEYS = {"number": SAMPLES - 1, "seed": SEEDS}


@dataclass(frozen=True)
class Way:
    """A sample that was watched; everything σ ascending."""

    question: Mapping[str, Any]  # as the worker was asked
    levels: list[dict[str, float]]
    noisy: np.ndarray
    clean: np.ndarray
    image: np.ndarray  # (h, w, 3) uint8, finished
    told: Mapping[str, Told]
    beyond: list[bool]

    @property
    def name(self) -> str:
        return f"sample {self.question['number']} of seed {self.question['seed']}"

    def nearest(self, sigma: float) -> int:
        return min(range(len(self.levels)), key=lambda i: abs(math.log(self.levels[i]["sigma"] / sigma)))

    def final(self, name: str) -> str:
        """The class that the sample ends in."""
        one = self.told[name]
        return one.classes[int(one.values[0].argmax())]

    def settled(self, name: str) -> float:
        """The highest σ from which on that class is read."""
        read = self.told[name].values.argmax(1)
        other = np.flatnonzero(read != read[0])
        return self.levels[int(other[0]) - 1 if len(other) else -1]["sigma"]


def from_link() -> None:
    """Sample and seed as the link says at first; what cannot be is named."""
    for name, most in KEYS.items():
        if name in st.session_state:
            continue
        given, value = st.query_params.get(name), 0
        if given is not None:
            if given.isdecimal() and int(given) <= most:
                value = int(given)
            else:
                opening.note(f"The link asks for {name} = {given!r}; allowed: a whole number from 0 to {most}. 0 is shown.")
        st.session_state[name] = value


def _another() -> None:
    st.session_state["number"] = (int(st.session_state["number"]) + 1) % SAMPLES


def choose() -> tuple[int, int]:
    """Draw the controls; (number, seed)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.number_input("Sample", 0, SAMPLES - 1, key="number", width=150, persist_state="session")
        seed = st.number_input("Seed", 0, SEEDS, key="seed", width=150, help="Seed and number decide the noise.", persist_state="session")
        st.button("Another", icon=":material/casino:", on_click=_another)
    return int(number), int(seed)


def opened(question: Mapping[str, Any], answer: Any) -> Way:
    """The worker's answer, from clean to noisy."""
    said, arrays = answer[0], load(answer[1])
    asked = said["questions"]
    told = {name: Told(one["classes"], one["block"], arrays[f"told/{name}"][::-1]) for name, one in asked.items()}
    beyond = [any(marks) for marks in zip(*(one["outside"][::-1] for one in asked.values()), strict=True)]
    return Way(question, said["levels"][::-1], arrays["noisy"][::-1], arrays["clean"][::-1], arrays["x0"], told, beyond)


def sentence(way: Way) -> str:
    """The finding in words."""
    parts = []
    for name, one in way.told.items():
        settled, probability = way.settled(name), one.values[0].max()
        since = "at every level" if settled == way.levels[-1]["sigma"] else f"from σ = {level(settled)} on"
        parts.append(f"its {called(name)} is read as **{way.final(name)}** {since} ({percent(probability)} at the end)")
    return f"{way.name.capitalize()}: {listed(parts)}."


@st.cache_resource(show_spinner=False, max_entries=16)
def _figure(name: str, _way: Way, axis: str) -> Any:
    """The figure that plays: levels differ by little, and Plotly takes half a second to make it."""
    told = {called(name): one for name, one in _way.told.items()}
    return way_figure(_way.noisy, _way.clean, told, _way.levels, _way.beyond, axis)  # type: ignore[arg-type]


def weak(way: Way, members: Mapping[str, Study]) -> str:
    """Whose probe is often wrong, in words; nothing where none is."""
    right = {name: decided.right(members[name], one.block, way.levels[0]["sigma"]) for name, one in way.told.items()}
    poor = [f"the probe of {called(name)} is right on {100 * share:.0f} %" for name, share in right.items() if share < decided.SURE]
    return f" Not every probe is to be trusted: near the last level {listed(poor)} of test images." if poor else ""


def show(way: Way, members: Mapping[str, Study], sigma: float, axis: str) -> None:
    """The figure that plays, and all steps side by side."""
    first, said = way.nearest(sigma), sentence(way)
    with st.container(key="verdict-way"):
        st.markdown(said)
    alt = f"{said.replace('**', '')} Pictures and class probabilities at {len(way.levels)} noise levels."
    versions = [study.version for study in members.values()]
    figure = _figure(json.dumps([dict(way.question), versions, axis]), way, axis)
    with TURN:  # a figure is shared by all levels, and sent as it is at this moment
        open_at(figure, first)
        st.plotly_chart(figure, key="way", alt=alt, config=toolbar())
    st.caption(
        "Press ▶ or move the slider: nothing is asked of the server. Left: what the network is shown, and what it takes the finished picture "
        "to be. Right: what the probes of the nearest noise level say; ★ is the class that it ends in. Beyond the probes' levels the "
        "outermost probe stands in, and means little." + weak(way, members)
    )
    rows = {"shown": way.noisy, "denoised": way.clean}
    strip = panels.grid_figure(rows, way.levels, axis, (None, first), side=42)  # type: ignore[arg-type]
    low, high = way.levels[0]["sigma"], way.levels[-1]["sigma"]
    about = f"All {len(way.levels)} steps of {way.name}, σ = {high:.3g} (right) down to {low:.2g} (left): above, what the network is shown; below, what it takes the finished picture to be."
    st.plotly_chart(strip, key="steps", alt=about, config=toolbar())
    st.caption(about)


def wait(asked: asking.Asked, name: str) -> None:
    """While the worker starts, or where it failed."""
    if asked.error:
        st.error(str(asked.error), icon=":material/broken_image:")
        st.button("Try again", on_click=asking.forget)
        return
    with st.container(key="skeleton", height=200, border=True):
        waiting(asked, f"{name} is being opened. This takes a few seconds, once.")
