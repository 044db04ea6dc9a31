"""Ask, watch, leave, come back, share: the dashboard with a real worker, in a real Chromium."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
from playwright.sync_api import Browser, Page

from analysis.jobs import Job, Jobs
from analysis.specs import SweepRequest
from analysis.studies import find_study
from analysis.workers import facts

from .conftest import CHART, Served, calm, needs_chromium, serious, sideways

pytestmark = needs_chromium
DIGITS = find_study("digits")
LONG = 240_000  # milliseconds: a worker starts and a small sweep runs, on a machine that does other work
# What has the focus: its name, and whether it or what is around it looks otherwise without.
FOCUSED = """async () => {
  const drawn = () => new Promise(done => setTimeout(done, 80));
  const held = document.activeElement;
  if (!held || held === document.body) return null;
  const around = [held]; while (around.length < 4 && around.at(-1).parentElement) around.push(around.at(-1).parentElement);
  const looks = () => JSON.stringify(around.map(e => { const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor, s.backgroundColor, s.color, s.textDecorationLine]; }));
  const name = held.getAttribute("aria-label") || (held.labels && held.labels[0] && held.labels[0].innerText) || held.innerText || held.outerHTML;
  await drawn(); const then = looks(); held.blur(); await drawn(); const now = looks(); held.focus();
  return [name.trim().split("\\n").at(-1).slice(0, 60), then !== now];  // without its icon's name
}"""
SMALL = SweepRequest(blocks=("mid.res0",), levels=3, label_draws=3, n_train=200, n_test=100)


def said(page: Page) -> list[str]:
    """What the console says from now on is wrong."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" and "404" not in message.text else None)
    # Opened at /curve, Streamlit looks for its own root at /curve/_stcore first: any other miss counts.
    page.on("response", lambda answer: found.append(answer.url) if answer.status >= 400 and "/_stcore/" not in answer.url else None)
    return found


def until(jobs: Jobs, id: str, condition) -> Job:
    deadline = time.monotonic() + LONG / 1000
    while time.monotonic() < deadline:
        if condition(job := jobs.get(id)):
            return job
        time.sleep(0.1)
    raise AssertionError(jobs.get(id))


def test_from_asking_to_the_verdict(page: Page, served: Served) -> None:
    errors = said(page)
    page.goto(f"{served.address}/curve?run={DIGITS.key}")
    page.wait_for_selector(CHART)
    page.get_by_text("Measure something new").click()
    page.locator('input[aria-label="Noise levels"]').fill("3")
    page.locator('input[aria-label="Noise levels"]').press("Enter")
    page.locator(".st-key-ask-blocks input").fill("mid.res0")
    page.locator(".st-key-ask-blocks input").press("Enter")
    page.wait_for_selector("text=There already", timeout=LONG)
    page.locator(".st-key-run-it button").click()
    page.wait_for_selector("text=parts", timeout=LONG)
    page.wait_for_selector("text=noise level so far", timeout=LONG)
    page.wait_for_selector("text=Best readout", timeout=LONG)
    (job,) = Jobs(served.store).list()
    assert job.state == "done"
    study = find_study(str(job.study), served.store)
    assert (len(study.facts["levels"]), study.facts["request"]["blocks"]) == (3, ["mid.res0"])
    page.wait_for_selector(f"text={study.result()['sentence'][:50]}")
    assert errors == []


@pytest.mark.slow
def test_a_run_goes_on_when_the_page_is_left_the_app_restarts_and_the_worker_is_killed(page: Page, served: Served) -> None:
    jobs = Jobs(served.store)
    job = jobs.submit(SMALL.model_copy(update={"levels": 12, "seed": 7}))
    page.goto(f"{served.address}/curve?run={job.id}")
    page.wait_for_selector("text=parts", timeout=LONG)
    page.goto(served.address)  # to another page
    page.wait_for_selector("text=What does this model know")
    page.goto("about:blank")
    worker = facts(served.store, "cpu")["pid"]
    before = until(jobs, job.id, lambda job: job.done >= 2).done
    served.again()
    until(jobs, job.id, lambda job: job.done > before)  # with no page open
    assert facts(served.store, "cpu")["pid"] == worker
    os.kill(worker, signal.SIGKILL)
    page.goto(f"{served.address}/curve?run={job.id}")
    done = until(jobs, job.id, lambda job: not job.active)
    assert (done.state, done.reason) == ("done", None)
    page.wait_for_selector("text=Best readout", timeout=LONG)  # the page that watched the job turns to its study


