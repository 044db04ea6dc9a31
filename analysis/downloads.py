"""Downloads as errands: no model, no engine, and nothing that a sweep would wait for."""

from __future__ import annotations

from pathlib import Path

from .crew import Between
from .errands import Progress, Told, serve
from .hub import fetch, look_up
from .jobs import NETWORK, Job
from .specs import DownloadRequest


def work(root: Path, idle: float) -> None:
    """As `errands.serve`."""
    serve(root, NETWORK, idle, download)


def download(job: Job, progress: Progress, between: Between) -> Told:
    """Fetch what is asked for; nothing is kept as a study of it, and a person is told what is here."""
    request = job.request
    assert isinstance(request, DownloadRequest)
    record = look_up(request.repo_id, request.revision, request.repo_kind, request.checkpoint, between, request.config)
    fetch(record, progress, between)
    return None, record.said or f"{record.repo_id} is here, {record.revision} at {record.commit}."
