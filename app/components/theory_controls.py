"""The sliders of a mixture, and what a link says of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st

from analysis.errors import InvalidRequest
from analysis.theory import MoLRG
from app.components import link, opening


@dataclass(frozen=True)
class Slider:
    """A number that a slider and a link set."""

    label: str
    low: float
    high: float
    start: float
    step: float
    help: str = ""

    @property
    def whole(self) -> bool:
        return self.step == int(self.step)


SLIDERS = {
    "classes": Slider("Classes K", 2, 6, 3, 1),
    "d": Slider("Subspace dimension d", 1, 12, 5, 1, "Of every class; dimensions of their own are under More."),
    "n": Slider(
        "Ambient dimension n",
        4,
        200,
        50,
        1,
        "The subspaces have to fit into it. It changes no number but the trained denoisers': all else happens in their span.",
    ),
    "delta": Slider("Class-irrelevant noise δ", 0.02, 1.0, 0.2, 0.02, "How much of the other classes' subspaces is in every image."),
    "angle": Slider("Angle between subspaces θ", 5, 90, 90, 5, "Every principal angle, in degrees; 90: orthogonal, as the theorem has it."),
    "imbalance": Slider(
        "Largest class over smallest", 1, 10, 1, 0.5, "Proportions fall evenly from the first class to the last; 1: equal."
    ),
    "means": Slider("Distance of class means from 0", 0, 6, 0, 0.5, "0: the model. Above it, the negative control: separated classes."),
}
TEXTS = {"owndims": ("Own dimensions", "3,5,8"), "ownweights": ("Own proportions", ".2,.3,.5")}
INPUTS = {"noisy": "Noisy", "clean": "Clean"}


def choose() -> tuple[MoLRG, str]:
    """Draw the controls: the mixture, and its input. Raises InvalidRequest with what does not go together."""
    for name in SLIDERS:
        _start(name)
    for name in TEXTS:
        st.session_state.setdefault(name, st.query_params.get(name, ""))
    link.start("input", list(INPUTS), say=opening.note)
    columns = st.columns(3)
    for place, (name, one) in enumerate(SLIDERS.items()):
        kind = int if one.whole else float
        low, high, step = kind(one.low), kind(one.high), kind(one.step)
        columns[place % 3].slider(one.label, low, high, step=step, key=name, help=one.help or None, persist_state="session")
    with columns[1]:
        st.segmented_control("Input", list(INPUTS), required=True, format_func=INPUTS.__getitem__, key="input", persist_state="session")
    with columns[2].popover("More", icon=":material/tune:"):
        for name, (title, example) in TEXTS.items():
            st.text_input(title, key=name, placeholder=example, persist_state="session", help="One a class, with commas between.")
    for name, one in SLIDERS.items():
        value = st.session_state[name]
        link.put(name, f"{value:g}" if value != one.start else None)
    for name in TEXTS:
        link.put(name, st.session_state[name].strip() or None)
    return _spec(), link.keep("input", list(INPUTS))


def state() -> dict[str, str]:
    """The view, for a link, defaults too."""
    found = {name: f"{st.session_state[name]:g}" for name in SLIDERS}
    return found | {name: value for name in TEXTS if (value := st.session_state[name].strip())} | {"input": str(st.session_state["input"])}


def _start(name: str) -> None:
    """Start a slider at what the link says; what it cannot be is named."""
    one, given = SLIDERS[name], st.query_params.get(name)
    kind = int if one.whole else float
    if name in st.session_state:
        return
    value = one.start
    if given is not None:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not one.low <= value <= one.high or (one.whole and value != int(value)):
            allowed = f"{'a whole number' if one.whole else 'a number'} from {one.low:g} to {one.high:g}"
            opening.note(f"The link asks for {name} = {given!r}; allowed: {allowed}. The default is shown.")
            value = one.start
    st.session_state[name] = kind(value)


def _spec() -> MoLRG:
    chosen = st.session_state
    dims = tuple(_numbers("owndims", whole=True)) or (chosen["d"],) * chosen["classes"]
    return MoLRG(
        ambient=chosen["n"],
        dims=tuple(int(d) for d in dims),
        weights=tuple(_numbers("ownweights")) or _falling(len(dims), chosen["imbalance"]),
        delta=chosen["delta"],
        angle=float(chosen["angle"]),
        separation=chosen["means"],
    )


def _falling(count: int, ratio: float) -> tuple[float, ...]:
    """Proportions that fall by the same factor from class to class; none where they are equal."""
    if ratio == 1 or count < 2:
        return ()
    raw = [ratio ** (-k / (count - 1)) for k in range(count)]
    return tuple(value / sum(raw) for value in raw)


def _numbers(name: str, whole: bool = False) -> list[float]:
    given = st.session_state[name].strip()
    try:
        found = [float(part) for part in given.split(",") if part.strip()]
    except ValueError:
        found = [math.nan]
    if not all(math.isfinite(value) and abs(value) < 1e6 and (not whole or value == int(value)) for value in found):
        kind = "whole numbers" if whole else "numbers"
        raise InvalidRequest(f"{TEXTS[name][0]} is {given!r}; allowed: {kind} with commas between them, one a class.")
    return found
