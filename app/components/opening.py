"""What a link asks of the bench: model, data, run, block and level, the same on every page."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import streamlit as st

from analysis import catalog, dropped
from analysis.errors import NoisescopeError
from analysis.specs import Card
from analysis.store import default_root
from app.components import bench as lab
from app.components import bring
from app.components.runs import Run, study_of

CLAMPED = 0.05  # of log σ: further from a level of the model is said


def places(found: list[Run]) -> tuple[list[str], list[str]]:
    """Models and data sets to offer: those of the runs first."""
    mine = bring.mine()
    used = [run.place for run in found if run.request]
    used = [place for place in used if place[1] in mine or not dropped.is_dropped(place[1], default_root())]
    backends = list(dict.fromkeys([*(place[0] for place in used), *lab.models()]))
    datasets = list(dict.fromkeys([*(place[1] for place in used), *lab.data()]))
    return backends, datasets


def note(sentence: str) -> None:
    """What a link says wrong: it stands there, once, until another run is chosen."""
    said = st.session_state.setdefault("link_notes", [])
    if sentence not in said:
        said.append(sentence)


def notes() -> None:
    """Draw them."""
    shown = st.session_state.get("run")
    if st.session_state.setdefault("link_notes_of", shown) != shown:
        st.session_state["link_notes"] = []
    for sentence in st.session_state.get("link_notes", []):
        st.warning(sentence)


def from_link(found: list[Run]) -> None:
    """What the link says of model, data and run; where these contradict each other, the run is shown and that is said."""
    if "seen" in st.session_state:
        return
    st.session_state["seen"] = True
    query = st.query_params
    asked_for = study_of(query.get("run"))
    wanted = next((run for run in found if run.key == asked_for), None)
    if wanted:
        st.session_state["run"] = wanted.key
    elif "run" in query:
        note(f"The link asks for run {query['run']!r}, which is not in this store. Another is shown.")
        st.session_state["run"] = None
    for index, name in enumerate(("backend", "dataset")):
        given, own = query.get(name), wanted.place[index] if wanted else None
        if given and own and given != own:
            note(f"The link asks for {name} = {given!r} and for a run of {own!r}. The run is shown.")
        if own or given:
            st.session_state[name] = own or given
    if wanted and wanted.study:
        _block_and_level(query, wanted.study.card)
    elif given := query.get("backend"):
        with suppress(NoisescopeError, OSError):  # said where it is opened
            _block_and_level(query, catalog.card(given))


def _block_and_level(query: Any, card: Card) -> None:
    blocks = [block.name for block in card.every]
    if given := query.get("block"):
        if given in blocks:
            st.session_state["block"] = given
        else:
            note(
                f"The link asks for block = {given!r}, which {card.name} does not have; allowed: {', '.join(block.name for block in card.blocks)}."
            )
    if given := query.get("sigma"):
        try:
            wanted_sigma = float(given)
        except ValueError:
            wanted_sigma = math.nan
        if not (math.isfinite(wanted_sigma) and wanted_sigma > 0):
            note(f"The link asks for sigma = {given!r}; allowed: a number above 0. The peak is shown.")
            return
        place = min(range(len(card.sigmas)), key=lambda i: abs(math.log(card.sigmas[i] / wanted_sigma)))
        st.session_state["level"], st.session_state["level_of"] = place, lab.LINKED
        if abs(math.log(card.sigmas[place] / wanted_sigma)) > CLAMPED:
            note(f"The link asks for σ = {given}; the nearest level of {card.name}, σ = {card.sigmas[place]:.3g}, is shown.")