def test_cancel_keeps_what_is_done(page: Page, served: Served) -> None:
    jobs = Jobs(served.store)
    errors = said(page)
    job = jobs.submit(SMALL.model_copy(update={"levels": 40, "seed": 8}))
    page.goto(f"{served.address}/curve?run={job.id}")
    page.wait_for_selector("text=noise levels so far", timeout=LONG)
    page.get_by_role("button", name="Cancel").click()
    page.wait_for_selector("text=What is done is kept")
    assert jobs.get(job.id).state == "cancelled"
    assert page.locator(CHART).count() >= 1
    assert errors == []


def test_a_copied_link_shows_a_colleague_the_same(page: Page, browser: Browser, served: Served) -> None:
    page.goto(f"{served.address}/curve?run={DIGITS.key}&block=down1.res0&axis=sigma&labels=all")
    page.wait_for_selector(CHART)
    page.get_by_text("Receipt: how these numbers came about").click()
    link = page.locator("code", has_text="run=").first.inner_text()
    other = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    errors = said(other)
    other.goto(link)
    other.wait_for_selector(CHART)
    for selector in ("[data-testid=stMetricValue]", ".st-key-verdict"):
        assert other.locator(selector).all_inner_texts() == page.locator(selector).all_inner_texts()
    assert errors == []
    other.close()


@pytest.mark.parametrize(("kind", "begins"), [("SVG", b"<svg"), pytest.param("PNG", b"\x89PNG", marks=pytest.mark.slow)])
def test_the_camera_saves_the_kind_of_picture_that_is_chosen(page: Page, served: Served, kind: str, begins: bytes) -> None:
    page.goto(f"{served.address}/curve?run={DIGITS.key}&view=blocks")
    page.wait_for_selector(CHART)
    page.get_by_text("Receipt: how these numbers came about").click()
    page.wait_for_timeout(1000)  # it unfolds
    page.get_by_role("radio", name=kind).click()
    page.wait_for_function(
        "kind => document.querySelector('.js-plotly-plot')?._context.toImageButtonOptions.format === kind", arg=kind.lower()
    )
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as taken:
        page.get_by_label("Download plot").or_(page.locator('[data-title="Download plot"], [data-attr="toImage"]')).first.click()
    assert taken.value.path().read_bytes().startswith(begins)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [pytest.param("/", marks=pytest.mark.slow), f"/curve?run={DIGITS.key}", "/runs"])
def test_nothing_that_axe_core_calls_serious_is_wrong(browser: Browser, served: Served, path: str, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(served.address + path)
    page.wait_for_selector("[data-testid=stDataFrame]" if path == "/runs" else CHART, timeout=60_000)
    assert serious(page) == []
    page.close()


@pytest.mark.slow
def test_nothing_serious_is_wrong_while_asking_and_watching(page: Page, served: Served) -> None:
    page.goto(f"{served.address}/curve?run={DIGITS.key}")
    page.wait_for_selector(CHART)
    page.get_by_text("Measure something new").click()
    page.wait_for_selector("text=There already", timeout=LONG)
    assert serious(page) == []
    jobs = Jobs(served.store)
    job = jobs.submit(SMALL.model_copy(update={"levels": 30, "seed": 9}))
    page.goto(f"{served.address}/curve?run={job.id}")
    page.wait_for_selector(CHART, timeout=LONG)
    page.wait_for_selector(".st-key-strip img", timeout=LONG)
    assert serious(page, moving=True) == []
    jobs.cancel(job.id)


def tab_to(page: Page, name: str) -> list[str]:
    """Press Tab until what is called so, or begins so, has the focus; what had it on the way and did not look so."""
    met, unseen = [], []
    page.wait_for_selector('[data-testid="stStatusWidget"]', state="detached", timeout=LONG)  # its Stop button comes and goes
    for _ in range(120):
        page.keyboard.press("Tab")
        if found := page.evaluate(FOCUSED):
            met.append(found[0])
            if not found[1]:
                unseen.append(found[0])
            if found[0].startswith(name):
                return unseen
    raise AssertionError(f"{name!r} is not among {met}")


def test_the_keyboard_alone_asks_for_a_run_and_the_focus_is_always_seen(browser: Browser, served: Served) -> None:
    jobs = Jobs(served.store)
    before = {job.id for job in jobs.list()}
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    page.goto(f"{served.address}/curve?run={DIGITS.key}")
    page.wait_for_selector(CHART)
    assert tab_to(page, "down0.res0") == []
    page.keyboard.press("Space")
    page.wait_for_selector("text=down0.res0: block 1 of 15")
    assert tab_to(page, "Measure something new") == []
    page.keyboard.press("Space")
    page.wait_for_selector("text=There already", timeout=LONG)
    assert tab_to(page, "Noise levels") == []
    page.keyboard.press("Control+a")
    page.keyboard.type("40")  # it is to be at work still when Cancel is reached
    page.keyboard.press("Enter")
    page.wait_for_selector("text=measured with other settings")
    page.wait_for_selector("text=There already", timeout=LONG)
    assert tab_to(page, "Run") == []
    page.keyboard.press("Enter")
    page.wait_for_selector("text=parts", timeout=LONG)
    (job,) = [job for job in jobs.list() if job.id not in before]
    assert job.request.levels == 40
    assert tab_to(page, "Cancel") == []
    page.keyboard.press("Enter")
    page.wait_for_selector("text=What is done is kept")
    page.close()


@pytest.mark.slow
def test_the_keyboard_alone_changes_view_level_and_receipt(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000}, reduced_motion="reduce")
    page.goto(f"{served.address}/curve?run={DIGITS.key}")
    page.wait_for_selector(CHART)
    assert tab_to(page, "Noise level") == []
    peak = page.locator("[data-testid=stSidebar] p", has_text="log-SNR =").inner_text()
    page.keyboard.press("ArrowRight")
    page.locator("[data-testid=stSidebar] p", has_text="log-SNR =").and_(page.locator(f"text=/^(?!{re.escape(peak)})/")).wait_for()
    assert tab_to(page, "The curve") == []
    for key in ("ArrowRight", "ArrowRight", "Space"):  # one stop of Tab, as groups have it
        page.keyboard.press(key)
    page.wait_for_selector("text=The best cell, chosen on validation images")
    assert tab_to(page, "Receipt") == []
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The command line that makes this study again")
    page.close()


