"""The Runs page, without a browser and without a worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from analysis.jobs import Jobs, Mark
from analysis.specs import SweepRequest
from analysis.studies import Study, export_study, find_study, studies

from .test_curve import DIGITS, button, own, progress
from .test_start import MAIN, texts

__all__ = ["own"]  # the fixture


def visit(row: int | None = None) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60).switch_page("app_pages/runs.py").run()
    if row is not None:
        choose(page, row)
    assert not page.exception
    return page


def choose(page: AppTest, row: int) -> None:
    """Choose a row of the table as it stands."""
    key = page.dataframe[0].proto.id.rpartition("-runs-")[2]
    page.session_state[f"runs-{key}"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    page.run()


def place(page: AppTest, title: str) -> int:
    return next(i for i, found in enumerate(page.dataframe[0].value["run"]) if title in found)


@pytest.fixture
def copied(own: Jobs) -> Study:
    """A study in the store that is not one that ships."""
    folder = own.root / "studies" / "feed"
    shutil.copytree(DIGITS.folder, folder)
    path = folder / "study.json"
    path.write_text(path.read_text().replace(DIGITS.key, "feed"))
    return find_study("feed", own.root)


def test_everything_is_listed_with_its_finding(own: Jobs, copied: Study) -> None:
    own.submit(SweepRequest(seed=3))
    table = visit().dataframe[0].value
    assert len(table) == len(studies(own.root)) + 1
    assert table["state"].tolist()[:2] == ["waiting", "finished"]
    verdict = DIGITS.result()["verdict"]
    assert f"{verdict['shape']}, {100 * verdict['peak_accuracy']:.1f} %" in table["finding"].tolist()[1]


def test_a_name_and_a_pin_stay_and_bring_it_to_the_top(own: Jobs, copied: Study) -> None:
    page = visit(0)
    page.text_input[0].set_value("my digits").run()
    assert own.look()[1]["feed"] == Mark("my digits", False)
    page.toggle[0].set_value(True).run()
    assert own.look()[1]["feed"] == Mark("my digits", True)
    assert visit().dataframe[0].value["run"][0] == "my digits"


def test_one_s_own_can_be_deleted_and_what_ships_cannot(own: Jobs, copied: Study) -> None:
    page = visit(0)
    button(page, "Delete it").click().run()
    assert "feed" not in studies(own.root)
    assert "Deleted" in " ".join(note.value for note in page.success)
    page = visit(place(page, "digit, 10"))
    assert "Delete it" not in [found.label for found in page.button]


def test_a_job_whose_study_was_deleted_does_not_come_back(own: Jobs, copied: Study) -> None:
    job = own.submit(SweepRequest(seed=3))
    own.take("cpu")
    own.finish(job.id, "feed")
    button(visit(0), "Delete it").click().run()
    assert len(visit().dataframe[0].value) == len(studies(own.root))


def test_the_receipt_of_the_chosen_row_is_shown(copied: Study) -> None:
    assert DIGITS.facts["receipt"]["revision"] in texts(visit(0))


@pytest.mark.parametrize(("state", "words"), [("failed", "No space left."), ("cancelled", "what is done is kept")])
def test_what_did_not_finish_says_why_and_can_be_run_again(own: Jobs, state: str, words: str) -> None:
    job = own.submit(SweepRequest(seed=3))
    own.fail(job.id, "No space left.") if state == "failed" else own.cancel(job.id)
    page = visit(0)
    assert words in texts(page)
    button(page, "Run again").click().run()
    assert [job.state for job in own.list()] == ["submitted", state]


def test_what_is_at_work_shows_how_far_it_is_and_can_be_cancelled(own: Jobs) -> None:
    job = own.submit(SweepRequest(seed=3))
    own.take("cpu")
    own.tell(job.id, 4, 18, "", 60.0)
    page = visit(0)
    assert "4 of 18 parts, 60 seconds left" in progress(page)
    assert "Delete it" not in [found.label for found in page.button]
    button(page, "Cancel").click().run()
    assert own.get(job.id).state == "cancelled"


def test_a_study_is_brought_along_and_a_bad_file_is_a_sentence(own: Jobs, copied: Study, tmp_path: Path) -> None:
    export_study(copied, tmp_path / "out.zip")
    shutil.rmtree(copied.folder)
    page = visit()
    page.file_uploader[0].upload("out.zip", (tmp_path / "out.zip").read_bytes(), "application/zip").run()
    button(page, "Add it").click().run()
    assert "feed" in studies(own.root)
    page = visit()
    page.file_uploader[0].upload("bad.zip", b"no zip at all", "application/zip").run()
    button(page, "Add it").click().run()
    assert "is no exported study" in page.error[0].value


def test_it_opens_a_run_on_the_curve_page(own: Jobs, copied: Study) -> None:
    page = visit(0)
    button(page, "Open on Curve").click().run()
    assert page.title[0].value == "Accuracy over timestep (noise level)"
    assert page.session_state["run"] == "feed"
