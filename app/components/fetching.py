"""What the bench names and this machine lacks: looked up on the Hugging Face hub, said, and fetched as a job."""

from __future__ import annotations

import shutil
import time

import streamlit as st

from analysis import hub
from analysis.catalog import Lacking
from analysis.datasets import PRESETS
from analysis.errors import NoisescopeError
from analysis.jobs import NETWORK, Job
from analysis.presets import checked
from analysis.specs import DownloadRequest
from analysis.store import default_root
from analysis.workers import start_worker
from app.components.runs import jobs, trying
from app.components.words import duration, plain, size

EVERY = 0.5  # seconds
NEWS = 1.0  # seconds between two words while the hub is waited for
CALLED = {"model": "model", "dataset": "data set", "encoder": "vision model"}
FETCHED = "looked-up"


def panel(lacking: Lacking, here: bool = False) -> None:
    """Draw what can be done about a repository that is not here, or of which there may be a newer one."""
    kind, repo_id, revision, checkpoint, config = lacking
    with st.container(border=True, key=f"fetch-{kind}"):
        at = (f" at {revision}" if revision else "") + (f", configuration {config}" if config else "")
        st.subheader(f"{repo_id} on the hub" if here else f"{repo_id} is not on this machine", anchor=False)
        job = latest(lacking)
        if job and job.active:
            st.fragment(_follow, run_every=EVERY)(job.id)
            return
        if job:
            _ended(job)
        what = "There may be a newer commit of it" if here else f"It may be a {CALLED[kind]} of the Hugging Face hub{at}"
        st.markdown(f"{what}. Looking it up downloads no more than what says what it is.")
        if preset := next((one for one in PRESETS.values() if kind == "dataset" and one.repo_id == repo_id), None):
            when = checked(default_root()).get(preset.name, {}).get("date", "never")
            st.caption(f"{preset.title}: licence {plain(preset.licence)}. That its columns are as Noisescope expects was checked: {when}.")
        checkpoint = checkpoint or _checkpoint(kind, repo_id)
        request = DownloadRequest(repo_id=repo_id, revision=revision, repo_kind=kind, checkpoint=checkpoint, config=config)
        known: dict[DownloadRequest, hub.Record] = st.session_state.setdefault(FETCHED, {})
        if st.button(
            "Look it up", icon=":material/travel_explore:", type="secondary" if request in known else "primary", key=f"look-{kind}"
        ):
            known.pop(request, None)
            if record := _look_up(request):
                known[request] = record
                st.rerun()
        if request in known:
            _offer(known[request], request)


def _checkpoint(kind: hub.Kind, repo_id: str) -> str | None:
    if kind != "model":
        return None
    with st.expander("Weights in a file of another name"):
        given = st.text_input(
            "Weights file",
            key=f"fetch-checkpoint-{repo_id}",
            placeholder="such as 256x256_diffusion_uncond.pt",
            help="One .pt file of the repository. It is read as plain tensors: nothing in it is executed.",
        )
    return given.strip() or None


def _look_up(request: DownloadRequest) -> hub.Record | None:
    """What the hub says; who leaves the page meanwhile stops it."""
    said, started, told = st.empty(), time.monotonic(), 0.0

    def between() -> None:
        nonlocal told
        waited = time.monotonic() - started
        if waited - told > NEWS:
            told = waited
            said.caption(f"The hub asks to wait: {waited:.0f} s so far …")  # raises where this page is not wanted any more

    try:
        with st.spinner("Asking the hub …"):
            return hub.look_up(request.repo_id, request.revision, request.repo_kind, request.checkpoint, between, request.config)
    except NoisescopeError as error:
        st.error(str(error), icon=":material/cloud_off:")
        return None
    finally:
        said.empty()


def _offer(record: hub.Record, request: DownloadRequest) -> None:
    """What a repository is, and the button that fetches it."""
    if record.said:
        st.info(record.said, icon=":material/info:")
    place = hub.cache()
    free = shutil.disk_usage(next(folder for folder in (place, *place.parents) if folder.exists())).free
    with st.container(horizontal=True, gap="medium"):
        st.metric("Licence", plain(record.license or "not said"))
        st.metric("Size", size(record.bytes), help=f"{len(record.files)} files; of weights one copy, never a pickle.")
        st.metric("To fetch", size(record.missing), help=f"{size(free)} are free at {place}.")
    gated = " Its makers give it to those who accepted its licence on the hub, with a login." if record.gated else ""
    st.caption(
        f"{record.revision} is commit {record.commit[:7]} now; the commit that is fetched is noted.{gated} Every file is checked against the "
        "repository's own hash, and nothing of it is executed."
    )
    if record.missing > free:
        st.warning(f"It needs {size(record.missing)}; {size(free)} are free.", icon=":material/hard_drive:")
    st.button(
        f"Fetch {size(record.missing)}" if record.missing else "Use it",
        type="primary",
        icon=":material/download:",
        key=f"fetch-it-{request.repo_kind}",
        on_click=trying,
        args=(submit, request),
    )


def submit(request: DownloadRequest) -> None:
    """Ask for a download."""
    jobs().submit(request)
    start_worker(default_root(), NETWORK)


def latest(lacking: Lacking) -> Job | None:
    """The last download of a repository."""
    for job in jobs().downloads():
        asked = job.request
        if isinstance(asked, DownloadRequest) and (asked.repo_kind, asked.repo_id, asked.revision) == lacking[:3]:
            return job
    return None


def _follow(id: str) -> None:
    try:
        job = jobs().get(id)
    except NoisescopeError as error:  # locked for a moment, or deleted by another person
        st.warning(str(error), icon=":material/hourglass_empty:")
        return
    if not job.active:
        st.rerun()
    bar(job)


def bar(job: Job) -> None:
    """How far a download is, and a button that cancels it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(job.done / job.total if job.total else 0.0, text=progress(job))
        if st.button("Cancel", icon=":material/stop:", key=f"cancel-{job.id}", on_click=trying, args=(jobs().cancel, job.id)):
            st.rerun()


def progress(job: Job) -> str:
    """How far an active download is, in words."""
    if job.state == "submitted":
        return "Waiting for its turn"
    if not job.total:
        return "Asking the hub"
    left = f", {duration(job.eta)} left" if job.eta is not None else ""
    return f"{size(job.done)} of {size(job.total)}{left}{': ' + job.message if job.message else ''}"


def title(job: Job) -> str:
    """What a download is of."""
    asked = job.request
    assert isinstance(asked, DownloadRequest)
    return asked.repo_id + (f" at {asked.revision}" if asked.revision else "") + (f", {asked.checkpoint}" if asked.checkpoint else "")


def _ended(job: Job) -> None:
    """What became of a download that is not at work any more, and a button that goes on with it."""
    if job.state == "failed":
        st.error(job.reason or "It failed.", icon=":material/error:")
    elif job.state == "cancelled":
        st.info(
            f"Cancelled after {size(job.done)} of {size(job.total) if job.total else 'what was to come'}. What came is kept.",
            icon=":material/stop_circle:",
        )
    if job.state != "done":
        again(job)


def again(job: Job) -> None:
    """A button that goes on with a download that failed or was cancelled: what came of it is not downloaded again."""
    st.button("Go on", icon=":material/replay:", key=f"again-{job.id}", on_click=trying, args=(submit, job.request))
