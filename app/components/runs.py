"""What has been measured and what is being measured: studies and jobs, as one list."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from analysis.errors import NoisescopeError
from analysis.jobs import Job, Jobs, Mark
from analysis.specs import SweepRequest, unusual
from analysis.store import default_root
from analysis.studies import Study, open_study, studies
from analysis.workers import start_worker
from app.components.words import duration

SETTLES = 3.0  # seconds after which a browser knows what a button has set
SAID = {
    "submitted": "waiting",
    "running": "at work",
    "done": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "damaged": "damaged",
}


@dataclass(frozen=True)
class Run:
    """A finished study, or a job that is not one (yet), or what is wrong with a study's folder."""

    key: str  # of the study, else of the job
    state: str  # of a job, or `damaged`
    created: float  # seconds since 1970
    ships: bool
    mark: Mark
    study: Study | None = None
    job: Job | None = None
    problem: str | None = None

    @property
    def request(self) -> Mapping[str, Any]:
        if self.study:
            return dict(self.study.facts["request"])
        return self.job.request.model_dump(mode="json") if self.job else {}

    @property
    def place(self) -> tuple[str, str]:
        """Model and data, as the lab bench names them."""
        return str(self.request.get("backend", "")), str(self.request.get("dataset", ""))

    @property
    def size(self) -> int:
        """Bytes of its own files; the stored features and probes that it shares with others are not counted."""
        folder = self.study.folder if self.study else jobs().folder(self.key)
        return sum(path.stat().st_size for path in folder.glob("*") if path.is_file())

    @property
    def title(self) -> str:
        """What a person reads: their own name for it, or what was asked, when, and what became of it."""
        if self.mark.name or not self.request:
            return self.question
        made = [] if self.ships else [datetime.fromtimestamp(self.created, UTC).astimezone().strftime("%d %b, %H:%M")]
        return " · ".join([self.question, *made, *([] if self.study else [SAID[self.state]])])

    @property
    def question(self) -> str:
        """A person's own name for it, or what was asked."""
        if self.mark.name:
            return self.mark.name
        asked = self.request
        if not asked:
            return f"damaged · {self.key[:6]}"
        question = self.study.facts["receipt"]["label_set"] if self.study else asked["label_set"] or "first label set"
        numbers = [str(value) for value in asked["labels_per_class"] if value != "all"]
        labels = " and ".join(
            [
                *([f"{', '.join(numbers)} labels a class"] if numbers else []),
                *(["all labels"] if "all" in asked["labels_per_class"] else []),
            ]
        )
        return " · ".join([f"{question}, {labels}", *unusual(asked)])


def titles(found: Iterable[Run], title: Callable[[Run], str] = lambda run: run.title) -> dict[str, str]:
    """Key -> title, no two the same: a list tells its entries apart by what a person reads."""
    told = {run.key: title(run) for run in found}
    counts = Counter(told.values())
    return {key: words if counts[words] == 1 else f"{words} · {key[:6]}" for key, words in told.items()}


def jobs() -> Jobs:
    """The job table of the store that the app works with."""
    return Jobs(default_root())


def look() -> None:
    """Read the job table, once each time that a page is drawn: all of it tells of the same moment."""
    try:
        st.session_state["table"] = (*jobs().look(), None)
    except NoisescopeError as error:
        st.session_state["table"] = ([], {}, str(error))


def table() -> tuple[list[Job], dict[str, Mark], str | None]:
    """Jobs, what people noted on studies, and what is wrong with the table that these are in."""
    found: tuple[list[Job], dict[str, Mark], str | None] = st.session_state["table"]
    return found


def runs() -> list[Run]:
    """Everything, pinned first, then the newest. What is wrong with the job table stands in the tray: studies are not in it."""
    listed, marks, _ = table()
    own = default_root() / "studies"
    found: list[Run] = []
    for key, folder in studies().items():
        known: dict[str, Any] = {"key": key, "ships": folder.parent != own, "mark": marks.get(key, Mark())}
        try:
            study = open_study(folder)
        except NoisescopeError as error:
            found.append(Run(**known, state="damaged", created=folder.stat().st_mtime, problem=str(error)))
            continue
        found.append(Run(**known, state="done", created=datetime.fromisoformat(study.facts["created"]).timestamp(), study=study))
    found += [Run(job.id, job.state, job.submitted, False, Mark(), job=job) for job in listed if job.state != "done"]
    return sorted(found, key=lambda run: (not run.mark.pinned, run.ships, -run.created))


def trying(action: Callable[..., Any], *arguments: Any) -> Any:
    """Do what a person asked for; what is wrong stands in the tray: for `on_click` and `on_change`."""
    try:
        return action(*arguments)
    except NoisescopeError as error:
        st.session_state["refused"] = str(error)
    except OSError as error:
        st.session_state["refused"] = f"{error.filename or 'The store'} cannot be changed ({error.strerror}); look at its folder."


def study_of(key: str | None) -> str | None:
    """The key of the study that a finished job has become; any other key as it is."""
    return next((job.study for job in table()[0] if job.id == key and job.study), key)


def submit(request: SweepRequest, device: str = "cpu") -> None:
    """Ask for a run, and show it next."""
    submit_all([request], device)


def submit_all(requests: Sequence[SweepRequest], device: str = "cpu") -> None:
    """Ask for runs, and show the first of them next."""
    job, *_ = [jobs().submit(request, device) for request in requests]
    start_worker(default_root(), device)
    st.session_state["submitted"] = (
        time.monotonic(),
        {"run": job.id, "measuring": False, "backend": requests[0].backend, "dataset": requests[0].dataset},
    )
    hold()


def hold() -> None:
    """Show what was submitted, also where a redraw that was on its way then brings the widgets' old values back."""
    at, wanted = st.session_state.get("submitted", (-SETTLES, {}))
    if time.monotonic() - at < SETTLES:
        st.session_state.update(wanted)


def asked(run: Run) -> SweepRequest:
    """The request of a run."""
    return SweepRequest.model_validate(run.request)


def progress(job: Job) -> str:
    """How far an active job is, in words."""
    if job.state == "submitted":
        return "Waiting for its turn"
    if not job.total:
        return "Starting"
    return f"{job.done} of {job.total} parts, {duration(job.eta)} left"
