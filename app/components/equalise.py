"""One switch that makes runs alike: as many features in each, as many passes an image."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from analysis.errors import InvalidRequest, NoisescopeError
from analysis.fairness import common, equalised, reached, serves
from analysis.matching import Side
from analysis.specs import SweepRequest
from analysis.store import default_root
from analysis.studies import Study
from analysis.workers import start_worker
from app.components import asking, link, opening
from app.components.runs import Run, asked, jobs, table, trying
from app.components.words import duration

POLL = 0.7  # seconds between two looks whether the cost is known


def switch(compared: Sequence[Side], found: Sequence[Run], device: str) -> list[Study] | None:
    """Draw the switch; where it is on, the equalised runs, or None and the offer to measure those that are not there."""
    _from_link()
    target = common(compared)
    if target is None:
        st.caption("How many features a probe reads is not recorded in all of these runs, so they cannot be equalised.")
        link.put("equal", None)
        return None
    words = f"{target.pca:,} features and {target.average_draws} {'pass' if target.average_draws == 1 else 'passes'} an image"
    if all(reached(side, target) for side in compared):
        st.caption(f"All have {words}: there is nothing to equalise.")
        link.put("equal", None)
        return None
    st.toggle(
        f"Equalise: {words}",
        key="equal",
        persist_state="session",
        help="Compares runs whose features are projected on as many principal components, fitted on the labelled images, with as many "
        "forward passes an image: the smaller number of both.",
    )
    link.put("equal", "1" if st.session_state["equal"] else None)
    if not st.session_state["equal"]:
        return None
    wanted = {side.name: equalised(side, target) for side in compared if not reached(side, target)}
    if len({equalised(side, target) for side in compared}) == 1:
        st.caption("Equalised, these are one and the same run.")
        return None
    there = [_find(side, wanted[side.name], found) if side.name in wanted else side.study for side in compared]
    if all(there):
        return [study for study in there if study]
    lacking = [wanted[side.name] for side, study in zip(compared, there, strict=True) if study is None]
    _offer(list(dict.fromkeys(lacking)), device)
    return None


def _from_link() -> None:
    if "equal" in st.session_state:
        return
    given = st.query_params.get("equal")
    if given not in (None, "1"):
        opening.note(f"The link asks for equal = {given!r}; allowed: 1. Runs are compared as they were measured.")
    st.session_state["equal"] = given == "1"


def _find(side: Side, wanted: SweepRequest, found: Sequence[Run]) -> Study | None:
    """The run of the same model and data that holds the equalised curve as its headline."""
    own = side.study.facts["receipt"]
    for run in found:
        if run.study is None:
            continue
        receipt = run.study.facts["receipt"]
        same = all(receipt[name] == own[name] for name in ("dataset_identity", "revision"))
        if same and serves(asked(run), receipt["label_set"], wanted) and run.study.result(side.labels)["headline"] == side.series:
            return run.study
    return None


def _offer(lacking: Sequence[SweepRequest], device: str) -> None:
    """Say what is not measured yet, what that costs, and draw the button."""
    active = [job.request for job in table()[0] if job.active]
    if waits := [request for request in lacking if request in active]:
        are = "One equalised run is" if len(waits) == 1 else f"{len(waits)} equalised runs are"
        st.info(f"{are} being measured: see the sidebar. Until then the runs are compared as they are.", icon=":material/hourglass_top:")
    if left := [request for request in lacking if request not in active]:
        count = "One equalised run has" if len(left) == 1 else f"{len(left)} equalised runs have"
        st.info(f"{count} not been measured yet. Until then the runs are compared as they are.", icon=":material/science:")
        told = [_told(request, device) for request in left]
        st.fragment(_cost, run_every=POLL if None in told else None)(left, device, None not in told)
        if False not in told:
            label = "Measure what is lacking"
            st.button(
                label, type="primary", icon=":material/play_arrow:", key="measure-equal", on_click=trying, args=(_submit, left, device)
            )


def _told(request: SweepRequest, device: str) -> bool | None:
    """Whether a request can be carried out; None while that and its cost are not known."""
    try:
        return None if asking.answer({"ask": "cost", "request": request.canonical()}, device) is None else True
    except InvalidRequest:
        return False
    except NoisescopeError:  # only the cost is not known
        return True


def _cost(requests: Sequence[SweepRequest], device: str, known: bool) -> None:
    """What all of it will cost, or what is wrong with it."""
    costs = []
    for request in requests:
        try:
            answer = asking.answer({"ask": "cost", "request": request.canonical()}, device)
        except NoisescopeError as error:
            st.error(str(error), icon=":material/block:")
            continue
        if answer is None:
            st.caption("Finding out what it will cost …")
            return
        costs.append(answer[0])
    if not known:
        st.rerun()  # the whole page once more: then nothing polls
    if costs:
        passes_, fits = (sum(cost[name] for cost in costs) for name in ("passes", "fits"))
        st.caption(f"It takes {duration(sum(cost['seconds'] for cost in costs))}: {passes_:,} passes of an image and {fits:,} probes.")


def _submit(requests: Sequence[SweepRequest], device: str) -> None:
    """Ask for all of them; the comparison stays in view."""
    for request in requests:
        jobs().submit(request, device)
    start_worker(default_root(), device)
