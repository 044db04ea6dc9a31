"""One block read through every pooling that was measured."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from analysis.studies import Study
from app.components.curve import Result, toolbar
from app.components.words import pooling as said


def show(study: Study, result: Result, shown: Mapping[str, str]) -> None:
    """Draw the curves of the block that is shown."""
    from analysis.view_figures import poolings_figure

    block, table = result["headline"].split("/")[1], study.table("curve")
    table = table[table.labels_per_class == shown["labels"]]
    mine = table[(table.source == "model") & (table.block == block)]
    there = [name for name in study.facts["request"]["poolings"] if (mine.pooling == name).any()]
    chosen = [
        mine.loc[mine[mine.pooling == name].validation_accuracy.idxmax()] for name in there
    ]  # validation images choose each one's level
    best = max(chosen, key=lambda row: row.validation_accuracy)
    rest = [row.accuracy for row in chosen if row.pooling != best.pooling]
    others = f"; the others reach {', '.join(f'{value:.1%}' for value in rest)} at theirs" if rest else ""
    says = (
        f"Block {block}, read through {len(there)} poolings: {said(best.pooling)} is best on validation images, with {best.accuracy:.1%} "
        f"({best.ci_low:.1%} to {best.ci_high:.1%}) near σ = {best.sigma:.2g}, the level that they choose{others}."
    )
    figure = poolings_figure(table, {name: said(name) for name in there}, study.facts["levels"], shown["axis"], block)  # type: ignore[arg-type]
    st.plotly_chart(figure, key="figure-poolings", alt=says, config=toolbar())
    st.caption(says)
