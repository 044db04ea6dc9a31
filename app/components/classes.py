"""One cell's classes: how often each is right, what it is taken for, and the scores beside accuracy."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from analysis.studies import Study
from app.components.curve import Result, toolbar
from app.components.words import level

NAMES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "log_loss": "Log loss", "calibration_error": "Calibration error"}
HELP = {
    "accuracy": "Share of test images that are right, over all draws.",
    "balanced_accuracy": "The mean over classes of each one's share of right answers.",
    "log_loss": "Mean of -ln of the probability that the probe gave the true class, in nats; always guessing gives ln of the number of classes.",
    "calibration_error": "Expected calibration error with 15 bins (Guo et al., arXiv 1706.04599): how far confidence and accuracy are apart.",
}


def show(study: Study, result: Result, shown: Mapping[str, str]) -> None:
    """Draw them for the block that is shown at the level that is chosen."""
    from analysis.class_scores import class_scores
    from analysis.view_figures import classes_figure, confusion_figure

    found = class_scores(study, shown["labels"], result["headline"], float(shown["sigma"]))
    if found is None:
        st.info(
            "This run keeps no classes apart: it was made before that, or has more than a hundred. The command line in its receipt "
            "makes it again.",
            icon=":material/history:",
        )
        return
    numbers = st.container(horizontal=True, gap="medium")
    for key, value in found.scores.items():
        numbers.metric(NAMES[key], f"{100 * value:.1f} %" if "accuracy" in key else f"{value:.3f}", help=HELP[key])
    says = f"Block {result['headline'].split('/')[1]} at σ = {level(found.sigma)}: {found.finding}"
    figure = classes_figure(found.classes, found.low, found.share, found.high, study.chance)
    st.plotly_chart(figure, key="figure-classes", alt=says, config=toolbar())
    st.caption(f"{says} Intervals are 95 %, of the test images alone; the dotted line is chance.")
    confused = "What each class (down) is said to be (across), as a share of its test images over all draws."
    st.plotly_chart(confusion_figure(study.facts["classes"], found.counts), key="figure-confusion", alt=confused, config=toolbar())
    st.caption(confused)
