"""Studies that train networks, in the dashboard: asked for, shown while at work and when they have ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.jobs import TRAINING, Jobs
from analysis.memorization import MemorizationRequest
from app.components import trainings

ASKED = MemorizationRequest(dataset="digits", sizes=(16, 64), seeds=1, seen=(64,))


def page() -> None:
    from app.components import trainings

    trainings.show()


def forms() -> None:
    import streamlit as st

    from app.components import trainings

    trainings.submit({"dataset": "digits", "sizes": [16, 64], "seeds": 1, "seen": [64]})
    st.write("asked")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    return Jobs(tmp_path)


def texts(app: AppTest) -> str:
    return " ".join(one.value for one in app.markdown)


def test_the_form_asks_for_a_job_of_the_trainings_own_process(table: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(trainings, "start_worker", lambda _root, device: begun.append(device))
    app = AppTest.from_function(forms, default_timeout=60).run()
    assert not app.exception
    (job,) = table.trainings()
    assert (job.request, job.device, begun) == (ASKED, TRAINING, [TRAINING])


def test_one_at_work_can_be_cancelled_and_goes_on(table: Jobs) -> None:
    job = table.submit(ASKED)
    table.take(TRAINING)
    table.tell(job.id, 64, 128, "", 60.0)
    app = AppTest.from_function(page, default_timeout=60).run()
    assert "50 % done, 60 seconds left" in app.get("progress")[0].proto.text
    app.button(key=f"cancel-{job.id}").click().run()
    assert "Memorization on digits, 16, 64 images** · cancelled" in texts(app)
    app.button(key=f"again-{job.id}").click().run()
    assert [one.state for one in table.trainings()] == ["submitted", "cancelled"]


def test_one_that_failed_says_why_and_leaves_the_list_when_it_is_told_to(table: Jobs) -> None:
    job = table.submit(ASKED)
    table.fail(job.id, "The disk is full.")
    app = AppTest.from_function(page, default_timeout=60).run()
    assert app.error[0].value == "The disk is full."
    app.button(key=f"forget-{job.id}").click().run()
    assert not table.trainings()
    assert not app.error
