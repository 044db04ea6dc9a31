"""A job that is not a study (yet): how far it is, the points so far, and what one can do."""

from __future__ import annotations

import math
import time
from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import Job
from analysis.studies import UNFINISHED
from app.components import asking
from app.components.curve import toolbar
from app.components.runs import jobs, progress, submit, trying

EVERY = 1.0  # seconds
AFTER = 5.0  # seconds in which the last points of a job that was cancelled may still come
LOWEST, HIGHEST = 0.01, 20.0  # σ, of the axis while levels are still to come


def show(job: Job, axis: str) -> None:
    """Draw the job; while it is at work, and a little longer, the page follows it by itself."""
    following = _moves(job)
    st.fragment(_draw, run_every=EVERY if following else None)(job.id, axis, job.state, following)


def _moves(job: Job) -> bool:
    return job.active or time.time() - (job.finished or 0) < AFTER


def _draw(id: str, axis: str, before: str, following: bool) -> None:
    try:
        job = jobs().get(id)
    except NoisescopeError as error:  # locked for a moment, or deleted by another person
        st.warning(str(error), icon=":material/hourglass_empty:")
        return
    if job.state != before:
        asking.forget()
        st.rerun()
    if following and not _moves(job):
        st.rerun()
    _state(job)
    table = points(job)
    if table is not None:
        _figure(table, axis, job)
    elif job.active:
        st.container(key="skeleton", height=360, border=True).caption("The first points come when the first noise level is done.")
    if job.state == "running":
        _strip(job)


def _strip(job: Job) -> None:
    """One image at the run's levels, which the worker answers between two batches: what is being measured."""
    try:
        told = asking.answer({"ask": "strip", "request": job.request.canonical()}, job.device)
    except NoisescopeError:  # the job itself will say what is wrong
        return
    if told is None:
        return
    known, picture = told
    low, high = (known["sigmas"][place] for place in (0, -1))
    says = (
        f"A test image, {known['label']}, at the {len(known['sigmas'])} noise levels of this run, σ = {low:.2g} to {high:.2g}. "
        "Above: what the network is shown. Below: what it takes the clean image to be."
    )
    with st.container(key="strip"):
        st.image(picture, width="stretch", alt=says)
    st.caption(says)


def _state(job: Job) -> None:
    if job.active:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(job.done / job.total if job.total else 0.0, text=f"{progress(job)}{': ' + job.message if job.message else ''}")
            if cancel(job):
                st.rerun()
        return
    if job.state == "failed":
        st.error(job.reason or "It failed.", icon=":material/error:")
    else:
        st.info(
            f"Cancelled after {job.done} of {job.total} parts. What is done is kept: running it again goes on from there.",
            icon=":material/stop_circle:",
        )
    if again(job):
        st.rerun()


def again(job: Job) -> bool:
    """A button that asks for the same once more: what is stored is not computed again."""
    return st.button("Run again", icon=":material/replay:", key=f"again-{job.id}", on_click=trying, args=(submit, job.request, job.device))


def cancel(job: Job) -> bool:
    """A button that cancels a job; what is stored stays."""
    return st.button("Cancel", icon=":material/stop:", key=f"cancel-{job.id}", on_click=trying, args=(jobs().cancel, job.id))


def points(job: Job) -> Any | None:
    """The points so far, tidy, or None."""
    import pandas as pd

    try:
        return pd.read_parquet(jobs().folder(job.id) / UNFINISHED)
    except OSError:  # not there yet, or its study has just taken its place
        return None


def _figure(table: Any, axis: str, job: Job) -> None:
    from analysis import encoder_curves, figures

    known = list(dict.fromkeys(table.labels_per_class))
    shown = (
        st.segmented_control("Labels per class", known, default=known[0], required=True, key=f"labels-{job.id}")
        if len(known) > 1
        else known[0]
    )
    table = table[table.labels_per_class == shown]
    pooling = job.request.poolings[0]
    table = table[table.pooling.isin(["flat", pooling])]
    model = table[table.source == "model"]
    if not len(model):
        return
    levels = model[["sigma", "timestep", "log_snr"]].drop_duplicates().sort_values("sigma").to_dict("records")
    best = model.groupby("block").validation_accuracy.mean().idxmax()
    says = f"{len(levels)} noise {'level' if len(levels) == 1 else 'levels'} so far, {shown} labels a class; block {best} reads best on validation images."
    figure = encoder_curves.add_encoders(figures.blocks_figure(table, levels, axis, f"model/{best}/{pooling}"), table, levels)
    figure.update_xaxes(range=[math.log10(job.request.sigmas[0] if job.request.sigmas else LOWEST) - 0.1, math.log10(HIGHEST) + 0.1])
    st.plotly_chart(figure, key=f"partial-{job.id}", alt=says, config=toolbar())
    st.caption(
        f"{says} {'These points are not final: draws are still to come, and' if job.active else 'Not a finished run:'} there is no verdict."
    )
