"""The lab bench in a real Chromium: a model of the hub is fetched, a folder is dropped, and both are measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.workers import only_worker
from tests.families import epsilon
from tests.standin import Standin, read_folder, surroundings
from tests.test_dropped import PETS

from .conftest import Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
LONG = 120_000  # milliseconds: a worker starts, on a machine that does other work
MODEL = "someone/tiny-ddpm"


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    """The hub, for the app and its workers."""
    home = tmp_path_factory.mktemp("hub")
    server = Standin()
    server.repo(MODEL, {**read_folder(epsilon(home / "made")), "README.md": b"---\nlicense: apache-2.0\n---\nTiny."})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings(server, home).items():
            patch.setenv(name, value)
        yield server
    server.close()


def choose(page: Page, label: str, value: str) -> None:
    box = page.get_by_role("combobox", name=label).first
    box.click()
    box.fill(value)
    page.keyboard.press("Enter")


def test_a_model_is_fetched_a_folder_dropped_and_the_cost_of_both_said(page: Page, served: Served, tmp_path: Path) -> None:
    page.goto(f"{served.address}/curve?backend=digits-ddpm&dataset=digits")
    page.wait_for_selector("text=About this model")
    choose(page, "Model", MODEL)
    page.wait_for_selector(f"text={MODEL} is not on this machine")
    assert serious(page) == []
    page.get_by_role("button", name="Look it up").click()
    page.wait_for_selector("text=To fetch")
    calm(page).get_by_test_id("stMain").get_by_test_id("stBaseButton-primary").click()
    page.wait_for_selector("text=Measure someone/tiny-ddpm on digits", timeout=LONG)
    (job,) = Jobs(served.store).downloads()
    assert (job.state, job.request.repo_id) == ("done", MODEL)
    for name, content in PETS:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page.get_by_role("button", name="Bring a folder").click()
    page.wait_for_selector("text=A folder of class folders")
    assert serious(page) == []
    page.locator("input[type=file]").first.set_input_files(tmp_path / "My pets")
    page.wait_for_selector("text=Measure someone/tiny-ddpm on My pets", timeout=LONG)
    page.wait_for_selector("text=class 'ant' has", timeout=LONG)
    page.get_by_role("button", name="About this data").click()
    page.wait_for_selector("text=label (2 classes)", timeout=LONG)
    assert page.locator(".facts").get_by_text("20 train").count() == 1


def test_a_dialog_stays_open_when_a_job_ends_until_it_is_closed(page: Page, served: Served) -> None:
    jobs, dialog, tray = Jobs(served.store), page.get_by_role("dialog"), page.get_by_text("At work")
    with only_worker(served.store, "elsewhere"):  # nobody carries it out
        job = jobs.submit(SweepRequest(), "elsewhere")
        page.goto(f"{served.address}/runs")
        page.get_by_role("link", name="Curve").click()
        tray.wait_for()
        calm(page).get_by_role("button", name="Bring a folder").click()
        dialog.wait_for()
        jobs.cancel(job.id)
        tray.wait_for(state="detached")  # the whole page was drawn again
    assert calm(page).get_by_role("dialog").count() == 1
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert calm(page).get_by_role("dialog").count() == 0


def test_what_is_not_here_can_be_looked_up_on_a_phone(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(f"{served.address}/curve?backend=someone/else&dataset=digits")
    page.wait_for_selector("text=someone/else is not on this machine", timeout=LONG)
    assert sideways(page) == []
    page.get_by_role("button", name="Look it up").click()
    page.wait_for_selector("text=does not have the model someone/else", timeout=LONG)
    assert serious(page) == []
    assert sideways(page) == []
    page.close()
