"""The Curve page, without a browser and without a worker: what a worker would do is written into the job table."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
import torch
from safetensors.numpy import load_file, save_file
from streamlit.testing.v1 import AppTest

from analysis import jobs as jobs_module
from analysis.errors import InvalidRequest
from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.strips import sheet
from analysis.studies import UNFINISHED, find_study
from analysis.sweeping import sweep
from app.components import asking, runs
from app.components.words import duration

from .test_start import MAIN, texts

DIGITS = find_study("digits")
COST = {
    "seconds": 185.0,
    "memory": 1.2e9,
    "disk": 3.4e8,
    "passes": 1234,
    "fits": 56,
    "share": 0.25,
    "levels": [0.01],
    "free_disk": 10**12,
    "free_memory": 10**11,
}


STRIP = {"sigmas": [0.01, 0.5, 20.0], "image": "ab", "label": "7"}


def answer(question: dict, device: str) -> tuple[dict, bytes]:
    """What a worker would say."""
    if question["ask"] == "combine":
        return {"requests": question["requests"], "said": ""}, b""
    return {"cost": (COST, b""), "strip": (STRIP, sheet(torch.zeros(2, 3, 1, 8, 8)))}[question["ask"]]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """A store of its own; nothing starts a worker, and what a run costs is known at once."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "answer", answer)
    st.cache_data.clear()
    return Jobs(tmp_path)


def visit(**query: str) -> AppTest:
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return page.switch_page("app_pages/curve.py").run()


def digits(**query: str) -> AppTest:
    return visit(run=DIGITS.key, **query)


def progress(page: AppTest) -> str:
    return " ".join(bar.proto.text for bar in page.get("progress"))


def button(page: AppTest, label: str):
    return next(found for found in page.button if found.label == label)


def test_it_opens_on_a_finished_run_with_its_verdict() -> None:
    page = digits()
    assert not page.exception
    assert page.title[0].value == "Accuracy over timestep (noise level)"
    assert DIGITS.result()["sentence"] in texts(page)
    assert not page.warning


@pytest.mark.parametrize("view", ["curve", "blocks", "map", "budget", "when"])
def test_every_view_of_a_link_is_drawn_with_its_finding_as_alt_text(view: str) -> None:
    page = digits(view=view)
    assert not page.exception
    chart = page.get("plotly_chart")[0].proto
    assert json.loads(chart.spec)["data"]
    words = {
        "curve": "up1.res0",
        "blocks": "of 15 blocks",
        "map": "The best cell",
        "budget": "best near",
        "when": "digit is read best near",
    }
    assert words[view] in chart.alt
    assert len(page.get("plotly_chart")) == (2 if view == "budget" else 1)


def test_a_run_made_before_says_that_it_keeps_no_classes() -> None:
    page = digits(view="classes")
    assert not page.exception
    assert "keeps no classes apart" in texts(page)


def test_classes_and_poolings_of_a_new_run_are_drawn(own: Jobs, request_small: SweepRequest) -> None:
    study = sweep(request_small.model_copy(update={"poolings": ("1", "max"), "baselines": False}), Store(own.root))
    page = visit(run=study.key, view="classes", sigma=str(study.facts["levels"][1]["sigma"]))
    assert not page.exception
    assert {"Accuracy", "Balanced accuracy", "Log loss", "Calibration error"} <= {metric.label for metric in page.metric}
    assert "is right most often" in page.get("plotly_chart")[0].proto.alt
    page = visit(run=study.key, view="poolings")
    assert not page.exception
    assert "read through 2 poolings" in page.get("plotly_chart")[0].proto.alt


def test_questions_of_the_same_images_stand_together_in_what_is_known_when() -> None:
    page = visit(run=find_study("shapes-hue").key, view="when")
    assert not page.exception
    said = page.get("plotly_chart")[0].proto.alt
    assert all(f"{name} is read best near" in said for name in ("hue", "shape", "texture"))


