"""How open a noise level still leaves the class: a finished sample noised back to it, many times, and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from analysis.deciding_panels import forks_figure
from analysis.figures import label
from analysis.studies import Study
from app.components import asking
from app.components.curve import toolbar
from app.components.decided import called, cost, listed
from app.components.looked import following, gallery, waiting
from app.components.way import Way, weak
from app.components.words import level as words

COUNT, LEVELS = 16, 8


def _move(levels: Sequence[Mapping[str, float]], sigmas: Sequence[float]) -> None:
    """The bench's noise level goes where the fork's does: there is one σ on the page."""
    wanted = levels[st.session_state["fork-level"]]["sigma"]
    st.session_state["level"] = min(range(len(sigmas)), key=lambda i: abs(math.log(sigmas[i] / wanted)))


def show(way: Way, members: Mapping[str, Study], sigma: float, axis: str, device: str, pace: asking.Asked) -> None:
    """Controls, cost and buttons; then what was asked for."""
    st.subheader("How open is a level?", anchor=False)
    st.markdown(
        "The finished picture is noised back to a level with new noise, 16 times, and each is generated from there. "
        "Where most keep the class, the level has it decided; where they do not, it was only this noise that led here."
    )
    levels = way.levels
    st.session_state["fork-level"] = level = way.nearest(sigma)
    prefix = {"timestep": "t", "sigma": "σ", "log_snr": "log-SNR"}[axis]
    st.select_slider(
        "Noise back to",
        range(len(levels)),
        key="fork-level",
        format_func=lambda i: f"{prefix} = {label(levels[i], axis)}",  # type: ignore[arg-type]
        on_change=_move,
        args=(levels, next(iter(members.values())).card.sigmas),
        help="The levels that the sampler visits, clean to noisy. It moves the noise level on the bench.",
    )
    over = sorted({round(i) for i in np.linspace(0, len(levels) - 1, LEVELS)})
    one, several = COUNT * (level + 1), COUNT * sum(i + 1 for i in over)
    st.caption(f"From here: {cost(one, pace)}. At {len(over)} levels: {cost(several, pace)}.")
    base = {name: value for name, value in way.question.items() if name != "ask"} | {"count": COUNT}
    with st.container(horizontal=True):
        if st.button(f"Generate {COUNT} from here", type="primary", icon=":material/fork_right:"):
            st.session_state["forking"] = base | {"ask": "fork", "sigma": levels[level]["sigma"]}
        if st.button("Share over noise", icon=":material/show_chart:", help=f"{COUNT} forks at each of {len(over)} levels."):
            st.session_state["sharing"] = base | {"ask": "forks", "sigmas": [levels[i]["sigma"] for i in over]}
    for what, draw in (("forking", _pictures), ("sharing", _shares)):
        question = st.session_state.get(what)
        if question and all(question.get(name) == value for name, value in base.items()):
            draw(way, members, question, axis, device)


def _pictures(way: Way, members: Mapping[str, Study], question: dict[str, Any], axis: str, device: str) -> None:
    asked = asking.look(question, device, patience=1.0)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        return
    if asked.answer is None:
        waiting(asked, f"{COUNT} pictures are being generated …")
        return
    said, arrays = asked.answer[0], load(asked.answer[1])
    names = list(said["own"])
    sigma = f"σ = {words(said['sigma'])}"
    tiles = [
        ("the sample", f"{way.name}: {listed([way.final(name) for name in names])}", panels.uri(way.image, 84)),
        (f"at {sigma}", "The first of them as the network is shown it", panels.uri(arrays["noised"][0], 84)),
    ]
    for index, image in enumerate(arrays["images"]):
        marks = [_mark(way, name, said["classes"][name][index], said["own"][name]) for name in names]
        about = listed([f"{'keeps' if keeps else 'changes'} its {called(name)}" for name, (_, keeps) in zip(names, marks, strict=True)])
        tiles.append(("\n".join(mark for mark, _ in marks), f"fork {index + 1} {about}", panels.uri(image, 84)))
    st.html(gallery(tiles, small=True))
    st.caption(f"{_kept(said, names)}. ✓ keeps the sample's class, ✗ does not.{weak(way, members)}")


def _mark(way: Way, name: str, read: int, own: int) -> tuple[str, bool]:
    return f"{'✓' if read == own else '✗'}\u00a0{way.told[name].classes[read]}", read == own


def _kept(said: Mapping[str, Any], names: list[str]) -> str:
    told = []
    for name in names:
        share, low, high = said["kept"][name]
        told.append(f"{round(share * COUNT)} of {COUNT} keep the {called(name)} ({100 * share:.0f} %, {100 * low:.0f} to {100 * high:.0f})")
    return f"From σ = {words(said['sigma'])}, {listed(told)}"


def _shares(way: Way, members: Mapping[str, Study], question: dict[str, Any], axis: str, device: str) -> None:
    asked = asking.look(question, device, patience=0.4)
    if asked.error:
        st.error(str(asked.error), icon=":material/error:")
        return
    if asked.answer is None:
        following(asked, "sharing", "Forks are being generated, one level after the other …", _rows_in)
    found = asked.answer or asked.so_far
    if found is None:
        return
    rows = sorted(found[0]["rows"], key=lambda row: row["sigma"])
    said = f"{way.name.capitalize()}, {COUNT} forks a level. {'; '.join(_halves(rows, name) for name in rows[0]['kept'])}."
    shown = [{**row, "kept": {called(name): kept for name, kept in row["kept"].items()}} for row in rows]
    st.plotly_chart(forks_figure(shown, way.levels, axis), key="shares", alt=said, config=toolbar())  # type: ignore[arg-type]
    st.caption(f"{said} Bars: 95 % intervals of {COUNT} forks; the same noises at every level.{weak(way, members)}")


def _rows_in(told: Mapping[str, Any]) -> int:
    return len(told.get("rows", ()))


def _halves(rows: list[dict[str, Any]], name: str) -> str:
    """Up to which level most forks keep the class, in words."""
    held = [row["sigma"] for row in rows if row["kept"][name][0] <= 0.5]
    if not held:
        return f"{called(name)}: more than half keep it at every level so far, up to σ = {words(rows[-1]['sigma'])}"
    below = [row["sigma"] for row in rows if row["sigma"] < held[0]]
    return f"{called(name)}: more than half keep it up to σ = {words(below[-1])}, no more at {words(held[0])}" if below else f"{called(name)}: half or fewer keep it already at σ = {words(held[0])}"  # fmt: skip
