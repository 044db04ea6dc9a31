"""The wall of published curves, each with what it takes to measure it again."""

from __future__ import annotations

import os

import streamlit as st

from analysis.literature import CORE_GFLOPS, PUBLISHED, Again, Published, expected_seconds


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _facts(again: Again) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    seconds = expected_seconds(again, cores)
    size = "not known" if again.download_bytes is None else f"{again.download_bytes / 1e6:,.0f} MB"
    time = (
        "not known"
        if seconds is None
        else f"about {duration(seconds)} on this device's {cores} cores: {again.passes:,} passes of {again.gflop:g} GFLOP, estimated at "
        f"{CORE_GFLOPS:.0f} GFLOPS a core"
    )
    return [f"Checkpoint: {again.checkpoint}", f"Licence: {again.license}", f"Download: {size}", f"Time: {time}", again.note]


def _card(curve: Published) -> None:
    from analysis.wall import published_figure

    st.markdown(f"**{curve.title}**")
    st.plotly_chart(published_figure(curve), key=f"published-{curve.name}", alt=curve.finding, config={"displayModeBar": False})
    st.caption(f"{curve.finding} {curve.source}; {curve.protocol}.")
    with st.expander("Measure it yourself", icon=":material/science:"):
        st.markdown("\n".join(f"- {fact}" for fact in _facts(curve.again)))
        if curve.again.command:
            st.code(curve.again.command, language="bash", wrap_lines=True)


def show() -> None:
    """Draw the wall, two curves in a row."""
    st.subheader("Published, not measured here", anchor=False)
    st.caption("What others found in larger models, dashed because no number of it is ours. The dotted line is chance.")
    for pair in (PUBLISHED[:2], PUBLISHED[2:]):
        for place, curve in zip(st.columns(2, gap="large"), pair, strict=True):
            with place:
                _card(curve)