def test_several_heads_and_regimes_are_a_run_each_and_the_first_is_shown(own: Jobs) -> None:
    page = digits()
    page.toggle(key="measuring").set_value(True).run()
    page.multiselect(key="ask-head").set_value(["logistic", "ridge"]).run()
    page.multiselect(key="ask-noise").set_value(["0", "40"]).run()
    assert "4 runs, one after the other" in texts(page)
    assert page.metric[0].value == duration(4 * COST["seconds"])
    button(page, "Run").click().run()
    listed = sorted(own.list(), key=lambda job: job.submitted)
    assert [(job.request.head, job.request.label_noise) for job in listed] == [
        ("logistic", 0.0),
        ("ridge", 0.0),
        ("logistic", 0.4),
        ("ridge", 0.4),
    ]
    assert page.session_state["run"] == listed[0].id


def test_what_does_not_go_together_is_left_out_and_said_where_it_is_asked_for(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "Left out: size with knn, because numbers are read by ridge regression alone."

    def partly(question: dict, device: str) -> tuple[dict, bytes]:
        if question["ask"] == "combine":
            return {"requests": question["requests"][:3], "said": said}, b""
        return answer(question, device)

    page = digits()
    page.toggle(key="measuring").set_value(True).run()
    monkeypatch.setattr(asking, "answer", partly)
    page.multiselect(key="ask-labelset").set_value(["hue", "size"]).run()
    page.multiselect(key="ask-head").set_value(["logistic", "knn"]).run()
    assert not page.exception
    assert said in texts(page)
    assert "3 runs, one after the other" in texts(page)
    assert page.metric[0].value == duration(3 * COST["seconds"])
    button(page, "Run").click().run()
    assert {(job.request.label_set, job.request.head) for job in own.list()} == {
        ("hue", "logistic"),
        ("hue", "knn"),
        ("size", "logistic"),
    }


def test_several_are_not_asked_for_before_it_is_known_which_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    page = digits()
    page.toggle(key="measuring").set_value(True).run()
    monkeypatch.setattr(asking, "answer", lambda *_: None)
    page.multiselect(key="ask-head").set_value(["logistic", "knn"]).run()
    assert "Finding out what it will cost" in texts(page)
    assert button(page, "Run").disabled
    page.multiselect(key="ask-head").set_value(["logistic"]).run()
    assert not button(page, "Run").disabled


@pytest.mark.parametrize("given", ["many", "100", "-5"])
def test_a_share_of_wrong_labels_that_is_none_is_refused_by_name(given: str) -> None:
    page = digits()
    page.toggle(key="measuring").set_value(True).run()
    page.multiselect(key="ask-noise").set_value([given]).run()
    assert not page.exception
    assert "Label noise is" in texts(page)


def test_a_block_of_the_bench_takes_the_headlines_place() -> None:
    page = digits(block="down0.res0")
    verdict = DIGITS.result()["verdicts"]["model/down0.res0/1"]
    assert page.metric[0].value == f"{100 * verdict['peak_accuracy']:.1f} %"
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert any(trace.get("name") == "linear readout of block down0.res0" for trace in figure["data"])


def test_the_level_of_a_link_is_where_the_figure_opens() -> None:
    page = digits(sigma=str(DIGITS.facts["levels"][2]["sigma"]))
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["sliders"][0]["active"] == 2
    assert not page.warning


def test_the_level_of_a_link_that_names_no_run_holds_for_the_run_that_is_shown() -> None:
    page = visit(backend=DIGITS.card.name, dataset="digits", sigma=str(DIGITS.card.sigmas[7]))
    assert page.slider(key="level").value == 7
    assert not page.warning


def test_the_map_rings_the_best_cell_and_dots_those_not_shown_to_be_worse() -> None:
    from analysis.cells import near_best_of

    near = near_best_of(DIGITS, "10", "1")
    figure = json.loads(digits(view="map").get("plotly_chart")[0].proto.spec)
    assert figure["data"][1]["y"] == [near.best[0].split("/")[1]]
    assert len(figure["data"][2]["y"]) == len(near.cells) - 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"run": "nonsense"}, "run 'nonsense', which is not in this store"),
        ({"run": DIGITS.key, "backend": "shapes-ddpm"}, "for a run of 'digits-ddpm'. The run is shown"),
        ({"run": DIGITS.key, "block": "layer99"}, "block = 'layer99', which digits-ddpm does not have"),
        ({"run": DIGITS.key, "sigma": "1e9"}, "the nearest level of digits-ddpm"),
        ({"run": DIGITS.key, "sigma": "warm"}, "allowed: a number above 0"),
        ({"run": DIGITS.key, "sigma": "0"}, "allowed: a number above 0"),
        ({"run": DIGITS.key, "sigma": "nan"}, "allowed: a number above 0"),
        ({"run": DIGITS.key, "view": "upside-down"}, "view = 'upside-down'"),
    ],
)
def test_what_a_link_says_wrong_is_named(query: dict[str, str], words: str) -> None:
    page = visit(**query)
    assert not page.exception
    assert words in " ".join(warning.value for warning in page.warning)


