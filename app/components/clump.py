"""What is selected on a map: its images, what they are, and what lies nearest to them in the full space."""

from __future__ import annotations

import html
from collections import Counter

import numpy as np
import streamlit as st
from safetensors.numpy import load

from analysis import panels
from app.components import asking, chosen
from app.components.atlas import Drawn, View, table
from app.components.looked import gallery

SHOWN, NEAR, ASKED = 48, 12, 400  # images in the grid, neighbours, and images whose neighbours are asked for


def show(view: View, found: Drawn) -> None:
    """Draw what is selected, or how to select."""
    rows = chosen.rows(view)
    _find(view, found)
    if gone := chosen.absent(view):
        st.caption(f"{gone:,} selected {'image is' if gone == 1 else 'images are'} not among the {len(view.ids):,} that are shown now.")
    if not len(rows):
        st.caption("Draw around points with the lasso or box above the map, or click one: their images, classes and neighbours come here.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(rows):,} selected**")
        st.button("Clear", icon=":material/deselect:", on_click=_clear, args=(view,), key="clear-selection")
        rows_of = table(view, found).iloc[rows]
        st.download_button(
            "CSV",
            rows_of.to_csv(index=False),
            f"selected-{view.block}.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )
    _counts(view, rows, found)
    st.html(gallery([_tile(view, row, found) for row in rows[:SHOWN]], small=True))
    if len(rows) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(rows):,}.")
    _nearest(view, rows, found)


def _clear(view: View) -> None:
    chosen.put(view, ())
    st.session_state["find-class"] = None


def beside(view: View, name: str, places: np.ndarray, found: Drawn) -> None:
    """What lies nearest to one's own image."""
    st.markdown(f"**Nearest to {name}**")
    st.html(gallery([_tile(view, int(row), found) for row in places[:NEAR]], small=True))
    st.caption(
        "Its place on the map, the ringed point, is approximate: the weighted mean of the places of its nearest in the full space, which are these and which lines lead to."
    )


def _find(view: View, found: Drawn) -> None:
    """Search among the classes; choosing one selects its images, which is the way without a pointer, too."""
    if view.label_set:
        names, values = view.labels[view.label_set]
    elif found.probabilities is not None:
        names, values = found.classes, found.probabilities.argmax(1)
    else:
        return
    counts = np.bincount(values[values >= 0], minlength=len(names))

    def take() -> None:
        if (wanted := st.session_state.get("find-class")) is not None:
            chosen.put(view, np.flatnonzero(values == wanted))

    st.selectbox(
        "Find a class",
        [k for k in range(len(names)) if counts[k]],
        index=None,
        key="find-class",
        format_func=lambda k: f"{names[k]} ({counts[k]:,})",
        on_change=take,
        placeholder=f"among {int((counts > 0).sum())}, by its name",
        width=280,
    )


def said(view: View, row: int, found: Drawn) -> tuple[str, str]:
    """What an image is and what it is read as."""
    name = view.label_set
    truth = str(view.labels[name][0][view.labels[name][1][row]]) if name and view.labels[name][1][row] >= 0 else ""
    read = "" if found.probabilities is None else str(found.classes[int(found.probabilities[row].argmax())])
    return truth, read


def _tile(view: View, row: int, found: Drawn) -> tuple[str, str, str]:
    truth, read = said(view, row, found)
    name = truth or f"read: {read}"
    about = f"image {int(view.ids[row]):016x}" + (f", read as {read}" if truth and read else "")
    if truth and read and truth != read:
        name = f"{truth}, read as {read}"
    return name, about, panels.uri(view.images[row], 64)


def _counts(view: View, rows: np.ndarray, found: Drawn) -> None:
    """How many of each class, as bars whose words say it too."""
    names = Counter(truth or read for truth, read in (said(view, row, found) for row in rows))
    names.pop("", None)
    if not names:
        return
    total, most = sum(names.values()), names.most_common(8)
    what = view.label_set or "read as"
    bars = "".join(
        f'<div class="bar"><span>{html.escape(name)}</span><i style="width:{100 * count / most[0][1]:.0f}%"></i><b>{count}</b></div>'
        for name, count in most
    )
    more = f"<small>and {len(names) - len(most)} other classes</small>" if len(names) > len(most) else ""
    st.html(f'<div class="bars" aria-label="{html.escape(what)} of {total} selected images">{bars}{more}</div>')


def _nearest(view: View, rows: np.ndarray, found: Drawn) -> None:
    """The images that most of the selected have among their nearest, and that are not selected."""
    asked = asking.look(view.question("near", rows=[int(row) for row in rows[:ASKED]], **view.cell), view.device, patience=1.0)
    if asked.answer is None:
        if asked.error:
            st.info(str(asked.error))
        return
    places = load(asked.answer[1])["places"]
    times = Counter(int(place) for place in places.ravel())
    for row in rows:
        times.pop(int(row), None)
    if not times:
        st.caption("All their nearest images are selected too: a clump that stands alone in the full space.")
        return
    inside = 1 - sum(times.values()) / places.size
    st.markdown("**Nearest to them, not selected**")
    st.html(gallery([_tile(view, row, found) for row, _ in times.most_common(NEAR)], small=True))
    st.caption(
        f"By the {places.shape[1]} nearest of {'each' if len(rows) <= ASKED else f'the first {ASKED}'} in the full space of the block, {view.settings['metric']} distance; "
        f"{100 * inside:.0f} % of these are selected themselves."
    )
