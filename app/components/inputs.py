"""Clean against noisy input: the same network, block and labels, once shown x_σ and once x_0."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.components.curve import Result, toolbar
from app.components.runs import Run, asked, submit, trying

NO_EPS = {"ensemble": 0, "fuse": 0, "average_draws": 1}  # clean input has no ε to draw again
OTHER = {"noisy": "clean", "clean": "noisy"}


def show(run: Run, here: list[Run], device: str, result: Result, shown: Mapping[str, str]) -> None:
    """Draw both curves, or offer to measure the one that is not there."""
    wanted = asked(run).model_copy(update={"input": OTHER[run.request["input"]], **NO_EPS})
    done = (found for found in here if found.study and found.state == "done")
    other = next((found for found in done if asked(found).model_copy(update=NO_EPS) == wanted.model_copy(update=NO_EPS)), None)
    if other is None or other.study is None or run.study is None:
        st.info(
            f"This run showed the network the {run.request['input']} image at every noise level. Shown the {wanted.input} one, "
            "it may read differently; that has not been measured yet.",
            icon=":material/science:",
        )
        label = f"Measure the {wanted.input} input"
        st.button(label, type="primary", icon=":material/play_arrow:", key="measure-input", on_click=trying, args=(submit, wanted, device))
        return
    from analysis import figures

    both = {found.request["input"]: found.study.table("curve") for found in (run, other) if found.study}
    rows = {name: figures.pick(table[table.labels_per_class == shown["labels"]], result["headline"]) for name, table in both.items()}
    noisy, clean = rows["noisy"], rows["clean"]
    if not (len(noisy) and len(clean)):
        st.info("This block could not be probed under both inputs: the receipts of the two runs say why.", icon=":material/block:")
        return
    gap = (noisy.accuracy.to_numpy() - clean.accuracy.to_numpy()).max()
    block = result["headline"].split("/")[1]
    says = (
        f"Block {block}: shown the noised image it reads {noisy.accuracy.max():.1%} at best, shown the clean one {clean.accuracy.max():.1%}; "
        f"the noised image gains at most {100 * gap:+.1f} points at any one level."
    )
    st.plotly_chart(figures.inputs_figure(rows, run.study.facts["levels"], shown["axis"]), key="figure-input", alt=says, config=toolbar())
    st.caption(says)