def test_a_link_restores_the_whole_view() -> None:
    page = digits(view="curve", labels="all", axis="log_snr", block="mid.res0")
    link = next(code.value for code in page.code if "?" in code.value and "run=" in code.value)
    query = dict(part.split("=") for part in link.partition("?")[2].split("&"))
    assert {"run": DIGITS.key, "labels": "all", "axis": "log_snr", "block": "mid.res0", "backend": "digits-ddpm"}.items() <= query.items()
    again = visit(**query)
    assert [m.value for m in again.metric] == [m.value for m in page.metric]
    assert not again.warning


def test_the_cost_stands_there_before_run_is_pressed_and_running_makes_one_job(own: Jobs) -> None:
    page = digits()
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    assert [metric.value for metric in page.metric][:4] == ["3 minutes", "1.2 GB", "340 MB", "25 %"]
    page.number_input[0].set_value(5).run()
    assert "measured with other settings" in texts(page)
    button(page, "Run").click().run()
    (job,) = own.list()
    assert (job.request.levels, job.request.backend, job.request.labels_per_class) == (5, "digits-ddpm", (10,))
    assert "Waiting for its turn" in progress(page)


def test_a_redraw_that_was_on_its_way_does_not_take_back_what_run_has_set(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    page = digits()
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    button(page, "Run").click().run()

    def stale() -> AppTest:
        page.selectbox(key="run").set_value(DIGITS.key)
        next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True)
        return page.run()

    (job,) = own.list()
    assert stale().session_state["run"] == job.id
    assert "Waiting for its turn" in progress(page)
    assert not page.session_state["measuring"]
    monkeypatch.setattr(runs, "SETTLES", 0.0)  # a while later a person chooses
    assert stale().session_state["run"] == DIGITS.key


def test_too_little_memory_or_disk_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "answer", lambda *_: (COST | {"free_disk": 10**6, "free_memory": 10**6}, b""))
    page = digits()
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    said = " ".join(warning.value for warning in page.warning)
    assert "1.2 GB of memory; 1.0 MB are free" in said
    assert "340 MB of disk" in said


def test_what_the_worker_says_is_wrong_stands_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise InvalidRequest("labels per class is 500; class '8' has 80 training images: ask for that many or fewer.")

    monkeypatch.setattr(asking, "answer", wrong)
    page = digits()
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    assert "ask for that many or fewer" in page.error[0].value
    assert "Run" not in [found.label for found in page.button]


def running(own: Jobs, state: str = "running", points: bool = True) -> str:
    """A job in some state, with points as a worker would have written them."""
    job = own.submit(SweepRequest(levels=5))
    if state != "submitted":
        own.take("cpu")
        own.tell(job.id, 4, 18, "σ = 0.1", 240.0)
    if points:
        folder = own.folder(job.id)
        folder.mkdir(parents=True)
        table = DIGITS.table("curve").query("labels_per_class == '10' and pooling == '1'")
        table[table.sigma.isin([level["sigma"] for level in DIGITS.facts["levels"][:3]])].to_parquet(folder / UNFINISHED)
    return job.id


