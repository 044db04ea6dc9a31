"""The ensemble's view on the Curve page, the form that asks for one, and the command line that makes it again."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
import streamlit as st
from typer.testing import CliRunner

from analysis import ensemble_figures
from analysis.__main__ import app
from analysis.jobs import Jobs
from analysis.specs import SweepRequest
from analysis.store import Store
from analysis.studies import Study, find_study, open_study
from analysis.sweeping import sweep
from app.components import asking, ensemble
from app.components.receipt import command, rows

from ..conftest import SMALL
from ..test_joint import brief
from .test_curve import button, digits, own, texts, visit  # noqa: F401

DIGITS = find_study("digits")
OLD = ("single", "levels", "levels, shared ε", "draws", "blocks")


@pytest.fixture(scope="module")
def averaged(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    request = SweepRequest(backend=str(tiny_folder), labels_per_class=(3, 10), ensemble=2, baselines=False, **SMALL)
    return sweep(request, Store(tmp_path_factory.mktemp("averaged")))


@pytest.fixture
def here(averaged: Study, own: Jobs) -> Study:  # noqa: F811
    st.cache_data.clear()
    return open_study(shutil.copytree(averaged.folder, own.root / "studies" / averaged.key))


@pytest.fixture
def fused(averaged: Study, own: Jobs, monkeypatch: pytest.MonkeyPatch) -> Study:  # noqa: F811
    """The same ensemble with its maps fused: what it shares with the other is not computed again."""
    brief(monkeypatch)
    st.cache_data.clear()
    request = SweepRequest.model_validate(averaged.facts["request"] | {"labels_per_class": [10], "fuse": 2})
    made = sweep(request, Store(averaged.folder.parent.parent))
    return open_study(shutil.copytree(made.folder, own.root / "studies" / made.key))


@pytest.mark.parametrize("labels", ["3", "10"])
def test_the_view_draws_every_variant_with_its_interval_and_its_passes(here: Study, labels: str) -> None:
    page = visit(run=here.key, view="ensemble", labels=labels)
    assert not page.exception
    assert not page.warning
    told = here.facts["ensembles"][labels]
    (chart,) = page.get("plotly_chart")
    assert chart.proto.alt == told["sentence"]
    assert told["sentence"] in [caption.value for caption in page.caption]
    table = here.table("ensembles").query("labels_per_class == @labels")
    dots = [trace for trace in json.loads(chart.proto.spec)["data"] if trace["type"] == "scatter"]
    assert [dot["x"][0] for dot in dots] == table.accuracy.tolist()
    assert [dot["error_x"]["array"][0] for dot in dots] == pytest.approx((table.ci_high - table.accuracy).tolist())
    assert [dot["y"][0].split("<br>")[1] for dot in dots] == ["1 pass", "2 passes", "2 passes", "2 passes", "1 pass", "2 passes"]
    shown = page.dataframe[0].value
    assert shown["passes an image"].tolist() == [1, 2, 2, 2, 1, 2]
    assert (shown["gain over control"] != "").tolist() == [False, True, True, False, True, True]
    assert "view=ensemble" in " ".join(code.value for code in page.code)


def test_fusion_stands_beside_its_control(fused: Study) -> None:
    page = visit(run=fused.key, view="ensemble")
    assert not page.exception
    shown = page.dataframe[0].value.set_index("what")
    assert shown["passes an image"]["learned fusion of maps"] == shown["passes an image"]["control: learned fusion of draws"] == 2
    assert shown["control"]["learned fusion of maps"] == "control: learned fusion of draws"
    assert shown["gain over control"]["learned fusion of maps"].startswith(("+", "-"))
    assert shown["control"]["blocks side by side, each its own ε"] == "control: draws at one level"
    (chart,) = page.get("plotly_chart")
    names = [trace["name"] for trace in json.loads(chart.proto.spec)["data"]]
    assert names == shown.index.tolist()
    assert "Learned fusion of the 2 × 2 maps" in chart.proto.alt
    assert ensemble.FUSED.strip() in texts(page)


def test_a_study_of_before_shows_what_it_has(here: Study) -> None:
    facts = json.loads((here.folder / "study.json").read_text())
    table = here.table("ensembles")
    table[~table.variant.isin(["blocks, own ε", "fusion"])].to_parquet(here.folder / "ensembles.parquet")
    facts["files"]["ensembles.parquet"] = hashlib.sha256((here.folder / "ensembles.parquet").read_bytes()).hexdigest()
    (here.folder / "study.json").write_text(json.dumps(facts))
    page = visit(run=here.key, view="ensemble", labels="3")
    assert not page.exception
    assert page.dataframe[0].value["what"].tolist() == [ensemble_figures.NAMES[name] for name in OLD]
    assert "Learned fusion" not in texts(page)


def test_an_ensemble_that_could_not_be_is_said(here: Study) -> None:
    facts = json.loads((here.folder / "study.json").read_text())
    facts["ensembles"]["3"] = {"sentence": "There is no ensemble: something."}
    table = here.table("ensembles")
    table[table.labels_per_class != "3"].to_parquet(here.folder / "ensembles.parquet")
    facts["files"]["ensembles.parquet"] = hashlib.sha256((here.folder / "ensembles.parquet").read_bytes()).hexdigest()
    (here.folder / "study.json").write_text(json.dumps(facts))
    page = visit(run=here.key, view="ensemble", labels="3")
    assert not page.exception
    assert "There is no ensemble: something." in [info.value for info in page.info]


def test_a_study_without_ensembles_does_not_offer_the_view() -> None:
    page = digits()
    assert "ensemble" not in page.segmented_control(key="view").options
    assert "nsemble" not in texts(page)
    linked = digits(view="ensemble")
    assert not linked.exception
    assert "view = 'ensemble', which is not there" in linked.warning[0].value


def test_the_form_asks_for_five_levels_and_only_where_there_is_noise(own: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    asked: list[SweepRequest] = []
    real = asking.answer

    def hear(question: dict, device: str) -> object:
        if question["ask"] == "cost":
            asked.append(SweepRequest.model_validate_json(question["request"]))
        return real(question, device)

    monkeypatch.setattr(asking, "answer", hear)
    page = digits()
    page.toggle(key="measuring").set_value(True).run()
    assert asked[-1].ensemble == 0
    page.toggle(key="ask-ensemble").set_value(True).run()
    assert asked[-1].ensemble == 5
    assert asked[-1].fuse == 0
    page.selectbox(key="ask-fuse").set_value(4).run()
    assert asked[-1].fuse == 4
    page.number_input(key="ask-levels").set_value(3).run()
    assert (asked[-1].ensemble, asked[-1].fuse) == (3, 4)
    del asked[:]
    page.multiselect(key="ask-input").set_value(["noisy", "clean"]).run()
    assert {one.input: (one.ensemble, one.fuse) for one in asked} == {"noisy": (3, 4), "clean": (0, 0)}
    page.multiselect(key="ask-input").set_value(["clean"]).run()
    assert (asked[-1].ensemble, asked[-1].fuse) == (0, 0)
    assert page.toggle(key="ask-ensemble").disabled
    assert page.selectbox(key="ask-fuse").disabled
    assert not page.exception


def test_clean_input_is_measured_without_an_ensemble(here: Study, own: Jobs) -> None:  # noqa: F811
    page = visit(run=here.key, view="input")
    button(page, "Measure the clean input").click().run()
    assert (own.list()[0].request.input, own.list()[0].request.ensemble) == ("clean", 0)


def test_the_command_line_makes_the_same_ensembles(averaged: Study, tmp_path: Path) -> None:
    words = shlex.split(command(averaged))
    assert words[words.index("--ensemble") + 1] == "2"
    again = CliRunner().invoke(
        app,
        [
            *words[3:],
            *("--n-train", "300", "--n-validation", "60", "--n-test", "80"),
            "--label-draws",
            "4",
            "--processes",
            "0",
            "--store",
            str(tmp_path),
        ],
    )
    assert again.exit_code == 0, again.output
    assert averaged.facts["ensembles"]["3"]["sentence"] in again.stdout
    (made,) = (tmp_path / "studies").iterdir()
    assert open_study(made).facts["ensembles"] == averaged.facts["ensembles"]


def test_a_fusions_command_line_asks_for_it(fused: Study) -> None:
    words = shlex.split(command(fused))
    assert words[words.index("--fuse") + 1] == "2"
    assert "2 × 2 maps of mid.res1, up0.res0" in rows(fused, "10")["fusion"]
    assert "--fuse" not in command(DIGITS)


def test_the_receipt_says_what_was_averaged(averaged: Study) -> None:
    told = averaged.facts["ensembles"]["10"]
    assert f"2 levels from σ = {told['levels'][0]:.3g}" in rows(averaged, "10")["ensemble"]
    assert "--ensemble" not in command(DIGITS)
    assert "ensemble" not in rows(DIGITS, "10")
