"""The images that a person has selected on a map: kept over levels, blocks and pages, by image, not by place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import streamlit as st

from app.components.atlas import View


def _key(view: View) -> str:
    """Images of one data set share a selection, whatever model they are shown under."""
    data = view.study.facts["receipt"]["dataset_identity"] if view.kind == "test" else view.study.version
    return f"selected:{view.kind}:{data}"


def ids(view: View) -> set[int]:
    """The ids that are selected, shown now or not."""
    found: set[int] = st.session_state.setdefault(_key(view), set())
    return found


def rows(view: View) -> np.ndarray:
    """Which of the images shown are selected."""
    known = ids(view)
    return np.flatnonzero([int(id) in known for id in view.ids]) if known else np.zeros(0, int)


def put(view: View, chosen: Iterable[int], drawn: bool = False) -> None:
    """Select these rows, and no others; `drawn` on the map, where the lasso then stays."""
    st.session_state[_key(view)] = {int(view.ids[row]) for row in chosen}
    st.session_state["selection-turn"] = st.session_state.get("selection-turn", 0) + (not drawn)


def turn(view: View) -> str:
    """Changes whenever a selection was made elsewhere than on a map: a lasso that is drawn there is of no use any more."""
    return f"{_key(view)}-{st.session_state.get('selection-turn', 0)}"


def absent(view: View) -> int:
    """How many selected images are not among those shown."""
    return len(ids(view)) - len(rows(view))