def test_a_job_at_work_shows_its_progress_its_time_and_its_points(own: Jobs) -> None:
    page = visit(run=running(own))
    assert not page.exception
    assert "4 of 18 parts, 4 minutes left" in progress(page)
    assert "3 noise levels so far" in texts(page)
    assert json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert "A test image, 7, at the 3 noise levels of this run, σ = 0.01 to 20" in page.get("image")[0].proto.imgs[0].alt
    button(page, "Cancel").click().run()
    assert own.list()[0].state == "cancelled"
    assert "What is done is kept" in texts(page)


def test_a_job_of_several_poolings_and_label_numbers_shows_its_points(own: Jobs) -> None:
    job = own.submit(SweepRequest(poolings=("1", "2"), labels_per_class=(10, "all")))
    own.take("cpu")
    own.folder(job.id).mkdir(parents=True)
    table = DIGITS.table("curve")
    both = pd.concat([table, table[table.pooling == "1"].assign(pooling="2")])
    both.to_parquet(own.folder(job.id) / UNFINISHED)
    page = visit(run=job.id)
    assert not page.exception
    assert f"{len(DIGITS.facts['levels'])} noise levels so far, 10 labels a class" in texts(page)


def test_a_link_to_a_job_that_has_become_a_study_shows_the_study(own: Jobs) -> None:
    id = running(own)
    own.finish(id, DIGITS.key)
    page = visit(run=id)
    assert not page.warning
    assert page.session_state["run"] == DIGITS.key


def test_a_job_that_is_cancelled_between_two_looks_is_said(own: Jobs) -> None:
    id = running(own)
    page = visit(run=id)
    own.cancel(id)
    page.run()
    assert "What is done is kept" in texts(page)


def test_the_same_settings_are_not_called_others() -> None:
    page = digits()
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    assert "measured with other settings" in texts(page)  # the study has 10 and all labels, the panel 10
    page.multiselect(key="ask-labels").set_value(["10", "all"]).run()
    assert "measured with other settings" not in texts(page)