@pytest.mark.parametrize(("motion", "moves"), [("reduce", False), ("no-preference", True)])
def test_nothing_glides_where_less_motion_is_asked_for(browser: Browser, served: Served, motion: str, moves: bool) -> None:
    page = browser.new_page(reduced_motion=motion)  # type: ignore[arg-type]
    page.goto(f"{served.address}/curve?run={DIGITS.key}")
    page.wait_for_selector(CHART)
    gliding = "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).transitionDuration.split(', ').some(t => t !== '0s'))"
    assert bool(page.evaluate(f"{gliding}.length")) is moves
    page.close()


@pytest.mark.parametrize("path", ["/", f"/curve?run={DIGITS.key}", "/runs"])
@pytest.mark.slow
def test_twice_as_large_nothing_is_cut_off(browser: Browser, served: Served, path: str) -> None:
    page = browser.new_page(viewport={"width": 640, "height": 400}, device_scale_factor=2)  # 1280 pixels wide at 200 %
    page.goto(served.address + path)
    page.wait_for_selector("[data-testid=stDataFrame]" if path == "/runs" else CHART, timeout=60_000)
    assert sideways(page) == []
    cut = "e => e.scrollWidth > e.clientWidth + 1 && ['hidden', 'clip'].includes(getComputedStyle(e).overflowX)"
    assert [
        text.inner_text()
        for text in page.locator("h1, h2, h3, p, label, button, [data-testid=stMetricValue], [data-testid=stMetricValue] *").all()
        if text.is_visible() and text.evaluate(cut)
    ] == []
    page.close()


@pytest.mark.parametrize("path", [f"/curve?run={DIGITS.key}&view=map", "/runs"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, served: Served, path: str, scheme: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(served.address + path)
    page.wait_for_selector("[data-testid=stDataFrame]" if path == "/runs" else CHART, timeout=60_000)
    assert sideways(page) == []
    page.close()


def test_a_page_that_is_opened_first_is_one_step_too(page: Page, served: Served) -> None:
    page.goto(f"{served.address}/curve?run={DIGITS.key}")  # else the newest run, which here may be one that was cancelled: it has no level
    page.wait_for_url(re.compile(r"/curve\?.*sigma="))
    calm(page)
    assert page.evaluate("history.length") == 2


def test_a_page_is_one_step_of_the_way_back_and_the_level_comes_along(page: Page, served: Served) -> None:
    page.goto(served.address)
    page.wait_for_selector(CHART)
    levels = []
    for name in ("Image", "Curve"):
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
        page.wait_for_url(re.compile(rf"/{name.lower()}\?.*sigma="))
        calm(page)
        assert page.locator("[data-testid=stAlert]").count() == 0
        levels.append(page.url.partition("sigma=")[2])
    assert levels == levels[:1] * 2
    assert page.evaluate("history.length") == 4  # with the empty page that Chromium began with
    for path in ("/image", "/"):
        page.go_back()
        page.wait_for_function("path => location.pathname === path", arg=path)
        calm(page)
