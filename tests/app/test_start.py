"""The Start page, without a browser."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from analysis import catalog
from analysis.studies import find_study
from app.components import asking
from app.components.receipt import command
from app.components.sketch import sketch

ROOT = Path(__file__).parents[2]
MAIN = str(ROOT / "app" / "main.py")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    st.cache_data.clear()
    st.cache_resource.clear()
    return tmp_path


def run(**query: str) -> AppTest:
    """The page of the digits study, unless the link asks for another."""
    return visit(**{"study": find_study("digits").key} | query)


def visit(**query: str) -> AppTest:
    """The page as a link opens it."""
    page = AppTest.from_file(MAIN, default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def texts(page: AppTest) -> str:
    return " ".join(str(element.value) for element in (*page.markdown, *page.caption, *page.warning, *page.error, *page.info))


def test_it_opens_on_the_bundled_study_with_its_sentence() -> None:
    page = run()
    assert not page.exception
    assert page.title[0].value == "What does this model know, and when?"
    assert find_study("digits").result()["sentence"] in texts(page)
    assert not page.warning


def test_the_numbers_are_the_studys() -> None:
    verdict = find_study("digits").result()["verdict"]
    values = [metric.value for metric in run().metric]
    assert values[0] == f"{100 * verdict['peak_accuracy']:.1f} %"
    assert values[2] == f"{100 * verdict['gain']:+.1f} points"
    assert values[3] == verdict["shape"]


@pytest.mark.parametrize("view", ["curve", "blocks", "map"])
@pytest.mark.parametrize("axis", ["timestep", "sigma", "log_snr"])
def test_every_view_and_axis_of_a_link_is_drawn(view: str, axis: str) -> None:
    page = run(view=view, axis=axis)
    assert not page.exception
    assert not page.warning
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    title = {"timestep": "timestep", "sigma": "σ", "log_snr": "log-SNR"}[axis]
    assert title in figure["layout"]["xaxis"]["title"]["text"]
    assert figure["layout"]["xaxis"]["title"]["text"].startswith("clean ←")


def test_labels_of_a_link_change_the_verdict() -> None:
    page = run(labels="all")
    assert find_study("digits").result("all")["sentence"] in texts(page)


@pytest.mark.parametrize("name", ["study", "view", "axis", "labels", "image"])
def test_an_unknown_value_in_a_link_is_named_and_the_default_shown(name: str) -> None:
    page = run(**{name: "nope"})
    assert not page.exception
    assert f"{name} = 'nope'" in page.warning[0].value
    assert name == "study" or find_study("digits").result()["sentence"] in texts(page)


def test_switching_the_axis_is_kept_in_the_address() -> None:
    page = run()
    page.segmented_control(key="axis").set_value("sigma").run()
    assert page.query_params["axis"] in ("sigma", ["sigma"])
    page.segmented_control(key="axis").set_value("timestep").run()
    assert "axis" not in page.query_params


def test_the_receipt_counts_the_images_and_gives_a_whole_link() -> None:
    page = run()
    assert "719 test" in texts(page)
    assert "study=" in page.code[0].value
    assert "axis=timestep" in page.code[0].value
    assert page.code[1].value.startswith("python -m analysis sweep --backend digits-ddpm")


def test_every_view_says_its_finding_as_alternative_text() -> None:
    for view, words in (
        ("curve", "up1.res0"),
        ("blocks", "of 15 blocks are shown to be unimodal"),
        ("map", "The best cell, chosen on validation images, is block up1.res0"),
    ):
        assert words in run(view=view).get("plotly_chart")[0].proto.alt


def test_the_methods_paragraph_has_protocol_n_and_the_gain() -> None:
    text = run().code[2].value
    assert "719 test images" in text
    assert "protocol 1" in text
    assert "gain 2.1 points (1.2 to 2.9)" in text


def test_the_command_of_the_receipt_is_the_same_request() -> None:
    from typer.main import get_command

    from analysis.__main__ import app

    study = find_study("digits")
    words = command(study).split()[4:]
    given = get_command(app).commands["sweep"].make_context("sweep", words).params  # type: ignore[attr-defined]
    request = study.facts["request"]
    assert (given["backend"], given["dataset"], given["head"]) == (request["backend"], request["dataset"], [request["head"]])
    assert list(given["sigma"]) == request["sigmas"]
    assert list(given["labels_per_class"]) == [str(n) for n in request["labels_per_class"]]


def test_without_a_study_it_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "assets", lambda kind: tmp_path / kind)
    page = visit()
    assert not page.exception
    assert "No study is here yet" in page.info[0].value
    assert page.code[0].value == "python -m analysis sweep"


@pytest.mark.parametrize("damage", ["study.json", "curve.parquet", "strip.png"])
def test_a_damaged_study_is_a_sentence_and_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    shutil.copytree(catalog.assets("studies") / "digits", tmp_path / "other" / "studies" / "digits")
    (tmp_path / "other" / "studies" / "digits" / damage).write_bytes(b"{")
    monkeypatch.setattr(catalog, "assets", lambda kind: tmp_path / "other" / kind)
    page = visit()
    assert not page.exception
    assert damage in page.error[0].value
    assert page.error[0].value.endswith(".")


def test_the_sketch_draws_both_curves_from_clean_to_noisy() -> None:
    curves = {name: ([0.9, 0.95, 0.1],) * 3 for name in ("model", "baseline")}
    svg = base64.b64decode(sketch(curves, [0.01, 0.1, 10], 0.1).split("base64,")[1]).decode()
    assert svg.count("<polyline") == 2
    assert 'points="52.0,' in svg  # the cleanest level stands leftmost


def test_no_part_of_a_page_loads_torch() -> None:
    parts = [f"app.components.{path.stem}" for path in (ROOT / "app" / "components").glob("*.py")]
    code = (
        f"import sys, importlib; [importlib.import_module(part) for part in {parts!r}]; "
        "print(sorted({'torch', 'diffusers', 'sklearn', 'umap', 'captum'} & {n.split('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_no_page_loads_torch() -> None:
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; "
        f"page = AppTest.from_file({MAIN!r}, default_timeout=60).run(); assert not page.exception; "
        "print(sorted({'torch', 'diffusers', 'sklearn', 'umap', 'captum'} & {n.split('.')[0] for n in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_from_page_to_page_what_is_chosen_is_taken_along_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start and Curve have widgets of the same keys with other values: Streamlit begins these empty where nobody takes care."""
    held = Event()
    monkeypatch.setattr(asking, "ask", lambda *_, **__: held.wait(60) and ({}, b""))
    page = visit()
    for name in ("curve", "start", "curve", "why", "curve", "start", "generate", "start"):
        page.query_params.clear()  # as a browser does
        page = page.switch_page(f"app_pages/{name}.py").run()
        assert not page.exception, name
        assert not page.error, (name, texts(page))
        assert "The link asks" not in texts(page), name
        assert "None" not in page.query_params.values(), name
    assert page.session_state["view"] == "questions"
    held.set()


def test_labels_that_two_pages_have_are_chosen_on_one_and_stand_on_the_other() -> None:
    page = run()
    page.segmented_control(key="labels").set_value("all").run()
    page.segmented_control(key="view").set_value("blocks").run()
    page.query_params.clear()  # as a browser does
    page = page.switch_page("app_pages/curve.py").run()
    assert not page.error
    assert page.session_state["labels"] == "all"
    assert page.session_state["view"] == "curve"  # its own


def test_the_noise_level_stays_from_curve_to_ask_and_back() -> None:
    page = run().switch_page("app_pages/curve.py").run()
    level = page.slider(key="level")
    chosen = level.value + 3
    level.set_value(chosen).run()
    for name in ("ask", "curve", "ask"):
        page.query_params.clear()  # as a browser does
        page = page.switch_page(f"app_pages/{name}.py").run()
        assert not page.error, name
        assert page.slider(key="level").value == chosen, name
    page = page.switch_page("app_pages/start.py").run()
    page.session_state["level"] = 10_000  # of a model of this name that had more levels
    page = page.switch_page("app_pages/ask.py").run()
    assert not page.exception
    assert page.slider(key="level").value == chosen - 3
