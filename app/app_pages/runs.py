"""Runs: what have I computed?"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import Mark
from analysis.store import default_root
from analysis.studies import export_study, import_study, remove_study
from app.components import fetched, files, receipt, watch
from app.components.bench import short
from app.components.runs import SAID, Run, jobs, progress, runs, trying
from app.components.words import ago, size


def row(run: Run) -> dict[str, str]:
    """A run as the list shows it."""
    found = run.study.result() if run.study else None
    backend, dataset = run.place
    return {
        "": "★" if run.mark.pinned else "",
        "run": run.question,
        "model": run.study.facts["receipt"]["model"] if run.study else short(backend),
        "data": run.study.facts["receipt"]["dataset"] if run.study else short(dataset),
        "state": SAID[run.state] + (", ships" if run.ships else ""),
        "finding": f"{found['verdict']['shape']}, {100 * found['verdict']['peak_accuracy']:.1f} % near σ = {found['verdict']['peak_sigma']:.2g}"
        if found
        else "",
        "size": size(run.size),
        "made": ago(run.created),
    }


def page() -> None:
    """Draw the page, its empty state or its error."""
    st.title("What have I computed?", anchor=False)
    try:
        found = runs()
        for note in st.session_state.pop("notes", []):
            st.success(note)
        if found:
            _list(found)
        else:
            st.info("Nothing is here yet. Ask for a run on the Curve page, or bring one along below.", icon=":material/science:")
        fetched.show()
        _bring()
    except NoisescopeError as error:
        st.error(str(error), icon=":material/broken_image:")


def _list(found: list[Run]) -> None:
    rows_are_numbered = "/".join(run.key for run in found)  # a row is chosen by its number: another order, another table
    order = hashlib.sha256(rows_are_numbered.encode()).hexdigest()[:8]
    chosen = st.dataframe([row(run) for run in found], hide_index=True, on_select="rerun", selection_mode="single-row", key=f"runs-{order}")
    picked = chosen["selection"]["rows"]
    if not picked or picked[0] >= len(found):
        st.caption("Choose a row for its receipt and for what can be done with it.")
        return
    run = found[picked[0]]
    with st.container(border=True, key="details"):
        st.subheader(run.title, anchor=False)
        _state(run)
        _actions(run)
        if run.study:
            labels = next(iter(run.study.facts["results"]))
            st.markdown("\n".join(f"- **{name}**: {text}" for name, text in receipt.rows(run.study, labels).items()))


def _state(run: Run) -> None:
    if run.problem:
        st.error(run.problem, icon=":material/broken_image:")
    elif run.job and run.state == "failed":
        st.error(run.job.reason or "It failed.", icon=":material/error:")
    elif run.job and run.state == "cancelled":
        st.info(f"Cancelled after {run.job.done} of {run.job.total or '?'} parts; what is done is kept.", icon=":material/stop_circle:")
    elif run.job and run.job.active:
        st.progress(run.job.done / run.job.total if run.job.total else 0.0, text=progress(run.job))


def _actions(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if run.request and st.button("Open on Curve", icon=":material/show_chart:", key=f"open-{run.key}", on_click=_open, args=(run,)):
            st.switch_page("app_pages/curve.py")
        if run.job and not run.study:
            (watch.cancel if run.job.active else watch.again)(run.job)
        if run.study:
            files.offer(
                "Export",
                lambda: _zip(run),
                f"noisescope-{run.key}.zip",
                "application/zip",
                run.study.version,
                key=f"export-{run.key}",
                icon=":material/folder_zip:",
            )
            st.toggle("Keep on top", run.mark.pinned, key=f"pin-{run.key}", on_change=trying, args=(_mark, run))
            st.text_input(
                "Name", run.mark.name or "", key=f"name-{run.key}", on_change=trying, args=(_mark, run), placeholder="your own name for it"
            )
        if not run.ships and not (run.job and run.job.active):
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown("This removes the run from the list and its files from the store. Stored features stay.")
                st.button("Delete it", type="primary", key=f"delete-{run.key}", on_click=trying, args=(_delete, run))


def _open(run: Run) -> None:
    backend, dataset = run.place
    st.session_state.update(run=run.key, backend=backend, dataset=dataset, seen=True)


def _mark(run: Run) -> None:
    name, pinned = st.session_state[f"name-{run.key}"].strip(), st.session_state[f"pin-{run.key}"]
    jobs().mark(run.key, Mark(name, pinned))


def _delete(run: Run) -> None:
    if run.job:
        jobs().forget(run.job.id)
    else:
        remove_study(run.key, default_root())
    st.session_state.setdefault("notes", []).append(f"Deleted: {run.title}.")


def _zip(run: Run) -> bytes:
    assert run.study is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.zip"
        export_study(run.study, path)
        return path.read_bytes()


def _bring() -> None:
    with st.expander("Bring a run along", icon=":material/upload:"):
        given = st.file_uploader("A zip file that was exported here or elsewhere", type="zip", key="bring")
        if given is not None and st.button("Add it", type="primary"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / Path(given.name).name
                path.write_bytes(given.getvalue())
                study = import_study(path, default_root())
            st.session_state.setdefault("notes", []).append(f"{study.name} is here now.")
            st.rerun()


page()
