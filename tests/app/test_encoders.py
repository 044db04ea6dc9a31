"""Baseline encoders on the Curve page: asked for in the form, drawn, named, and given back by the command line."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from analysis import catalog
from analysis.__main__ import app
from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study, open_study
from analysis.sweeping import sweep
from app.components import asking, measure, receipt

from .. import vision
from .test_curve import COST, answer, button, visit
from .test_start import texts


@pytest.fixture(scope="module")
def study(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("encoded")
    vision.save("vit", root / "tiny-vit")
    request = SweepRequest(
        backend=str(tiny_folder),
        encoders=(f"transformers:{root / 'tiny-vit'}",),
        levels=3,
        blocks=("mid.res1",),
        label_draws=3,
        n_train=300,
    )
    return sweep(request.model_copy(update={"n_validation": 60, "n_test": 80, "baselines": False}), Store(root))


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """A store of its own; nothing starts a worker, and what a run costs is known at once."""
    monkeypatch.setenv("NOISESCOPE_STORE", str(tmp_path))
    monkeypatch.setattr(asking, "answer", answer)
    st.cache_data.clear()
    return Jobs(tmp_path)


def opened(study: Study, own: Jobs, **query: str) -> AppTest:
    shutil.copytree(study.folder, own.root / "studies" / study.key)
    return visit(run=study.key, **query)


def traces(page: AppTest) -> set[str]:
    return {trace.get("name", "") for trace in json.loads(page.get("plotly_chart")[0].proto.spec)["data"]}


@pytest.mark.parametrize("view", ["curve", "blocks"])
def test_an_encoder_is_drawn_named_and_on_the_receipt(study: Study, own: Jobs, view: str) -> None:
    page = opened(study, own, view=view)
    assert not page.exception
    assert "encoder tiny-vit, noised images" in traces(page)
    said = texts(page)
    line = study.result()["encoders"]["tiny-vit"]
    assert f"From clean images the encoder tiny-vit reads {100 * line['accuracy']:.1f} %" in said
    assert f"Baseline encoders, read from clean images with the same labels and probe: tiny-vit {100 * line['accuracy']:.1f} %" in said
    (facts,) = study.facts["receipt"]["encoders"]
    assert f"tiny-vit ({facts['identity']}, {facts['parameters']:,} parameters; in training it saw labels)" in said


def test_the_sketch_has_the_encoders_curve(study: Study, own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.components import curve

    drawn: list[list[str]] = []
    monkeypatch.setattr(curve, "sketch", lambda curves, *_: drawn.append(list(curves)) or "data:,")
    opened(study, own)
    assert drawn == [["model", "encoder:tiny-vit"]]


def test_a_study_without_encoders_says_nothing_of_them() -> None:
    page = visit(run=find_study("digits").key)
    assert "ncoder" not in texts(page)
    assert not any("encoder" in name for name in traces(page))
    assert "--encoder" not in receipt.command(find_study("digits"))


def test_the_command_line_makes_the_same_study(study: Study, tmp_path: Path) -> None:
    words = shlex.split(receipt.command(study))
    assert words[words.index("--encoder") + 1] == study.facts["request"]["encoders"][0]
    result = CliRunner().invoke(app, [*words[3:], "--store", str(tmp_path / "again"), "--processes", "0"])
    assert result.exit_code == 0, result.output
    (made,) = (tmp_path / "again" / "studies").iterdir()
    again = open_study(made)
    assert again.facts["results"] == study.facts["results"]
    assert again.facts["request"]["encoders"] == study.facts["request"]["encoders"]


def test_the_methods_name_the_encoders(study: Study) -> None:
    assert "Baseline encoders: tiny-vit (transformers:sha256:" in receipt.methods(study, study.result())


def test_encoders_are_asked_for_in_the_form_with_commas_between(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "lacks", lambda *_: None)
    monkeypatch.setattr(asking, "answer", lambda *_: (COST | {"encoder_passes": 1500, "encoder_seconds": 130.0}, b""))
    page = visit(run=find_study("digits").key)
    next(toggle for toggle in page.toggle if toggle.label == "Measure something new").set_value(True).run()
    page.text_input(key="ask-encoders").set_value("facebook/dinov2-small, transformers:/models/vit ,").run()
    assert not page.exception
    assert "1,500 passes of an image through encoders (2 minutes on one core)" in page.metric[3].help
    button(page, "Run").click().run()
    (job,) = own.list()
    assert job.request.encoders == ("transformers:facebook/dinov2-small", "transformers:/models/vit")


def test_a_form_that_names_no_encoder_asks_for_none() -> None:
    assert measure._encoders(" , ") == ()
