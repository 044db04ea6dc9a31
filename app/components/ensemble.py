"""What averaging over levels, draws and blocks is worth in one study, beside the control that takes as many passes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from analysis.studies import ENSEMBLES, Study
from app.components.curve import toolbar

FUSED = (
    " Learned fusion is a network trained on the labelled images that reads the maps of several blocks at all of the levels; its control is "
    "the same network on the same blocks at the one best level, under as many draws of ε."
)


def has(study: Study) -> bool:
    """Whether a study was made with ensembles."""
    return ENSEMBLES in study.facts["files"]


def show(study: Study, labels: str) -> None:
    """Draw the figure, its sentence, and the numbers under it."""
    from analysis import ensemble_figures

    table = study.table("ensembles")
    rows = table[table.labels_per_class == labels]
    says = study.facts["ensembles"][labels]["sentence"]
    if rows.empty:
        st.info(says, icon=":material/info:")
        return
    st.plotly_chart(ensemble_figures.ensembles_figure(rows), key="figure-ensemble", alt=says, config=toolbar())
    st.caption(says)
    st.dataframe([_row(row, ensemble_figures.NAMES) for row in rows.to_dict("records")], hide_index=True, width="stretch")
    st.caption(
        "Gains are in points over the control of the row, with 95 % intervals, paired over test images, label draws and draws of ε. Levels, "
        "blocks and penalties were chosen on validation images; the control stands at the level where its own validation accuracy is best."
        + (FUSED if "fusion" in set(rows.variant) else "")
    )


def _row(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    low, high = 100 * row["ci_low"], 100 * row["ci_high"]
    control = names.get(row["control"], "")  # not every row has one
    gained = f"{100 * row['gain']:+.1f} ({100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f})"
    return {
        "what": names.get(row["variant"], row["variant"]),
        "passes an image": row["passes"],
        "R²" if row["measure"] == "r2" else "accuracy": f"{100 * row['accuracy']:.1f} % ({low:.1f} to {high:.1f})",
        "gain over control": gained if control else "",
        "control": control,
        "σ": row["levels"],
        "blocks": row["blocks"],
        "validation": f"{100 * row['validation_accuracy']:.1f} %",
        "label draws": row["draws"],
        "test images": row["n_test"],
    }