def test_a_locked_table_is_said_and_the_study_is_shown(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    own.submit(SweepRequest())
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.05)
    holder = sqlite3.connect(own.path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("DELETE FROM marks")
    try:
        page = digits()
    finally:
        holder.close()
    assert not page.exception
    assert "cannot be used now" in " ".join(error.value for error in page.error)
    assert DIGITS.result()["sentence"] in texts(page)


def test_before_the_first_points_there_is_a_place_for_them(own: Jobs) -> None:
    page = visit(run=running(own, points=False))
    assert "The first points come" in texts(page)
    assert not page.get("plotly_chart")


def test_a_failed_job_says_why_and_offers_a_way_on(own: Jobs) -> None:
    id = running(own)
    own.fail(id, "No space left on the device.")
    page = visit(run=id)
    assert page.error[0].value == "No space left on the device."
    button(page, "Run again").click().run()
    assert [job.state for job in own.list()] == ["submitted", "failed"]


def test_a_model_and_data_without_a_run_say_what_to_do(own: Jobs) -> None:
    page = visit(backend="digits-ddpm", dataset="shapes")
    assert not page.exception
    assert "Nothing has been measured for this model and data" in texts(page)
    assert button(page, "Run")


def test_an_unknown_model_is_a_sentence(own: Jobs) -> None:
    page = visit(backend="nope", dataset="digits")
    assert not page.exception
    assert "Unknown backend 'nope'" in page.error[0].value


def test_a_job_is_kept_in_view_while_its_table_is_locked(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    page = visit(run=(id := running(own)))
    monkeypatch.setattr(jobs_module, "PATIENCE", 0.05)
    holder = sqlite3.connect(own.path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("DELETE FROM marks")
    page.run()
    assert "cannot be read now" in texts(page)
    holder.close()
    page.run()
    assert page.session_state["run"] == id
    assert "4 of 18 parts" in progress(page)


def two_poolings(own: Jobs, change: Callable[[dict[str, Any]], None] = lambda facts: None) -> dict[str, Any]:
    """The digits' study as if it had been measured with two poolings."""
    folder = own.root / "studies" / "feed"
    shutil.copytree(DIGITS.folder, folder)
    facts = json.loads((folder / "study.json").read_text())
    first = facts["results"]["10"]
    other = {
        name[: -len("/1")] + "/2": verdict | {"peak_accuracy": 0.5} for name, verdict in first["verdicts"].items() if name[-2:] == "/1"
    }
    first["verdicts"] |= other
    facts |= {"key": "feed", "request": facts["request"] | {"poolings": ["1", "2"]}}
    right = load_file(folder / "correct.safetensors")
    twice = right | {name[: -len("/1")] + "/2": array for name, array in right.items() if "/model/" in name}
    save_file(twice, folder / "correct.safetensors")
    table = pd.read_parquet(folder / "curve.parquet")
    pd.concat([table, table[table.source == "model"].assign(pooling="2")]).to_parquet(folder / "curve.parquet")
    facts["files"] |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("correct.safetensors", "curve.parquet")}
    change(facts)
    (folder / "study.json").write_text(json.dumps(facts))
    return facts


def test_another_pooling_takes_the_headlines_place(own: Jobs) -> None:
    two_poolings(own)
    page = visit(run="feed", pooling="2")
    assert not page.exception
    assert page.metric[0].value == "50.0 %"
    assert "pooling=2" in " ".join(code.value for code in page.code)


def test_each_number_of_labels_shows_its_own_headline_whatever_its_pooling(own: Jobs) -> None:
    st.cache_resource.clear()  # another test draws the same study with another headline

    def mixed(facts: dict[str, Any]) -> None:
        best = facts["results"]["10"]
        best["headline"] = best["short"]["series"]["model"] = best["headline"][: -len("/1")] + "/2"

    facts = two_poolings(own, mixed)
    for labels, result in facts["results"].items():
        page = visit(run="feed", labels=labels)
        assert not page.exception
        assert page.metric[0].value == f"{100 * result['verdict']['peak_accuracy']:.1f} %"
        assert result["sentence"] in texts(page)


def test_a_damaged_run_is_said_and_the_rest_goes_on(own: Jobs) -> None:
    shutil.copytree(DIGITS.folder, own.root / "studies" / "abc")
    (own.root / "studies" / "abc" / "study.json").write_text("{")
    page = digits()
    assert not page.exception
    assert DIGITS.result()["sentence"] in texts(page)


@pytest.mark.parametrize(("damage", "words"), [(b"nonsense " * 999, "is damaged"), (None, "has version 9")])
def test_a_job_table_that_cannot_be_read_is_a_sentence(own: Jobs, damage: bytes | None, words: str) -> None:
    own.submit(SweepRequest())
    if damage:
        for path in own.root.glob("jobs.sqlite*"):
            path.unlink()
        own.path.write_bytes(damage)
    else:
        with sqlite3.connect(own.path) as connection:
            connection.execute("PRAGMA user_version = 9")
    page = digits()
    assert not page.exception
    assert words in " ".join(error.value for error in page.error)
    assert DIGITS.result()["sentence"] in texts(page)  # finished studies are not in it


def test_a_worker_that_dies_at_its_start_is_a_sentence(own: Jobs) -> None:
    job = own.submit(SweepRequest())
    for _ in range(4):
        own.start("cpu")
        with sqlite3.connect(own.path) as connection:
            connection.execute("UPDATE starts SET at = 0")
    page = visit(run=job.id)
    assert not page.exception
    assert "The worker for cpu does not start. It said nothing." in " ".join(error.value for error in page.error)


def test_clean_input_is_compared_where_it_was_measured_and_else_offered(own: Jobs) -> None:
    page = digits(view="input")
    assert "has not been measured yet" in texts(page)
    button(page, "Measure the clean input").click().run()
    assert own.list()[0].request.input == "clean"


def test_both_inputs_stand_in_one_figure(own: Jobs) -> None:
    folder = own.root / "studies" / "feed"
    shutil.copytree(DIGITS.folder, folder)
    facts = json.loads((folder / "study.json").read_text())
    facts |= {"key": "feed", "request": facts["request"] | {"input": "clean"}}
    (folder / "study.json").write_text(json.dumps(facts))
    page = digits(view="input")
    assert not page.exception
    names = [trace.get("name") for trace in json.loads(page.get("plotly_chart")[0].proto.spec)["data"]]
    assert {"noisy input", "clean input"} <= set(names)
