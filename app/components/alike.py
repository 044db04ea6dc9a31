"""Which blocks, levels and models see alike: CKA and mutual neighbours, and two maps side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import map_numbers
from analysis.studies import Study
from app.components import link, onemap, opening
from app.components.atlas import METHODS, Drawn, Taken, View, made
from app.components.curve import toolbar
from app.components.panes import cells, titles

OVER = {"blocks": "Blocks at this level", "levels": "Levels of this block"}
ITSELF, RANDOM = "itself", "random"
LINKED = ("over", "with", "pair")  # what a link says of this view
Cells = dict[str, tuple[str, int]]


def comparable(study: Study, other: Study) -> bool:
    """Whether another run is of another model on the same images."""
    mine, theirs = study.facts["receipt"], other.facts["receipt"]
    return bool(mine["dataset_identity"] == theirs["dataset_identity"] and mine["revision"] != theirs["revision"])


def of_other(view: View, other: Study, over: str) -> Cells:
    """The cells of another model that stand beside those of this, by what stands above them."""
    found = map_numbers.beside(other, over, view.block, view.sigma)
    names = [block for block, _ in found] if over == "blocks" else titles(other.facts["levels"], view.axis)
    return dict(zip(names, found, strict=True))


def _names(others: Sequence[Study]) -> dict[str, str]:
    """With what a model is compared, in words."""
    models = {study.key: f"{study.card.name}, run {study.key[:6]}" for study in others}
    return {ITSELF: "itself", RANDOM: "the same network, untrained", **models}


def from_link(others: Sequence[Study]) -> None:
    """What the link asks to compare; what is not there is said."""
    link.start("over", list(OVER), say=opening.note)
    link.start("with", list(_names(others)), say=opening.note)
    for name, allowed in (("over", list(OVER)), ("with", list(_names(others)))):
        link.keep(name, allowed)


def show(view: View, others: Sequence[Study]) -> Taken | None:
    """Draw the matrices; a click on a cell, or a choice of two, shows their maps side by side."""
    names = _names(others)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control("Compare", list(OVER), required=True, format_func=OVER.__getitem__, key="over", persist_state="session")
        st.selectbox("With", list(names), key="with", format_func=names.__getitem__, width=280, persist_state="session")
    over, beside = link.keep("over", list(OVER)), link.keep("with", list(names))
    other = next((study for study in others if study.key == beside), view.study)
    rows = cells(view, over)
    columns = rows if other is view.study else of_other(view, other, over)
    question = view.question("alike", dims=2, seed=0, cells=list(rows.values()), other=list(columns.values()))
    if beside != ITSELF:
        question["beside"] = beside
    found = made(
        question, view.device, f"alike-{over}", f"Images are to be read for {len(rows)} cells, and for those they are compared with."
    )
    if found is None:
        return None
    pair, arrays = _pair(list(rows), list(columns), f"pair-{over}-{beside}"), load(found[1])
    _matrices(arrays, (list(rows), list(columns)), pair, f"{over}-{beside}", beside == ITSELF)
    if other is not view.study:
        sigma = other.facts["levels"][next(iter(columns.values()))[1]]["sigma"]
        st.caption(
            f"Rows: {view.study.card.name}; columns: {other.card.name}"
            + (f" at its nearest level, σ = {sigma:.2g}." if over == "blocks" else ".")
        )
    if pair is not None:
        if beside == RANDOM:
            st.caption("Both maps are of the trained network: an untrained one has none.")
        _side_by_side(view, other, (rows[pair[0]], columns[pair[1]]), pair)
    both = list(rows.values()), list(columns.values())
    theirs = other.facts["receipt"]
    revision = f", {theirs['model']}, {theirs['revision']}" if other is not view.study else ""
    return Taken(
        f"alike-{over}-{beside}",
        lambda: map_numbers.alike(*both, arrays, view.levels, other.facts["levels"]),
        [("compared", f"{OVER[over].lower()}, with {names[beside]}{revision}"), ("neighbours", f"15, {view.settings['metric']} distance")],
        ("--show", "alike", "--over", over, *(() if beside == ITSELF else ("--with", beside)), "--metric", view.settings["metric"]),
        {"over": over, "with": beside, **({"pair": link.said("pair")} if pair else {})},
    )


def _pair(rows: list[str], columns: list[str], key: str) -> tuple[str, str] | None:
    """Draw the choice of two cells, which a click on a matrix makes too; a link names them by their places, from 0."""
    taken = st.session_state.pop(f"{key}-clicked", None)
    given = st.query_params.get("pair")
    if given is not None and "pair-read" not in st.session_state:
        places = [int(place) for place in given.split(",") if place.isdecimal()]
        if len(places) == 2 and places[0] < len(rows) and places[1] < len(columns):
            taken = places
        else:
            opening.note(
                f"The link asks for pair = {given!r}; allowed: two places, to {len(rows) - 1} and {len(columns) - 1}. None is shown."
            )
    st.session_state["pair-read"] = True  # what the link says is read once
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = []
        for side, names in (("Map of", rows), ("beside that of", columns)):
            name = f"{key}-{side}"
            if taken:
                st.session_state[name] = (rows, columns)[len(chosen)][taken[len(chosen)]]
            if st.session_state.get(name) not in [None, *names]:
                st.session_state[name] = None
            chosen.append(st.selectbox(side, names, index=None, key=name, placeholder="none", width=200))
    pair = (chosen[0], chosen[1]) if chosen[0] and chosen[1] else None
    link.put("pair", f"{rows.index(pair[0])},{columns.index(pair[1])}" if pair else None)
    return pair


def _matrices(arrays: Any, names: tuple[list[str], list[str]], pair: tuple[str, str] | None, key: str, same: bool) -> None:
    from analysis import map_panels

    titles = {
        "cka": ("Linear CKA", "CKA", "1 where the features are the same up to rotation and scale, 0 where they share nothing; unbiased."),
        "mutual": ("Mutual neighbours", "share", "Share of the 15 nearest that both have in common."),
    }
    for column, (name, (title, bar, about)) in zip(st.columns(2), titles.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            says = _sentence(arrays[name], *names, same)
            figure = map_panels.heat(arrays[name], *names, bar, pair)
            event: Any = st.plotly_chart(
                figure,
                key=f"{name}-{key}",
                alt=f"{title}: {says}",
                config=toolbar(),
                on_select="rerun",
                selection_mode="points",
                height=440,
            )
            _taken(event, f"{name}-{key}", f"pair-{key}-clicked")
            st.caption(f"{about} {says} A click on a cell shows its two maps.")


def _taken(event: Any, name: str, target: str) -> None:
    points = event.selection.points if event else []
    if not points:
        return
    pair = (int(points[0]["y"]), int(points[0]["x"]))
    if st.session_state.get(f"taken-{name}") != pair:
        st.session_state[f"taken-{name}"] = st.session_state[target] = pair
        st.rerun()


def _sentence(matrix: np.ndarray, rows: list[str], columns: list[str], same: bool) -> str:
    """The pair that is most alike and least, in words."""
    known = np.where(np.isfinite(matrix), matrix, np.nan)
    if same:
        known = np.where(np.eye(len(rows), dtype=bool), np.nan, known)
    if not np.isfinite(known).any():
        return "There is nothing to compare: one cell alone, or features that do not vary."
    high, low = (np.unravel_index(find(known), known.shape) for find in (np.nanargmax, np.nanargmin))
    most, least = (f"{rows[at[0]]} and {columns[at[1]]} ({known[at]:.2f})" for at in (high, low))
    return f"Most alike are {most}, least {least}."


def _side_by_side(view: View, other: Study, pair: tuple[tuple[str, int], tuple[str, int]], names: tuple[str, str]) -> None:
    """Two maps of the same images; what is selected on one is ringed on the other."""
    for side, (column, study, (block, level), name) in enumerate(zip(st.columns(2), (view.study, other), pair, names, strict=True)):
        with column:
            there = replace(view, study=study, block=block, level=level)
            question = there.question("map", dims=2, method=view.method, **there.cell)
            found = made(question, view.device, f"side-{side}", f"The map of {name} is to be made.")
            if found is None:
                continue
            arrays = load(found[1])
            drawn = Drawn(view.method, arrays["layout"], found[0]["classes"], arrays)
            points = onemap.points_of(there, drawn, str(st.session_state.get("colour", "")), None)
            alt = f"{METHODS[view.method]} of {view.what} in block {block} at σ = {there.sigma:.2g}."
            st.markdown(f"**{name}**")
            onemap.flat(there, points, f"side-{side}", None, alt, height=420)
            st.caption(alt)
