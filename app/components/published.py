"""The wall of published curves, each with what it takes to measure it again."""

from __future__ import annotations

import os

import streamlit as st

from analysis.literature import CORE_GFLOPS, PUBLISHED, Again, Published, expected_seconds
from app.components.words import duration, size


def _facts(again: Again) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = expected_seconds(again, cores)
    work = f"{again.images:,} images × {again.levels} noise levels × {again.draws} draws of noise = {again.passes:,} passes"
    time = (
        f"not known; {work}"
        if seconds is None
        else f"about {duration(seconds)} for the network alone on this device's {cores} cores without a GPU, an estimate: {work} of "
        f"{again.gflop:g} GFLOP, at the {CORE_GFLOPS:.0f} GFLOPS a core of the machine this was developed on"
    )
    download = size(again.download_bytes)
    return [f"Checkpoint: {again.checkpoint}. Licence: {again.license}", f"Download: {download}", f"Time: {time}", again.note]


def _commands(again: Again) -> None:
    if again.today:
        st.caption("Works today: train a model of this project's own, then measure it.")
    for command in again.today:
        st.code(command, language="bash", wrap_lines=True)
    if again.command:
        st.caption("Needs a later version, which opens the checkpoint above:")
        st.code(again.command, language="bash", wrap_lines=True)


def _card(curve: Published) -> None:
    from analysis.wall import published_figure

    st.markdown(f"**{curve.title}**")
    st.plotly_chart(published_figure(curve), key=f"published-{curve.name}", alt=curve.finding, config={"displayModeBar": False})
    st.caption(f"{curve.finding} {curve.paper}: {curve.source}; {curve.protocol}.")
    with st.expander("Measure it yourself", icon=":material/science:"):
        st.markdown("\n".join(f"- {fact}" for fact in _facts(curve.again)))
        _commands(curve.again)


def show() -> None:
    """Draw the wall, two curves in a row."""
    st.subheader("Published, not measured here", anchor=False)
    st.caption("What others found in larger models, dashed because no number of it is ours. The dotted line is chance.")
    for pair in (PUBLISHED[:2], PUBLISHED[2:]):
        for place, curve in zip(st.columns(2, gap="large"), pair, strict=True):
            with place:
                _card(curve)
