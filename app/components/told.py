"""What a model is told beside the image, and what it computes in: two fields of the form."""

from __future__ import annotations

from typing import get_args

import streamlit as st

from analysis import workers
from analysis.specs import Precision
from analysis.store import default_root
from app.components.bench import Bench


def condition(bench: Bench) -> str:
    """What the model is told beside the image: nothing to choose where it takes nothing."""
    known = bench.card.conditions if bench.card else ()
    if len(known) < 2:
        return "none"
    if "prompt:" in known:
        prompt = st.text_input(
            "Prompt", "", key="ask-prompt", placeholder="empty", help="What the model is told beside every image, the same for all."
        )
        return f"prompt:{prompt.strip()}" if prompt.strip() else "none"
    if st.session_state.get("ask-condition") not in ("none", *known):
        st.session_state["ask-condition"] = "none"
    return st.selectbox(
        "Condition",
        ["none", *(name for name in known if name != "none")],
        key="ask-condition",
        help="What the model is told beside the image. none: null where the model was trained with it, else the mean of its classes, which was "
        "not trained. An image's own label is never told.",
    )


def precision(device: str) -> str:
    """What the network computes in; where a lower one is not faster, that is said."""
    fast = workers.fast_precisions(default_root(), device)
    names = get_args(Precision)
    said = f"{' and '.join(fast)} {'is' if len(fast) == 1 else 'are'} faster on {device}" if fast else f"{device} is fast in float32 alone"
    return st.selectbox("Precision of the network", names, key="ask-precision", help=f"{said}. Probes are float32 always.")
