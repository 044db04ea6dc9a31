"""Bring a folder of images: it becomes a data set of this session, opened like any other."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from analysis import dropped
from analysis.errors import NoisescopeError
from analysis.specs import SweepRequest
from analysis.store import default_root
from app.components import dialogs
from app.components.adding import release
from app.components.runs import jobs

MINE = "brought"  # paths of this session's folders


def mine() -> list[str]:
    """This session's folders that are still there, as data sets are named; the one on the bench is noted to be in use."""
    kept = [name for name in st.session_state.get(MINE, []) if Path(name).exists()]
    chosen = str(st.session_state.get("dataset"))
    if (place := chosen.partition("?")[0]) in kept:
        dropped.choose(Path(place))
        kept += [chosen] if chosen != place else []
    return kept


@st.dialog("Bring a folder of images", width="medium", on_dismiss=dialogs.close)
def ask() -> None:
    """Draw the dialog."""
    st.markdown(
        "Give a folder that holds a folder of images for each class. Folders called train, validation and test in it are splits; else "
        "images are split by their pixels, four tenths of them for testing."
    )
    turn = st.session_state.setdefault("bring-turn", 0)
    files = st.file_uploader("A folder of class folders", accept_multiple_files="directory", key=f"bring-folder-{turn}")
    st.caption(
        f"Up to {dropped.MOST_FILES:,} files, {dropped.MOST_BYTES / 1e9:g} GB in all. They are kept in the store of the machine where "
        "Noisescope runs, for this session, and are removed when they were not chosen for a day. What is measured stays. A larger one: type its path under Data."
    )
    if not files:
        return
    try:
        used = [job.request.dataset for job in jobs().list() if job.active and isinstance(job.request, SweepRequest)]
        with st.spinner("Keeping them …"):
            place = dropped.keep(((file.name, file.getvalue()) for file in files), default_root(), used)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/block:")
        return
    release(files)
    st.session_state["bring-turn"] += 1
    st.session_state.setdefault(MINE, []).append(str(place))
    st.session_state["brought-now"] = str(place)
    dialogs.close()
    st.rerun()


def put() -> None:
    """Put what was just brought on the bench: before its widgets are drawn, who may not be changed after."""
    if place := st.session_state.pop("brought-now", None):
        st.session_state["dataset"] = place
